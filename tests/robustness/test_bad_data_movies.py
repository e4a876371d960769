"""However the files of ERASER movies are damaged, one line names the file and the place in it."""

import gzip
import io
import json
import lzma
import shutil
import tarfile
import zipfile

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bench.data import Movies
from tests.support.commands import ended
from tests.support.refusals import read_all, refused
from tests.support.tiny_texts import write_movies

NAME = "b"  # the second of the reviews


@pytest.fixture
def movies(tmp_path):
    return write_movies(tmp_path / "movies")


def line(content: str):
    """Put this in the place of the second review's line."""

    def damage(movies):
        lines = (movies / "test.jsonl").read_text().split("\n")
        lines[1] = content
        (movies / "test.jsonl").write_text("\n".join(lines))

    return damage


def record(**changes):
    """The second review's line with other values; one that is ``...`` is left out."""
    span = {"docid": NAME, "start_token": 0, "end_token": 2, "text": ""}
    whole = {"annotation_id": NAME, "classification": "POS", "evidences": [[span]]} | changes
    return line(json.dumps({key: value for key, value in whole.items() if value is not ...}))


def span(**changes):
    whole = {"docid": NAME, "start_token": 0, "end_token": 2} | changes
    return record(evidences=[[{key: value for key, value in whole.items() if value is not ...}]])


def document(content: bytes):
    return lambda movies: (movies / "docs" / NAME).write_bytes(content)


def folder_for_the_document(movies):
    (movies / "docs" / NAME).unlink()
    (movies / "docs" / NAME).mkdir()


def folder_for_the_split(movies):
    (movies / "test.jsonl").unlink()
    (movies / "test.jsonl").mkdir()


LINES = {
    "cut": line('{"annotation_id": "b", "classifica'),
    "two objects": line("{} {}"),
    "null": line("null"),
    "number": line("1"),
    "text": line('"b"'),
    "nested without end": line("[" * 100_000),
    "no id": record(annotation_id=...),
    "id is a number": record(annotation_id=2),
    "id is null": record(annotation_id=None),
    "id is empty": record(annotation_id=""),
    "id is the folder above": record(annotation_id=".."),
    "id is absolute": record(annotation_id="/etc/hostname"),
    "id with a null character": record(annotation_id="b\0", evidences=[]),
    "id with half a character": record(annotation_id="\ud800", evidences=[]),
    "no class": record(classification=...),
    "class is null": record(classification=None),
    "class in small letters": record(classification="pos"),
    "class is a number": record(classification=1),
    "class is a list": record(classification=["POS"]),
    "no evidences": record(evidences=...),
    "evidences are text": record(evidences="good film"),
    "evidences are numbers": record(evidences=[0, 2]),
    "evidences are an object": record(evidences={"start_token": 0, "end_token": 2}),
    "group is one span": record(evidences=[{"start_token": 0, "end_token": 2}]),
    "span is a list": record(evidences=[[[0, 2]]]),
    "span without start": span(start_token=...),
    "span without end": span(end_token=...),
    "start is null": span(start_token=None),
    "end is a fraction": span(end_token=2.0),
    "start is a truth value": span(start_token=False),
    "end is a truth value": span(end_token=True),
    "end is a list": span(end_token=[2]),
    "end is far out": span(end_token=10**30),
    "start is far out": span(start_token=-(10**30)),
    "document is a list": span(docid=[NAME]),
}
DOCUMENT = {
    "empty": (document(b""), "docs/b is empty"),
    "blank": (document(b" \n\t\n"), "docs/b is empty"),
    "not UTF-8": (document("café".encode("utf-16")), "docs/b is missing or not UTF-8"),
    "a folder": (folder_for_the_document, "docs/b is missing"),
    "all missing": (lambda movies: shutil.rmtree(movies / "docs"), "docs/a is missing"),
    "shorter than its spans": (
        document(b"good"),
        r"line 2: evidences\[0\]\[0\]: span 0 to 2 does not fit docs/b",
    ),
}
SPLIT = {
    "a folder": (folder_for_the_split, "test.jsonl: missing"),
    "cut within a character": (lambda m: (m / "test.jsonl").write_bytes('{"é'.encode()[:-1]), "not UTF-8"),
    "zeros": (lambda m: (m / "test.jsonl").write_bytes(bytes(300)), "test.jsonl, line 1"),
}
DAMAGE = {
    **{f"line: {name}": (damage, r"movies: test\.jsonl, line 2") for name, damage in LINES.items()},
    **{f"document: {name}": (damage, rf"movies.*{e}") for name, (damage, e) in DOCUMENT.items()},
    **{f"split: {name}": (damage, rf"movies.*{e}") for name, (damage, e) in SPLIT.items()},
}


