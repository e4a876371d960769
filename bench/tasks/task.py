"""What all tasks have in common."""

import math
from collections.abc import Callable, Collection, Sequence
from itertools import pairwise
from typing import Literal, Protocol

import pandas as pd
import torch
from torch import Tensor

from bench.errors import BenchError
from methods import NoAttentionError, NoRuleError, RefusedError
from metrics import Metric, Statistic

Explained = Literal["predicted", "target"]
KNOWN = (NoAttentionError, NoRuleError, RefusedError)


class Task(Protocol):
    """A task of the benchmark."""

    name: str
    metrics: Sequence[Metric]

    def check(self, model, dataset, sample) -> None:
        """Raises BenchError if the task cannot be run with this model on this data set.

        Args:
            sample: one of it.
        """

    def preparation(self, model) -> Callable:
        """What is done to each sample where it is loaded, maybe in a process of its own: it is pickled."""

    def rows(self, model, method: Callable, samples: Sequence, explained: Explained) -> pd.DataFrame:
        """Explain a batch of prepared samples and evaluate the maps: one row per sample, its ``id`` first."""

    def statistics(self, rows: pd.DataFrame) -> dict[str, Statistic]:
        """The metrics of a cell by name, from the rows of all its samples."""


def expect(kind: type, name: str, value, remedy: str) -> None:
    """Raises BenchError if a model or a data set is of the other modality."""
    if not isinstance(value, kind):
        raise BenchError(f"{name}: expected {kind.__name__}, got {type(value).__name__}; {remedy}")


class Oracle:
    """The annotation itself as the map: the ceiling of a metric.

    No method, as it explains no model: a task that has annotations scores them in the place of a map.
    """

    class_specific = False


def explain(
    method: Callable, forward: Callable, inputs, target: Tensor, ids: Sequence[str], annotation: Tensor | None
) -> Tensor:
    """Call a method and look at what it returns.

    Args:
        annotation: what the :class:`Oracle` returns, in a shape that methods return; None where a task has
            no annotation of what is relevant.

    Raises:
        BenchError: if the method refuses, or naming the samples whose relevance is not finite.
    """
    if isinstance(method, Oracle):
        if annotation is None:
            raise BenchError(
                "method=oracle: the samples of this task have no annotation of what is relevant; "
                "choose task=segmentation or task=token_f1"
            )
        return annotation
    try:
        relevance = method(forward, inputs, target)
    except ValueError as e:
        # What our methods raise for settings and models they cannot handle. A user's own may have a bug.
        while hasattr(method, "method"):  # within bench.sanity.Checked and its like
            method = method.method
        if not type(method).__module__.startswith("methods.") and not isinstance(e, KNOWN):
            raise
        raise BenchError(f"method: {e}") from e
    if not isinstance(relevance, Tensor) or relevance.ndim < 2:
        found = tuple(relevance.shape) if isinstance(relevance, Tensor) else type(relevance).__name__
        raise BenchError(
            f"method: {type(method).__name__} returned {found}; expected a tensor, (batch, tokens) or "
            "(batch, height, width)"
        )
    finite = relevance.flatten(1).isfinite().all(dim=1)
    if not finite.all():
        bad = [sample_id for sample_id, ok in zip(ids, finite.tolist(), strict=True) if not ok]
        raise BenchError(
            f"method: {type(method).__name__} returned NaN or infinite relevance for {', '.join(bad)}; "
            "a map must be finite to be ranked"
        )
    return relevance


def check_only_correct(value, task: str) -> bool:
    """The setting ``only_correct`` of a protocol, or BenchError if it is not true or false."""
    if not isinstance(value, bool):
        raise BenchError(f"protocol.{task}.scores.only_correct={value}: expected true or false")
    return value


def check_some(key: str, value, known: Collection[str]) -> list[str]:
    """A setting that lists some of the ``known`` names, or BenchError if it does not."""
    if not isinstance(value, list) or not value or not all(name in list(known) for name in value):
        raise BenchError(f"{key}={value}: expected a list of one or more of {', '.join(known)}")
    return value


def is_number(value) -> bool:
    """Whether a setting is a finite number; true and false, to Python 1 and 0, are none."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def is_rising(values) -> bool:
    """Whether a setting is a list of numbers, each larger than the one before."""
    return (
        isinstance(values, list)
        and all(is_number(value) for value in values)
        and all(a < b for a, b in pairwise(values))
    )


def only_correct(rows: pd.DataFrame, wanted: bool) -> pd.DataFrame:
    """The rows of the samples that the model classifies correctly, if only these are wanted."""
    return rows[rows["label"] == rows["predicted"]] if wanted else rows


def explained_classes(explained: Explained, predicted: Tensor, labels: Sequence[int | None]) -> Tensor:
    """The class to explain for each sample, (batch,).

    Raises:
        BenchError: if the annotated class is asked for and the data set has none.
    """
    if explained == "predicted":
        return predicted
    if explained != "target":
        raise BenchError(f"explained={explained!r}: expected predicted or target")
    if None in labels:
        raise BenchError("explained=target: this data set has no annotated classes; use explained=predicted")
    return torch.tensor(labels, device=predicted.device)
