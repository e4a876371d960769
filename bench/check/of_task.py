"""A metric or a task: columns that are the same in any batch, and formulas that are sums over samples."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from bench.check.findings import Findings
from bench.config import configuration, quoted
from bench.runner.cell import run
from bench.tables.select import select
from bench.tables.table import table
from metrics import Metric, Statistic

METHOD = "method=rollout"
TIE = 1e-9  # what rounding may add to the end of a range
SAME = 1e-4  # relative: float32 maps of a batch and of its samples differ by rounding


def check_task(arguments: Sequence[str], found: Findings, only_own: bool) -> None:
    """Compute a cell of tiny data in batches of two sizes, and check columns, formulas and the table.

    Args:
        arguments: overrides that choose the task, its data and its metrics.
        only_own: check those metrics alone that the task does not have by itself.
    """
    given = [a for a in arguments if not a.startswith("method")]
    config = configuration([*given, METHOD])
    own = set(config["task"]["metrics"])
    if only_own:
        bare = [a for a in given if a.lstrip("+").partition("=")[0].partition(".")[0] != "metric"]
        own -= set(configuration([*bare, METHOD])["task"]["metrics"])
    found.subject = f"metric {', '.join(sorted(own))}" if only_own else f"task {config['task']['name']}"
    results, selections = config["paths"]["results"], []
    for size in (4, 1):
        with found.attempt(f"run, batch_size={size}"):
            where = f"paths.results={quoted(results + f'-{size}')}"
            of_size = configuration([*given, METHOD, where, f"batch_size={size}"])
            run(of_size)
            selections.append(select(of_size))
    if len(selections) < 2:
        return
    found.expect("run", True, f"{config['limit']} samples explained by {METHOD} and scored", "")
    selection = selections[0]
    tables = [one.scored[0].tables() for one in selections]
    for name in tables[0]:
        different = _different(tables[0][name], tables[1][name])
        found.expect(
            f"alone: {name}",
            not different,
            f"columns of a batch are those of its samples: {', '.join(c for c in tables[0][name] if c != 'id')}",
            f"columns that differ between batches of 4 and of 1: {', '.join(different)}",
        )
    for name, metric in selection.task.built_metrics().items():
        if name in own:
            with found.attempt(f"formula: {name}"):
                _formula(name, metric, selection.task.columns(name, tables[0]), found)
    with found.attempt("table"):
        text = table(selection.config).markdown()
        found.expect("table", METHOD.partition("=")[2] in text, "a table is made of it", "it is in no table")


def _different(one: pd.DataFrame, other: pd.DataFrame) -> list[str]:
    """The columns in which two tables of the same samples differ by more than rounding."""
    one, other = (t.sort_values("id", ignore_index=True) for t in (one, other))
    return [c for c in one if not all(map(_close, one[c], other[c]))]


def _close(one: Any, other: Any) -> bool:
    a, b = np.asarray(one), np.asarray(other)
    if a.shape != b.shape:
        return False
    if a.dtype.kind in "OUSb":
        return bool(np.all(a == b))
    a, b = a.astype(float), b.astype(float)
    return bool(
        np.allclose(
            a, b, rtol=SAME, atol=SAME * max(1e-12, float(np.nanmax(np.abs(a), initial=0.0))), equal_nan=True
        )
    )


def _formula(name: str, metric: Metric, columns: Mapping[str, np.ndarray], found: Findings) -> None:
    """A metric is a function of sums over samples, whatever resample it is given."""
    statistics = metric.statistics(columns)
    half = {c: values[: max(1, len(values) // 2)] for c, values in columns.items()}
    of_half = metric.statistics(half)
    problems = []
    for k, statistic in statistics.items():
        problems += [f"k = {k}: {text}" for text in _problems(statistic, metric)]
        terms = np.asarray(of_half[k].terms) if k in of_half else None
        if terms is None or not np.allclose(terms, np.asarray(statistic.terms)[: len(terms)], equal_nan=True):
            problems.append(f"k = {k}: the terms of a sample depend on the other samples")
    values = ", ".join(f"{s.value:.4g}{f' at k = {k}' if k else ''}" for k, s in list(statistics.items())[:3])
    direction = {True: "higher is better", False: "lower is better", None: "no direction"}.get(
        metric.higher_is_better
    )
    if direction is None:
        problems.append(f"higher_is_better={metric.higher_is_better!r}; expected True, False or None")
    found.expect(f"formula: {name}", not problems, f"{values}; {direction}", "; ".join(problems[:4]))


def _problems(statistic: Statistic, metric: Metric) -> list[str]:
    terms = np.asarray(statistic.terms)
    if terms.ndim != 2:
        return [f"terms of shape {terms.shape}; expected (samples, terms)"]
    if not statistic.count:
        return ["it is defined on no sample"]
    problems = []
    sums = terms.sum(axis=0)
    value, resampled = statistic.value, np.asarray(statistic.reduce(np.stack([sums, 2 * sums])))
    low, high = metric.range
    if not np.isfinite(value):
        problems.append(f"its value is {value}")
    elif not low - TIE <= value <= high + TIE:
        problems.append(f"its value {value:.4g} is outside its range {low:g} to {high:g}")
    if resampled.shape != (2,):
        problems.append(f"reduce of sums (2, terms) gives {resampled.shape}; expected (2,)")
    elif not np.allclose(resampled, value):
        problems.append("it changes when every sample is counted twice")
    return problems
