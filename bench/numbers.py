"""The numbers of a table, from stored rows: totals, intervals, and tests against the best."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import pandas as pd

from bench.config import CONF, build, configuration
from bench.errors import BenchError
from bench.shards import so_far, stored
from bench.store import Cell, Result, flatten, protocol_of
from bench.tasks import Perturbation, Segmentation, TokenF1
from metrics import Metric, bootstrap, holm, interval, paired_p_value

TASKS = (Perturbation.name, Segmentation.name, TokenF1.name)
METRICS: dict[str, Metric] = {
    metric.name: metric for task in (Perturbation, Segmentation, TokenF1) for metric in task.metrics
}
REFERENCES = ("random", "oracle")  # floor and ceiling: rows to read the others by, which compete with none
COLUMN = ["metric", "explained", "k"]  # what, besides the method, a number depends on
RESAMPLES = 10_000


def finished(
    config: dict[str, Any], belongs: Callable[[str], bool] = lambda method: True, partial: bool = False
) -> list[Result]:
    """All finished cells under the conditions (data set, model, protocol) of a resolved configuration.

    Args:
        belongs: whether the cells of a method, by its name, are wanted.
        partial: take unfinished cells too, and of all of them only the samples that each has.

    Raises:
        BenchError: if there is none, one is unfinished and ``partial`` is false, or not all were computed
            with the same weights on the same samples.
    """
    task, suite = config["task"]["name"], config["suite"]["name"]
    conditions = Cell(config).conditions
    found, begun = stored(config, task)
    found = [r for r in found if r.record["conditions"] == conditions]
    begun = [w for w in begun if w.plan["conditions"] == conditions]
    if not found and not begun:
        raise BenchError(
            f"there is no finished cell of {task} for suite={suite} protocol={config['protocol']['name']} "
            f"under these conditions; run its cells first, e.g. make tables SUITE={suite} "
            f"PROTOCOL={config['protocol']['name']}"
        )
    found = [r for r in found if belongs(r.record["method"]["name"])]
    begun = [w for w in begun if belongs(w.plan["method"]["name"])]
    if begun and not partial:
        first = begun[0]
        raise BenchError(
            f"{Cell(first.plan['config'])} is not finished: {first.in_words(first.missing(first.parts()))}; "
            "run it again, or make a table of what is there with --partial"
        )
    if begun:
        found = _on_common_samples([*found, *(r for w in begun if (r := so_far(w)) is not None)])
    for key, what in (("checkpoint_sha256", "weights"), ("samples", "numbers of samples")):
        if len({r.record[key] for r in found}) > 1:
            raise BenchError(
                f"the cells of {task} were computed with different {what}; run them again with rerun=true"
            )
    return found


def _on_common_samples(found: Sequence[Result]) -> list[Result]:
    """The results on the samples that all of them have. What was said about all samples is left out."""
    every = [result.rows for result in found]
    common = set.intersection(*(set(rows["id"]) for rows in every)) if every else set()
    if not common:
        raise BenchError("--partial: the cells have no sample in common yet; let them run on")
    return [
        replace(
            result,
            record=result.record | {"metrics": {}, "samples": len(common)},
            chosen=rows[rows["id"].isin(common)],
        )
        for result, rows in zip(found, every, strict=True)
    ]


def numbers(config: dict[str, Any], found: Sequence[Result]) -> pd.DataFrame:
    """Every metric of every cell, one per row.

    Columns: method, method_settings, metric, explained, k (0 where there is none), value, low and high (95 %
    bootstrap interval over samples), p_value (two-sided paired bootstrap against the best method of the same
    metric, Holm-corrected within it; 1 for the best itself), samples.

    The random map and the oracle are never the best; the oracle, which is no method, is not tested either.

    Raises:
        BenchError: if the cells are not of one protocol and the same samples, or none of these is scored.
    """
    _check_one_protocol(config, found)
    task = build("task", config["task"])
    entries, statistics, ids = [], [], None
    for result, label in labelled(found):
        rows = result.rows.sort_values("id", ignore_index=True)
        ids = rows["id"] if ids is None else ids
        if not rows["id"].equals(ids):
            raise BenchError(
                f"{result.path} is of other samples than {found[0].path}; run them with rerun=true"
            )
        row = {"method": label, "method_settings": settings_of_method(result.record["method"])}
        for name, statistic in task.statistics(rows).items():
            metric, _, k = name.partition("@")
            if metric in METRICS:
                explained = result.record["config"]["explained"]
                entries.append(row | {"metric": metric, "explained": explained, "k": int(k or 0)})
                statistics.append(statistic)
    samples = len(statistics[0].terms)
    if not samples:
        raise BenchError(
            f"protocol.{task.name}.scores.only_correct=true: the model classifies no sample correctly; "
            "set it to false"
        )
    resampled = bootstrap(statistics, RESAMPLES, seed=config["seed"])
    low, high = interval(resampled)
    table = pd.DataFrame(entries).assign(
        value=[s.value for s in statistics], low=low, high=high, p_value=None
    )
    competing = table[~table["method"].map(base_name).isin(REFERENCES)]
    for (metric, *_), group in competing.groupby(COLUMN):
        best = _best(group["value"], METRICS[metric])
        same = (table[COLUMN] == table.loc[best, COLUMN]).all(axis=1) & (table["method"] != "oracle")
        others = table.index[same].drop(best)
        tests = [paired_p_value(resampled[best], resampled[other]) for other in others]
        table.loc[others, "p_value"] = holm(tests)
        table.loc[best, "p_value"] = 1.0
    return table.assign(p_value=table["p_value"].astype(float), samples=samples)


def base_name(label: str) -> str:
    """The name of a method, from its label in a table, which may go on with settings in brackets."""
    return label.split(" ")[0]


def settings_of_method(method: dict[str, Any]) -> str:
    """What a method was called with, for a reader."""
    return "; ".join(f"{key} {value}" for key, value in method.items() if key not in ("_target_", "name"))


def protocol_label(protocol: dict[str, Any]) -> str:
    """What a protocol's settings for a task (:func:`bench.store.protocol_of`) are called: ``paper v1``.

    Settings that were changed are part of the name: ``paper v1 with perturbation.fill=mean``.
    """
    task = next(task for task in TASKS if task in protocol)
    label = f"{protocol['name']} v{protocol['version']}"
    if not (CONF / "protocol" / f"{protocol['name']}.yaml").exists():
        return label
    standard = _standard_protocol(protocol["name"], task)
    changed = [f"{key}={value}" for key, value in flatten(protocol, "").items() if standard.get(key) != value]
    return f"{label} with {', '.join(changed)}" if changed else label


@cache
def _standard_protocol(name: str, task: str) -> dict[str, Any]:
    return flatten(protocol_of(configuration([f"protocol={name}", f"task={task}"])), "")


def _check_one_protocol(config: dict[str, Any], found: Sequence[Result]) -> None:
    wanted = Cell(config).conditions
    strangers = [r.record["config"] for r in found if r.record["conditions"] != wanted]
    if strangers:
        labels = sorted({protocol_label(protocol_of(c)) for c in (config, *strangers)})
        raise BenchError(
            f"{config['task']['name']}: cells under different conditions (protocols: {', '.join(labels)}) "
            "cannot share a table; make one table for each"
        )


def _best(values: pd.Series, metric: Metric) -> int:
    return values.idxmax() if metric.higher_is_better else values.idxmin()


def labelled(found: Sequence[Result]) -> list[tuple[Result, str]]:
    """Each result with its method's name; a variant also gets the settings in which it differs.

    Among cells of one name, the one under the settings of ``conf/method`` and the protocol keeps the plain
    name: a variant beside it does not rename it.
    """
    labels = []
    for result in found:
        method = result.record["method"]
        namesakes = [r.record["method"] for r in found if r.record["method"]["name"] == method["name"]]
        varying = [key for key in method if any(other.get(key) != method[key] for other in namesakes)]
        if varying and method != _standard_method(result):
            label = f"{method['name']} ({', '.join(f'{key}={method[key]}' for key in varying)})"
        else:
            label = method["name"]
        labels.append((result, label))
    return labels


def _standard_method(result: Result) -> dict[str, Any] | None:
    """What ``method=<name>`` means in the task of a result; None if there is no such file."""
    config = result.record["config"]
    name, task = config["method"]["name"], config["task"]["name"]
    if not (CONF / "method" / f"{name}.yaml").exists():
        return None
    overrides = [f"task={task}", f"protocol={config['protocol']['name']}", f"seed={config['seed']}"]
    return configuration([*overrides, f"method={name}"])["method"]
