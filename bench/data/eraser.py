"""Data sets of the form of ERASER (DeYoung et al. 2020, arXiv 1911.03429), in a folder or in a tar archive.

``<split>.jsonl`` has an annotation a line:

==================  ==================================================================================
annotation_id       unique in the split; text or an integer
classification      the name of a class
query               a question or claim that the documents answer; may be missing or null
docids              the documents to read; may be missing or null
evidences           groups of spans: ``docid``, ``start_token`` inclusive, ``end_token`` exclusive,
                    and optionally their ``text``; a span counts the words of its document
==================  ==================================================================================

A document is the file ``docs/<docid>``; sets of many short ones have ``docs.jsonl`` in the place of the
folder, with a ``docid`` and a ``document`` a line.
"""

import json
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar, NamedTuple

import numpy as np

from bench.data.samples import TextSample
from bench.data.text_files import Archive, Folder, lines_of, words_of
from bench.errors import BenchError

GATHERED = "docs.jsonl"


class Span(NamedTuple):
    """Words of a document that annotators marked."""

    document: str
    start: int
    end: int  # exclusive
    text: str  # empty where the annotation does not repeat it


class Annotation(NamedTuple):
    """A line of a split."""

    line: int  # its number, from 1
    id: str
    classification: str
    query: str
    documents: list[str]  # in the order in which they are read
    spans: list[Span]


class Eraser:
    """The annotations of one split and their documents, cut into words as ERASER counts them.

    Args:
        path: the folder with ``<split>.jsonl`` and the documents, or a tar archive of it, which is read in
            place and kept in memory.
        split: such as ``train``, ``val`` or ``test``.
        classes: the names of the classes in the order of the labels. By default those of this split in
            alphabetical order; give them where a split may lack one of them.
        query: whether the query is read.

    A sample's words are those of its query, if it has one, then those of its documents: of ``docids`` in
    their order, then of others that the evidences name, in theirs, or of the one called like the annotation
    where none is named. A word's rationale is True where a span of any group covers it: groups are
    alternatives in some sets and parts in others, and ERASER's scorer takes the union of both. The words of
    the query are never part of a rationale.

    Samples keep the order of the file; documents are read on access.

    Attributes:
        ids: the annotation ids; integers as their digits.
        labels: one per sample.
        classes: the names of the labels.
        files: the split's jsonl and every document that it names, or the archive.

    Raises:
        BenchError: the split is missing or malformed (file and line are named); on access, a document is
            missing, or a span lies outside it or covers other words than its ``text``.
    """

    version: ClassVar[int] = 1

    def __init__(
        self, path: str | Path, split: str, classes: Sequence[str] | None = None, query: bool = True
    ) -> None:
        files = find_files(Path(path))
        if files is None:
            raise BenchError(
                f"{path}: no folder with {split}.jsonl and docs, and no archive of one. "
                "Point dataset.path to one of these."
            )
        self._files, self._query = files, query
        self._split = f"{files.path}: {split}.jsonl"
        try:
            lines = lines_of(files.read(f"{split}.jsonl"))
        except (KeyError, ValueError) as error:
            raise BenchError(
                f"{self._split}: missing or not UTF-8 text; the splits there are {self._splits() or 'none'}. "
                "Set split to one of them, or download the data again."
            ) from error
        known = None if classes is None else tuple(classes)
        self.annotations = [
            self._parse(line, number, known) for number, line in enumerate(lines, start=1) if line.strip()
        ]
        self.ids = [annotation.id for annotation in self.annotations]
        if not self.ids or len(set(self.ids)) < len(self.ids):
            raise BenchError(
                f"{self._split}: {'an annotation_id occurs twice' if self.ids else 'empty'}; expected one "
                "annotation a line, each with an annotation_id of its own. Download it again."
            )
        self.classes = known or tuple(sorted({a.classification for a in self.annotations}))
        if len(set(self.classes)) < max(2, len(self.classes)):
            raise BenchError(
                f"{self._split}: the classes are {', '.join(self.classes)}; expected at least two different "
                "ones. Give all classes of the data set as dataset.classes=[...]."
            )
        self.labels = [self.classes.index(annotation.classification) for annotation in self.annotations]
        self._gathers = GATHERED in files.jsonl()
        named = dict.fromkeys(f"docs/{name}" for a in self.annotations for name in a.documents)
        self.files = files.files([f"{split}.jsonl", *([GATHERED] if self._gathers else named)])

    def _parse(self, line: str, number: int, classes: tuple[str, ...] | None) -> Annotation:
        try:
            record = json.loads(line)
            annotation = _annotation(record, number)
            if classes is not None and annotation.classification not in classes:
                raise KeyError(annotation.classification)
        except (AttributeError, KeyError, TypeError, ValueError, RecursionError) as error:
            expected = f"classification ({' or '.join(classes)})" if classes else "classification"
            raise BenchError(
                f"{self._split}, line {number}: {error!r}; expected a JSON object with annotation_id, "
                f"{expected} and evidences with start_token and end_token. "
                "Mend the line, or download the file again."
            ) from error
        return annotation

    def _splits(self) -> list[str]:
        return [name for name in self._files.jsonl() if name != GATHERED]

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, index: int) -> TextSample:
        index = range(len(self))[index]
        annotation = self.annotations[index]
        words = words_of(annotation.query) if self._query else []
        asked = len(words)
        marked: list[tuple[int, int]] = []
        for name in annotation.documents:
            document = self._document(name, annotation.line)
            for span in annotation.spans:
                if span.document == name:
                    self._check(span, document, annotation.line)
                    marked.append((len(words) + span.start, len(words) + span.end))
            words += document
        rationale = np.zeros(len(words), dtype=bool)
        for start, end in marked:
            rationale[start:end] = True
        return TextSample(annotation.id, words, self.labels[index], rationale, query_words=asked)

    def _document(self, name: str, line: int) -> list[str]:
        where = f"{GATHERED}, docid {name}" if self._gathers else f"docs/{name}"
        try:
            text = self._gathered[name] if self._gathers else self._files.read(f"docs/{name}")
            if "\0" in text:
                raise ValueError("a null character, as in UTF-16")
        except (KeyError, ValueError) as error:
            raise BenchError(
                f"{self._files.path}: {where} is missing or not UTF-8 text; {self._split}, line {line} "
                "needs it. Put the document there, or download the data again."
            ) from error
        if not (words := words_of(text)):
            raise BenchError(f"{self._files.path}: {where} is empty. Download the data again.")
        return words

    @cached_property
    def _gathered(self) -> dict[str, str]:
        """The documents of one file by name; read once per process."""
        documents: dict[str, str] = {}
        where = f"{self._files.path}: {GATHERED}"
        try:
            for number, line in enumerate(lines_of(self._files.read(GATHERED)), start=1):
                if line.strip():
                    where = f"{self._files.path}: {GATHERED}, line {number}"
                    record = json.loads(line)
                    name, text = _name(record["docid"]), record["document"]
                    if not isinstance(text, str) or name in documents:
                        raise ValueError(f"document {name} is no text, or there twice")
                    documents[name] = text
        except (KeyError, TypeError, ValueError, RecursionError) as error:
            raise BenchError(
                f"{where}: {error!r}; expected a JSON object with a docid of its own and the text of the "
                "document. Mend the line, or download the file again."
            ) from error
        return documents

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_gathered"}

    def _check(self, span: Span, words: list[str], line: int) -> None:
        where = f"{self._split}, line {line}: span {span.start} to {span.end}"
        # start = end is no damage: 20 spans of the published test split of the movies are empty.
        if not 0 <= span.start <= span.end <= len(words):
            raise BenchError(
                f"{where} does not fit docs/{span.document}; expected 0 <= start_token <= end_token <= "
                f"{len(words)} words. Mend the span, or download the data again."
            )
        covered = " ".join(words[span.start : span.end])
        # Whoever counted words in another way than ERASER marked others than the annotators did.
        if span.text and "".join(covered.split()) != "".join(span.text.split()):
            raise BenchError(
                f"{where} of docs/{span.document} covers {_short(covered)}; expected its text, "
                f"{_short(span.text)}. Mend the span, or remove its text to take the words that it counts."
            )


