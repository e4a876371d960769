"""What an archive claims, or hides behind a small file, takes neither memory nor time beyond fixed bounds."""

import bz2
import gzip
import io
import lzma
import tarfile
import tracemalloc

import pytest

from bench.data import Movies
from tests.support.refusals import read_all, refused
from tests.support.tiny_texts import DOCUMENTS, write_movies

MIB = 2**20
END = bytes(1024)  # two blocks of zeros


@pytest.fixture
def packed(tmp_path) -> bytes:
    """A whole archive of the reviews, without its end."""
    movies = write_movies(tmp_path / "unpacked" / "movies")
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w", format=tarfile.PAX_FORMAT) as tar:
        tar.add(movies, "movies")
        end = tar.offset
    return content.getvalue()[:end]


def many(block: bytes, times: int) -> bytes:
    """A block again and again, compressed at once: a gz may have many parts."""
    return gzip.compress(block) * times


def header(name: str = "movies/docs/x", size: int = 0, kind: bytes = tarfile.REGTYPE) -> bytes:
    member = tarfile.TarInfo(name)
    member.size, member.type = size, kind
    return member.tobuf(tarfile.GNU_FORMAT)


def altered(block: bytes, where: int, content: bytes) -> bytes:
    """A header with other bytes and the checksum that fits them."""
    block = block[:where] + content + block[where + len(content) :]
    blank = block[:148] + b" " * 8 + block[156:]
    return blank[:148] + f"{sum(blank):06o}\0 ".encode() + blank[156:]


def long_header(kind: bytes):
    """The content of a header that goes before a file's own claims 300 MiB, and has them."""
    return lambda tar: gzip.compress(tar + header(size=300 * MIB, kind=kind)) + many(bytes(MIB), 300)


def chain(kind: bytes, size: int, content: bytes):
    """Headers of a kind, one after the other, for one and the same file."""
    return lambda tar: gzip.compress(tar) + many((header(size=size, kind=kind) + content) * 100, 1000)


def sparse_map(tar: bytes) -> bytes:
    """A sparse file, whose map of holes goes on and on."""
    first = altered(header(kind=tarfile.GNUTYPE_SPARSE), 482, b"\1")
    more = bytes(504) + b"\1" + bytes(7)
    return gzip.compress(tar + first) + many(more * 2048, 200)


def empty_files(tar: bytes) -> bytes:
    block = b"".join(header(f"movies/docs/{number}") for number in range(1000))
    return gzip.compress(tar) + many(block, 21)


def backwards(tar: bytes) -> bytes:
    """The last file claims less than no bytes, which would lead back to the first."""
    return gzip.compress(tar + altered(header(), 124, b"\xff" * 10 + b"\xf0\0") + END)


PARTS = many(bytes(MIB), 300)
TOO_MUCH = {
    "a long name": (long_header(tarfile.GNUTYPE_LONGNAME), "name and attributes"),
    "a long link": (long_header(tarfile.GNUTYPE_LONGLINK), "name and attributes"),
    "long attributes": (long_header(tarfile.XHDTYPE), "name and attributes"),
    "long attributes of all files": (long_header(tarfile.XGLTYPE), "name and attributes"),
    "many names for one file": (
        chain(tarfile.GNUTYPE_LONGNAME, 9, b"movies/x\0" + bytes(503)),
        "name and attributes",
    ),
    "many attributes for one file": (
        chain(tarfile.XHDTYPE, 9, b"9 path=x\n" + bytes(503)),
        "name and attributes",
    ),
    "a sparse file's map": (sparse_map, "name and attributes"),
    "a sparse file": (
        lambda tar: gzip.compress(tar + header(kind=tarfile.GNUTYPE_SPARSE) + END),
        "is a sparse file",
    ),
    "a long document": (
        lambda tar: gzip.compress(tar + header(size=300 * MIB)) + PARTS,
        "bytes unpacked",
    ),
    "a long file of another kind": (
        lambda tar: gzip.compress(tar + header("movies/x", 300 * MIB)) + PARTS,
        "bytes unpacked",
    ),
    "a long folder": (
        lambda tar: gzip.compress(tar + header("movies/x", 300 * MIB, tarfile.DIRTYPE)) + PARTS,
        "bytes unpacked",
    ),
    "a long tail": (lambda tar: gzip.compress(tar + END) + PARTS, "bytes unpacked"),
    "empty files": (empty_files, "20000 files"),
    "a file of less than no bytes": (backwards, "less than no bytes"),
}  # fmt: skip


@pytest.mark.parametrize(("make", "expected"), TOO_MUCH.values(), ids=TOO_MUCH)
def test_an_archive_of_too_much(packed, tmp_path, make, expected):
    path = tmp_path / "movies.tar.gz"
    path.write_bytes(make(packed))
    tracemalloc.start()
    try:
        with refused(rf"movies\.tar\.gz: cannot be read .*({expected}).* Download it again, or unpack it"):
            read_all(Movies(path))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 100 * MIB


def test_other_files_of_an_archive_are_not_kept(packed, tmp_path):
    """A thing of 200 MiB beside the reviews: within the bounds, but nobody needs it in memory."""
    path = tmp_path / "movies.tar.gz"
    path.write_bytes(
        gzip.compress(packed + header("movies/model.bin", 200 * MIB))
        + many(bytes(MIB), 200)
        + gzip.compress(END)
    )
    tracemalloc.start()
    try:
        dataset = Movies(path)
        assert dataset.ids == list(DOCUMENTS)
        read_all(dataset)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 20 * MIB


@pytest.mark.parametrize("pack", [bytes, gzip.compress, bz2.compress, lzma.compress])
@pytest.mark.parametrize("kind", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
def test_long_names_and_every_compression_are_read(tmp_path, pack, kind):
    movies = write_movies(tmp_path / "unpacked" / "movies")
    deep = "/".join(["a folder of a long name"] * 20)
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w", format=kind) as tar:
        tar.add(movies, f"{deep}/movies")
    (tmp_path / "packed").write_bytes(pack(content.getvalue()))
    from_archive, from_folder = Movies(tmp_path / "packed"), Movies(movies)
    assert [s.words for s in from_archive] == [s.words for s in from_folder]
