"""How numbers are laid out for a reader: columns, and what stands in a cell."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from bench.catalogue import Catalogue, base_name
from bench.tables.statistics import COLUMN
from metrics import Metric
from metrics.intervals import FEW

LEVEL = 0.05
CLASSES = {"predicted": "(predicted class)", "target": "(annotated class)"}
ARROWS = {True: "↑", False: "↓", None: ""}


def readable(label: str, facts: Catalogue) -> str:
    """A label with the title of the method: partial LRP (rules=…) for ``partial_lrp (rules=…)``."""
    name = base_name(label)
    return facts.method(name).title + label.removeprefix(name)


@dataclass(frozen=True)
class Entry:
    """A number of a method in a column of a table.

    Attributes:
        value: the number; NaN where it is undefined.
        interval: its ends, (low, high); None for published numbers.
        confirmed: how a published number was confirmed; None for measured ones.
        best: whether it is the best of its column, as printed.
        tied: whether it is not significantly different from the best.
    """

    value: float
    interval: tuple[float, float] | None = None
    confirmed: str | None = None
    best: bool = False
    tied: bool = False

    def rest(self, decimals: int) -> str:
        """What stands behind the number."""
        if self.interval is None or self.value != self.value:
            return f"({self.confirmed})" if self.confirmed else ""
        return "[{:.{d}f}, {:.{d}f}]".format(*self.interval, d=decimals) + (" ≈" if self.tied else "")


@dataclass(frozen=True)
class Column:
    """A column of a table: a metric for an explained class, at a k.

    Attributes:
        group: which columns it stands with: empty for measured numbers, or what is said of published ones.
        heading: of its own, with an arrow to the better numbers.
        of: the heading without k, and k, the number that the metric is a function of; 0 where there is none.
        higher_is_better: None where nobody is the best.
        decimals: with which numbers are printed.
        entries: by the label of the method; those that are missing have no number.
    """

    group: str
    heading: str
    higher_is_better: bool | None
    decimals: int
    entries: Mapping[str, Entry]
    of: str = ""
    k: int = 0

    def number(self, entry: Entry) -> str:
        """The number of an entry as it is printed."""
        return "undefined" if entry.value != entry.value else f"{entry.value:.{self.decimals}f}"

    def text(self, method: str) -> str:
        """What a cell of the table says."""
        if (entry := self.entries.get(method)) is None:
            return "–"
        number = f"**{self.number(entry)}**" if entry.best else self.number(entry)
        return f"{number} {entry.rest(self.decimals)}".rstrip()


def columns_of(
    numbers: pd.DataFrame,
    metrics: Mapping[str, Metric],
    facts: Catalogue,
    like: pd.DataFrame | None = None,
    group: str = "",
) -> list[Column]:
    """One column per metric, explained class and k.

    Args:
        numbers: measured (with ``low``, ``high``, ``p_value``) or published (with ``confirmed``).
        metrics: by name, in the order of the columns.
        facts: which methods compete.
        like: take the columns from these numbers.
        group: of all columns.
    """
    like = numbers if like is None else like
    like = like[like["k"].isin(_shown_k(like))]
    keys = like[COLUMN].drop_duplicates()
    order = list(metrics)
    keys = keys.sort_values(COLUMN, key=lambda c: c.map(order.index) if c.name == "metric" else c)
    several = keys.groupby("metric")["explained"].nunique() > 1
    by_key = dict(list(numbers.groupby(COLUMN, sort=False)))
    columns = []
    for key in keys.itertuples(index=False, name=None):
        name, explained, k = key
        metric = metrics[name]
        parts = [metric.title, ARROWS[metric.higher_is_better]]
        parts += [CLASSES[explained]] if several[name] else []
        decimals = 2 if metric.unit else 3
        entries = _entries(by_key[key], metric, decimals, facts) if key in by_key else {}
        of = " ".join(filter(None, parts))
        heading = f"{of} k = {k}" if k else of
        columns.append(Column(group, heading, metric.higher_is_better, decimals, entries, of, k))
    return columns


def shown(columns: Sequence[Column], methods: Sequence[str]) -> pd.DataFrame:
    """Columns as text: one row per method."""
    texts = {column.heading: [column.text(m) for m in methods] for column in columns}
    return pd.DataFrame(texts, index=pd.Index(methods, name="method"))


def laid_out(
    columns: Sequence[Column], methods: Sequence[str], facts: Catalogue
) -> list[tuple[str, pd.DataFrame]]:
    """Columns as tables for readers, each with its heading, which is empty where the columns say it themselves.

    What has no k stands in one table with a row for each method; each metric with a k in one of its own, turned: a row
    for each k and a column for each method.
    """
    titles = [readable(method, facts) for method in methods]
    tables = []
    if alone := [column for column in columns if not column.k]:
        tables.append(("", shown(alone, methods).set_axis(pd.Index(titles, name="method"))))
    for of in dict.fromkeys(column.of for column in columns if column.k):
        own = [column for column in columns if column.k and column.of == of]
        turned = shown(own, methods).T.set_axis(pd.Index([str(column.k) for column in own], name="k"))
        tables.append((of, turned.set_axis(titles, axis="columns")))
    return tables


def _shown_k(measured: pd.DataFrame) -> Sequence[int]:
    """The csv file has all; a reader sees every tenth, or every twentieth where several metrics have a k."""
    several = measured.loc[measured["k"] > 0, "metric"].nunique() > 1
    return range(0, 81, 20 if several else 10)


def _entries(rows: pd.DataFrame, metric: Metric, decimals: int, facts: Catalogue) -> dict[str, Entry]:
    """The entries of a column by the label of the method."""
    if "confirmed" in rows:
        return {r.method: Entry(r.value, confirmed=r.confirmed) for r in rows.itertuples(index=False)}
    best = _best(rows, metric, facts)
    top = None if best is None else f"{best:.{decimals}f}"
    entries = {}
    for r in rows.itertuples(index=False):
        competes = facts.method(base_name(r.method)).competes and r.samples >= FEW
        is_best = competes and f"{r.value:.{decimals}f}" == top
        tied = top is not None and not is_best and bool(r.p_value > LEVEL)
        entries[r.method] = Entry(r.value, (r.low, r.high), best=is_best, tied=tied)
    return entries


def _best(rows: pd.DataFrame, metric: Metric, facts: Catalogue) -> float | None:
    """The best value of the methods that compete, on enough samples; None if nobody can be the best."""
    competes = rows["method"].map(lambda label: facts.method(base_name(label)).competes)
    values = rows["value"][competes & (rows["samples"] >= FEW)].dropna()
    if metric.higher_is_better is None or not len(values):
        return None
    return values.max() if metric.higher_is_better else values.min()
