"""What the board says of its columns: who is told apart, mean ranks, and which rankings agree (docs/ranking.md)."""

import hashlib
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations

import numpy as np

from bench.board.columns import Board, Column, Row
from bench.board.facts import OfMethod
from metrics import (
    Comparisons,
    MeanRanks,
    Statistic,
    compare_defined,
    first_share,
    mean_ranks_over_cells,
    on_common_samples,
    rank_agreement,
    ranks,
)

LEAST = 3  # methods, with fewer of which rankings say nothing of each other


@dataclass(frozen=True)
class Standing:
    """How a method stands in a column.

    Attributes:
        ranks: the interval of ranks that it may have; None for one that has no rank.
        unranked: why it has none.
        letters: two methods share one if and only if they are not told apart.
        first: in which share of the resamples it is the best of those that are ranked; NaN without a rank.
        floors: the floors that it is not told apart from.
    """

    ranks: tuple[int, int] | None = None
    unranked: str | None = None
    letters: str = ""
    first: float = float("nan")
    floors: Sequence[str] = ()


@dataclass(frozen=True)
class Compared:
    """A column with what can be told apart in it.

    Attributes:
        column: which.
        labels: of the methods that were compared, ranked or not.
        comparisons: of these, more being better; None if there are none to compare.
        standings: by label, of all methods of the column.
    """

    column: Column
    labels: Sequence[str]
    comparisons: Comparisons | None = field(repr=False)
    standings: Mapping[str, Standing] = field(repr=False)

    @property
    def detectable(self) -> float | None:
        """The smallest difference that so many samples could detect; None where nothing was compared."""
        return None if self.comparisons is None else self.comparisons.detectable

    @property
    def separated(self) -> tuple[int, int]:
        """How many pairs of ranked methods are told apart, and how many there are."""
        ranked = [self.standings[label].ranks is not None for label in self.labels]
        if self.comparisons is None:
            return 0, 0
        apart = self.comparisons.among(ranked).apart()
        return int(apart.sum()) // 2, len(apart) * (len(apart) - 1) // 2


def compared(board: Board, column: Column) -> Compared:
    """Compare all methods of a column with one another, at once; the ceiling, which explains no model, with none."""
    reasons = {row.method.label: board.why_not_ranked(column, row) for row in column.rows}
    rows = [row for row in column.rows if _is_compared(board, column, row)]
    labels = [row.method.label for row in rows]
    if len(rows) < 2:
        alone = {
            label: Standing(unranked=why or "nothing to compare it with") for label, why in reasons.items()
        }
        return Compared(column, labels, None, alone)
    draws = board.draws[column.dataset]
    statistics = [column.better(row) for row in rows]
    found, letters = compare_defined(statistics, draws), []
    letters = found.letters()
    ranked = np.array([reasons[label] is None for label in labels])
    intervals = iter(found.among(ranked).rank_intervals().tolist())
    shares = iter(first_share(draws.of([s for s, r in zip(statistics, ranked, strict=True) if r])).tolist())
    apart, standings = found.apart(), {label: Standing(unranked=why) for label, why in reasons.items()}
    for i, row in enumerate(rows):
        floors = [
            o.method.title for j, o in enumerate(rows) if o.method.is_floor and j != i and not apart[i, j]
        ]
        own = {"letters": letters[i], "floors": floors}
        if ranked[i]:
            own |= {"ranks": tuple(next(intervals)), "first": next(shares)}
        standings[row.method.label] = Standing(unranked=reasons[row.method.label], **own)
    return Compared(column, labels, found, standings)


def _is_compared(board: Board, column: Column, row: Row) -> bool:
    few = row.undefined > board.ranking.undefined or row.statistic.count < board.ranking.fewest
    return column.sign != 0 and row.method.kind != "ceiling" and not few


@dataclass(frozen=True)
class Overall:
    """The mean rank of the methods that are in all headline columns of one modality and protocol.

    Attributes:
        modality, protocol: of the columns.
        columns: whose ranks are averaged.
        methods: those that are ranked in all of them, the best first.
        found: their mean ranks, in the same order; None with fewer than two methods.
        without: by what is left out (family, model or method), the position of each method by its mean rank, 1 for
            the best, NaN for the one that is left out.
        missing: by the title of each method that is not in all, the columns that it lacks.
        lacking: families and models that have no headline column, in words.
    """

    modality: str
    protocol: str
    columns: Sequence[Column]
    methods: Sequence[OfMethod]
    found: MeanRanks | None
    without: Mapping[str, Mapping[str, np.ndarray]]
    missing: Mapping[str, Sequence[Column]]
    lacking: Sequence[str]

    @property
    def positions(self) -> np.ndarray:
        """Of the methods by their mean rank."""
        return ranks(-self.found.value)


