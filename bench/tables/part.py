"""What one task gives to a table."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from bench.catalogue import catalogue_of
from bench.tables.select import Selection, select
from bench.tables.statistics import numbers
from metrics import Metric

ABLATION = "ablation"


@dataclass(frozen=True)
class Part:
    """What one task gives to a table: its cells, and the numbers of all."""

    selection: Selection
    measured: pd.DataFrame

    @property
    def config(self) -> Mapping[str, Any]:
        """The resolved configuration."""
        return self.selection.config

    @property
    def metrics(self) -> dict[str, Metric]:
        """The metrics of the task, by name."""
        return self.selection.task.built_metrics()


def part_of(
    config: Mapping[str, Any], belongs: Callable[[str], bool] | None = None, partial: bool = False
) -> Part:
    """The cells of a task and their numbers.

    Args:
        belongs: whether a method, by its name, is wanted; None for all but the ablations.
        partial: with what is done of unfinished cells.

    Raises:
        BenchError: if there is no cell under these conditions, or they do not belong together.
    """
    facts = catalogue_of(config)
    selection = select(config, belongs or (lambda name: facts.method(name).kind != ABLATION), partial)
    return Part(selection, numbers(selection))
