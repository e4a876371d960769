"""Compute what is left of a shard of a cell, and save it as it comes."""

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, is_dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from torch.utils.data import Subset

from bench import sanity
from bench.batches import BatchSize, loaded, readers_may_die, rows_of, seed_everything
from bench.config import build
from bench.console import progress, say
from bench.devices import device_of
from bench.errors import BenchError
from bench.interrupts import ended_by_signals
from bench.maps import Kept
from bench.memory import keep_freed_memory
from bench.meter import Meter, Metered
from bench.parts import POSITION, Part
from bench.store import Cell, is_embedded
from bench.tasks import Oracle, Task
from bench.versions import versions


@dataclass
class Saved:
    """Rows on their way to the disk.

    Attributes:
        keep: where they go.
        origin: describes, whenever it is called, what was computed since the last time.
        every: seconds between parts.
        count: of the samples that are saved.
    """

    keep: Callable[[Part], None]
    origin: Callable[[], dict[str, Any]]
    every: float
    rows: list[pd.DataFrame] = field(default_factory=list)
    skipped: dict[int, str] = field(default_factory=dict)
    last: float = field(default_factory=time.monotonic)
    count: int = 0

    def add(self, rows: pd.DataFrame) -> None:
        """Take the rows of a batch; save them if it is time to."""
        self.rows.append(rows)
        if time.monotonic() - self.last >= self.every:
            self.save()

    def save(self) -> None:
        """Save what there is.

        Raises:
            BenchError: if the results folder cannot be written to.
        """
        if not self.rows and not self.skipped:
            return
        rows = pd.concat(self.rows, ignore_index=True) if self.rows else pd.DataFrame({POSITION: []})
        self.keep(Part(rows, dict(self.skipped), self.origin()))
        self.count += len(rows)
        self.rows.clear()
        self.skipped.clear()
        self.last = time.monotonic()


def compute(
    cell: Cell, method: Callable, task: Task, dataset, left: Sequence[int], keep: Callable[[Part], None]
) -> None:
    """Compute samples of a cell. Whatever ends it, the rows that are there are kept.

    Args:
        dataset: of the cell, all of it.
        left: positions in it.
        keep: saves rows.

    Raises:
        BenchError: for everything the user can mend.
    """
    config = cell.config
    keep_freed_memory()
    seed_everything(config["seed"])
    skipping = config["on_bad_sample"] == "skip"
    model = build("model", config["model"]).to(device_of(config["device"]))
    task.check(model, dataset, _first_sample(dataset, skipping))
    batch_size = BatchSize.of(config["batch_size"], model.device)
    meter, found, used = Meter(model.device), {}, versions()
    method, kept = _looked_at(fitted(method, model, config["method"]), config, model, meter, found)
    clock = time.time()

    def origin() -> dict[str, Any]:
        nonlocal clock
        since, clock = clock, time.time()
        described = {
            "checkpoint_sha256": model.checksum,
            "device": str(model.device),
            "seconds": round(clock - since, 3),
            "seconds_by_phase": meter.take(),
            "batch_size": batch_size.size,
            "peak_memory_bytes": batch_size.memory.peak(),
            "versions": used,
            "sanity": {"thorough": config["sanity"], **found},
        }
        found.clear()
        return described

    def evaluate(batch: list) -> pd.DataFrame:
        positions, samples = zip(*batch, strict=True)
        seed_everything(config["seed"], positions[0])  # so that where a run took up the work changes nothing
        with meter.phase("evaluate"):
            rows = task.rows(model, method, samples, config["explained"])
        rows.insert(0, POSITION, positions)
        return rows if kept is None else rows.assign(map=kept.last())

    saved = Saved(keep, origin, config["save_every"])

    def skip(position: int, error: BenchError) -> None:
        if not skipping:
            raise error
        say(f"skipped: {error}")
        saved.skipped[position] = str(error)

    with progress(str(cell), len(left), "sample") as advance, ended_by_signals(), readers_may_die():
        try:
            samples = meter.during("load", loaded(config, dataset, left, task.preparation(model), skip))
            across = config["batch_size"] == "auto"
            for rows in rows_of(evaluate, samples, batch_size, across):
                saved.add(rows)
                advance(len(rows))
        except BaseException:
            with suppress(BenchError):  # the first error says more
                saved.save()
            if saved.count:
                say(f"{cell}: {saved.count} of {len(left)} samples are saved; start it again to go on")
            raise
        saved.save()


def _looked_at(
    method: Callable, config: dict[str, Any], model, meter: Meter, found: dict[str, float]
) -> tuple[Callable, Kept | None]:
    """The method, with what is to be done with its maps and its time; and what keeps the maps, if asked."""
    if isinstance(method, Oracle):
        return method, None
    if config["sanity"] or sanity.is_reduced(method):
        method = sanity.Checked(method, thorough=config["sanity"], found=found)
    kept = None
    if config["save_maps"]:
        grid, prefix_tokens = getattr(model, "grid", None), getattr(model, "prefix_tokens", 0)
        method = kept = Kept(method, grid, prefix_tokens)
    return Metered(method, meter), kept


def _first_sample(dataset, skipping: bool):
    """The first sample, or if bad ones are skipped the first that can be read."""
    for index in range(len(dataset)):
        try:
            return dataset[index]
        except BenchError:
            if not skipping or index == len(dataset) - 1:
                raise


def fitted(method: Callable, model, given: dict[str, Any]) -> Callable:
    """The method, told how many tokens before the patches the model has, if it asks and was not told.

    Args:
        given: the section ``method`` of the configuration.

    Raises:
        BenchError: if it was told another number.
    """
    tokens = getattr(model, "prefix_tokens", None)
    if tokens is None or not hasattr(method, "prefix_tokens"):
        return method
    if "prefix_tokens" not in given and is_dataclass(method):
        return replace(method, prefix_tokens=tokens)
    if method.prefix_tokens != tokens:
        raise BenchError(f"method.prefix_tokens={method.prefix_tokens}: the model has {tokens}")
    return method


def dataset_of(config: dict[str, Any]):
    """The data set, or the samples of it that ``limit`` draws with the seed.

    Raises:
        BenchError: if it is missing, damaged or empty.
    """
    if is_embedded(config):
        from bench.embedded.make import ensure

        ensure(Path(config["paths"]["embedded"]))
    dataset = build("dataset", config["dataset"])
    if not len(dataset):
        raise BenchError("dataset: it has no samples")
    if config["limit"] is None or config["limit"] >= len(dataset):
        return dataset
    drawn = np.random.default_rng(config["seed"]).choice(len(dataset), config["limit"], replace=False)
    return Subset(dataset, sorted(drawn.tolist()))
