"""The numbers of a table, from stored rows: totals, intervals, and tests against the best."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from bench.catalogue import catalogue_of
from bench.config import flatten
from bench.errors import BenchError
from bench.tables.select import Scored, Selection
from metrics import Metric, bootstrap, compare, intervals
from metrics.intervals import FEW

COLUMN = ["metric", "explained", "k"]  # what, besides the method, a number depends on
RESAMPLES = 10_000
CEILING = "ceiling"


def numbers(selection: Selection) -> pd.DataFrame:
    """Every metric of every method, one per row, in the order of the methods.

    Columns: method (its label), method_settings, metric, explained, k (0 where there is none), value, low and high
    (95 % interval over samples, :func:`metrics.intervals`), interval (how that was made), p_value (two-sided, against
    the best method of the same metric, corrected for all pairs of methods: :func:`metrics.compare`; 1 for the best
    itself), rank_low and rank_high (1 + how many are significantly better, and their number less how many are
    significantly worse), letters (two methods share one if they cannot be told apart), samples (those on which the
    metric is defined). A metric that is defined on no sample of a method has the value NaN; one whose measurements a
    method lacks has no row.

    Floor and ceiling are never the best, nor is a number of fewer than 30 samples: where all have fewer, nothing is
    compared. The ceiling, which explains no model, is not compared either.

    Raises:
        BenchError: if no sample is scored.
    """
    task, facts = selection.task, catalogue_of(selection.config)
    metrics = task.built_metrics()
    entries, statistics = [], []
    of_model = {r.path: r.rows for r in selection.results if "method" not in r.identity}  # read once
    for one in ordered(selection):
        for (metric, k), statistic in task.statistics(one.tables(of_model)).items():
            entries.append(
                {
                    "method": one.label,
                    "kind": facts.method(one.name).kind,
                    "method_settings": in_words(one.method["settings"]),
                    "metric": metric,
                    "explained": one.explained,
                    "k": k,
                }
            )
            statistics.append(statistic)
    defined = [i for i, statistic in enumerate(statistics) if statistic.count]
    if not defined:
        raise BenchError(
            f"{task.name}: no sample is scored; if the model classifies none correctly, set "
            "protocol.….scores.only_correct=false"
        )
    resampled = np.full((len(statistics), RESAMPLES), np.nan)
    with np.errstate(invalid="ignore", divide="ignore"):  # resamples without a sample on which it is defined
        chosen = [statistics[i] for i in defined]
        resampled[defined] = bootstrap(chosen, RESAMPLES, seed=selection.config["seed"])
        low, high, kinds = intervals(statistics, RESAMPLES, selection.config["seed"], resampled=resampled)
    values = [statistic.value if statistic.count else np.nan for statistic in statistics]
    samples = [statistic.count for statistic in statistics]
    table = pd.DataFrame(entries).assign(value=values, low=low, high=high, interval=kinds, samples=samples)
    compared = pd.DataFrame(np.nan, index=table.index, columns=["p_value", "rank_low", "rank_high"])
    compared["letters"] = ""
    for (metric, *_), column in table.groupby(COLUMN, sort=False):
        found = _compared(column, metrics[metric], resampled)
        compared.loc[found.index, found.columns] = found
    return table.join(compared).drop(columns="kind")


def _compared(column: pd.DataFrame, metric: Metric, resampled: np.ndarray) -> pd.DataFrame:
    """How each row of a column of the table compares with the best, and with all others."""
    column = column[column["value"].notna() & (column["kind"] != CEILING)]
    competing = column.index[(column["kind"] != "floor") & (column["samples"] >= FEW)]
    if metric.higher_is_better is None or not len(competing):
        return column.iloc[:0, :0]
    sign = 1 if metric.higher_is_better else -1
    comparisons = compare(sign * column["value"], sign * resampled[column.index])
    best = column.index.get_loc((sign * column.loc[competing, "value"]).idxmax())
    ranks = comparisons.rank_intervals()
    return pd.DataFrame(
        {
            "p_value": comparisons.p_values[best],
            "rank_low": ranks[:, 0].astype(float),
            "rank_high": ranks[:, 1].astype(float),
            "letters": comparisons.letters(),
        },
        index=column.index,
    )


def ordered(selection: Selection) -> list[Scored]:
    """The methods of a selection in their order."""
    facts = catalogue_of(selection.config)
    return sorted(selection.scored, key=lambda one: (facts.method(one.name).order, one.label))


def in_words(settings: Mapping[str, Any]) -> str:
    """Settings for a reader."""
    return "; ".join(f"{key} {value}" for key, value in settings.items())


def protocol_of(config: Mapping[str, Any]) -> dict[str, Any]:
    """The sections of the protocol that concern the task of a configuration; a missing one is left out."""
    sections = config["task"]["table"].get("protocol", [])
    return {key: config["protocol"][key] for key in sections if key in config["protocol"]}


def protocol_label(config: Mapping[str, Any]) -> str:
    """What a configuration's protocol is called: ``paper v1``.

    Settings that were changed are part of the name: ``paper v1 with perturbation.fill=mean``.
    """
    protocol = config["protocol"]
    label = f"{protocol['name']} v{protocol['version']}"
    standard = catalogue_of(config).read("protocol", protocol["name"])
    if not standard:
        return label
    known = flatten({key: standard.get(key, {}) for key in protocol_of(config)})
    changed = [
        f"{key}={value}" for key, value in flatten(protocol_of(config)).items() if known.get(key) != value
    ]
    return f"{label} with {', '.join(changed)}" if changed else label


__all__ = ["COLUMN", "RESAMPLES", "numbers", "ordered", "protocol_label", "protocol_of"]
