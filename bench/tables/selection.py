"""What a table is of: methods with all that was measured of them, on the same samples."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pandas as pd

from bench.errors import BenchError
from bench.store.cells import Result
from bench.store.subsets import restricted, size_of
from bench.tasks import Task


@dataclass(frozen=True)
class Scored:
    """A method with all that was measured of it, for one explained class.

    Attributes:
        label: the method's name; of a variant, with the settings in which it differs.
        method: its part of the identity.
        name: the method's name.
        explained: ``predicted`` or ``target``.
        results: the cell of each measurement by its name in the task (:meth:`bench.tasks.Task.measured_names`),
            those of the model alone among them.
    """

    label: str
    method: Mapping[str, Any] = field(repr=False)
    name: str
    explained: str
    results: Mapping[str, Result] = field(repr=False)

    @property
    def own(self) -> list[Result]:
        """The cells that were computed for this method."""
        return [result for result in self.results.values() if "method" in result.identity]

    def tables(self, known: Mapping[Path, pd.DataFrame] | None = None) -> dict[str, pd.DataFrame]:
        """The rows of each measurement, by its name in the task.

        Args:
            known: rows that were read already, by the path of their cell.
        """
        known = known or {}
        return {
            name: known[result.path] if result.path in known else result.rows  # noqa: SIM401  read only then
            for name, result in self.results.items()
        }


@dataclass(frozen=True)
class Selection:
    """What a table is of.

    Attributes:
        config: the resolved configuration.
        task: built from it.
        scored: the methods.
        predictions: the cell with the model's own predictions; None if no metric reads it.
        is_partial: whether samples are left out because cells are not finished.
    """

    config: Mapping[str, Any]
    task: Task
    scored: Sequence[Scored]
    predictions: Result | None
    is_partial: bool = False

    @property
    def results(self) -> list[Result]:
        """All cells, each once."""
        return list({result.path: result for one in self.scored for result in one.results.values()}.values())


def on_subset(selection: Selection) -> Selection:
    """The selection on the first samples that the configuration asks for."""
    subset = selection.config.get("subset")
    if all(size_of(result.identity) == subset for result in selection.results):
        return selection
    chosen = {result.path: restricted(result, subset) for result in selection.results}
    scored = [
        replace(one, results={name: chosen[result.path] for name, result in one.results.items()})
        for one in selection.scored
    ]
    predictions = selection.predictions and restricted(selection.predictions, subset)
    return replace(selection, scored=scored, predictions=predictions)


def on_common_samples(selection: Selection) -> Selection:
    """The selection on the samples that all cells have."""
    common = set.intersection(*(set(result.ids()) for result in selection.results))
    if not common:
        raise BenchError(f"{selection.task.name}: the cells have no sample in common")
    scored = [
        replace(one, results={name: result.only(common) for name, result in one.results.items()})
        for one in selection.scored
    ]
    predictions = selection.predictions and selection.predictions.only(common)
    return replace(selection, scored=scored, predictions=predictions)


def with_the_same_samples(selection: Selection) -> Selection:
    """The selection, or BenchError if its cells are not of the same samples."""
    first = selection.results[0]
    ids = sorted(first.ids())
    for result in selection.results[1:]:
        if result.record["samples"] != len(ids) or sorted(result.ids()) != ids:
            raise BenchError(
                f"{result.path} is of other samples than {first.path}; run them again with rerun=true"
            )
    return selection
