"""What the files of the board give, column by column: one metric of all methods on one data set and model."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from bench.board.entry import Entry
from bench.board.facts import MetricFacts, OfMethod, Part
from bench.board.tables import statistic
from bench.catalogue import Catalogue
from metrics import Draws, Statistic, intervals


@dataclass(frozen=True)
class Ranking:
    """How the board ranks: ``conf/board/ranking.yaml``.

    Attributes:
        headline: by family, the metric whose ranks are averaged.
        datasets, models: whose columns count in the mean rank, by name; None for all.
        settings: by name, methods that are another setting of a method.
        undefined: the greatest share of samples on which a ranked method may be undefined.
        fewest: samples of a ranked method.
        resamples, times, splits: of the samples: resamples for differences, and for ranks and agreement; halves.
    """

    headline: Mapping[str, str]
    datasets: Sequence[str] | None
    models: Sequence[str] | None
    settings: Mapping[str, str]
    undefined: float
    fewest: int
    resamples: int
    times: int
    splits: int

    @classmethod
    def of(cls, facts: Catalogue) -> "Ranking":
        """What the file says."""
        return cls(**facts.read("board", "ranking"))

    def counts(self, dataset: str, model: str) -> bool:
        """Whether columns of a data set and a model count in the mean rank."""
        return all(
            known is None or name in known for name, known in ((dataset, self.datasets), (model, self.models))
        )

    def competes(self, method: OfMethod) -> bool:
        """Whether a method can have a rank: it is no floor, ceiling, part or further setting of another."""
        return method.kind == "method" and method.is_default and method.name not in self.settings


@dataclass(frozen=True)
class Row:
    """A method in a column.

    Attributes:
        method: which.
        statistic: of the samples of the data set; those that it lacks do not count.
        value, low, high: the metric and its 95 % interval; NaN where it is defined on no sample.
        undefined: the share of the column's samples on which the metric is undefined.
        seconds: per map; None where it is not recorded.
        device: that took so long.
        note: what is to be said of this number.
        path: of the file on the board.
    """

    method: OfMethod
    statistic: Statistic = field(repr=False)
    value: float
    low: float
    high: float
    undefined: float
    seconds: float | None = None
    device: str | None = None
    note: str = ""
    path: str = ""


@dataclass(frozen=True)
class Column:
    """One metric of all methods on one data set and model, by the same list of samples.

    Attributes:
        dataset, model: names.
        modality: ``image`` or ``text``.
        protocol: with its version and what was changed.
        task, metric, k, explained: what was measured.
        on: the list of samples, in words.
        facts: of the metric.
        samples: how many are in the list.
        known: (n,), which of the data set's samples these are.
        rows: the methods.
        is_main: whether it is by the longest list that the metric has here; others show methods that were measured
            on fewer samples beside all the others on these.
    """

    dataset: str
    model: str
    modality: str
    protocol: str
    task: str
    metric: str
    k: int
    explained: str
    on: str
    facts: MetricFacts
    samples: int
    known: np.ndarray = field(repr=False)
    rows: Sequence[Row] = field(repr=False)
    is_main: bool = True

    @property
    def family(self) -> str:
        """What the metric is a measure of."""
        return self.facts.family

    @property
    def sign(self) -> int:
        """1 where more is better, −1 where less is, 0 where neither is."""
        return {True: 1, False: -1, None: 0}[self.facts.higher_is_better]

    @property
    def title(self) -> str:
        """Of the metric, with k and an arrow to the better numbers."""
        arrow = {1: " ↑", -1: " ↓", 0: ""}[self.sign]
        return self.facts.title + (f" k = {self.k}" if self.k else "") + arrow

    @property
    def decimals(self) -> int:
        """With which its numbers are printed."""
        return 2 if self.facts.unit else 3

    @property
    def name(self) -> tuple:
        """What it is in other data sets and models, too."""
        return self.protocol, self.task, self.metric, self.k, self.explained

    def better(self, row: Row) -> Statistic:
        """The statistic of a row, turned so that more is better."""
        reduce = row.statistic.reduce
        return row.statistic if self.sign > 0 else replace(row.statistic, reduce=lambda s: -reduce(s))


@dataclass(frozen=True)
class Board:
    """All that the board's files say.

    Attributes:
        columns: in the order of data sets, models, protocols, tasks and metrics.
        ids: of the samples that any entry of a data set has, sorted, by its name.
        titles: of data sets and models, by their names.
        ranking: how it ranks.
        entries: the files.
    """

    columns: Sequence[Column]
    ids: Mapping[str, Sequence[str]]
    titles: Mapping[str, str]
    ranking: Ranking
    entries: Sequence[Entry]
    seed: int = 0

    @cached_property
    def draws(self) -> dict[str, Draws]:
        """Resamples of each data set's samples, drawn once for all models, metrics and methods."""
        return {
            name: Draws.bootstrap(len(ids), self.ranking.resamples, self.seed)
            for name, ids in self.ids.items()
        }

    @cached_property
    def few_draws(self) -> dict[str, Draws]:
        """The first of them, for what costs more."""
        return {name: Draws(draws.counts[: self.ranking.times]) for name, draws in self.draws.items()}

    @cached_property
    def halves(self) -> dict[str, tuple[Draws, Draws]]:
        """Random halves of each data set's samples."""
        splits = self.ranking.splits
        return {n: Draws.halves(len(ids), splits, self.seed) for n, ids in self.ids.items() if len(ids) > 1}

    def ranked(self, column: Column) -> list[Row]:
        """The rows of a column that have a rank in it."""
        return [row for row in column.rows if self.why_not_ranked(column, row) is None]

    def why_not_ranked(self, column: Column, row: Row) -> str | None:
        """Why a row has no rank in its column, in words; None if it has one."""
        if column.sign == 0:
            return "the metric is a description: neither more nor less of it is better"
        if not self.ranking.competes(row.method):
            return _kind_in_words(row.method, self.ranking)
        if row.undefined > self.ranking.undefined:
            return f"undefined on {row.undefined:.0%} of the samples"
        if row.statistic.count < self.ranking.fewest:
            return f"{row.statistic.count} samples, fewer than {self.ranking.fewest}"
        return None


