"""The numbers of a table, from stored rows: totals, intervals, and tests against the best."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from bench.catalogue import catalogue_of
from bench.config import flatten
from bench.errors import BenchError
from bench.tables.select import Scored, Selection
from metrics import Metric, bootstrap, holm, intervals, paired_p_value
from metrics.intervals import FEW

COLUMN = ["metric", "explained", "k"]  # what, besides the method, a number depends on
RESAMPLES = 10_000
CEILING = "ceiling"


def numbers(selection: Selection) -> pd.DataFrame:
    """Every metric of every method, one per row, in the order of the methods.

    Columns: method (its label), method_settings, metric, explained, k (0 where there is none), value, low and high
    (95 % interval over samples, :func:`metrics.intervals`), interval (how that was made), p_value (two-sided paired
    bootstrap against the best method of the same metric, Holm-corrected within it; 1 for the best itself), samples
    (those on which the metric is defined). A metric that is defined on no sample of a method has the value NaN; one
    whose measurements a method lacks has no row.

    Floor and ceiling are never the best, nor is a number of fewer than 30 samples where others have more; the
    ceiling, which explains no model, is not tested either.

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
    p_values = np.full(len(table), np.nan)
    for (metric, *_), column in table.groupby(COLUMN, sort=False):
        p_values[column.index] = _p_values(column, metrics[metric], resampled)
    return table.assign(p_value=p_values).drop(columns="kind")


def _p_values(column: pd.DataFrame, metric: Metric, resampled: np.ndarray) -> np.ndarray:
    """The p-value of each row of a column of the table."""
    found = pd.Series(np.nan, index=column.index)  # of a metric that is not defined
    column = column[column["value"].notna()]
    competing = column.loc[~column["kind"].isin(["floor", CEILING])]
    competing = competing["value"].where(competing["samples"] >= FEW).dropna()
    if metric.higher_is_better is None or not len(competing):
        return found.to_numpy()
    best = competing.idxmax() if metric.higher_is_better else competing.idxmin()
    others = column.index[(column.index != best) & (column["kind"] != CEILING)]
    found[others] = holm(paired_p_value(resampled[best], resampled[others]))
    found[best] = 1.0
    return found.to_numpy()


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
