"""What is computed of maps, and how a task bundles it: measurements, variants of an explanation, tasks."""

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from typing import Any, ClassVar, Literal, Protocol

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from bench.config import build, target_of
from bench.errors import BenchError
from bench.models import Batch, Maps, Model
from bench.models.base import Inputs, Modality
from metrics import Metric, Statistic

ExplainedClass = Literal["predicted", "target"]


class Oracle:
    """The annotation itself as the map: the ceiling of a metric.

    It is not a method, as it explains no model: the runner takes what is annotated in the place of a map.
    """

    class_specific: ClassVar[bool] = False
    version: ClassVar[int] = 1

    def map(self, annotation: Tensor) -> Tensor:
        """Relevance (batch, …), float64, from what is annotated, boolean or numbers in 0..1."""
        return annotation.double()


class ReversedOracle(Oracle):
    """All but the annotation as the map: the worst there is, which a metric that works puts below a random map."""

    def map(self, annotation: Tensor) -> Tensor:
        """1 where nothing is annotated."""
        return 1 - annotation.double()


@dataclass(frozen=True, eq=False)
class MeanAnnotation(Oracle):
    """The mean of the masks of all other samples as the map, whatever the image: a floor.

    What a map is worth that knows where this data set's objects are as a rule, and nothing of the image or the model.

    Args:
        total: the sum of all masks, the sample's own among them, (height, width); the benchmark fills it in.
        samples: how many masks that are.
    """

    total: Tensor | None = None
    samples: int = 0

    def map(self, annotation: Tensor) -> Tensor:
        """The mean mask of the others.

        Raises:
            BenchError: for texts, for a single sample, or if nobody summed the masks.
        """
        if annotation.ndim != 3:
            raise BenchError(
                "method=mean_annotation: it is a floor for masks, as words have no common place; "
                "choose a task for images"
            )
        if self.total is None or self.samples < 2:
            raise BenchError(
                f"method=mean_annotation: {self.samples} masks; it is the mean of the others' and needs 2 or more"
            )
        return (self.total.to(annotation.device) - annotation.double()) / (self.samples - 1)


@dataclass(frozen=True)
class Variant:
    """Another explanation of the same samples, for measurements that compare two: what is changed.

    A subclass changes one thing; its fields are part of the identity of the explanation that it makes.
    """

    version: ClassVar[int] = 1

    def inputs(self, inputs: Inputs, ids: Sequence[str]) -> Inputs:
        """What the model is called with, from what it is called with for the plain explanation."""
        return inputs

    def model(self, model: Model) -> AbstractContextManager:
        """While it is entered, the model is changed; the class to explain is found before that."""
        return nullcontext()

    def target(self, logits: Tensor, target: Tensor) -> Tensor:
        """The class to explain, (batch,), given the logits (batch, classes) and the class explained otherwise."""
        return target


@dataclass(frozen=True)
class AnotherClass(Variant):
    """The likeliest class but for the one that is explained."""

    def target(self, logits: Tensor, target: Tensor) -> Tensor:
        """The runner-up, where the predicted class is explained; else the predicted class."""
        if logits.shape[1] < 2:
            raise BenchError(
                "model: it has one class, so there is no other to explain; leave this metric out"
            )
        return logits.scatter(1, target[:, None], -torch.inf).argmax(dim=1)


@dataclass(frozen=True)
class Explanations:
    """A batch of samples with the maps of their explanation, as measurements get it.

    Attributes:
        model: the explained model.
        batch: the samples.
        numbers: the index of the logit of each class of the data set.
        predictions: the model's own classes, numbered as by the data set, (batch,), or what gives them: a
            measurement that does not ask for them costs no forward pass.
        maps: the maps; None for a measurement of the model alone.
        others: the maps of the variants that the measurement asked for.
        explained: which class is explained, ``predicted`` or ``target``.
    """

    model: Model
    batch: Batch
    numbers: Sequence[int]
    predictions: Tensor | Callable[[], Tensor] = field(repr=False)
    maps: Maps | None = None
    others: Mapping[Variant, Maps] = field(default_factory=dict)
    explained: ExplainedClass = "predicted"

    @cached_property
    def target(self) -> Tensor:
        """The explained classes, numbered as by the data set, (batch,)."""
        if self.maps is not None:
            return self.maps.target
        return explained_classes(self.explained, self.predicted, self.batch.labels)

    @cached_property
    def predicted(self) -> Tensor:
        """The model's own classes, numbered as by the data set, (batch,)."""
        return self.predictions() if callable(self.predictions) else self.predictions

    @cached_property
    def pixels(self) -> Tensor:
        """The maps of images as tasks score them: :meth:`bench.models.Maps.pixels` of the size of the images."""
        return self.maps.pixels(tuple(self.batch.inputs.shape[-2:]))


