"""From a data set to rows: samples are loaded ahead, and go through in batches of a size that fits."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pandas as pd
import torch
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from bench.errors import BenchError
from bench.memory import Memory, is_out_of_memory

LOADED = 8  # samples that a loader hands over at once if the batch size is to be found
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
        """That of the setting ``batch_size``: a number, or ``auto`` to find the largest that fits."""
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
                f"out of memory with a single sample ({_first_line(error)}); choose a smaller model, "
                "method.dtype=float32, or another device"
            ) from error
        self.size, self.grows = self.size // 2, False
        self.memory.release()
        tqdm.write(f"out of memory: going on with batch_size={self.size} ({_first_line(error)})")


def rows_of(
    evaluate: Callable[[list], pd.DataFrame], samples: Iterator[list], batch_size: BatchSize
) -> Iterator[pd.DataFrame]:
    """Evaluate samples, in their order, in batches of at most ``batch_size``; one table for each."""
    waiting: list = []
    ended = False
    while not ended or waiting:
        while not ended and len(waiting) < batch_size.size:
            loaded = next(samples, None)
            ended = loaded is None
            waiting += loaded or []
        while waiting and (ended or len(waiting) >= batch_size.size):
            batch = waiting[: batch_size.size]
            try:
                rows = evaluate(batch)
            except (RuntimeError, MemoryError) as e:
                if not is_out_of_memory(e):
                    raise
                error = e.with_traceback(None)  # the frames hold what filled the memory
            else:
                del waiting[: len(batch)]
                batch_size.fitted()
                yield rows
                continue
            batch_size.size = len(batch)
            batch_size.failed(error)


class _Prepared(Dataset):
    """Samples as a task prepares them. Errors are samples, too: a worker would bury their message."""

    def __init__(self, dataset, prepare: Callable):
        self.dataset, self.prepare = dataset, prepare

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int):
        try:
            return self.prepare(self.dataset[index])
        except BenchError as e:
            return e


def loaded(config: dict[str, Any], dataset, prepare: Callable, seed_worker: Callable) -> Iterator[list]:
    """Lists of prepared samples, read ahead by ``num_workers`` processes.

    Raises:
        BenchError: for a sample that cannot be read.
    """
    size = config["batch_size"]
    loader = DataLoader(
        _Prepared(dataset, prepare),
        batch_size=LOADED if size == "auto" else size,
        num_workers=config["num_workers"],
        collate_fn=list,
        generator=torch.Generator().manual_seed(config["seed"]),
        worker_init_fn=seed_worker,
    )
    for samples in loader:
        for sample in samples:
            if isinstance(sample, BenchError):
                raise sample
        yield samples


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
