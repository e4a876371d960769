"""Measured ratios: a subject against its unit, both timed side by side, again and again."""

import math
import statistics
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Line:
    """One line of the table.

    Attributes:
        what: was measured, and the ``model``, floating point ``type`` and ``batch`` it was measured with.
        values: one for each repetition, in ``unit``.
        bound: beyond which the guard fails; None where there is none.
        at_least: the bound is the least that the median may be, not the most.
        seconds: per image, if that is what was measured.
        note: what else is to be said, e.g. images per second.
    """

    what: str
    values: list[float]
    unit: str = "F"
    model: str = ""
    type: str = ""
    batch: int | None = None
    bound: float | None = None
    at_least: bool = False
    seconds: float | None = None
    note: str = ""

    @property
    def median(self) -> float:
        """Median over the repetitions."""
        return statistics.median(self.values)

    @property
    def holds(self) -> bool:
        """Whether the bound is kept."""
        if self.bound is None:
            return True
        return self.median >= self.bound if self.at_least else self.median <= self.bound

    def cells(self) -> list[str]:
        """What stands in the table."""
        sign = "≥" if self.at_least else "≤"
        bound = "" if self.bound is None else f"{sign} {self.bound:g}{'' if self.holds else ' **missed**'}"
        spread = f"{min(self.values):.2f} – {max(self.values):.2f}" if len(self.values) > 1 else ""
        batch = str(self.batch or "")
        median = "" if math.isnan(self.median) else f"{self.median:.2f} {self.unit}"
        return [self.what, self.model, self.type, batch, median, spread, bound, self.note]


HEAD = ["what", "model", "type", "batch", "median", "least – most", "bound", ""]


def written(lines: Iterable[Line]) -> Iterator[str]:
    """Lines of markdown, each as soon as it was measured."""
    yield "| " + " | ".join(HEAD) + " |"
    yield "|" + ":--|" * len(HEAD)
    for line in lines:
        yield "| " + " | ".join(line.cells()) + " |"


def seconds(call: Callable[[], object], device: torch.device) -> float:
    """How long a call takes, until the device has finished."""
    _finish(device)
    started = time.perf_counter()
    call()
    _finish(device)
    return time.perf_counter() - started


def ratios(
    subject: Callable[[], object], unit: Callable[[], object], repetitions: int, device: torch.device
) -> tuple[list[float], float]:
    """The time of ``subject`` in that of ``unit``, measured before and after it; and seconds per ``subject``.

    Machines have better and worse minutes: what is compared is measured next to each other.
    """
    subject()  # warm up: memory is taken, kernels are chosen
    values, times, before = [], [], seconds(unit, device)
    for _ in range(repetitions):
        times.append(seconds(subject, device))
        after = seconds(unit, device)
        values.append(times[-1] / ((before + after) / 2))
        before = after
    return values, statistics.median(times)


@contextmanager
def tf32(allowed: bool) -> Iterator[None]:
    """Whether a GPU may round the factors of matrix products to 10 bits."""
    was = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high" if allowed else "highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(was)


def _finish(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