def _kind_in_words(method: OfMethod, ranking: Ranking) -> str:
    if method.kind == "method":
        of = ranking.settings.get(method.name, method.name)
        return f"another setting of {of}"
    return {"ablation": "a part of another method"}.get(method.kind, f"a {method.kind}")


def gather(
    entries: Iterable[Entry],
    facts: Catalogue,
    ranking: Ranking | None = None,
    protocols: Sequence[str] | None = None,
) -> Board:
    """Put the entries of a board together.

    Args:
        facts: of tasks, methods and the ranking.
        ranking: another than the file's.
        protocols: the names of those that are wanted; None for all.

    Raises:
        BenchError: if a file of rows is missing or damaged.
    """
    entries, ranking = list(entries), ranking or Ranking.of(facts)
    parts = [
        (entry, part, entry.rows(part))
        for entry in entries
        for part in entry.parts
        if protocols is None or part.protocol in protocols
    ]
    of_data: dict[str, set[str]] = defaultdict(set)
    for entry, _, rows in parts:
        of_data[entry.dataset.name] |= set(rows["id"])
    ids = {name: sorted(found) for name, found in sorted(of_data.items())}
    places = {name: {one: i for i, one in enumerate(own)} for name, own in ids.items()}
    cells: dict[tuple, list[_Cell]] = defaultdict(list)
    for entry, part, rows in parts:
        where = np.array([places[entry.dataset.name][one] for one in rows["id"]], dtype=int)
        for (metric, k), number in part.numbers.items():
            own = statistic(entry.path, part, number, rows).placed(where, len(ids[entry.dataset.name]))
            cell = _Cell(entry, part, metric, k, own, where)
            cells[cell.key].append(cell)
    columns = [column for own in cells.values() for column in _columns(_seeds_joined(own), facts)]
    order = {name: place for place, name in enumerate(facts.tables())}
    columns.sort(key=lambda c: (c.modality, c.dataset, c.model, c.protocol, order.get(c.task, len(order))))
    titles = {said.name: said.title for entry in entries for said in (entry.dataset, entry.model)}
    return Board(columns, ids, titles, ranking, entries)


