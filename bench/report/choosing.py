"""Which samples are worth a look: by how well the methods' maps do on each."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from bench.config import build
from bench.layout import rank
from bench.numbers import METRICS, REFERENCES, labelled
from bench.store import Result
from bench.tables import ABLATIONS, FULL
from bench.tasks.task import only_correct


def compared(config: dict[str, Any], found: Sequence[Result]) -> dict[str, Result]:
    """The cells whose methods are shown on single samples, by label: no ablation, floor or ceiling.

    Transformer attribution comes first, then the others in their order.
    """
    shown = {
        label: result
        for result, label in labelled(found)
        if result.record["method"]["name"] not in (*ABLATIONS, *REFERENCES)
        and result.record["config"]["explained"] == config["explained"]
    }
    return dict(sorted(shown.items(), key=lambda item: (item[0] != FULL, rank(item[0]))))


def scores(config: dict[str, Any], cells: dict[str, Result]) -> tuple[pd.DataFrame, str]:
    """How well each method does on each sample that is scored, and what that number is.

    It is the mean of the sample's metrics, those with their sign turned of which less is better.

    Returns:
        A column for each label, a row for each sample, in the order of the data set, by its id.
    """
    task = build("task", config["task"])
    columns, what = {}, ""
    for label, result in cells.items():
        rows = only_correct(result.rows, getattr(task, "only_correct", False))
        by_metric: dict[str, list[np.ndarray]] = {}
        for name, statistic in task.statistics(rows).items():
            metric = METRICS.get(name.partition("@")[0])
            if metric is not None:
                sign = 1 if metric.higher_is_better else -1
                title = metric.title if metric.higher_is_better else f"−{metric.title}"
                by_metric.setdefault(title, []).append(sign * statistic.reduce(statistic.terms))
        what = f"mean of {', '.join(by_metric)}" if len(by_metric) > 1 else "".join(by_metric)
        means = [np.mean(values, axis=0) for values in by_metric.values()]
        columns[label] = pd.Series(np.mean(means, axis=0), index=rows["id"])
    return pd.DataFrame(columns), what


def chosen(scored: pd.DataFrame, count: int, seed: int) -> dict[str, list[str]]:
    """Ids of samples under what makes them worth a look, ``count`` for each reason.

    Drawn at random; then, of those not chosen yet, those on which the first method does best, those on which
    it does worst, and those on which the methods' scores are farthest apart.
    """
    drawn = np.random.default_rng(seed).permutation(len(scored))[:count]
    first = scored.columns[0]
    groups = {"Drawn at random": [scored.index[i] for i in sorted(drawn)]}
    orders = {
        f"Best for {first}": -scored[first],
        f"Worst for {first}": scored[first],
    }
    if scored.shape[1] > 1:
        orders["Methods disagree most"] = -scored.std(axis=1)
    for reason, order in orders.items():
        taken = {sample for samples in groups.values() for sample in samples}
        left = order[~order.index.isin(taken)].sort_values(kind="stable")
        groups[reason] = list(left.index[:count])
    return {reason: samples for reason, samples in groups.items() if samples}
