"""What can be wrong with maps without any error: ``sanity=true`` looks, and keeps it with the cell.

How far maps in a reduced precision are from those in float64 is looked at always, in every eighth batch.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, is_dataclass, replace
from typing import Any

import torch
from torch import Tensor

from bench.tasks import Oracle
from methods.relevance import RuleSet, Tape

EVERY = 8  # batches, of which one is computed in float64 too if the precision is all that is looked at


@dataclass
class Findings:
    """What is noticed about the maps of a method while they are made.

    Attributes:
        method: the method.
        thorough: look at everything in every batch, not only at the precision of every eighth.
        found: what was found since it was taken last, by the names of
            :data:`bench.runner.records.WARNINGS`; only what applies.
    """

    method: Callable
    thorough: bool
    found: dict[str, float] = field(default_factory=dict)
    _batches: int = 0

    @classmethod
    def of(cls, method: Callable, thorough: bool) -> "Findings | None":
        """Findings for a method; None where there is nothing to look at."""
        if isinstance(method, Oracle) or not (thorough or is_reduced(method)):
            return None
        return cls(method, thorough)

    @contextmanager
    def attempt(self) -> Iterator[None]:
        """What is found meanwhile counts only if nothing fails: a batch may be tried again in halves."""
        before = dict(self.found), self._batches
        try:
            yield
        except BaseException:
            self.found, self._batches = before
            raise

    def take(self) -> dict[str, Any]:
        """What was found since the last time, and whether everything was looked at."""
        found, self.found = self.found, {}
        return {"thorough": self.thorough, **found}

    def look(
        self, method: Callable, forward: Callable, inputs: Any, target: Tensor, relevance: Tensor
    ) -> None:
        """Look at the maps of a batch, (batch, ...), of the classes ``target``, (batch,), by their logits.

        Args:
            method: :attr:`method`, told what it asks for of this batch.
        """
        self._batches += 1
        if is_reduced(method) and (self.thorough or self._batches % EVERY == 1):
            exact = replace(method, dtype="float64")(forward, inputs, target)
            self._raise_to("deviation", float(_distance(relevance, exact).nan_to_num(nan=torch.inf).max()))
        if not self.thorough:
            return
        with torch.no_grad():
            logits = forward(inputs)
        if getattr(method, "class_specific", True) and logits.shape[1] > 1:
            another = method(forward, inputs, (target + 1) % logits.shape[1])
            nonzero = relevance.flatten(1).abs().sum(dim=1) > 0
            self._add("same_for_another_class", int(((_distance(another, relevance) < 1e-9) & nonzero).sum()))
        if hasattr(method, "rules"):
            tape = Tape.record(forward, inputs, dtype="float64")
            lost, _ = conservation(tape, target, method.rules)
            self._raise_to("conservation_error", lost)
            self._raise_to("logits_error", float(_distance(tape.logits.detach(), logits).max()))

    def _add(self, name: str, count: int) -> None:
        self.found[name] = self.found.get(name, 0) + count

    def _raise_to(self, name: str, value: float) -> None:
        self.found[name] = max(self.found.get(name, 0.0), value)


def conservation(tape: Tape, target: Tensor | None, rules: RuleSet) -> tuple[float, float]:
    """The relevance that operations lose or gain down to the first attention, and that which constants take.

    Per sample, of the 1 that is put on the logit.
    """
    entries = tape.audit(target, tape.attentions[:1], rules)
    losses = [(e.kind, e.received - e.handed_on) for e in entries]
    batch = len(tape.logits)
    lost = sum(abs(loss) for kind, loss in losses if kind != "shift") / batch
    return lost, sum(loss for kind, loss in losses if kind == "shift") / batch


def is_reduced(method: Callable) -> bool:
    """Whether a method is computed in less than double precision, and could be in that."""
    return is_dataclass(method) and getattr(method, "dtype", "float64") not in ("float64", "mixed")


def _distance(ours: Tensor, expected: Tensor) -> Tensor:
    """‖ours − expected‖ / ‖expected‖ of each map, (batch,)."""
    expected = expected.double().flatten(1)
    difference = (ours.double().flatten(1) - expected).norm(dim=1)
    return difference / expected.norm(dim=1).clamp(min=1e-300)
