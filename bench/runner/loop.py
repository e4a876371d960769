"""The loop: explain once, score many. Nothing else in the benchmark explains the samples of a data set."""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import compress
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from bench.cli import progress, say
from bench.errors import BenchError
from bench.models import Batch, Maps, Model
from bench.models.base import predicted
from bench.runner.batches import BatchSize, evaluated, loaded, readers_may_die, seed_everything
from bench.runner.checks import Checks
from bench.runner.explain import explain, with_frequencies, with_masks, with_prefix_tokens
from bench.runner.foreign import ForeignMaps, real_tokens
from bench.runner.reading import reading, refuse_long
from bench.runner.records import merged
from bench.runner.resources import Meter, device_of, keep_freed_memory, versions
from bench.runner.sweep import ended_by_signals
from bench.store.blocks import POSITION, Part, Work
from bench.store.cells import Cell, KeptMaps
from bench.tasks import Explanations, Measurement, Variant
from bench.tasks.base import explained_classes


@dataclass
class Filled:
    """A cell that a run fills.

    Attributes:
        cell: the cell.
        work: what is kept of it until it is finished.
        shard: of the work, to which the rows go.
        left: the positions of the samples that it lacks.
        measurement: what makes its columns; None for the maps themselves.
        variant: which explanation the maps are of; None for the plain one.
        unkept: whether the maps turned out to be of pixels, which are not to be kept.
    """

    cell: Cell
    work: Work
    shard: int
    left: set[int]
    measurement: Measurement | None = None
    variant: Variant | None = None
    unkept: bool = False
    _rows: list[pd.DataFrame] = field(default_factory=list)
    _read: list[Mapping[str, int]] = field(default_factory=list)

    def add(self, rows: pd.DataFrame, read: Sequence[Mapping[str, int]] = ()) -> None:
        """Take those rows of a batch that it lacks.

        Args:
            read: of each of the batch's texts, :attr:`bench.models.Batch.read`.
        """
        lacking = [position in self.left for position in rows[POSITION]]
        self._rows.append(rows[lacking])
        self._read += list(compress(read, lacking))

    @property
    def explanations(self) -> list[Variant | None]:
        """The explanations whose maps it takes; None is the plain one."""
        if self.measurement is None:
            return [self.variant]
        return [*([None] if self.measurement.needs_maps else []), *self.measurement.variants]

    def take(self) -> pd.DataFrame:
        """The rows since the last time."""
        rows = pd.concat(self._rows, ignore_index=True) if self._rows else pd.DataFrame({POSITION: []})
        self._rows.clear()
        return rows

    def take_read(self) -> dict[str, int]:
        """How much of texts was read since the last time (:func:`bench.runner.reading.reading`)."""
        read = reading(self._read)
        self._read.clear()
        return read


