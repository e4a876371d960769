"""What a run checks of itself: a method on two samples before the first row, and reduced precision meanwhile.

What was found stands in the record of each cell that was measured from the maps.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, is_dataclass, replace
from typing import Any

import torch
from torch import Tensor

from bench.errors import BenchError
from bench.models.base import Inputs
from bench.runner.batches import kept_random_state
from bench.runner.foreign import ForeignMaps
from bench.tasks import Oracle
from methods.verify import for_check, relative_difference, two_samples, verify

EVERY = 8  # batches, of which one is computed in float64 too if the method runs in less
MIXED = 1e-3  # the largest deviation from float64 of maps whose forward pass was in float64


@dataclass
class Checks:
    """What is checked of a method while it makes maps.

    Attributes:
        method: the method.
        found: what was found since it was taken last (:func:`bench.runner.records.merged` names it).
    """

    method: Callable
    found: dict[str, Any] = field(default_factory=dict)
    _begun: bool = False
    _batches: int = 0

    @classmethod
    def of(cls, method: Callable) -> "Checks | None":
        """Checks of a method; None where no method makes the maps."""
        return None if isinstance(method, (Oracle, ForeignMaps)) else cls(method)

    @contextmanager
    def attempt(self) -> Iterator[None]:
        """What is found meanwhile counts only if nothing fails: a batch may be tried again in halves."""
        before = dict(self.found), self._begun, self._batches
        try:
            yield
        except BaseException:
            self.found, self._begun, self._batches = before
            raise

    def take(self) -> dict[str, Any]:
        """What was found since the last time."""
        found, self.found = self.found, {}
        return found

    def begin(self, method: Callable, forward: Callable, inputs: Inputs, target: Tensor) -> None:
        """Verify the method on two samples of the first batch, once (:func:`methods.verify.verify`).

        Args:
            method: :attr:`method`, told what it asks for of this batch.

        Raises:
            RefusedError, ValueError: as the method itself, or naming the check that it misses.
            BenchError: if a map in mixed precision is not the one in float64.
        """
        if self._begun:
            return
        with kept_random_state():
            self._verify(method, forward, inputs, target)
        self._begun = True

    def _verify(self, method: Callable, forward: Callable, inputs: Inputs, target: Tensor) -> None:
        checked = verify(method, forward, inputs, target)
        self.found |= {**checked.figures, "dtype": checked.dtype, "notes": list(checked.warnings)}
        if getattr(method, "dtype", None) == "mixed":
            method, inputs, target = two_samples(for_check(method), inputs, target)
            deviation = self._deviation(method, forward, inputs, target, method(forward, inputs, target))
            if not deviation <= MIXED:
                raise BenchError(
                    f"method.dtype=mixed: on this model its maps differ from those in float64 by {deviation:.1e} "
                    f"of their norm, where {MIXED:.0e} is allowed; choose method.dtype=float64"
                )

    def look(
        self, method: Callable, forward: Callable, inputs: Inputs, target: Tensor, relevance: Tensor
    ) -> None:
        """Compare the maps of every eighth batch with those in float64, if they are in less.

        Args:
            method: as :meth:`begin` takes it.
        """
        if is_reduced(method) and self._batches % EVERY == 0:
            self._deviation(method, forward, inputs, target, relevance)
        self._batches += 1

    def _deviation(
        self, method: Callable, forward: Callable, inputs: Inputs, target: Tensor, relevance: Tensor
    ) -> float:
        exact = replace(method, dtype="float64")(forward, inputs, target)
        deviation = float(relative_difference(relevance, exact).nan_to_num(nan=torch.inf).max())
        self.found["deviation"] = max(self.found.get("deviation", 0.0), deviation)
        return deviation


def is_reduced(method: Callable) -> bool:
    """Whether a method is computed in less than double precision, and could be in that."""
    return is_dataclass(method) and getattr(method, "dtype", "float64") not in ("float64", "mixed")
