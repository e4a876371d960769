"""What can be wrong with maps without any error: ``sanity=true`` looks, and keeps it with the cell.

How far maps in a reduced precision are from those in float64 is looked at always, in every eighth batch.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, is_dataclass, replace
from typing import Any

import torch
from torch import Tensor

from methods.relevance import RuleSet, Tape

# What is looked at: beyond which number a table warns, and how.
WARNINGS = {
    "not_finite": (0, "maps with NaN or infinity (taken as 0)"),
    "conservation_error": (1e-3, "relevance lost or gained by the rules, of 1 put in"),
    "logits_error": (
        1e-3,
        "relative difference of the explained logits from the model's own, at most",
    ),
    "deviation": (1e-2, "relative deviation of maps from those in float64, at most"),
    "same_for_another_class": (0, "maps that do not change with the class, of a method that should"),
}


COUNTS = ("not_finite", "same_for_another_class")  # of maps; the others are the largest seen

EVERY = 8  # batches, of which one is computed in float64 too if the precision is all that is looked at


@dataclass
class Checked:
    """A method whose maps are looked at while it is used.

    Attributes:
        method: the method itself.
        thorough: look at everything in every batch, not only at the precision of every eighth.
        found: what was found so far, by the names of :data:`WARNINGS`; only what applies to the method.
    """

    method: Callable
    thorough: bool
    found: dict[str, float] = field(default_factory=dict)
    _batches: int = 0

    @property
    def class_specific(self) -> bool:
        """Whether the method's maps depend on the class."""
        return getattr(self.method, "class_specific", True)

    def __call__(self, forward: Callable, inputs, target: Tensor) -> Tensor:
        """The method's maps; if ``thorough``, with 0 for what is not finite."""
        relevance = self.method(forward, inputs, target)
        self._batches += 1
        if is_reduced(self.method) and (self.thorough or self._batches % EVERY == 1):
            exact = replace(self.method, dtype="float64")(forward, inputs, target)
            self._raise_to("deviation", float(_distance(relevance, exact).nan_to_num(nan=torch.inf).max()))
        if not self.thorough:
            return relevance
        whole = relevance.flatten(1).isfinite().all(dim=1)
        self._add("not_finite", int((~whole).sum()))
        relevance = relevance.nan_to_num(nan=0.0, posinf=0.0, neginf=0.0)
        with torch.no_grad():
            logits = forward(inputs)
        if self.class_specific:
            another = self.method(forward, inputs, (target + 1) % logits.shape[1])
            nonzero = relevance.flatten(1).abs().sum(dim=1) > 0
            self._add("same_for_another_class", int(((_distance(another, relevance) < 1e-9) & nonzero).sum()))
        if hasattr(self.method, "rules"):
            tape = Tape.record(forward, inputs, dtype="float64")
            lost, _ = conservation(tape, target, self.method.rules)
            self._raise_to("conservation_error", lost)
            self._raise_to("logits_error", float(_distance(tape.logits.detach(), logits).max()))
        return relevance

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
    return is_dataclass(method) and getattr(method, "dtype", "float64") != "float64"


def _distance(ours: Tensor, expected: Tensor) -> Tensor:
    """‖ours − expected‖ / ‖expected‖ of each map, (batch,)."""
    expected = expected.double().flatten(1)
    difference = (ours.double().flatten(1) - expected).norm(dim=1)
    return difference / expected.norm(dim=1).clamp(min=1e-300)


def warnings(found: dict[str, Any]) -> list[str]:
    """What of a cell's findings a reader of its table must know."""
    return [
        f"{text}: {found[name]:.3g}" for name, (limit, text) in WARNINGS.items() if found.get(name, 0) > limit
    ]
