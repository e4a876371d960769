"""The numbers of a table, from stored rows: totals, intervals, and tests against the best."""

from collections.abc import Sequence
from typing import Any

import pandas as pd

from bench.config import CONF, build, configuration
from bench.errors import BenchError
from bench.store import Cell, Result, results
from bench.tasks import Perturbation, Segmentation, TokenF1
from metrics import Metric, bootstrap, holm, interval, paired_p_value

METRICS: dict[str, dict[str, Metric]] = {
    task.name: {metric.name: metric for metric in task.metrics}
    for task in (Perturbation, Segmentation, TokenF1)
}
COLUMN = ["metric", "explained", "k"]  # what, besides the method, a number depends on
RESAMPLES = 10_000


def finished(config: dict[str, Any]) -> list[Result]:
    """All finished cells under the conditions (data set, model, protocol) of a resolved configuration.

    Raises:
        BenchError: if there is none, or not all were computed with the same weights on the same samples.
    """
    task, suite = config["task"]["name"], config["suite"]["name"]
    conditions = Cell(config).conditions
    found = [r for r in results(config, task) if r.record["conditions"] == conditions]
    if not found:
        raise BenchError(
            f"there is no finished cell of {task} for suite={suite} under these conditions; "
            f"run its cells first, e.g. make tables SUITE={suite}"
        )
    for key, what in (("checkpoint_sha256", "weights"), ("samples", "numbers of samples")):
        if len({r.record[key] for r in found}) > 1:
            raise BenchError(
                f"the cells of {task} were computed with different {what}; run them again with rerun=true"
            )
    return found


def numbers(config: dict[str, Any], found: Sequence[Result]) -> pd.DataFrame:
    """Every metric of every cell, one per row.

    Columns: method, metric, explained, k (0 where there is none), value, low and high (95 % bootstrap
    interval over samples), p_value (two-sided paired bootstrap against the best method of the same metric,
    Holm-corrected within it; 1 for the best itself), samples.

    Raises:
        BenchError: if the cells are not of the same samples.
    """
    task = build("task", config["task"])
    entries, statistics, ids = [], [], None
    for result, label in _labelled(found):
        rows = result.rows.sort_values("id", ignore_index=True)
        ids = rows["id"] if ids is None else ids
        if not rows["id"].equals(ids):
            raise BenchError(
                f"{result.path} is of other samples than {found[0].path}; run them with rerun=true"
            )
        for name, statistic in task.statistics(rows).items():
            metric, _, k = name.partition("@")
            if metric in METRICS[task.name]:
                explained = result.record["config"]["explained"]
                entries.append({"method": label, "metric": metric, "explained": explained, "k": int(k or 0)})
                statistics.append(statistic)
    resampled = bootstrap(statistics, RESAMPLES, seed=config["seed"])
    low, high = interval(resampled)
    table = pd.DataFrame(entries).assign(value=[s.value for s in statistics], low=low, high=high)
    for (metric, *_), group in table.groupby(COLUMN):
        best = _best(group["value"], METRICS[task.name][metric])
        others = group.index.drop(best)
        tests = [paired_p_value(resampled[best], resampled[other]) for other in others]
        table.loc[others, "p_value"] = holm(tests)
        table.loc[best, "p_value"] = 1.0
    return table.assign(samples=len(ids))


def _best(values: pd.Series, metric: Metric) -> int:
    return values.idxmax() if metric.higher_is_better else values.idxmin()


def _labelled(found: Sequence[Result]) -> list[tuple[Result, str]]:
    """Each result with its method's name; a variant also gets the settings in which it differs.

    Among cells of one name, the one under the settings of ``conf/method`` and the protocol keeps the plain
    name: a variant beside it does not rename it.
    """
    labelled = []
    for result in found:
        method = result.record["method"]
        namesakes = [r.record["method"] for r in found if r.record["method"]["name"] == method["name"]]
        varying = [key for key in method if any(other.get(key) != method[key] for other in namesakes)]
        if varying and method != _standard_method(result):
            label = f"{method['name']} ({', '.join(f'{key}={method[key]}' for key in varying)})"
        else:
            label = method["name"]
        labelled.append((result, label))
    return labelled


def _standard_method(result: Result) -> dict[str, Any] | None:
    """What ``method=<name>`` means in the task of a result; None if there is no such file."""
    config = result.record["config"]
    name, task = config["method"]["name"], config["task"]["name"]
    if not (CONF / "method" / f"{name}.yaml").exists():
        return None
    return configuration([f"task={task}", f"protocol={config['protocol']['name']}", f"method={name}"])[
        "method"
    ]
