"""The files of ERASER (DeYoung et al. 2020, arXiv 1911.03429), in a folder or in a tar archive.

``<split>.jsonl`` has a review a line: ``annotation_id`` (also the document's name), ``classification``
(NEG or POS) and ``evidences``, groups of spans with ``start_token`` inclusive and ``end_token`` exclusive.
They count the whitespace tokens of ``docs/<annotation_id>``.
"""

import json
import tarfile
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from bench.errors import BenchError

LABELS = {"NEG": 0, "POS": 1}
LARGEST = 2**30  # bytes: an archive that claims more than this, unpacked, is damaged; the published has 11 MB


class Review(NamedTuple):
    """A document's words, its label, and its spans of words (end exclusive)."""

    words: list[str]
    label: int
    spans: list[tuple[int, int]]


@dataclass(frozen=True)
class Folder:
    """The text files of a folder."""

    path: Path

    def read(self, name: str) -> str:
        """Raises KeyError where there is no such file to read, ValueError where it or its name is no text."""
        try:
            return (self.path / name).read_text(encoding="utf-8")
        except OSError as error:
            raise KeyError(name) from error

    def splits(self) -> list[str]:
        return sorted(file.name for file in self.path.glob("*.jsonl"))


@dataclass(frozen=True)
class Archive:
    """The text files of a tar archive, named from the folder in it that has the splits.

    A compressed archive cannot be read at random: it is read once per process, on first access, and kept in
    memory.
    """

    path: Path

    def read(self, name: str) -> str:
        """Raises as :meth:`Folder.read`."""
        return self._files[name].decode("utf-8")

    def splits(self) -> list[str]:
        return sorted(name for name in self._files if name.endswith(".jsonl") and "/" not in name)

    @cached_property
    def _files(self) -> dict[str, bytes]:
        files, size = {}, 0
        try:
            with tarfile.open(self.path) as archive:
                for member in archive:
                    size += member.size
                    if size > LARGEST:
                        raise ValueError(f"more than {LARGEST} bytes unpacked")
                    if member.isfile():
                        files[PurePosixPath(member.name)] = archive.extractfile(member).read()
                while archive.fileobj.read(2**20):
                    pass  # to the end, where a compressed file has its checksum
        except Exception as error:  # each compression meets damage with errors of its own
            raise BenchError(
                f"{self.path}: cannot be read ({error!r}); expected a complete tar archive with "
                "movies/test.jsonl and movies/docs. Download it again."
            ) from error
        splits = [file for file in files if file.suffix == ".jsonl" and not file.name.startswith(".")]
        top = min(
            (file.parent for file in splits), key=lambda parent: len(parent.parts), default=PurePosixPath()
        )
        return {str(f.relative_to(top)): content for f, content in files.items() if f.is_relative_to(top)}

    def __getstate__(self) -> dict[str, Path]:
        return {"path": self.path}


def find_files(path: Path) -> Folder | Archive | None:
    """The ERASER files at ``path`` or, in a data root, below it as ``movies`` or ``movies.tar.gz``."""
    for folder in (path, path / "movies"):
        if any(folder.glob("*.jsonl")) or (folder / "docs").is_dir():
            return Folder(folder)
    for file in (path, path / "movies.tar.gz"):
        if file.is_file() and file.suffix != ".parquet":
            return Archive(file)
    return None


class EraserReviews:
    """The reviews of one split, in the order of its file; documents are read on access.

    Raises:
        BenchError: the split is missing or malformed; on access, a document is missing or a span lies
            outside it.
    """

    def __init__(self, files: Folder | Archive, split: str) -> None:
        self._files = files
        self._split = f"{files.path}: {split}.jsonl"
        try:
            lines = files.read(f"{split}.jsonl").split("\n")
        except (KeyError, ValueError) as error:
            raise BenchError(
                f"{self._split}: missing or not UTF-8 text; the splits there are {files.splits() or 'none'}. "
                "Set split to one of them, or download the data again."
            ) from error
        self._annotations = [
            (number, *self._parse(line, number)) for number, line in enumerate(lines, start=1) if line.strip()
        ]
        self.ids = [name for _, name, _, _ in self._annotations]
        if not self.ids or len(set(self.ids)) < len(self.ids):
            raise BenchError(
                f"{self._split}: {'an annotation_id occurs twice' if self.ids else 'empty'}; expected one "
                "review a line, each with an annotation_id of its own. Download it again."
            )

    def _parse(self, line: str, number: int) -> tuple[str, int, list[tuple[int, int]]]:
        """A line as (id, label, spans)."""
        try:
            record = json.loads(line)
            name, label = record["annotation_id"], LABELS[record["classification"]]
            spans = [(s["start_token"], s["end_token"]) for group in record["evidences"] for s in group]
            documents = {span["docid"] for group in record["evidences"] for span in group if "docid" in span}
            if PurePosixPath(name).name != name or documents - {name}:
                raise ValueError(f"documents {sorted({name} | documents)} are not one file in docs")
            if not all(type(edge) is int for span in spans for edge in span):
                raise ValueError("a start_token or end_token is no integer")
        except (KeyError, TypeError, ValueError, RecursionError) as error:
            raise BenchError(
                f"{self._split}, line {number}: {error!r}; expected a JSON object with annotation_id, "
                f"classification ({' or '.join(LABELS)}) and evidences with start_token and end_token. "
                "Mend the line, or download the file again."
            ) from error
        return name, label, spans

    def __getitem__(self, index: int) -> Review:
        number, name, label, spans = self._annotations[index]
        try:
            words = self._files.read(f"docs/{name}").split()
        except (KeyError, ValueError) as error:
            raise BenchError(
                f"{self._files.path}: docs/{name} is missing or not UTF-8 text; {self._split}, line {number} "
                "needs it. Put the document there, or download the data again."
            ) from error
        if not words:
            raise BenchError(f"{self._files.path}: docs/{name} is empty. Download the data again.")
        for start, end in spans:
            # start = end is no damage: 20 spans of the published test split are empty.
            if not 0 <= start <= end <= len(words):
                raise BenchError(
                    f"{self._split}, line {number}: span {start} to {end} does not fit docs/{name}; "
                    f"expected 0 <= start_token <= end_token <= {len(words)} words. Mend the span, or "
                    "download the data again."
                )
        return Review(words, label, spans)