@dataclass
class Explainer:
    """A model with a method, as the loop, the pages and the notebook functions use it.

    Attributes:
        model: the model, on its device.
        method: the method, or the oracle.
        numbers: the index of the logit of each class of the data set.
        explained: ``predicted`` or ``target``.
        kept: finished explanations to take maps from, by their variant (None: the plain one).
        known: predicted classes that are stored already, by the ids of the samples.
        checks: what is checked of the method meanwhile.
    """

    model: Model
    method: Callable
    numbers: Sequence[int]
    explained: str
    kept: Mapping[Variant | None, KeptMaps] = field(default_factory=dict)
    known: Mapping[str, int] = field(default_factory=dict)
    checks: Checks | None = None

    def predicted(self, batch: Batch) -> Tensor:
        """The predicted classes, from the store where they are all there, else by a forward pass."""
        if all(name in self.known for name in batch.ids):
            return torch.tensor([self.known[name] for name in batch.ids], device=self.model.device)
        return predicted(self.model, batch.inputs, self.numbers)

    def maps(self, batch: Batch, predictions: Tensor, variant: Variant | None = None) -> Maps:
        """The maps of a batch, made by the method."""
        target, inputs = explained_classes(self.explained, predictions, batch.labels), None
        if variant is not None:
            if isinstance(self.method, ForeignMaps):
                raise BenchError(
                    f"maps={self.method.path}: a metric compares each map with another ({variant}), which the file "
                    "does not hold; leave that metric out"
                )
            with torch.inference_mode():
                logits = self.model.forward(batch.inputs)[:, list(self.numbers)]
            target = variant.target(logits, target).clone()
            inputs = variant.inputs(batch.inputs, batch.ids)
        with nullcontext() if variant is None else variant.model(self.model):
            return explain(self.method, self.model, batch, target, self.numbers, inputs, self.checks)

    def kept_maps(
        self, batch: Batch, predictions: Callable[[], Tensor], variant: Variant | None, exact: bool
    ) -> Maps | None:
        """The maps of a batch from the store; None if they are not all there.

        Args:
            predictions: gives the predicted classes; called only if they are stored or have to be known.
            exact: whether the explained class has to be known, which costs a forward pass where the predicted
                one is explained and not stored.

        Raises:
            BenchError: if they were made for other classes than those to explain.
        """
        kept = self.kept.get(variant)
        if kept is None or not all(name in kept for name in batch.ids):
            return None
        maps = restored([kept[name] for name in batch.ids], batch, self.model)
        maps = replace(maps, word_score=getattr(self.method, "word_score", None))
        if variant is not None:
            return maps
        if self.explained == "predicted" and not exact and not all(name in self.known for name in batch.ids):
            return maps
        target = predictions() if self.explained == "predicted" else maps.target
        target = explained_classes(self.explained, target, batch.labels)
        if getattr(self.method, "class_specific", True) and maps.target.tolist() != target.tolist():
            which = next(i for i, (a, b) in enumerate(zip(maps.target, target, strict=True)) if a != b)
            raise BenchError(
                f"{batch.ids[which]}: its kept map explains class {int(maps.target[which])}, but class "
                f"{int(target[which])} is to be explained, as the model predicts another class here than where the "
                "map was made; explain all anew with rerun=true"
            )
        return replace(maps, target=target)


def fill(
    config: Mapping[str, Any],
    filled: Sequence[Filled],
    dataset: Any,
    model: Model,
    method: Callable,
    kept: Mapping[Variant | None, KeptMaps],
    known: Mapping[str, int],
) -> None:
    """Compute what cells lack, in one pass over their samples. Whatever ends it, the rows that are there are kept.

    Args:
        config: the resolved configuration.
        filled: the cells.
        dataset: all samples of the cells.
        kept, known: what the store has already (:class:`Explainer`).

    Raises:
        BenchError: for everything the user can mend.
    """
    keep_freed_memory()
    seed_everything(config["seed"])
    settings, skipping = config["task"]["inputs"], config["on_bad_sample"] == "skip"
    model = model.to(device_of(config["device"]))
    sample = first_sample(dataset, skipping)
    measurements = [one.measurement for one in filled if one.measurement is not None]
    method, numbers = fitted(config, measurements, dataset, sample, model, method)
    if model.modality == "text" and config["on_long_text"] == "refuse":
        refuse_long(model, dataset, sorted(set().union(*(one.left for one in filled))), settings)
    checks = Checks.of(method)
    explainer = Explainer(model, method, numbers, config["explained"], kept, known, checks)
    batch_size, meter = BatchSize.of(config["batch_size"], model.device), Meter(model.device)
    attempt = nullcontext if checks is None else checks.attempt

    def evaluate(items: list) -> int:
        positions, samples = zip(*items, strict=True)
        lacking = [one for one in filled if not one.left.isdisjoint(positions)]

        def seeded(make: Callable, *arguments: Any) -> Any:
            # What is drawn depends neither on where a run took up the work nor on what was kept already.
            seed_everything(config["seed"], positions[0])
            return make(*arguments)

        with attempt(), meter.phase("evaluate"):
            batch = model.batch(samples, settings)
            _check_labels(batch, numbers, config)
            predictions = cache(lambda: explainer.predicted(batch))
            exact = any(one.measurement is not None and one.measurement.class_specific for one in lacking)
            needed = dict.fromkeys(variant for one in lacking for variant in one.explanations)
            maps = {v: explainer.kept_maps(batch, predictions, v, exact) for v in needed}
            for variant in [v for v, kept_ones in maps.items() if kept_ones is None]:
                classes = predictions()
                with meter.phase("explain"):
                    maps[variant] = seeded(explainer.maps, batch, classes, variant)
            explanations = Explanations(
                model, batch, numbers, predictions, maps.pop(None, None), maps, config["explained"]
            )
            columns = [(one, seeded(_columns, one, explanations)) for one in lacking]
            read = [] if batch.words is None else batch.read
        for one, of_batch in columns:  # only now: the batch may be tried again, if memory runs out
            if of_batch is None:
                one.unkept = True
            else:
                one.add(pd.DataFrame({POSITION: positions, "id": batch.ids, **of_batch}), read)
        return len(items)

    left = sorted(set().union(*(one.left for one in filled)))
    reused = kept[None].result.record.get("checks", {}) if None in kept else {}
    saving = Saving(config, filled, model, meter, batch_size, checks, reused)
    with (
        progress(str(filled[-1].cell), len(left), "sample", config["save_every"]) as advance,
        ended_by_signals(),
        readers_may_die(),
    ):
        try:
            samples = meter.during(
                "load", loaded(config, dataset, left, model.preparation(settings), saving.skip)
            )
            for count in evaluated(evaluate, samples, batch_size, across=config["batch_size"] == "auto"):
                saving.advance(count)
                advance(count)
        except BaseException:
            with suppress(BenchError):  # the first error says more
                saving.save()
            if saving.saved:
                say(
                    f"{filled[-1].cell}: {saving.saved} of {len(left)} samples are saved; start it again to go on"
                )
            raise
        saving.save()