def overall(board: Board) -> list[Overall]:
    """The mean ranks of each modality and protocol that has headline columns."""
    groups: dict[tuple[str, str], list[Column]] = defaultdict(list)
    for column in headline_columns(board):
        groups[column.modality, column.protocol].append(column)
    return [_overall(board, *key, columns) for key, columns in groups.items()]


def headline_columns(board: Board) -> list[Column]:
    """The headline column of each family, data set, model and protocol, of one explained class."""
    found: dict[tuple, list[Column]] = defaultdict(list)
    for column in board.columns:
        headline = board.ranking.headline.get(column.family) == column.metric
        if column.is_main and column.sign and headline and board.ranking.counts(column.dataset, column.model):
            found[column.dataset, column.model, column.protocol, column.family].append(column)
    # Of two classes the one that more methods explain, of two equals the predicted one.
    return [
        max(own, key=lambda c: (len(board.ranked(c)), c.explained == "predicted", -c.k))
        for own in found.values()
    ]


def _overall(board: Board, modality: str, protocol: str, columns: Sequence[Column]) -> Overall:
    ranked = [{row.method.label: row for row in board.ranked(column)} for column in columns]
    everyone = {label: row.method for rows in ranked for label, row in rows.items()}
    labels = [label for label in everyone if all(label in rows for rows in ranked)]
    missing = {
        method.title: [c for c, rows in zip(columns, ranked, strict=True) if label not in rows]
        for label, method in everyone.items()
        if label not in labels
    }
    there = {(c.model, c.family) for c in columns}
    models, families = ({c.model: 0 for c in columns}, {c.family: 0 for c in columns})
    lacking = [
        f"{family} on {board.titles.get(model, model)}"
        for model in models
        for family in families
        if (model, family) not in there
    ]
    if len(labels) < 2:
        methods = [everyone[label] for label in labels]
        return Overall(modality, protocol, columns, methods, None, {}, missing, lacking)
    values, resampled = [], []
    for column, rows in zip(columns, ranked, strict=True):
        statistics = on_common_samples([column.better(rows[label]) for label in labels])
        values.append([s.value for s in statistics])
        resampled.append(_paired(board, column, statistics))
    values = np.array(values)
    order = np.argsort(ranks(values).mean(axis=0), kind="stable")
    found = mean_ranks_over_cells(values[:, order], np.array(resampled)[:, order])
    methods = [everyone[labels[i]] for i in order]
    without = {
        "metric": _left_out(found, columns, lambda c: c.family),
        "model": _left_out(found, columns, lambda c: board.titles.get(c.model, c.model)),
        "method": _method_left_out(values[:, order], [m.title for m in methods]),
    }
    return Overall(modality, protocol, columns, methods, found, without, missing, lacking)


def _paired(board: Board, column: Column, statistics: Sequence[Statistic]) -> np.ndarray:
    """(M, resamples), in an order of the resamples that depends on the ids alone.

    So columns of the same samples are resampled together, and those of other samples independently.
    """
    found = board.few_draws[column.dataset].of(statistics)
    digest = hashlib.sha256("\n".join(board.ids[column.dataset]).encode()).digest()
    order = np.random.default_rng(int.from_bytes(digest[:8], "big")).permutation(found.shape[1])
    return found[:, order]


def _left_out(
    found: MeanRanks, columns: Sequence[Column], group: Callable[[Column], str]
) -> dict[str, np.ndarray]:
    """The positions without the columns of each group; {} if there is but one group."""
    of = [group(column) for column in columns]
    names = list(dict.fromkeys(of))
    if len(names) < 2:
        return {}
    return {name: ranks(-found.without_cells([own == name for own in of])) for name in names}


def _method_left_out(values: np.ndarray, titles: Sequence[str]) -> dict[str, np.ndarray]:
    """The positions without each method, which moves the ranks of the others."""
    positions = {}
    for i, title in enumerate(titles):
        others = np.delete(np.arange(len(titles)), i)
        own = np.full(len(titles), np.nan)
        own[others] = ranks(-ranks(values[:, others]).mean(axis=0))
        positions[title] = own
    return positions


