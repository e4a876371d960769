"""Curves with 95 % intervals, from stored rows: columns method, metric, x, value, low and high."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from bench.config import build
from bench.numbers import RESAMPLES, labelled, numbers
from bench.store import Result
from metrics import Statistic, bootstrap, interval


def token_f1(config: dict[str, Any], found: Sequence[Result]) -> pd.DataFrame:
    """Token F1 over k, for the explained class of the configuration."""
    measured = numbers(config, found)
    chosen = measured[measured["explained"] == config["explained"]]
    return chosen.rename(columns={"k": "x"})


def perturbation(config: dict[str, Any], found: Sequence[Result]) -> pd.DataFrame:
    """Accuracy in per cent over the share of pixels masked, also in per cent, by the name of the AUC.

    For the explained class of the configuration; empty if no cell is of that class.
    """
    task = build("task", config["task"])
    steps = 100 * np.array(task.steps)
    curves = {
        (method, metric): 100 * hits
        for result, method in labelled(found)
        if result.record["config"]["explained"] == config["explained"]
        for metric, hits in task.curves(result.rows.sort_values("id")).items()
    }
    return with_bands(curves, steps, config["seed"])


def with_bands(curves: Mapping[tuple[str, str], np.ndarray], x: Sequence[float], seed: int) -> pd.DataFrame:
    """Mean curves, each point with its bootstrap interval over samples.

    Args:
        curves: for each method and metric (samples, points).
        x: of the points.
    """
    if not curves:
        return pd.DataFrame(columns=["method", "metric", "x", "value", "low", "high"])
    statistics = [Statistic.mean(points) for curve in curves.values() for points in curve.T]
    low, high = interval(bootstrap(statistics, RESAMPLES, seed))
    points = [(method, metric, place) for method, metric in curves for place in x]
    table = pd.DataFrame(points, columns=["method", "metric", "x"])
    return table.assign(value=[s.value for s in statistics], low=low, high=high)