def fitted(
    config: Mapping[str, Any],
    measurements: Sequence[Measurement],
    dataset: Any,
    sample: Any,
    model: Model,
    method: Callable,
) -> tuple[Callable, Sequence[int]]:
    """The method for a model, and the index of the logit of each class of the data set.

    Args:
        sample: of the data set.

    Raises:
        BenchError: if measurements, data set, model and method do not fit each other.
    """
    for measurement in measurements:
        measurement.check(model, sample)
    model.check(config["task"]["inputs"])
    method = with_prefix_tokens(method, model, config["method"])
    if model.modality == "text":
        method = with_frequencies(method, dataset)
    else:
        method = with_masks(method, model, dataset, config["task"]["inputs"])
    if isinstance(method, ForeignMaps):
        method.check(config, model)
    return method, model.numbers(getattr(dataset, "classes", None))


class Saving:
    """Rows on their way to the disk: every ``save_every`` seconds, and at the end."""

    def __init__(
        self,
        config: Mapping[str, Any],
        filled: Sequence[Filled],
        model: Model,
        meter: Meter,
        batch_size: BatchSize,
        checks: Checks | None,
        reused: Mapping[str, Any],
    ):
        self._config, self._filled, self._model = config, filled, model
        self._meter, self._batch_size, self._checks, self._reused = meter, batch_size, checks, reused
        self._skipped: dict[int, str] = {}
        self._last, self._clock = time.monotonic(), time.time()
        self._waiting = self.saved = 0

    def skip(self, position: int, error: BenchError) -> None:
        """Note a sample that cannot be read, or raise its error if such samples are not to be skipped."""
        if self._config["on_bad_sample"] != "skip":
            raise error
        say(f"skipped: {error}")
        self._skipped[position] = str(error)

    def advance(self, count: int) -> None:
        """Count samples that are done; save them if it is time to."""
        self._waiting += count
        if time.monotonic() - self._last >= self._config["save_every"]:
            self.save()

    def save(self) -> None:
        """Save what there is.

        Raises:
            BenchError: if the results folder cannot be written to.
        """
        if not self._waiting and not self._skipped:
            return
        origin = self._origin()
        for one in self._filled:
            rows = one.take()
            skipped = {position: why for position, why in self._skipped.items() if position in one.left}
            if len(rows) or (skipped and not one.unkept):
                own = {"checks": origin["checks"] if one.explanations else {}, "texts": one.take_read()}
                one.work.keep(one.shard, Part(rows, skipped, origin | own))
        self.saved += self._waiting
        self._waiting = 0
        self._skipped.clear()
        self._last = time.monotonic()

    def _origin(self) -> dict[str, Any]:
        """What was computed with since the last time, and how long it took."""
        since, self._clock = self._clock, time.time()
        return {
            "device": str(self._model.device),
            "seconds": round(self._clock - since, 3),
            "seconds_by_phase": self._meter.take(),
            "batch_size": self._batch_size.size,
            "peak_memory_bytes": self._batch_size.memory.peak(),
            "versions": versions(),
            "checks": merged([self._reused, {} if self._checks is None else self._checks.take()]),
        }


