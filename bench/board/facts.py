"""What an entry of the board says of data, model, method, metrics and numbers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bench.config import target_of
from bench.errors import BenchError
from metrics import Metric

Key = tuple[str, int]  # a metric of a task and its k, 0 where it has none


def list_name(limit: int | None, seed: int) -> str:
    """What a list of samples of a data set is called: all of them, or those that ``limit`` draws."""
    return "all" if limit is None else f"{limit} drawn with seed {seed}"


@dataclass(frozen=True)
class Said:
    """A data set or a model: what it is called, and what it is made of.

    Attributes:
        name: of the folder on the board.
        title: for readers.
        made_of: its part of the cells' identity: ``target``, ``settings``, ``code``, and of a model ``content``,
            the digests of its weights; that of data is said of each list of samples (:attr:`Part.content`).
    """

    name: str
    title: str
    made_of: Mapping[str, Any] = field(repr=False)


@dataclass(frozen=True)
class OfMethod:
    """The method of an entry.

    Attributes:
        name: as in ``method=``.
        label: the name; of a variant, with the settings in which it is not what the name stands for.
        title: for readers.
        kind: ``method``, ``ablation`` (a part of another), ``floor`` or ``ceiling``.
        family: of methods that work alike: attention, gradient, relevance, perturbation, …
        made_of: its part of the cells' identity: ``target``, ``settings``, ``code``, ``content``.
        source: of a method that is not the project's own, the ``url`` and the ``commit`` of its repository, or the
            ``distribution`` that it is installed from; None for one of the project's own.
        word_score: how it says that pieces make a word, ``sum``, ``max`` or ``mean``; None if it says nothing.
    """

    name: str
    label: str
    title: str
    kind: str
    family: str
    made_of: Mapping[str, Any] = field(repr=False)
    source: Mapping[str, str] | None = None
    word_score: str | None = None

    @property
    def is_floor(self) -> bool:
        """Whether it is a row to read others by: it competes with none."""
        return self.kind == "floor"

    @property
    def is_default(self) -> bool:
        """Whether it is what its name stands for: of several settings of a method only this one is ranked."""
        return self.label == self.name


@dataclass(frozen=True)
class MetricFacts:
    """A metric as a part's numbers have it.

    Attributes:
        title, unit, higher_is_better: as in :class:`metrics.Metric`; None for a description.
        family: ``faithfulness``, ``localisation``, ``plausibility``, ``robustness``, ``sanity``, or the task's name.
        version: of the metric's code.
        section: its ``_target_`` and arguments.
        reads: the names of the measurements (:attr:`Part.measurements`) whose columns it reads.
    """

    title: str
    unit: str
    higher_is_better: bool | None
    family: str
    version: int
    section: Mapping[str, Any] = field(repr=False)
    reads: Sequence[str] = field(default=(), repr=False)

    def built(self, name: str) -> Metric:
        """The metric itself: only of a section that was found on the list of what is known.

        Raises:
            BenchError: if it cannot be imported or does not take its arguments.
        """
        arguments = {key: value for key, value in self.section.items() if key != "_target_"}
        try:
            return target_of(f"metric {name}", self.section)(**arguments)
        except (TypeError, ValueError) as e:
            raise BenchError(f"metric {name}: {e}") from e


@dataclass(frozen=True)
class Number:
    """A number with its 95 % interval over samples.

    Attributes:
        metric: its name in the task.
        k: the number that it is a function of; 0 where there is none.
        value, low, high: None where the metric is defined on no sample.
        interval: how the interval was made: :func:`metrics.intervals`.
        samples: on how many samples the metric is defined.
        scale: of a mean over samples; None of a pooled ratio.
        proportion: whether it is the share of samples with some property.
        ends: the terms of a sample at either end of the range, (2, terms); None if that is not known.
    """

    metric: str
    k: int
    value: float | None
    low: float | None
    high: float | None
    interval: str
    samples: int
    scale: float | None
    proportion: bool = False
    ends: Sequence[Sequence[float]] | None = field(default=None, repr=False)

    @property
    def column(self) -> str:
        """Of the per-sample rows: ``srg``, or ``token_f1@20``."""
        return f"{self.metric}@{self.k}" if self.k else self.metric


@dataclass(frozen=True)
class Part:
    """What one task gave under one protocol.

    Attributes:
        task: its name.
        protocol, version: the protocol's name and version.
        protocol_label: the same with settings that were changed, as in ``paper v1 with perturbation.fill=mean``.
        suite: under which data set and model are chosen.
        choices: what the command line named beside suite, task, protocol and method: ``dataset``, ``model``.
        on: the name of the list of samples: ``all``, or ``100 drawn with seed 0`` (:func:`list_name`).
        seed: of what is drawn: samples, and the bootstrap.
        samples: how many samples there are.
        ids_sha256: of their sorted ids (:func:`ids_digest`).
        content: the digest of the content of these samples.
        inputs: how samples are brought to the model's size.
        measurements: by name, what was measured: ``target``, ``settings``, ``code``.
        metrics: by name.
        numbers: by metric and k.
        cost: ``seconds`` per map, ``device``, ``batch_size``, ``peak_memory_bytes``; None where not recorded.
        versions: of Python, of the packages, and the commit of the project.
        rows: the name of the Parquet file with the per-sample scores, and its SHA-256.
        maps: the same of the raw maps; None where they are too large, or no map is kept.
        note: a sentence that a reader must know, such as why there are no maps.
        checks: what was checked of the maps while they were made (:mod:`bench.runner.records`).
    """

    task: str
    protocol: str
    version: int
    protocol_label: str
    suite: str
    choices: Mapping[str, str]
    on: str
    seed: int
    samples: int
    ids_sha256: str
    content: Any
    inputs: Mapping[str, Any] = field(repr=False)
    measurements: Mapping[str, Mapping[str, Any]] = field(repr=False)
    metrics: Mapping[str, MetricFacts] = field(repr=False)
    numbers: Mapping[Key, Number] = field(repr=False)
    cost: Mapping[str, Any] = field(repr=False)
    versions: Mapping[str, str] = field(repr=False)
    rows: Sequence[str] = ()
    maps: Sequence[str] | None = None
    note: str = ""
    checks: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @property
    def key(self) -> tuple[str, str]:
        """What there is one of in an entry: task and protocol."""
        return self.task, self.protocol