@pytest.mark.parametrize(("damage", "expected"), DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_folder(movies, damage, expected):
    damage(movies)
    with refused(expected):
        read_all(Movies(movies))


def packed(movies) -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as tar:
        tar.add(movies, "movies")
    return content.getvalue()


def lying_size(tar: bytes) -> bytes:
    """The first file's header claims 8 GiB."""
    member = tarfile.TarInfo("movies/test.jsonl")
    member.size = 2**33 - 1
    return member.tobuf() + tar


def zipped(tar: bytes) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("movies.tar", tar)
    return content.getvalue()


def damaged_in_the_middle(content: bytes) -> bytes:
    half = len(content) // 2
    return content[:half] + bytes(40) + content[half + 40 :]


ARCHIVE = {
    "empty file": lambda tar: b"",
    "gz: header alone": lambda tar: gzip.compress(tar)[:10],
    "gz: without its checksum": lambda tar: gzip.compress(tar)[:-8],
    "gz: other checksum": lambda tar: gzip.compress(tar)[:-8] + bytes(8),
    "gz: damaged in the middle": lambda tar: damaged_in_the_middle(gzip.compress(tar)),
    "gz: of no tar": lambda tar: gzip.compress(b"no tar" * 1000),
    "xz: cut": lambda tar: lzma.compress(tar)[:-100],
    "xz: damaged in the middle": lambda tar: damaged_in_the_middle(lzma.compress(tar)),
    "tar: cut": lambda tar: tar[:700],
    "tar: a file that claims 8 GiB": lying_size,
    "zip": zipped,
}


@pytest.mark.parametrize("damage", ARCHIVE.values(), ids=ARCHIVE)
def test_a_damaged_archive(movies, tmp_path, damage):
    path = tmp_path / "movies.tar.gz"
    path.write_bytes(damage(packed(movies)))
    with refused(r"movies\.tar\.gz: cannot be read .* Download it again"):
        read_all(Movies(path))


TEXT = pa.string()
ROWS = {
    "review is empty": ({"review": [" \n"]}, "the review is empty"),
    "review is a number": ({"review": [5]}, "expected a review"),
    "review is not UTF-8": ({"review": pa.array([b"\xff caf\xe9"]).view(TEXT)}, "expected a review"),
    "label is null": ({"label": pa.array([None], pa.int64())}, "label None"),
    "label is 2": ({"label": [2]}, "label 2"),
    "label is a truth value": ({"label": [True]}, "label True"),
    "label is a fraction": ({"label": [1.0]}, r"label 1\.0"),
    "label is text": ({"label": ["POS"]}, "label 'POS'"),
    "evidences are null": ({"evidences": pa.array([None], pa.list_(TEXT))}, "evidences None"),
    "evidences are text": ({"evidences": ["a joy"]}, "evidences 'a joy'"),
    "evidence is null": ({"evidences": pa.array([[None]], pa.list_(TEXT))}, "expected a review"),
    "evidence is a number": ({"evidences": [[1]]}, "expected a review"),
    "evidence goes past the end": ({"evidences": [["joy !"]]}, r"'joy !' does not occur"),
}


@pytest.mark.parametrize(("change", "expected"), ROWS.values(), ids=ROWS)
def test_a_damaged_row(tmp_path, change, expected):
    good = {"review": ["what a joy"], "label": [1], "evidences": [["a joy"]]}
    pq.write_table(pa.table(good | change), tmp_path / "rows.parquet")
    with refused(rf"rows\.parquet \(split test\): row 0: .*{expected}"):
        read_all(Movies(tmp_path / "rows.parquet"))


def test_the_command_line_names_a_damaged_line(movies, tmp_path, monkeypatch, capsys):
    span(end_token=99)(movies)
    code, said = ended(
        *(monkeypatch, capsys, "task=token_f1", "method=rollout", "dataset=movies"),
        *(
            f"dataset.path={movies}",
            "protocol.token_f1.max_length=64",
            f"paths.results={tmp_path / 'results'}",
        ),
    )
    assert code == 2
    assert "test.jsonl, line 2: evidences[0][0]: span 0 to 99" in said