def _columns(one: Filled, explanations: Explanations) -> dict[str, Sequence] | None:
    """The columns of a cell for a batch; None for maps of pixels that are not to be kept."""
    if one.measurement is not None:
        return one.measurement.measure(explanations)
    maps = explanations.maps if one.variant is None else explanations.others[one.variant]
    of_pixels = (
        explanations.batch.words is None and maps.values.shape[1:] == explanations.batch.inputs.shape[-2:]
    )
    if of_pixels and one.cell.config["keep"] != "pixels":
        return None
    return _kept_columns(maps, explanations.batch)


def _kept_columns(maps: Maps, batch: Batch) -> dict[str, Sequence]:
    """Maps as rows of the store: float32, with sign and scale, of texts without the padding."""
    values, prefix = maps.values.cpu().numpy(), maps.prefix.cpu().numpy()
    if batch.words is None:
        columns = {"map": [m.ravel() for m in values], "shape": [list(values.shape[1:])] * len(values)}
    else:
        real, ids = real_tokens(batch).cpu().numpy(), batch.inputs["input_ids"].cpu().numpy()
        columns = {
            "map": [m[r] for m, r in zip(values, real, strict=True)],
            "shape": [[int(r.sum())] for r in real],
            "input_ids": [i[r] for i, r in zip(ids, real, strict=True)],
        }
    return {"explained_class": maps.target.tolist(), "prefix": list(prefix), **columns}


def restored(rows: Sequence[Mapping[str, Any]], batch: Batch, model: Model) -> Maps:
    """Rows of maps, as the store keeps them, as the maps of a batch.

    Raises:
        BenchError: if a text's tokens are not those that were explained.
    """
    target = torch.tensor([row["explained_class"] for row in rows], device=model.device)
    prefix = torch.tensor([row["prefix"] for row in rows], dtype=torch.float32, device=model.device)
    if batch.words is None:
        values = [torch.tensor(row["map"], dtype=torch.float32).reshape(*row["shape"]) for row in rows]
        return Maps(torch.stack(values).to(model.device), prefix, target)
    values, real = torch.zeros(batch.words.shape, device=model.device), real_tokens(batch)
    for place, row in enumerate(rows):
        if batch.inputs["input_ids"][place][real[place]].tolist() != row["input_ids"]:
            raise BenchError(
                f"{batch.ids[place]}: its tokens are not those whose maps are kept; explain it again with rerun=true"
            )
        values[place, real[place]] = torch.tensor(row["map"], dtype=torch.float32, device=model.device)
    return Maps(values, prefix, target)


def _check_labels(batch: Batch, numbers: Sequence[int], config: Mapping[str, Any]) -> None:
    """Raises BenchError for an annotated class that the model does not have."""
    for name, label in zip(batch.ids, batch.labels, strict=True):
        if label is not None and not 0 <= label < len(numbers):
            raise BenchError(
                f"dataset: {name} has the label {label}, but the model has {len(numbers)} classes; "
                "choose a model that was trained on this data set's classes"
            )


def first_sample(dataset: Any, skipping: bool) -> Any:
    """The first sample, or if bad ones are skipped the first that can be read."""
    for index in range(len(dataset)):
        try:
            return dataset[index]
        except BenchError:
            if not skipping or index == len(dataset) - 1:
                raise
    raise BenchError("dataset: it has no samples")
