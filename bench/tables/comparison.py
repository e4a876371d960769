"""Two methods compared directly: difference, interval and p-value of every metric of a task."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from bench.catalogue import Catalogue, base_name, catalogue_of
from bench.errors import BenchError, meant
from bench.tables.format import readable
from bench.tables.select import Scored, select
from bench.tables.statistics import RESAMPLES, protocol_label
from metrics import Statistic, bootstrap
from metrics import compare as compared
from metrics.intervals import FEW

LEVEL = 0.05


def compare(config: Mapping[str, Any], first: str, second: str) -> pd.DataFrame:
    """The difference of two methods in every metric of a task.

    Columns: metric, explained, k, samples (on which the metric is defined for both), first and second (their
    values), difference (first − second), low and high (its 95 % interval), p_value, better (``first``,
    ``second``, or none where they cannot be told apart at 5 %, there are fewer than 30 samples, or the metric has
    no direction).

    Args:
        config: a resolved configuration.
        first, second: labels of methods as in the tables, or names that only one label has.

    Raises:
        BenchError: if either has no finished cell, or they have no explained class or sample in common.
    """
    names = {base_name(first), base_name(second)}
    selection = select(config, lambda name: name in names, common=True)
    found = [_named(selection.scored, name, catalogue_of(config)) for name in (first, second)]
    both = [explained for explained in found[0] if explained in found[1]]
    if not both:
        raise BenchError(
            f"compare: {first} was run for the {' and '.join(found[0])} class, {second} for the "
            f"{' and '.join(found[1])} class; run both with the same explained=…"
        )
    metrics = selection.task.built_metrics()
    rows = []
    for explained in both:
        one, other = (selection.task.statistics(by_class[explained].tables()) for by_class in found)
        for metric, k in one:
            if (metric, k) in other:
                row = _difference(one[metric, k], other[metric, k], config["seed"])
                rows.append({"metric": metric, "explained": explained, "k": k, **row})
    table = pd.DataFrame(rows)
    higher = table["metric"].map(lambda name: metrics[name].higher_is_better)
    return table.assign(better=list(map(_better, table.itertuples(index=False), higher)))


def _named(scored: Sequence[Scored], name: str, facts: Catalogue) -> dict[str, Scored]:
    """A method by its label, or by a name that only one label has, for each explained class."""
    labels = dict.fromkeys(one.label for one in scored if one.name == base_name(name))
    fitting = [name] if name in labels else list(labels)
    if not fitting:
        known = facts.names("method")
        slip = "" if base_name(name) in known else meant(name, known)
        raise BenchError(
            f"compare: there is no finished cell of {name}; {slip or 'run it first, or name it as the tables do'}"
        )
    if len(fitting) > 1:
        raise BenchError(f"compare: several methods are called {name}; choose one of {', '.join(fitting)}")
    return {one.explained: one for one in scored if one.label == fitting[0]}


def _difference(one: Statistic, other: Statistic, seed: int) -> dict[str, float]:
    """What can be said of the difference of two statistics, on the samples on which both are defined."""
    defined = np.ones(len(one.terms), dtype=bool)
    for statistic in (one, other):
        defined &= True if statistic.defined is None else statistic.defined
    if not defined.any():
        nothing = dict.fromkeys(("first", "second", "difference", "low", "high"), np.nan)
        return {"samples": 0, **nothing, "p_value": np.nan}
    pair = [Statistic(statistic.terms[defined], statistic.reduce) for statistic in (one, other)]
    resampled = bootstrap(pair, RESAMPLES, seed)
    found = compared([one.value for one in pair], resampled)
    return {
        "samples": int(defined.sum()),
        "first": pair[0].value,
        "second": pair[1].value,
        "difference": float(found.differences[0, 1]),
        "low": float(found.low[0, 1]),
        "high": float(found.high[0, 1]),
        "p_value": float(found.p_values[0, 1]),
    }


def _better(row: Any, higher_is_better: bool | None) -> str:
    if higher_is_better is None or row.samples < FEW or not row.p_value < LEVEL:
        return ""
    return "first" if (row.difference > 0) == higher_is_better else "second"


def markdown(table: pd.DataFrame, config: Mapping[str, Any], names: Sequence[str]) -> str:
    """The comparison for a reader, with what it is of."""
    titles = {name: section["title"] for name, section in config["task"]["metrics"].items()}
    facts = catalogue_of(config)
    names = [readable(name, facts) for name in names]
    shown = []
    for row in table.itertuples(index=False):
        at = f" at k = {row.k}" if row.k else ""
        better = dict(zip(("first", "second"), names, strict=True)).get(row.better, "cannot be told")
        shown.append(
            [
                f"{titles[row.metric]}{at} ({row.explained})",
                f"{row.first:.4g}",
                f"{row.second:.4g}",
                f"{row.difference:+.4g} [{row.low:+.4g}, {row.high:+.4g}]",
                f"{row.p_value:.2g}",
                better,
                str(row.samples),
            ]
        )
    columns = ["metric", *names, "difference [95 %]", "p", "better", "samples"]
    text = pd.DataFrame(shown, columns=columns).to_markdown(
        index=False, disable_numparse=True, colalign=["left", *["right"] * 4, "left", "right"]
    )
    caption = (
        f"**{config['task']['title']}: {names[0]} − {names[1]}**, {config['model']['title']} on "
        f"{config['dataset']['title']}, protocol {protocol_label(config)}. Paired bootstrap over common samples, "
        f"{RESAMPLES:,} resamples, each row for itself; better: p < {LEVEL}."
    )
    few = table["samples"].min() < FEW
    warning = (
        f"\n\nFewer than {FEW} samples: such an interval is too narrow, so neither is called better."
        if few
        else ""
    )
    return f"{caption}\n\n{text}{warning}"
