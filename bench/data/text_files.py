"""Text files in a folder or in a tar archive, read without trust in what the archive says of itself."""

import bz2
import gzip
import lzma
import re
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from bench.errors import BenchError

LARGEST = 2**28  # bytes of an archive, unpacked; ERASER's movies have 11 MB
LARGEST_HEADER = 2**16  # bytes before the content of one file: its name, its times, its attributes
MOST_FILES = 20_000  # in an archive; ERASER's movies are 2,003
CHUNK = 2**20
COMPRESSIONS = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ\0": lzma.open}  # by first bytes
ENCODING = "utf-8-sig"  # UTF-8, whose byte order mark, where there is one, belongs to no word
LINE_END = re.compile(r"\r\n|\r|\n")


def lines_of(text: str) -> list[str]:
    """Cut at line feeds and carriage returns alone: words and JSON may hold U+0085, U+2028 and the like."""
    return LINE_END.split(text)


def words_of(text: str) -> list[str]:
    """Cut a document into the tokens that ERASER's spans count.

    ERASER's own reader strips white space from both ends of every line, then cuts at blanks. Whatever else
    ``str.split`` takes for white space (a tab, U+00A0, U+0085, U+2028, U+001C) stays in its word within a
    line: to cut there would move all spans that follow.
    """
    return [word for line in lines_of(text) for word in line.strip().split(" ") if word]


@dataclass(frozen=True)
class Folder:
    """The text files of a folder."""

    path: Path

    def read(self, name: str) -> str:
        """Raises KeyError where there is no such file to read, ValueError where it or its name is no text."""
        try:
            return (self.path / name).read_bytes().decode(ENCODING)
        except OSError as error:
            raise KeyError(name) from error

    def jsonl(self) -> list[str]:
        """The names of the files of annotations."""
        return sorted(file.name for file in self.path.glob("*.jsonl"))

    def files(self, names: list[str]) -> list[Path]:
        """Where the content of these text files lies on the disk."""
        return [self.path / name for name in names]


@dataclass(frozen=True)
class Archive:
    """The ``*.jsonl`` of a tar archive and what its folders ``docs`` hold, named from the topmost jsonl.

    A compressed archive cannot be read at random: it is read once per process, on first access, and kept in
    memory. What is read is bounded: LARGEST, LARGEST_HEADER and MOST_FILES.
    """

    path: Path

    def read(self, name: str) -> str:
        """Raises as :meth:`Folder.read`."""
        return self._files[name].decode(ENCODING)

    def jsonl(self) -> list[str]:
        """The names of the files of annotations."""
        return sorted(name for name in self._files if name.endswith(".jsonl") and "/" not in name)

    def files(self, names: list[str]) -> list[Path]:
        """The archive, whatever is asked for."""
        return [self.path]

    @cached_property
    def _files(self) -> dict[str, bytearray]:
        try:
            with self.path.open("rb") as packed:
                head = packed.read(6)
            unpack = next((f for start, f in COMPRESSIONS.items() if head.startswith(start)), open)
            files = _read_tar(self.path, unpack)
        except Exception as error:  # each compression meets damage with errors of its own
            raise BenchError(
                f"{self.path}: cannot be read ({error!r}); expected a complete tar archive with "
                "<split>.jsonl and docs, such as ERASER's movies.tar.gz. Download it again, or unpack it and "
                "give the folder."
            ) from error
        splits = [file for file in files if file.suffix == ".jsonl" and not file.name.startswith(".")]
        top = min(
            (file.parent for file in splits), key=lambda parent: len(parent.parts), default=PurePosixPath()
        )
        return {str(f.relative_to(top)): content for f, content in files.items() if f.is_relative_to(top)}

    def __getstate__(self) -> dict[str, Path]:
        return {"path": self.path}


def _read_tar(path: Path, unpack: Callable[..., BinaryIO]) -> dict[PurePosixPath, bytearray]:
    files: dict[PurePosixPath, bytearray] = {}
    with unpack(path, "rb") as unpacked:
        stream = _Stream(unpacked)
        archive = tarfile.TarFile(fileobj=stream)
        count = 0
        while (member := archive.next()) is not None:
            count += 1
            if count > MOST_FILES:
                raise ValueError(f"more than {MOST_FILES} files")
            name = PurePosixPath(member.name)
            if member.isfile() and (name.suffix == ".jsonl" or name.parent.name == "docs"):
                if member.issparse():
                    raise ValueError(f"{name} is a sparse file")
                stream.seek(member.offset_data)
                files[name] = stream.content(member.size)
                if len(files[name]) < member.size:
                    raise ValueError(f"{name} ends before its {member.size} bytes")
            # tarfile would keep every member's header, and what global headers add to each.
            archive.members.clear()
            archive.pax_headers.clear()
            stream.header = 0
        while stream.chunk():
            pass  # to the end, where a compressed file has its checksum
    return files


class _Stream:
    """The unpacked bytes, from first to last and no more than allowed; what tarfile reads is headers."""

    def __init__(self, unpacked: BinaryIO) -> None:
        self._unpacked = unpacked
        self._position = 0
        self.header = 0  # bytes of the present member's headers so far

    def tell(self) -> int:
        return self._position

    def read(self, size: int) -> bytes:
        """Called by tarfile for headers alone, and by its searches for the next one."""
        self.header += size
        if not 0 <= size <= self.header <= LARGEST_HEADER:
            raise ValueError(f"a file's name and attributes take more than {LARGEST_HEADER} bytes")
        return bytes(self.content(size))

    def seek(self, position: int) -> None:
        """Skip to a later place."""
        self._allow(position - self._position)
        while self._position < position and self.chunk(position - self._position):
            pass

    def content(self, size: int) -> bytearray:
        """The next ``size`` bytes, or what there is of them."""
        self._allow(size)
        content = bytearray()
        while len(content) < size and (chunk := self.chunk(size - len(content))):
            content += chunk
        return content

    def chunk(self, size: int = CHUNK) -> bytes:
        """Some of the next bytes; nothing at the end."""
        chunk = self._unpacked.read(min(size, CHUNK))
        self._position += len(chunk)
        self._allow(0)
        return chunk

    def _allow(self, size: int) -> None:
        """Raises ValueError at once where a header claims an impossible size, or for too much in all."""
        if size < 0:
            raise ValueError("a file of less than no bytes")
        if self._position + size > LARGEST:
            raise ValueError(f"more than {LARGEST} bytes unpacked")