def find_files(path: Path) -> Folder | Archive | None:
    """The ERASER files of a folder or of an archive; None where ``path`` is neither."""
    if any(path.glob("*.jsonl")) or (path / "docs").is_dir():
        return Folder(path)
    return Archive(path) if path.is_file() and path.suffix != ".parquet" else None


def _annotation(record: dict[str, Any], number: int) -> Annotation:
    """A line's record, checked; raises KeyError, TypeError or ValueError."""
    name, classification = _name(record["annotation_id"]), record["classification"]
    if not isinstance(classification, str) or not classification:
        raise TypeError(f"classification {classification!r} is no name")
    query = record.get("query") or ""
    if not isinstance(query, str):
        raise TypeError(f"query {query!r} is no text")
    named = [_name(document) for document in _list(record.get("docids") or [])]
    spans = [
        # Where a span names no document, it is of the only one that the line knows of.
        _span(span, default=named[0] if len(named) == 1 else name)
        for group in _list(record["evidences"])
        for span in _list(group)
    ]
    documents = list(dict.fromkeys([*named, *(span.document for span in spans)])) or [name]
    for document in documents:
        if PurePosixPath(document).name != document or document == "..":
            raise ValueError(f"document {document!r} is no name of a file in docs")
    return Annotation(number, name, classification, query, documents, spans)


def _span(span: dict[str, Any], default: str) -> Span:
    document = span.get("docid")
    text = span.get("text")
    start, end = span["start_token"], span["end_token"]
    if type(start) is not int or type(end) is not int:
        raise ValueError("a start_token or end_token is no integer")
    return Span(
        default if document is None else _name(document), start, end, text if isinstance(text, str) else ""
    )


def _name(value: Any) -> str:
    if type(value) is int:
        return str(value)
    if not isinstance(value, str) or not value:
        raise TypeError(f"{value!r} names nothing")
    return value


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise TypeError(f"{value!r} is no list")
    return value


def _short(text: str) -> str:
    return repr(text if len(text) <= 60 else f"{text[:57]}...")
