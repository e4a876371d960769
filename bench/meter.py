"""Where the time of a cell goes: loading samples, explaining them, evaluating the maps."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor

PHASES = ("load", "explain", "evaluate")


@dataclass
class Meter:
    """Seconds by phase. A phase within another counts for itself alone."""

    device: torch.device
    seconds: dict[str, float] = field(default_factory=lambda: dict.fromkeys(PHASES, 0.0))
    _within: float = 0.0

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Count what is done meanwhile for a phase."""
        started, outside, self._within = self._now(), self._within, 0.0
        try:
            yield
        finally:
            took = self._now() - started
            self.seconds[name] += took - self._within
            self._within = outside + took

    def during(self, name: str, items: Iterator) -> Iterator:
        """The items; the time until each is there counts for a phase."""
        while True:
            with self.phase(name):
                try:
                    item = next(items)
                except StopIteration:
                    return
            yield item

    def take(self) -> dict[str, float]:
        """What was counted since the last time."""
        taken, self.seconds = self.seconds, dict.fromkeys(PHASES, 0.0)
        return {phase: round(seconds, 6) for phase, seconds in taken.items()}

    def _now(self) -> float:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)  # it computes on while Python goes ahead
        return time.perf_counter()


@dataclass
class Metered:
    """A method whose time is counted as that of explaining."""

    method: Callable
    meter: Meter

    def __call__(self, forward: Callable, inputs, target: Tensor) -> Tensor:
        """The method's maps."""
        with self.meter.phase("explain"):
            return self.method(forward, inputs, target)
