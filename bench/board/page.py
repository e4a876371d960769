"""The board as one page that needs no network: what stands on it, from templates."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import jinja2
import numpy as np
from markupsafe import Markup

from bench.board.columns import Board, Column, Row
from bench.board.facts import OfMethod
from bench.board.pictures import MAPS, Chart, Picture, charts, pictures
from bench.board.statistics import Agreed, Compared, Overall, Retest, Standing
from bench.board.written import (
    NEVER,
    NOT_EQUAL,
    Statistics,
    detectable_text,
    heading,
    interval_text,
    moved,
    overall_notes,
    ranks_text,
    views,
)
from bench.catalogue import Catalogue
from bench.errors import BenchError
from bench.store.files import write_text

LARGEST = 15 * 10**6  # bytes of the file
DIGITS = 4  # of differences, which are looked at and not computed with


@dataclass(frozen=True)
class Cell:
    """What a table says of a method in a column.

    Attributes:
        value: for sorting; None for nothing.
        number: the number with its interval.
        standing: how the method stands in the column.
        note: what a reader must know beside it.
        path: of the file on the board.
    """

    value: float | None
    number: str
    standing: Standing
    note: str
    path: str

    @property
    def ranks(self) -> str:
        """The interval of ranks and the letters."""
        return ranks_text(self.standing)

    @property
    def said(self) -> str:
        """The note, and in how many resamples the method is the best."""
        first = f"first in {self.standing.first:.0%} of the resamples" if self.standing.ranks else ""
        return "; ".join(filter(None, (first, self.note)))


def cell_of(one: Compared, row: Row) -> Cell:
    """A method in a column."""
    standing, decimals = one.standings[row.method.label], one.column.decimals
    notes = [row.note]
    if row.undefined > 0:
        notes.append(f"undefined on {row.undefined:.1%} of the samples")
    if standing.unranked and row.method.kind == "method" and one.column.sign:
        notes.append(f"no rank: {standing.unranked}")
    if standing.floors and standing.ranks:
        notes.append(f"not told apart from {', '.join(standing.floors)}")
    value = None if row.value != row.value else row.value
    number = interval_text(row.value, row.low, row.high, decimals)
    return Cell(value, number, standing, "; ".join(filter(None, notes)), row.path)


@dataclass(frozen=True)
class View:
    """A table of the page: one task on one data set and model.

    Attributes:
        number: unique on the page.
        title: of the table.
        columns: its columns.
        methods: its rows.
        cells: by column and label.
    """

    number: int
    title: str
    columns: Sequence[Compared]
    methods: Sequence[OfMethod]
    cells: Mapping[tuple[int, str], Cell]

    @property
    def of(self) -> Column:
        """A column, for what all have in common."""
        return self.columns[0].column

    @property
    def notes(self) -> list[str]:
        """What can be told apart, column by column."""
        return [text for one in self.columns if (text := detectable_text(one))]


@dataclass(frozen=True)
class MetricsAgree:
    """How far the metrics agree on one data set and model.

    Attributes:
        title: of the square.
        columns: whose rankings are compared.
        pairs: by the numbers of two columns, the smaller first.
        retests: of each column, in the same order.
    """

    title: str
    columns: Sequence[Column]
    pairs: Mapping[tuple[int, int], Agreed]
    retests: Sequence[Retest]

    @property
    def of(self) -> Column:
        """A column, for what all have in common."""
        return self.columns[0]

    def pair(self, i: int, j: int) -> Agreed | None:
        """How far two columns agree; None if that is not known."""
        return self.pairs.get((min(i, j), max(i, j)))


class Page:
    """All that the template asks for.

    Args:
        made: the statistics.
        facts: of methods and tasks.
        checked: by the path of an entry, what was recomputed of it.
    """

    never, not_equal = NEVER, NOT_EQUAL
    maps = MAPS

    def __init__(self, made: Statistics, facts: Catalogue, checked: Mapping[str, str]):
        self.made, self.board, self.facts, self.checked = made, made.board, facts, checked

    @cached_property
    def views(self) -> list[View]:
        """The tables."""
        found = []
        for number, own in enumerate(views(self.made).values()):
            methods = {row.method.label: row.method for one in own for row in one.column.rows}
            cells = {
                (i, row.method.label): cell_of(one, row)
                for i, one in enumerate(own)
                for row in one.column.rows
            }
            title = heading(own[0].column, self.board.titles)
            found.append(View(number, title, own, list(methods.values()), cells))
        return found

    @cached_property
    def overall(self) -> list[Overall]:
        """The mean ranks."""
        return self.made.overall

    def overall_rows(self, one: Overall) -> list[dict]:
        """The mean ranks of the methods."""
        intervals, letters = one.found.rank_intervals().tolist(), one.found.letters()
        changes = {what: moved(one, what) for what, found in one.without.items() if found}
        return [
            {
                "method": method,
                "value": one.found.value[i],
                "number": interval_text(one.found.value[i], one.found.low[i], one.found.high[i], 2),
                "ranks": ranks_text(Standing(tuple(intervals[i]), letters=letters[i])),
                "own": [f"{rank:g}" for rank in one.found.ranks[:, i]],
                "moved": {what: _from_to(low[i], high[i]) for what, (low, high) in changes.items()},
            }
            for i, method in enumerate(one.methods)
        ]

    def overall_notes(self, one: Overall) -> list[str]:
        """What is said below mean ranks."""
        return overall_notes(one, self.board.titles)

    @cached_property
    def metrics_agree(self) -> list[MetricsAgree]:
        """The agreement of metrics, for each data set, model and protocol."""
        pairs, retests = self.made.of_metrics
        groups: dict[tuple, list[Retest]] = {}
        for one in retests:
            groups.setdefault((one.column.dataset, one.column.model, one.column.protocol), []).append(one)
        found = []
        for own in groups.values():
            columns = [one.column for one in own]
            places = {id(column): i for i, column in enumerate(columns)}
            known = {
                (places[id(p.one)], places[id(p.other)]): p
                for p in pairs
                if id(p.one) in places and id(p.other) in places
            }
            c, titles = columns[0], self.board.titles
            where = f"{titles.get(c.dataset, c.dataset)}, {titles.get(c.model, c.model)}"
            found.append(MetricsAgree(f"{where}, protocol {c.protocol}", columns, known, own))
        return found

    @property
    def models_agree(self) -> list[Agreed]:
        """The agreement of models."""
        return self.made.of_models

    @cached_property
    def costs(self) -> list[Chart]:
        """Cost beside quality, for each headline column with recorded costs."""
        return charts(self.made)

    @cached_property
    def methods(self) -> list[OfMethod]:
        """All methods, each once."""
        found: dict[str, OfMethod] = {}
        for view in self.views:
            for method in view.methods:
                found.setdefault(method.label, method)
        return list(found.values())

    @cached_property
    def pictures(self) -> dict[str, list[Picture]]:
        """The maps of each method, by its label."""
        return pictures(self.board)

    def results_of(self, method: OfMethod) -> list[tuple[View, Compared, Cell]]:
        """Every number of a method."""
        return [
            (view, one, view.cells[i, method.label])
            for view in self.views
            for i, one in enumerate(view.columns)
            if (i, method.label) in view.cells
        ]

    def choices(self, name: str) -> list[str]:
        """The values of ``modality``, ``protocol``, ``dataset`` or ``model`` that there are."""
        return list(dict.fromkeys(getattr(column, name) for column in self.board.columns))

    @property
    def families(self) -> list[str]:
        """Of the methods."""
        return list(dict.fromkeys(method.family for method in self.methods))

    def title(self, name: str) -> str:
        """Of a data set or a model."""
        return self.board.titles.get(name, name)

    def anchor(self, label: str) -> str:
        """Of the section of a method."""
        return "method-" + re.sub(r"[^\w-]+", "_", label)

    @property
    def differences(self) -> str:
        """All pairs of all columns as JSON: for each view its columns, with labels, differences and half widths."""
        found = []
        for view in self.views:
            for one in view.columns:
                if (compared := one.comparisons) is None:
                    continue
                i, j = np.triu_indices(len(one.labels), k=1)
                d = compared.differences[i, j]
                found.append(
                    {
                        "view": view.number,
                        "title": one.column.facts.title,
                        "labels": list(one.labels),
                        "d": _rounded(d),
                        "w": _rounded(compared.high[i, j] - d),
                        "apart": "".join("01"[int(flag)] for flag in compared.apart()[i, j]),
                    }
                )
        return json.dumps(found, separators=(",", ":"), ensure_ascii=False).replace("<", "\\u003c")


def _rounded(values: np.ndarray) -> list[float | None]:
    return [float(f"{value:.{DIGITS}g}") if np.isfinite(value) else None for value in values]


def _from_to(low: float, high: float) -> str:
    return f"{low:g}" if low == high else f"{low:g}–{high:g}"


def write_page(
    made: Statistics, facts: Catalogue, checked: Mapping[str, str], file: Path, command: str
) -> Path:
    """Write the page; returns the file.

    Args:
        facts: of methods and tasks.
        checked: by the path of an entry, what was recomputed of it.
        command: that makes it, for its foot.

    Raises:
        BenchError: if it becomes too large, or cannot be written.
    """
    environment = jinja2.Environment(
        loader=jinja2.ChoiceLoader(
            [jinja2.PackageLoader("bench.board"), jinja2.PackageLoader("bench.report")]
        ),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    page = Page(made, facts, checked)
    text = environment.get_template("board.html").render(
        page=page, command=command, data=Markup(page.differences)
    )
    size = len(text.encode())
    if size > LARGEST:
        raise BenchError(
            f"the page would have {size / 1e6:.1f} MB, more than {LARGEST / 1e6:.0f} MB; make one for fewer data "
            "sets or models with dataset=NAME or model=NAME"
        )
    write_text(file, text, "out")
    return file


__all__ = ["Board", "Page", "write_page"]
