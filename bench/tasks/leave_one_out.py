"""What leaving one unit out does, once for all methods, and how the scores of a method agree with it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from bench.models import Model
from bench.tasks.base import Explanations, Variant, expect_modality
from bench.tasks.units import RemovesUnits
from metrics import leave_one_out


@dataclass(frozen=True)
class LeaveOneOutDrops(RemovesUnits):
    """p(x) − p(x without one unit) for each unit: a pass for each, shared by all methods.

    Column: ``drops``, one number per unit.

    Args:
        unit, fill, blur_sigma, word_score: what is removed, and what takes its place
            (:class:`bench.tasks.units.Removal`).
    """

    name: ClassVar[str] = "leave_one_out"
    version: ClassVar[int] = 1
    needs_maps: ClassVar[bool] = False
    class_specific: ClassVar[bool] = True
    variants: ClassVar[Sequence[Variant]] = ()

    unit: str
    fill: str
    blur_sigma: float | None = None

    def passes(self, units: int) -> int:
        """Forward passes of a sample of so many units: one for each, and one of the whole."""
        return units + 1

    def measure(self, explanations: Explanations) -> dict[str, Sequence]:
        """The drops of each sample."""
        sizes = self._removal.sizes(explanations)
        found = leave_one_out(
            self._removal.masked(explanations), sizes, int(sizes.max()), explanations.target, rows=len(sizes)
        )
        return {"drops": [row[:size].cpu().numpy() for row, size in zip(found, sizes.tolist(), strict=True)]}


@dataclass(frozen=True)
class UnitScores(RemovesUnits):
    """The relevance of each unit of a sample. Column: ``unit_scores``, with their sign.

    Args:
        unit: ``patch``, ``token`` or ``word`` (:class:`bench.tasks.units.Removal`).
        word_score: how a word's score comes from its pieces: ``max`` or ``mean``.
    """

    name: ClassVar[str] = "unit_scores"
    version: ClassVar[int] = 1
    needs_maps: ClassVar[bool] = True
    class_specific: ClassVar[bool] = False
    variants: ClassVar[Sequence[Variant]] = ()

    unit: str
    word_score: str = "max"

    @property
    def fill(self) -> str:
        """Any: nothing is removed here."""
        return "mean" if self.unit in ("pixel", "patch") else "mask"

    def check(self, model: Model, sample: Any) -> None:
        """Raises BenchError for another modality."""
        expect_modality(self.modality, model, sample)

    def measure(self, explanations: Explanations) -> dict[str, Sequence]:
        """The scores of each sample."""
        scores = self._removal.scores(explanations)
        rows = zip(scores.values.float().cpu().numpy(), scores.sizes.tolist(), strict=True)
        return {"unit_scores": [row[:size] for row, size in rows]}