@dataclass(frozen=True)
class _Cell:
    """A number of an entry."""

    entry: Entry
    part: Part
    metric: str
    k: int
    statistic: Statistic
    places: np.ndarray
    note: str = ""

    @property
    def key(self) -> tuple:
        """Of the metric on a data set and a model."""
        names = self.entry.dataset.name, self.entry.model.name, self.part.protocol_label
        return *names, self.part.task, self.metric, self.k, self.entry.explained

    @property
    def method(self) -> OfMethod:
        return self.entry.method


def _seeds_joined(cells: Sequence[_Cell]) -> list[_Cell]:
    """The cells, those of one floor with several seeds as one: the mean of its terms, and the noise of the seeds."""
    by_name: dict[str, list[_Cell]] = defaultdict(list)
    for cell in cells:
        alike = cell.method.is_floor and "seed" in cell.method.made_of.get("settings", {})
        by_name[cell.method.name if alike else cell.method.label].append(cell)
    joined = []
    for own in by_name.values():
        first = min(own, key=lambda cell: len(cell.method.label))
        same = [cell for cell in own if np.array_equal(cell.statistic.known, first.statistic.known)]
        if len(same) < 2:
            joined.append(first)
            continue
        terms = np.mean([cell.statistic.terms for cell in same], axis=0)
        values = sorted(cell.statistic.value for cell in same)
        note = f"mean of {len(same)} seeds, which give {values[0]:.3g} to {values[-1]:.3g}"
        joined.append(
            replace(first, statistic=replace(first.statistic, terms=terms, proportion=False), note=note)
        )
    return joined


def _columns(cells: Sequence[_Cell], facts: Catalogue) -> list[Column]:
    """A column for each list of samples that a method of a metric was measured on, the longest first."""
    lists: dict[frozenset, _Cell] = {}
    for cell in sorted(cells, key=lambda cell: (-len(cell.places), cell.method.label)):
        lists.setdefault(frozenset(cell.places.tolist()), cell)
    order = _order(facts)
    columns = []
    for number, (chosen, first) in enumerate(lists.items()):
        own = [cell for cell in cells if chosen <= set(cell.places.tolist())]
        own.sort(key=lambda cell: order(cell.method))
        known = np.zeros(len(first.statistic.terms), dtype=bool)
        known[list(chosen)] = True
        names = first.entry.dataset.name, first.entry.model.name, _modality(first.part, facts)
        measured = first.part.task, first.metric, first.k, first.entry.explained, first.part.on
        rows = [_row(cell, known) for cell in own]
        metric = first.part.metrics[first.metric]
        columns.append(
            Column(
                *names, first.part.protocol_label, *measured, metric, len(chosen), known, rows, number == 0
            )
        )
    return columns


def _order(facts: Catalogue) -> Callable[[OfMethod], tuple]:
    """The place of a method: as in tables, those of others by name, floors and ceilings last."""
    return lambda method: (method.kind in ("floor", "ceiling"), facts.method(method.name).order, method.label)


def _row(cell: _Cell, known: np.ndarray) -> Row:
    own, number = cell.statistic, cell.part.numbers[cell.metric, cell.k]
    if len(cell.places) == known.sum() and not cell.note:
        ends = [np.nan if end is None else end for end in (number.value, number.low, number.high)]
    else:  # other samples than those of the file
        own = own.among(known)
        ends = [own.value if own.count else np.nan]
        ends += [float(found[0]) for found in intervals([own], seed=cell.part.seed)[:2]]
    undefined = 1 - own.count / known.sum()
    cost = cell.part.cost
    said = "; ".join(filter(None, (cell.note, cell.part.note)))
    path = str(cell.entry.path or "")
    return Row(cell.method, own, *ends, undefined, cost.get("seconds"), cost.get("device"), said, path)


def _modality(part: Part, facts: Catalogue) -> str:
    known = facts.read("task", part.task).get("task", {}).get("modality")
    return str(known or ("text" if "max_length" in part.inputs else "image"))
