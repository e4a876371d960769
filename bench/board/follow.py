"""Whether the numbers of entries, and their intervals, follow from their per-sample rows."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from bench.board.entry import Entry
from bench.board.facts import Number, Part
from bench.board.faults import Fault
from bench.errors import BenchError
from bench.tables.statistics import RESAMPLES
from metrics import Metric, Statistic, intervals
from metrics.bootstrap import TIE

SAME = 1e-6  # relative to the number and to the width of its interval: sums in another order differ by less
TOGETHER = 500  # statistics that are resampled at a time: 40 MB
FROM_ROWS = "let tebench submit make the numbers from the rows"

# Of a number: the entry, its part, itself and what it is of the rows.
Followed = tuple[Entry, Part, Number, Statistic]


def of_numbers(entry: Entry, part: Part) -> tuple[list[Fault], list[Followed]]:
    """What is wrong with the numbers of a part, and those whose intervals are to be looked at.

    The metrics of the part are known to be those of the list.
    """
    faults, followed = [], []
    try:
        rows, statistics = entry.rows(part), entry.statistics(part)
    except BenchError as e:
        return [Fault(entry.path, _where(part), str(e), "submit it again")], []
    expected = {"id", *(number.column for number in part.numbers.values())}
    if unread := sorted(set(rows) ^ expected):
        text = f"rows and numbers do not have the same columns ({', '.join(unread[:3])})"
        faults.append(Fault(entry.path, _where(part), text, FROM_ROWS))
    for key, statistic in statistics.items():
        number, metric = part.numbers[key], part.metrics[key[0]].built(key[0])
        found = list(_wrong(number, statistic, metric))
        faults += [Fault(entry.path, f"{_where(part)}: {number.column}", text, FROM_ROWS) for text in found]
        if not found:
            followed.append((entry, part, number, statistic))
    return faults, followed


def of_intervals(followed: Sequence[Followed]) -> Iterator[Fault]:
    """Intervals that are not those of the rows. Those of as many samples share one bootstrap."""
    groups: dict[Any, list[Followed]] = defaultdict(list)
    for one in followed:
        if one[3].count:
            groups[len(one[3].terms), one[1].seed].append(one)
    for (_, seed), group in groups.items():
        for start in range(0, len(group), TOGETHER):
            some = group[start : start + TOGETHER]
            low, high, kinds = intervals([statistic for *_, statistic in some], RESAMPLES, seed)
            for (entry, part, number, _), *ends, kind in zip(some, low, high, kinds, strict=True):
                close = SAME * (ends[1] - ends[0] + abs(number.value))
                stated = (number.low, number.high)
                if number.interval != kind or any(
                    not _near(a, b, close) for a, b in zip(stated, ends, strict=True)
                ):
                    text = (
                        f"the interval is [{stated[0]}, {stated[1]}] ({number.interval}), and that of the rows is "
                        f"[{ends[0]:.6g}, {ends[1]:.6g}] ({kind})"
                    )
                    yield Fault(entry.path, f"{_where(part)}: {number.column}", text, FROM_ROWS)


def _where(part: Part) -> str:
    return f"{part.task} ({part.protocol_label})"


def _near(one: float | None, other: float, close: float) -> bool:
    return one is not None and abs(one - other) <= close


def _wrong(number: Number, statistic: Statistic, metric: Metric) -> Iterator[str]:
    """What of a number is not that of its rows, or of its metric."""
    pooled = metric.of_sums is not None
    if number.scale != (None if pooled else metric.scale):
        yield f"scale is {number.scale}, and the metric's {None if pooled else metric.scale}"
        return
    if number.proportion != bool(getattr(metric, "share", False)):
        yield f"proportion is {number.proportion}, and the metric's is {not number.proportion}"
        return
    if number.proportion and not np.isin(statistic.terms[statistic.defined, 0], (0, 1)).all():
        yield "it is a proportion, and its rows are not all 0 or 1"
        return
    if number.samples != statistic.count:
        yield f"samples is {number.samples}, and the rows have {statistic.count}"
    if not statistic.count:
        if (number.value, number.low, number.high) != (None, None, None):
            yield f"value is {number.value}, and the rows have no sample on which it is defined"
        return
    if not _near(number.value, statistic.value, SAME * max(abs(statistic.value), TIE)):
        yield f"value is {number.value}, and the rows give {statistic.value:.9g}"
    if statistic.ends is not None:
        yield from _wrong_ends(statistic, metric)


def _wrong_ends(statistic: Statistic, metric: Metric) -> Iterator[str]:
    """What of the ends of a range, which widen the interval of few samples, cannot be."""
    low, high = metric.range
    if statistic.scale is None:
        values = [float(statistic.reduce(end)) for end in statistic.ends]
        largest = statistic.terms.max() * (1 + TIE)
        if (
            not np.allclose(values, [low, high])
            or not ((statistic.ends >= 0) & (statistic.ends <= largest)).all()
        ):
            yield f"ends are worth {values}, and the range is {[low, high]}, of samples no larger than those there are"
        return
    ends, weights = statistic.ends.T
    terms = statistic.terms[statistic.terms[:, 1] > 0, 0]
    if (weights != 1).any() or not low <= ends[0] * statistic.scale <= ends[1] * statistic.scale <= high:
        yield f"ends are {statistic.ends.tolist()}, and the range is {[low, high]}"
    elif terms.min() < ends[0] - TIE or terms.max() > ends[1] + TIE:
        yield f"a sample lies outside of {ends.tolist()}"
