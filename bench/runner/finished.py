"""What is said of a finished cell."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from bench.tasks import Task
from metrics import intervals


def in_words(config: Mapping[str, Any], task: Task, tables: Mapping[str, pd.DataFrame]) -> str:
    """Of what a cell is and what came out, each number with the 95 % interval that a table gives it.

    Of a metric that is a function of k it is the number at the last k.

    Args:
        tables: the rows of each measurement, by the names of :meth:`bench.tasks.Task.measured_names`.
    """
    metrics = task.built_metrics()
    last = {name: (k, statistic) for (name, k), statistic in task.statistics(tables).items()}
    low, high, _ = intervals([statistic for _, statistic in last.values()], seed=config["seed"])
    numbers = []
    for (name, (k, statistic)), ends in zip(last.items(), zip(low, high, strict=True), strict=True):
        digits = 2 if metrics[name].unit else 3
        label = f"{name}@{k}" if k else name
        if statistic.count:
            numbers.append("{} {:.{d}f} [{:.{d}f}, {:.{d}f}]".format(label, statistic.value, *ends, d=digits))
        else:
            numbers.append(f"{label} undefined")
    samples = len(next(iter(tables.values())))
    of = f"{config['dataset']['title']}, {samples} samples, protocol {config['protocol']['name']}"
    return f"{of}: {', '.join(numbers)}"
