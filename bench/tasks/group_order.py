"""Groups of neighbouring units, removed one after the other, and the bounds of what any order of them does."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import comb, isqrt
from typing import Any, ClassVar

import torch
from torch import Tensor

from bench.errors import BenchError
from bench.models import Model
from bench.tasks.base import Explanations, Variant
from bench.tasks.units import RemovesUnits
from metrics import aopc_bounds, evaluated, removal_curves, unit_ranks
from metrics.bounds import MOST_EXACT, MOST_UNITS

KEY = "protocol.normalised_aopc"


@dataclass(frozen=True)
class _Groups(RemovesUnits):
    """Few groups of neighbouring units: blocks of patches, or words or word pieces in their order.

    Args:
        groups: how many, at most 30. Of an image they are rows × columns of blocks, as near to a square as the
            number allows (16: 4 × 4, 12: 3 × 4); a text of fewer units has as many groups as units.
        unit: ``patch``, ``token`` or ``word``.
        fill, blur_sigma: what takes its place (:class:`bench.tasks.units.Removal`).

    Raises:
        BenchError: for settings out of range.
    """

    key: ClassVar[str] = KEY
    version: ClassVar[int] = 1
    class_specific: ClassVar[bool] = True
    variants: ClassVar[Sequence[Variant]] = ()

    groups: int
    unit: str
    fill: str
    blur_sigma: float | None = None

    def __post_init__(self):
        if type(self.groups) is not int or not 2 <= self.groups <= MOST_UNITS:
            raise BenchError(f"{KEY}.groups={self.groups}: expected from 2 to {MOST_UNITS} groups")
        if self.unit == "pixel":
            raise BenchError(f"{KEY}: unit=pixel: expected patch, token or word")
        super().__post_init__()

    @property
    def _blocks(self) -> tuple[int, int]:
        """Rows and columns of the blocks of an image."""
        rows = next(n for n in range(isqrt(self.groups), 0, -1) if self.groups % n == 0)
        return rows, self.groups // rows

    def check(self, model: Model, sample: Any) -> None:
        """Raises BenchError for another modality, or a model of fewer rows or columns of patches than of blocks."""
        super().check(model, sample)
        if self.modality == "image" and any(a < b for a, b in zip(model.grid, self._blocks, strict=True)):
            have, wanted = ("{} × {}".format(*each) for each in (model.grid, self._blocks))
            raise BenchError(
                f"{KEY}.groups={self.groups}: {wanted} blocks do not fit into {have} patches; choose fewer groups"
            )

    def _of_units(self, explanations: Explanations) -> Tensor:
        """The number of the group of each unit, (batch, units), −1 beyond the units of a text."""
        sizes = self._removal.sizes(explanations)
        if self.modality == "image":
            (rows, columns), (down, across) = self._blocks, explanations.model.grid
            row = torch.arange(down, device=sizes.device) * rows // down
            column = torch.arange(across, device=sizes.device) * columns // across
            return (row[:, None] * columns + column).flatten().expand(len(sizes), -1)
        place = torch.arange(int(sizes.max()), device=sizes.device).expand(len(sizes), -1)
        number = place * sizes.clamp(max=self.groups)[:, None] // sizes.clamp(min=1)[:, None]
        return torch.where(place < sizes[:, None], number, -1)

    def _without(self, explanations: Explanations, of_units: Tensor):
        """What gives the logits of samples (rows,) without groups (rows, groups)."""
        masked = self._removal.masked(explanations)

        def logits(samples: Tensor, removed: Tensor) -> Tensor:
            own = of_units[samples]
            return masked(samples, removed.gather(1, own.clamp(min=0)) & (own >= 0))

        return logits


@dataclass(frozen=True)
class AopcBounds(_Groups):
    """The least and the greatest AOPC that any order of the groups has (Edin et al. 2024), shared by all methods.

    Columns: ``aopc_lower`` and ``aopc_upper``, of the probability of the explained class, with one group removed at
    each step (:func:`metrics.aopc_bounds`).

    Args:
        width: of the beam search; None tries all subsets of at most 12 groups, which is exact.
        groups, unit, fill, blur_sigma: as in :class:`GroupCurve`.
    """

    name: ClassVar[str] = "aopc_bounds"
    needs_maps: ClassVar[bool] = False

    width: int | None = None

    def __post_init__(self):
        super().__post_init__()
        if self.width is None and self.groups > MOST_EXACT:
            raise BenchError(
                f"{KEY}.groups={self.groups}: more than {MOST_EXACT} need a beam search; set width, e.g. to 5"
            )
        if self.width is not None and (type(self.width) is not int or self.width < 1):
            raise BenchError(f"{KEY}.width={self.width}: expected 1 or more, or null for all subsets")

    def passes(self, units: int) -> int:
        """Forward passes of a sample of so many units: of all subsets, or at most those that both searches try."""
        groups = min(self.groups, units)
        if self.width is None:
            return 2**groups
        beams = [min(self.width, comb(groups, removed)) for removed in range(groups)]
        tried = (
            min(beam * (groups - removed), comb(groups, removed + 1)) for removed, beam in enumerate(beams)
        )
        return 2 * (1 + sum(tried))

    def measure(self, explanations: Explanations) -> dict[str, Sequence]:
        """The bounds of each sample."""
        of_units, target = self._of_units(explanations), explanations.target
        without, numbers = self._without(explanations, of_units), of_units.amax(dim=1) + 1
        self._check_seen(explanations, numbers)
        bounds = []
        for sample, groups in enumerate(numbers.tolist()):

            def probability(removed, sample=sample):
                rows = torch.from_numpy(removed).to(target.device)
                own = torch.full((len(rows),), sample, device=target.device)
                return evaluated(without, own, rows, target, len(target)).probability.cpu()

            bounds.append(aopc_bounds(probability, groups, self.width))
        return {"aopc_lower": [low for low, _ in bounds], "aopc_upper": [high for _, high in bounds]}


@dataclass(frozen=True)
class GroupCurve(_Groups):
    """The probability of the explained class while the groups are removed one by one, most relevant first.

    The relevance of a group is the sum of that of its units, with their sign. Column: ``group_probability``, with
    none, one, … and all groups removed.

    Args:
        groups, unit, fill, blur_sigma: which groups, and what takes their place.
        word_score: how a word's score comes from its pieces: ``max`` or ``mean``.
    """

    name: ClassVar[str] = "group_curve"
    needs_maps: ClassVar[bool] = True

    word_score: str = "max"

    def passes(self, units: int) -> int:
        """Forward passes of a sample of so many units: one for each group, and one of the whole."""
        return min(self.groups, units) + 1

    def measure(self, explanations: Explanations) -> dict[str, Sequence]:
        """The curve of each sample."""
        of_units = self._of_units(explanations)
        numbers = of_units.amax(dim=1) + 1
        self._check_seen(explanations, numbers)
        scores = self._removal.scores(explanations).values
        width = int(numbers.max())
        sums = scores.new_zeros(len(scores), width + 1).scatter_add(1, of_units % (width + 1), scores)[
            :, :width
        ]
        valid = torch.arange(width, device=sums.device) < numbers[:, None]
        counts = torch.arange(width + 1, device=sums.device).minimum(numbers[:, None])
        most, _ = removal_curves(
            self._without(explanations, of_units),
            unit_ranks(sums, valid),
            counts,
            counts[:, :0],
            explanations.target,
            numbers,
            rows=len(scores),
        )
        curves = most.probability.float().cpu().numpy()
        return {"group_probability": [c[: n + 1] for c, n in zip(curves, numbers.tolist(), strict=True)]}