@dataclass(frozen=True)
class Agreed:
    """How far two rankings of methods agree.

    Attributes:
        one, other: the columns.
        tau, low, high: Kendall's τ_b with its 95 % interval; NaN where it is not defined.
        ceiling: what rankings of so many samples can reach: the lower of both rankings' own τ between halves.
        methods, samples: by how many.
        differ: whether the interval ends below the ceiling.
    """

    one: Column
    other: Column
    tau: float
    low: float
    high: float
    ceiling: float
    methods: int
    samples: int
    differ: bool


@dataclass(frozen=True)
class Retest:
    """How far a column's ranking agrees with itself: the mean of τ_b between halves, and where 95 % of splits lie."""

    column: Column
    tau: float
    low: float
    high: float
    methods: int


def ranking_columns(board: Board) -> list[Column]:
    """The columns whose rankings are compared: main ones, of a metric with a k at its middle one only."""
    main = [c for c in board.columns if c.is_main and c.sign and len(board.ranked(c)) >= LEAST]
    ks: dict[tuple, set[int]] = defaultdict(set)
    for c in main:
        ks[c.dataset, c.model, *c.name[:3], c.explained].add(c.k)
    middle = {key: sorted(own)[len(own) // 2] for key, own in ks.items()}
    return [c for c in main if c.k == middle[c.dataset, c.model, *c.name[:3], c.explained]]


def between_metrics(board: Board) -> tuple[list[Agreed], list[Retest]]:
    """The agreement of the metrics' rankings on each data set, model and protocol, and each one's with itself."""
    pairs, retests = [], []
    for columns in _grouped(ranking_columns(board), lambda c: (c.dataset, c.model, c.protocol)):
        own, again = _agreement(board, columns, None)
        pairs += own
        retests += again
    return pairs, retests


def between_models(board: Board) -> list[Agreed]:
    """The agreement of two models' rankings by one metric, on the samples that both have."""
    pairs = []
    for columns in _grouped(ranking_columns(board), lambda c: (c.dataset, c.name)):
        by_samples: dict[bytes, list[tuple[Column, Column]]] = defaultdict(list)
        for one, other in combinations(columns, 2):
            by_samples[(one.known & other.known).tobytes()].append((one, other))
        for own in by_samples.values():
            known = own[0][0].known & own[0][1].known
            if known.sum() >= 2:
                among = [c for c in columns if any(c is one or c is other for one, other in own)]
                wanted = {(one.model, other.model) for one, other in own}
                found, _ = _agreement(board, among, known)
                pairs += [p for p in found if (p.one.model, p.other.model) in wanted]
    return pairs


def _grouped(columns: Iterable[Column], key: Callable[[Column], Hashable]) -> list[list[Column]]:
    groups: dict[Hashable, list[Column]] = defaultdict(list)
    for column in columns:
        groups[key(column)].append(column)
    return list(groups.values())


def _agreement(
    board: Board, columns: Sequence[Column], known: np.ndarray | None
) -> tuple[list[Agreed], list[Retest]]:
    """Of columns of one data set, on some of its samples; None for each column's own."""
    dataset = columns[0].dataset
    if dataset not in board.halves:
        return [], []
    rows = [{row.method.label: row for row in board.ranked(column)} for column in columns]
    labels = list(dict.fromkeys(label for own in rows for label in own))

    def narrowed(column: Column, row: Row | None) -> Statistic | None:
        if row is None:
            return None
        return column.better(row) if known is None else column.better(row).among(known)

    rankings = [
        [narrowed(c, own.get(label)) for label in labels] for c, own in zip(columns, rows, strict=True)
    ]
    found = rank_agreement(rankings, board.few_draws[dataset], board.halves[dataset])
    pairs = [
        Agreed(
            columns[i],
            columns[j],
            *(float(square[i, j]) for square in (found.tau, found.low, found.high, found.ceiling)),
            int(found.methods[i, j]),
            int((columns[i].known & columns[j].known).sum()),
            bool(found.differ[i, j]),
        )
        for i, j in combinations(range(len(columns)), 2)
        if found.methods[i, j] >= LEAST
    ]
    ends = zip(found.retest, found.retest_low, found.retest_high, strict=True)
    retests = [
        Retest(column, *map(float, own), len(there))
        for column, own, there in zip(columns, ends, rows, strict=True)
    ]
    return pairs, retests