class Measurement(Protocol):
    """From maps, and predictions of the model, to columns with one entry per sample; never calls a method.

    Measurements are frozen dataclasses: their fields are the settings that change the columns.

    Attributes:
        name: of the folder in which the columns are kept.
        version: rises when the same settings give other columns.
        modality: of the samples; None for both.
        needs_maps: False for columns that depend on the model and the data alone: all methods share them.
        class_specific: whether the columns depend on the explained class otherwise than through the maps.
        variants: the other explanations that it compares.

    One that runs the model says in ``passes(units) -> int`` how many forward passes it makes of a sample of so many
    units, beside those of explanations, for plans of what a sweep costs.
    """

    name: ClassVar[str]
    version: ClassVar[int]
    modality: ClassVar[Modality | None]
    needs_maps: ClassVar[bool]
    class_specific: ClassVar[bool]
    variants: Sequence[Variant]

    def check(self, model: Model, sample: Any) -> None:
        """Raises BenchError if this cannot be measured on such a model and such samples."""

    def measure(self, explanations: Explanations) -> dict[str, Sequence]:
        """The columns by name, each with one entry per sample of the batch."""


@dataclass(frozen=True)
class Task:
    """A named bundle: a kind of data, the class that is explained, metrics, and how its table is laid out.

    Args:
        name: of its files and in ``task=``.
        title: for readers.
        modality: ``image`` or ``text``.
        explained: the class that is explained unless another is asked for.
        inputs: how samples are brought to the model's size.
        metrics: for each its section of the configuration: ``_target_``, its arguments, and under ``reads``
            the measurements whose columns it reads.
        table: facts for tables, pages and figures: ``make`` (the target that makes the table), ``experiments``
            (files of ``conf/experiment`` with its cells), ``family`` (of its metrics, on the board), ``caption`` (of
            its curves), ``published_on`` (model and data of the published numbers, in words) and ``published`` (the
            titles of both), ``protocol`` (the sections of a protocol that concern it).

    Raises:
        BenchError: for a metric or a measurement that cannot be made.
    """

    name: str
    title: str
    modality: Modality
    explained: ExplainedClass
    inputs: Mapping[str, Any]
    metrics: Mapping[str, Mapping[str, Any]]
    table: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self):
        if not self.metrics:
            raise BenchError(f"task.metrics: {self.name} has no metric; add one with +metric=NAME")
        reads = self._reads  # builds the measurements, whose messages name the protocol's own keys
        for name, metric in self.built_metrics().items():  # a mistake is found now, not after hours
            if metric.columns and not reads[name]:
                raise BenchError(
                    f"task.metrics.{name}.reads: it needs {', '.join(metric.columns)}; name the measurements that "
                    "have these columns"
                )

    def built_metrics(self) -> dict[str, Metric]:
        """The metrics by name, in the order of the table's columns."""
        return {name: _metric(name, section) for name, section in self.metrics.items()}

    def measurements(self) -> list[tuple[dict[str, Any], Measurement]]:
        """The measurements that the metrics read, each once, with its section of the configuration."""
        return [(section, build("measurement", section)) for section in self._sections]

    def measured_names(self) -> list[str]:
        """What each of :meth:`measurements` is called in this task.

        Its own name; one that is made twice, under other settings, is called ``masking 2`` the second time.
        """
        names: list[str] = []
        for _, measurement in self.measurements():
            again = sum(name.partition(" ")[0] == measurement.name for name in names)
            names.append(f"{measurement.name} {again + 1}" if again else measurement.name)
        return names

    def missing(self, tables: Collection[str]) -> dict[str, list[str]]:
        """The metrics that cannot be had of some measurements, and for each those that it lacks.

        Args:
            tables: the names of the measurements that are there.
        """
        lacking = {name: [read for read in self._reads[name] if read not in tables] for name in self.metrics}
        return {name: names for name, names in lacking.items() if names}

    def columns(self, metric: str, tables: Mapping[str, pd.DataFrame]) -> dict[str, np.ndarray]:
        """The columns of the measurements that a metric reads, for the samples that all of these have.

        Args:
            metric: its name.
            tables: the rows of each measurement, by the names of :meth:`measured_names`.

        Raises:
            BenchError: if a measurement is not there, or two of them have columns of one name.
        """
        if lacking := [read for read in self._reads[metric] if read not in tables]:
            raise BenchError(
                f"metric {metric}: it needs {', '.join(lacking)}; run the cells with this metric"
            )
        try:
            return joined([tables[read] for read in self._reads[metric]])
        except ValueError as e:
            raise BenchError(f"metric {metric}: {e}") from e

    def statistics(self, tables: Mapping[str, pd.DataFrame]) -> dict[tuple[str, int], Statistic]:
        """Each metric at each k (0 where there is none), from the columns of measurements.

        Metrics whose measurements are not there are left out: :meth:`missing` names them.

        Args:
            tables: the rows of each measurement, by the names of :meth:`measured_names`; samples that are not in
                all are left out.

        Raises:
            BenchError: if a metric cannot be computed from the columns of its measurements.
        """
        found, known, lacking = {}, {}, self.missing(tables)
        for name, metric in self.built_metrics().items():
            if name in lacking:
                continue
            read = tuple(self._reads[name])
            columns = known[read] = known.get(read) or self.columns(name, tables)
            try:
                statistics = metric.statistics(columns)
            except (KeyError, ValueError) as e:
                raise BenchError(f"metric {name}: it cannot read the columns {sorted(columns)}: {e!r}") from e
            found |= {(name, k): statistic.bounded(*metric.range) for k, statistic in statistics.items()}
        return found

    def summary(self, tables: Mapping[str, pd.DataFrame]) -> dict[str, float]:
        """The metrics of a cell: by ``name``, or ``name@k`` for each k; NaN where no sample is scored."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return {
                f"{name}@{k}" if k else name: statistic.value
                for (name, k), statistic in self.statistics(tables).items()
            }

    @cached_property
    def _sections(self) -> list[Mapping[str, Any]]:
        """The sections of the measurements, each once: those of one metric after those of the one before."""
        sections: list[Mapping[str, Any]] = []
        for section in self.metrics.values():
            sections += [s for s in section["reads"].values() if s not in sections]
        return sections

    @cached_property
    def _reads(self) -> dict[str, list[str]]:
        """The names of the measurements that each metric reads."""
        names = self.measured_names()
        return {
            metric: [names[self._sections.index(read)] for read in section["reads"].values()]
            for metric, section in self.metrics.items()
        }

    def needs_labels(self) -> bool:
        """Whether a metric compares predictions with annotated classes."""
        return any("label" in metric.columns for metric in self.built_metrics().values())


def joined(tables: Sequence[pd.DataFrame]) -> dict[str, np.ndarray]:
    """The columns of several tables, on the samples that are in all of them, in the order of their ids.

    Raises:
        ValueError: if two tables have a column of one name, or there is no table.
    """
    if not tables:
        raise ValueError("it reads no measurement; name those whose columns it needs under reads")
    every = [column for table in tables for column in table if column != "id"]
    if twice := sorted({column for column in every if every.count(column) > 1}):
        raise ValueError(f"two of the measurements have a column {twice[0]}")
    in_order = [table.sort_values("id", ignore_index=True) for table in tables]
    if any(not table["id"].equals(in_order[0]["id"]) for table in in_order):
        common = set.intersection(*(set(table["id"]) for table in in_order))
        in_order = [table[table["id"].isin(common)] for table in in_order]
    return {column: table[column].to_numpy() for table in in_order for column in table}


def _metric(name: str, section: Mapping[str, Any]) -> Metric:
    if not isinstance(target := target_of(f"metric {name}", section), type) or not issubclass(target, Metric):
        raise BenchError(
            f"metric {name}: _target_={section['_target_']} is not a metric; expected a subclass of metrics.Metric"
        )
    arguments = {key: value for key, value in section.items() if key != "reads"}
    return build(f"metric {name}", arguments, description={"_target_"})


def explained_classes(explained: ExplainedClass, predicted: Tensor, labels: Sequence[int | None]) -> Tensor:
    """The class to explain for each sample, (batch,), numbered as by the data set.

    Raises:
        BenchError: if the annotated class is asked for and the data set has none.
    """
    if explained == "predicted":
        return predicted
    if None in labels:
        raise BenchError("explained=target: this data set has no annotated classes; use explained=predicted")
    return torch.tensor(labels, device=predicted.device)


def expect_modality(expected: Modality, model: Model, sample: Any) -> None:
    """Raises BenchError if a model or the samples of a data set are of the other modality."""
    choice = {
        "image": ("choose model=timm or a suite's image model", "choose a data set of images"),
        "text": ("choose model=transformers or a suite's text model", "choose a data set of documents"),
    }[expected]
    if model.modality != expected:
        raise BenchError(f"model: expected a model of {expected}s, got {model!r}; {choice[0]}")
    is_text = hasattr(sample, "words")
    if is_text != (expected == "text"):
        raise BenchError(f"dataset: expected {expected}s, got {type(sample).__name__}; {choice[1]}")


def is_number(value: Any) -> bool:
    """Whether a setting is a finite number; true and false, to Python 1 and 0, are not."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def is_rising(values: Any) -> bool:
    """Whether a setting is a list of numbers, each larger than the one before."""
    return (
        isinstance(values, (list, tuple))
        and all(is_number(value) for value in values)
        and all(a < b for a, b in pairwise(values))
    )
