"""Texts of one's own, a JSON object a line, with the words that annotators marked if there are any."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from bench.data.samples import TextSample
from bench.data.text_files import ENCODING, lines_of
from bench.errors import BenchError


class TextFile:
    """A file of JSON lines: ``{"text": "a dull plot", "label": "NEG", "rationale": [0, 1, 0]}``.

    The text is a string, which is cut into words at white space, or a list of words. The rationale has a 0 or a 1
    (false or true) for each word, or is a list of spans of words, each [start, end) from 0.

    Args:
        path: the file.
        text, label, rationale, id: the names of the keys. ``label=null`` is for texts without labels,
            ``rationale=null`` for texts in which nothing is marked; ``id=null`` gives each text the number of its
            line.
        classes: the names of the labels; None for those that occur, in alphabetical order. Labels that are whole
            numbers are places among them.

    Attributes:
        ids, labels, classes: as :mod:`bench.data.samples` says.
        files: the file.

    Raises:
        BenchError: if the file or a line cannot be read, naming the line and the key.
    """

    version: ClassVar[int] = 1

    def __init__(
        self,
        path: str | Path,
        text: str = "text",
        label: str | None = "label",
        rationale: str | None = "rationale",
        id: str | None = None,
        classes: Sequence[str] | None = None,
    ) -> None:
        self.files = [Path(path)]
        self._keys = text, rationale
        try:
            lines = lines_of(self.files[0].read_bytes().decode(ENCODING))
        except (OSError, ValueError) as e:
            raise BenchError(
                f"dataset.path={path}: cannot be read ({e}); expected a file of JSON lines"
            ) from e
        self._rows = [
            (f"{path}, line {number}", _parsed(line, f"{path}, line {number}"))
            for number, line in enumerate(lines, start=1)
            if line.strip()
        ]
        if not self._rows:
            raise BenchError(f"dataset.path={path}: empty; expected a JSON object a line")
        self.ids = [
            str(taken(row, id, where)) if id else where.rpartition(" ")[2] for where, row in self._rows
        ]
        if len(set(self.ids)) < len(self.ids):
            raise BenchError(f"{path}: two texts have one {id}; expected an id of its own for each")
        named = [taken(row, label, where) if label else None for where, row in self._rows]
        self.labels, self.classes = labelled(named, classes, str(path))

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, index: int) -> TextSample:
        index = range(len(self))[index]
        where, row = self._rows[index]
        text, rationale = self._keys
        words = words_in(taken(row, text, where), where)
        marks = (
            marked(taken(row, rationale, where), len(words), where)
            if rationale
            else np.zeros(len(words), bool)
        )
        return TextSample(self.ids[index], words, self.labels[index], marks)


def _parsed(line: str, where: str) -> Mapping[str, Any]:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as e:
        raise BenchError(f"{where}: {e}; expected a JSON object") from e
    if not isinstance(row, Mapping):
        raise BenchError(f"{where}: expected a JSON object, got {type(row).__name__}")
    return row


def taken(row: Mapping[str, Any], key: str, where: str) -> Any:
    """The value of a key, or BenchError that names the keys there are."""
    if key not in row:
        raise BenchError(
            f"{where}: no {key!r} among {', '.join(map(str, row))}; say what it is called, e.g. dataset.text=NAME"
        )
    return row[key]


def labelled(
    values: Sequence[Any], classes: Sequence[str] | None, source: str
) -> tuple[list[int | None], tuple[str, ...] | None]:
    """The labels as places among the classes, and the names of these.

    Args:
        values: names, or numbers of classes; all None where there are no labels.
        classes: None for those that occur, in alphabetical order.

    Raises:
        BenchError: for a label that is no class, or numbers without names.
    """
    if all(value is None for value in values):
        return [None] * len(values), None
    names = None if classes is None else tuple(map(str, classes))
    if names is None:
        if not all(isinstance(value, str) for value in values):
            raise BenchError(
                f"{source}: labels that are no names ({next(v for v in values if not isinstance(v, str))!r}); give "
                "the names in the order of the numbers as dataset.classes=[…]"
            )
        names = tuple(sorted(set(values)))
    if len(set(names)) < max(2, len(names)):
        raise BenchError(
            f"{source}: the classes are {', '.join(names)}; expected at least two different names. Give all of "
            "them as dataset.classes=[…]"
        )
    return [_place(value, names, source) for value in values], names


def _place(value: Any, names: Sequence[str], source: str) -> int:
    if isinstance(value, str) and value in names:
        return names.index(value)
    if type(value) is int and 0 <= value < len(names):
        return value
    raise BenchError(
        f"{source}: the label {value!r} is no class; expected one of {', '.join(names)}, or 0 to {len(names) - 1}"
    )


def words_in(text: Any, where: str) -> list[str]:
    """The words of a text that is a string or a list of words, or BenchError."""
    if isinstance(text, str):
        words = text.split()
    elif isinstance(text, Sequence) and all(isinstance(word, str) and word.strip() for word in text):
        words = list(text)
    else:
        raise BenchError(f"{where}: the text is {type(text).__name__}; expected a string or a list of words")
    if not words:
        raise BenchError(f"{where}: a text without words")
    return words


def marked(rationale: Any, words: int, where: str) -> np.ndarray:
    """Which words are marked, (words,), boolean: from 0 and 1 for each, or from spans [start, end).

    Raises:
        BenchError: if it is neither, or does not fit the words.
    """
    marks = np.zeros(words, dtype=bool)
    if (
        isinstance(rationale, Sequence)
        and all(type(one) in (int, bool) for one in rationale)
        and len(rationale)
    ):
        if len(rationale) != words or not set(map(int, rationale)) <= {0, 1}:
            raise BenchError(
                f"{where}: a rationale of {len(rationale)} numbers up to {max(rationale)} for {words} words; "
                "expected a 0 or a 1 for each word"
            )
        return np.array(rationale, dtype=bool)
    if not isinstance(rationale, Sequence) or isinstance(rationale, str):
        raise BenchError(f"{where}: the rationale is {rationale!r}; expected 0 and 1 for the words, or spans")
    for span in rationale:
        is_pair = isinstance(span, Sequence) and len(span) == 2 and all(type(end) is int for end in span)
        if not is_pair or not 0 <= span[0] < span[1] <= words:
            raise BenchError(
                f"{where}: {span!r} is no span of its {words} words; expected [start, end] with "
                f"0 ≤ start < end ≤ {words}"
            )
        marks[span[0] : span[1]] = True
    return marks
