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
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np

from bench.data.eraser_lines import Annotation, FaultError, Span, annotation_of
from bench.data.samples import TextSample
from bench.data.text_files import Archive, Folder, lines_of, words_of
from bench.errors import BenchError

GATHERED = "docs.jsonl"
GROUPS = ("parts", "alternatives")


class Eraser:
    """The annotations of one split and their documents, cut into words as ERASER counts them.

    Args:
        path: the folder with ``<split>.jsonl`` and the documents, or a tar archive of it, which is read in
            place and kept in memory.
        split: such as ``train``, ``val`` or ``test``.
        classes: the names of the classes in the order of the labels. By default those of this split in
            alphabetical order; give them where a split may lack one of them.
        query: whether the query is read.
        groups: what several groups of evidence are. ``parts``: of one rationale, so that all of them are needed
            (MultiRC, BoolQ, movies). ``alternatives``: rationales of which each suffices (FEVER), so that scores
            take the one that agrees best.

    A sample's words are those of its query, if it has one, then those of its documents: of ``docids`` in
    their order, then of others that the evidences name, in theirs, or of the one called like the annotation
    where none is named. A word's rationale is True where a span of any group covers it, as ERASER's scorer
    has it; ``alternatives`` has the groups one by one. The words of the query are never part of a rationale,
    and a model reads them as the first text of a pair.

    Samples keep the order of the file; documents are read on access.

    Attributes:
        ids: the annotation ids; integers as their digits.
        labels: one per sample.
        classes: the names of the labels.
        files: the split's jsonl and every document that it names, or the archive.

    Raises:
        BenchError: the split is missing or malformed (file, line and key are named); on access, a document is
            missing, or a span lies outside it or covers other words than its ``text``.
    """

    version: ClassVar[int] = 2

    def __init__(
        self,
        path: str | Path,
        split: str,
        classes: Sequence[str] | None = None,
        query: bool = True,
        groups: Literal["parts", "alternatives"] = "parts",
    ) -> None:
        if groups not in GROUPS:
            raise BenchError(f"dataset.groups={groups}: expected {' or '.join(GROUPS)}")
        files = find_files(Path(path))
        if files is None:
            raise BenchError(
                f"{path}: no folder with {split}.jsonl and docs, and no archive of one. "
                "Point dataset.path to one of these."
            )
        self._files, self._query, self._groups = files, query, groups
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
        if not self.ids:
            raise BenchError(f"{self._split}: empty; expected one annotation a line. Download it again.")
        lines_by_id: dict[str, int] = {}
        for annotation in self.annotations:
            if (first := lines_by_id.setdefault(annotation.id, annotation.line)) != annotation.line:
                raise BenchError(
                    f"{self._split}, line {annotation.line}: annotation_id: {annotation.id!r} is that of line {first}, "
                    "too; expected one of its own for each. Mend the line, or download the file again."
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
            return annotation_of(line, number, classes)
        except FaultError as error:
            raise BenchError(
                f"{self._split}, line {number}: {error}. Mend the line, or download the file again."
            ) from error

    def _splits(self) -> list[str]:
        return [name for name in self._files.jsonl() if name != GATHERED]

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, index: int) -> TextSample:
        index = range(len(self))[index]
        annotation = self.annotations[index]
        words = words_of(annotation.query) if self._query else []
        asked = len(words)
        marked: list[tuple[Span, int]] = []
        for name in annotation.documents:
            document = self._document(name, annotation.line)
            for span in annotation.spans:
                if span.document == name:
                    self._check(span, document, annotation.line)
                    marked.append((span, len(words)))
            words += document
        groups = np.zeros((1 + max((span.group for span, _ in marked), default=0), len(words)), dtype=bool)
        for span, first in marked:
            groups[span.group, first + span.start : first + span.end] = True
        alternatives = None
        if self._groups == "alternatives":  # a group without a word is none
            alternatives = groups[groups.any(axis=1)] if groups.any() else groups[:1]
        return TextSample(annotation.id, words, self.labels[index], groups.any(axis=0), asked, alternatives)

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
                    name, text = record["docid"], record["document"]
                    name = str(name) if type(name) is int else name
                    if not isinstance(name, str) or not isinstance(text, str) or name in documents:
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
        where = f"{self._split}, line {line}: {span.key}: span {span.start} to {span.end}"
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


def _short(text: str) -> str:
    return repr(text if len(text) <= 60 else f"{text[:57]}...")
