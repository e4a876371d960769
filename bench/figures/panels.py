"""What figures show of the finished cells of a task: curves of its metrics, and those that were published."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from bench.catalogue import catalogue_of
from bench.errors import BenchError
from bench.figures.style import Panel
from bench.tables.conditions import title_read
from bench.tables.published import PROTOCOL, SOURCES, published
from bench.tables.select import Selection
from bench.tables.statistics import ordered
from bench.tasks import Task
from metrics import Metric, Statistic, intervals
from metrics.metric import Curve

OF_A_BAND = 2_000  # resamples: a band is looked at, while the intervals of tables are read


def has_curves(task: Task) -> bool:
    """Whether a metric of a task sums up a curve."""
    return any(type(metric).curve is not Metric.curve for metric in task.built_metrics().values())


def panels(selection: Selection, measured: pd.DataFrame | None = None) -> list[Panel]:
    """A panel for each metric with a curve, for the explained class of the configuration.

    Beside it stands one with the curve that was published over k under this protocol, if there is one.

    Args:
        measured: the numbers of the selection, where they are known: curves over k take their intervals
            from these.

    Raises:
        BenchError: if no cell is of that class.
    """
    config, facts = selection.config, catalogue_of(selection.config)
    scored = [
        one
        for one in ordered(selection)
        if one.explained == config["explained"] and facts.method(one.name).kind != "ablation"
    ]
    if not scored:
        raise BenchError(f"no finished cell of {selection.task.name} is of explained={config['explained']}")
    metrics = selection.task.built_metrics()
    curves: dict[tuple[str, str], Curve] = {}
    for one in scored:
        tables = one.tables()
        for name, metric in metrics.items():
            if name in selection.task.missing(tables):
                continue
            if (curve := metric.curve(selection.task.columns(name, tables))) is not None:
                curves[name, one.label] = curve
    known = pd.DataFrame() if measured is None else measured[measured["explained"] == config["explained"]]
    data = with_bands(curves, config["seed"], known)
    made = []
    for name, rows in data.groupby("metric", sort=False):
        curve, title = next(c for (of, _), c in curves.items() if of == name), metrics[name].title
        here = f"{title_read(selection, 'model')}\n{title_read(selection, 'dataset')}"
        heading = f"{title}: {curve.y_label}\n{here}" if curve.y_label != title else f"{title}\n{here}"
        made.append(Panel(heading, curve.x_label, curve.y_label, rows))
        made += _published(config, name, curve)
    return made


def with_bands(
    curves: Mapping[tuple[str, str], Curve], seed: int, known: pd.DataFrame | None = None
) -> pd.DataFrame:
    """Mean curves, each point with its 95 % interval over samples (:func:`metrics.intervals`).

    Args:
        curves: by metric and method.
        known: numbers of a table, whose intervals are taken where these are the points of a curve.

    Returns:
        Columns metric, method, x, value, samples, low and high.
    """
    points = [(*key, x, own) for key, c in curves.items() for x, own in zip(c.x, c.values.T, strict=True)]
    rows = [(*key, np.mean(own), len(own)) for *key, own in points]
    data = pd.DataFrame(rows, columns=["metric", "method", "x", "value", "samples"])
    data = data.assign(low=np.nan, high=np.nan)
    if known is not None and len(known):
        numbers = known.rename(columns={"k": "x"})[["metric", "method", "x", "value", "low", "high"]]
        there = data[["metric", "method", "x"]].merge(numbers, how="left")
        there.loc[~np.isclose(there["value"], data["value"]), ["low", "high"]] = np.nan
        data[["low", "high"]] = there[["low", "high"]]
    for _, rest in data[data["low"].isna()].groupby("samples"):  # resamples are of one number of samples
        statistics = [_statistic(curves[points[place][:2]], points[place][-1]) for place in rest.index]
        low, high, _ = intervals(statistics, OF_A_BAND, seed)
        data.loc[rest.index, ["low", "high"]] = np.stack([low, high], axis=1)
    return data


def _statistic(curve: Curve, values: np.ndarray) -> Statistic:
    """The mean of a point of a curve."""
    if not curve.proportion:
        return Statistic.mean(values, bounds=curve.range)
    greatest = curve.range[1]
    return Statistic.share(values == greatest, scale=greatest)


def _published(config: Mapping[str, Any], metric: str, curve: Curve) -> list[Panel]:
    """The published curve of a metric over k, if there is one under the protocol of a configuration."""
    others = published(config["task"]["name"], config["paths"]["results"])
    others = others[others["metric"] == metric]
    if config["protocol"]["name"] != PROTOCOL or others["k"].nunique() < 2:
        return []
    facts, source = catalogue_of(config), others["source"].iloc[0]
    others = others[others["source"] == source].rename(columns={"k": "x"})
    others = others.sort_values("method", key=lambda c: c.map(lambda m: facts.method(m).order), kind="stable")
    there = config["task"]["table"].get("published_on", "their own model and data")
    title = f"{curve.y_label}, published\n{SOURCES.get(source, source)}\n{there}"
    return [Panel(title, curve.x_label, curve.y_label, others)]
