"""Samples are loaded ahead, and go through in batches of a size that fits."""

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from bench.cli import say
from bench.errors import BenchError, first_line
from bench.runner.resources import Memory, is_out_of_memory
from bench.runner.sweep import heed_parent_alone, held_signals

LOADED = 8  # samples that are read together if the batch size is to be found
MOST = 1024


@dataclass
class BatchSize:
    """How many samples go through at once.

    It is halved whenever memory runs out. One that is to be found is doubled after every batch, as long as
    the memory that was used leaves room for twice as much.
    """

    size: int
    memory: Memory
    grows: bool = False

    @classmethod
    def of(cls, setting: int | str, device: torch.device) -> "BatchSize":
        """Build from the setting ``batch_size``: a number, or ``auto`` to find the largest that fits."""
        found = setting == "auto"
        return cls(1 if found else setting, Memory(device), grows=found)

    def fitted(self) -> None:
        """A batch of this size fitted."""
        if not self.grows:
            return
        if self.size < MOST and self.memory.has_room_for_twice():
            self.size *= 2
        else:
            self.grows = False

    def failed(self, error: Exception) -> None:
        """A batch of this size did not fit.

        Raises:
            BenchError: if it was a single sample.
        """
        if self.size == 1:
            raise BenchError(
                f"out of memory with a single sample ({first_line(error)}); choose a smaller model, "
                "method.dtype=float32, or another device"
            ) from error
        self.size, self.grows = self.size // 2, False
        self.memory.release()
        say(f"out of memory: going on with batch_size={self.size} ({first_line(error)})")


def evaluated(
    evaluate: Callable[[list], Any],
    samples: Iterator[list],
    batch_size: BatchSize,
    across: bool = False,
) -> Iterator[Any]:
    """Evaluate samples, in their order, in batches of at most ``batch_size``; gives the result of each batch.

    Args:
        samples: lists of them.
        across: fill batches from several lists. Otherwise a sample is in a batch with those of its list, so
            one that is missing moves no other into another batch.
    """
    waiting: list = []
    ended = False
    while not ended or waiting:
        while not ended and (not waiting or (across and len(waiting) < batch_size.size)):
            loaded = next(samples, None)
            ended = loaded is None
            waiting += loaded or []
        while waiting and (ended or not across or len(waiting) >= batch_size.size):
            batch = waiting[: batch_size.size]
            try:
                result = evaluate(batch)
            except (RuntimeError, MemoryError) as e:
                if not is_out_of_memory(e):
                    raise
                error = e.with_traceback(None)  # the frames hold what filled the memory
            else:
                del waiting[: len(batch)]
                batch_size.fitted()
                yield result
                continue
            batch_size.size = len(batch)
            batch_size.failed(error)


class _Prepared(Dataset):
    """Samples as a task prepares them. Errors are samples, too: a worker would bury their message.

    Each is read under a seed of its own, so a data set that draws gives the same samples in any process.
    """

    def __init__(self, dataset, positions: Sequence[int], prepare: Callable, seed: int):
        self.dataset, self.positions, self.prepare, self.seed = dataset, positions, prepare, seed

    def __len__(self) -> int:
        return len(self.positions)

    def __getitem__(self, index: int):
        position = self.positions[index]
        seed_everything(self.seed, position)
        try:
            return position, self.prepare(self.dataset[position])
        except BenchError as e:
            return position, e


def loaded(
    config: dict[str, Any],
    dataset,
    positions: Sequence[int],
    prepare: Callable,
    on_bad_sample: Callable[[int, BenchError], None],
) -> Iterator[list]:
    """Lists of (position, prepared sample), read ahead by ``num_workers`` processes.

    Args:
        positions: in the data set, of the samples that are wanted.
        on_bad_sample: is told of each sample that cannot be read.

    """
    loader = DataLoader(
        _Prepared(dataset, positions, prepare, config["seed"]),
        batch_size=block(config),
        num_workers=config["num_workers"],
        collate_fn=list,
        worker_init_fn=heed_parent_alone,
        generator=torch.Generator().manual_seed(config["seed"]),
    )
    with held_signals():  # the processes that read are born deaf to them, as is whatever they start at once
        batches = iter(loader)
    for batch in batches:
        for position, sample in batch:
            if isinstance(sample, BenchError):
                on_bad_sample(position, sample)
        yield [item for item in batch if not isinstance(item[1], BenchError)]


@contextmanager
def readers_may_die() -> Iterator[None]:
    """Raises BenchError if a process that reads samples dies: torch raises whatever is going on."""
    try:
        yield
    except RuntimeError as e:
        if "DataLoader worker" not in str(e):
            raise
        if isinstance(
            e.__context__, SystemExit
        ):  # who ends a job may signal its readers, too, before they listen
            raise e.__context__ from None
        raise BenchError(
            f"num_workers: a process that reads samples died ({first_line(e)}), maybe for lack of memory; "
            "start again, with fewer of them or num_workers=0"
        ) from e


def block(config: dict[str, Any]) -> int:
    """How many samples are read, and go to a shard, together: a batch."""
    return LOADED if config["batch_size"] == "auto" else config["batch_size"]


def seed_everything(seed: int, position: int | None = None) -> None:
    """Seed what a model, a data set or a method of the user's own may draw from.

    Args:
        position: of a sample, for which the seed is one of its own.
    """
    if position is not None:
        seed = int(np.random.SeedSequence([seed, position]).generate_state(1)[0])
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002  the global state is what they draw from
    torch.manual_seed(seed)


@contextmanager
def kept_random_state() -> Iterator[None]:
    """Leave what :func:`seed_everything` seeds as it was, whatever is drawn meanwhile."""
    states = random.getstate(), np.random.get_state()  # noqa: NPY002
    with torch.random.fork_rng():
        try:
            yield
        finally:
            random.setstate(states[0])
            np.random.set_state(states[1])  # noqa: NPY002
