"""Groups of units removed one at a time: SaCo."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from bench.errors import BenchError
from bench.models import Model
from bench.tasks.base import Explanations, Variant
from bench.tasks.units import RemovesUnits
from metrics import evaluated, group_salience, rank, rank_groups, saco


@dataclass(frozen=True)
class GroupRemoval(RemovesUnits):
    """Units in groups by their rank, each group removed alone (SaCo, Wu et al., CVPR 2024).

    Columns: ``salience`` and ``drop`` of each group, and ``saco``, None where all groups are equally salient.

    Args:
        groups: how many.
        unit, fill, blur_sigma: what is removed, and what takes its place
            (:class:`bench.tasks.units.Removal`), of images.

    Raises:
        BenchError: for settings out of range.
    """

    name: ClassVar[str] = "group_removal"
    key: ClassVar[str] = "protocol.saco"
    version: ClassVar[int] = 1
    modality: ClassVar[str] = "image"
    needs_maps: ClassVar[bool] = True
    class_specific: ClassVar[bool] = True
    variants: ClassVar[Sequence[Variant]] = ()

    groups: int
    unit: str
    fill: str
    blur_sigma: float | None = None

    def __post_init__(self):
        if type(self.groups) is not int or self.groups < 2:
            raise BenchError(f"protocol.saco.groups={self.groups}: expected a number of groups, 2 or more")
        super().__post_init__()
        if self._removal.modality != "image":
            raise BenchError(f"protocol.saco: unit={self.unit}: expected pixel or patch")

    def check(self, model: Model, sample: Any) -> None:
        """Raises BenchError for a text model, texts, or a model of fewer units than groups."""
        super().check(model, sample)
        units = (
            model.grid[0] * model.grid[1]
            if self.unit == "patch"
            else model.input_size[0] * model.input_size[1]
        )
        if units < self.groups:
            raise BenchError(
                f"protocol.saco.groups={self.groups}: an image has {units} units; expected at most as many"
            )

    def passes(self, units: int) -> int:
        """Forward passes of a sample: one for each group, and one of the whole."""
        return self.groups + 1

    def measure(self, explanations: Explanations) -> dict[str, Sequence]:
        """The groups of each sample."""
        values = self._removal.scores(explanations).values
        batch, number = len(values), self.groups
        groups = rank_groups(rank(values), number)
        salience = group_salience(values, groups, number)
        # Group −1 is nobody's: the whole image.
        removed = torch.arange(-1, number, device=values.device).repeat_interleave(batch)
        owner = torch.arange(batch, device=values.device).repeat(number + 1)
        found = evaluated(
            self._removal.masked(explanations),
            owner,
            lambda some: groups[owner[some]] == removed[some, None],
            explanations.target,
            rows=batch,
        )
        p = found.probability.view(number + 1, batch).T.cpu()
        drop = (p[:, :1] - p[:, 1:]).numpy()
        salience = salience.cpu().numpy()
        found = saco(salience, drop)
        return {
            "salience": list(salience),
            "drop": list(drop),
            "saco": [None if value != value else float(value) for value in found],
        }
