"""A file of the board: what one method is worth on one data set and model, with the rows that its numbers are of.

``results/board/<data set>/<model>/<method>--<explained>.json`` is an :class:`Entry`. Each of its :class:`Part` is
what one task gave under one protocol, on one named list of the data set's samples. Beside it lie, for each part,
``<method>--<explained>.<task>.<protocol>.parquet``, the per-sample scores, and where they are small enough
``<method>--<explained>.maps-<digits>.parquet``, the raw maps that these are of. The JSON has the SHA-256 of both, so
the digest of the JSON alone fixes all.

Whoever makes statistics or a page reads it so::

    for entry in entries(Path("results/board")):
        for part in entry.parts:
            statistics = entry.statistics(part)      # by (metric, k): each a metrics.Statistic over part.samples
            for key, number in part.numbers.items():
                metric = part.metrics[number.metric]  # title, unit, higher_is_better, family

The terms of a statistic are in the order of the sorted ids, so those of several methods on the same
:attr:`Part.on` are paired, and :func:`metrics.bootstrap` resamples all of them together, pooled ratios as ratios.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import pandas as pd

from bench.board.facts import Key, MetricFacts, Number, OfMethod, Part, Said
from bench.board.tables import REMEDY, read_table, slug, statistic
from bench.catalogue import INSTALLED, PROJECT
from bench.errors import BenchError
from bench.store.files import read_json, sha256, write_text
from metrics import Statistic

FOLDER = (Path.cwd() if INSTALLED else PROJECT) / "results" / "board"
FORMAT = 1  # rises when the files change their meaning
NUMBERS = re.compile(r"\[[\s\d.,eE+-]*\]")  # a list of nothing but numbers, in JSON


@dataclass(frozen=True)
class Entry:
    """What one method is worth on one data set and model, for one explained class.

    Attributes:
        dataset, model: what they are.
        method: which.
        explained: ``predicted`` or ``target``.
        parts: one for each task and protocol, sorted.
        path: of the JSON file; None before it is saved.
    """

    dataset: Said
    model: Said
    method: OfMethod
    explained: str
    parts: Sequence[Part]
    path: Path | None = field(default=None, compare=False)

    @property
    def stem(self) -> str:
        """The name of its files, without suffixes."""
        return f"{slug(self.method.label)}--{self.explained}"

    def where(self, root: Path) -> Path:
        """Its JSON file on a board in a folder."""
        return root / slug(self.dataset.name) / slug(self.model.name) / f"{self.stem}.json"

    @property
    def digest(self) -> str:
        """The SHA-256 of its JSON file, which has those of the rows and maps in it."""
        return sha256(self.path)

    def rows(self, part: Part) -> pd.DataFrame:
        """The per-sample scores of a part: ``id`` and :attr:`Number.column`, sorted by id.

        A mean's column holds a number for each sample, NaN where it is undefined; a pooled ratio's holds a list, the
        sample's terms.

        Raises:
            BenchError: if the file is missing, or not the one that was written.
        """
        return read_table(self.path, part.rows)

    def maps(self, part: Part) -> pd.DataFrame | None:
        """The raw maps of a part, as the result store keeps them; None if they are not on the board.

        Columns: ``id``, ``explained_class``, ``prefix``, ``map`` (flat, float32), ``shape``, and of texts
        ``input_ids``.

        Raises:
            BenchError: if the file is missing, or not the one that was written.
        """
        return None if part.maps is None else read_table(self.path, part.maps)

    def statistics(self, part: Part) -> dict[Key, Statistic]:
        """Each number of a part as a function of its per-sample rows, ready for :func:`metrics.bootstrap`.

        Raises:
            BenchError: as :meth:`rows`, or if a column is missing or is not what its metric is made of.
        """
        rows = self.rows(part)
        return {key: statistic(self.path, part, number, rows) for key, number in part.numbers.items()}

    @classmethod
    def load(cls, path: Path) -> "Entry":
        """Read a JSON file of the board; rows and maps are read when they are asked for.

        Raises:
            BenchError: if it is damaged or of another format.
        """
        content = read_json(path, REMEDY)
        if content.get("format") != FORMAT:
            raise BenchError(f"{path}: format is {content.get('format')}, expected {FORMAT}; {REMEDY}")
        try:
            return cls(
                dataset=Said(**content["dataset"]),
                model=Said(**content["model"]),
                method=OfMethod(**content["method"]),
                explained=content["explained"],
                parts=[_part(one) for one in content["parts"]],
                path=path,
            )
        except (KeyError, TypeError, AttributeError) as e:
            raise BenchError(f"{path} is no entry of a board ({e}); {REMEDY}") from e

    def save(self, root: Path) -> "Entry":
        """Write the JSON file; its parts' rows and maps must lie there (:func:`save_table`).

        Raises:
            BenchError: if the folder cannot be written to.
        """
        path, parts = self.where(root), sorted(self.parts, key=lambda part: part.key)
        content = {"format": FORMAT, **asdict(replace(self, parts=[])), "parts": [_plain(p) for p in parts]}
        del content["path"]
        text = json.dumps(content, indent=1, ensure_ascii=False)
        write_text(path, NUMBERS.sub(lambda found: re.sub(r"\s+", " ", found[0]), text) + "\n")
        return replace(self, parts=parts, path=path)


def entries(root: Path) -> Iterator[Entry]:
    """All entries of a board, in the order of data sets, models and methods.

    Raises:
        BenchError: if a file is damaged.
    """
    for path in sorted(root.glob("*/*/*.json")):
        yield Entry.load(path)


def _part(content: Mapping[str, Any]) -> Part:
    metrics = {name: MetricFacts(**facts) for name, facts in content["metrics"].items()}
    numbers = [Number(**number) for number in content["numbers"]]
    return Part(**{**content, "metrics": metrics, "numbers": {(n.metric, n.k): n for n in numbers}})


def _plain(part: Part) -> dict[str, Any]:
    plain = asdict(replace(part, numbers={}))
    return plain | {"numbers": [asdict(number) for number in part.numbers.values()]}
