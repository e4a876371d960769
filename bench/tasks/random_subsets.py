"""Random subsets of units: what removing them does, once for all methods, and the relevance in each."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from bench.errors import BenchError
from bench.tasks.base import Explanations, Variant
from bench.tasks.units import RemovesUnits, seed_of
from metrics import draw_subsets, evaluated, subset_masks, subset_sums


@dataclass(frozen=True)
class _Subsets(RemovesUnits):
    """Random subsets of units of several sizes, drawn from the id of the sample: the same for all methods.

    Args:
        sizes: how many units a subset has.
        subsets: how many subsets of each size.
        unit, fill, word_score: what is removed, and what takes its place
            (:class:`bench.tasks.units.Removal`).

    Raises:
        BenchError: for settings out of range.
    """

    key: ClassVar[str] = "protocol.subsets"
    version: ClassVar[int] = 1
    variants: ClassVar[Sequence[Variant]] = ()

    sizes: Sequence[int]
    subsets: Sequence[int]
    unit: str
    fill: str
    word_score: str = "max"

    def __post_init__(self):
        for name in ("sizes", "subsets"):
            value = getattr(self, name)
            if (
                not isinstance(value, (list, tuple))
                or not value
                or any(type(v) is not int or v < 1 for v in value)
            ):
                raise BenchError(
                    f"protocol.subsets.{name}={value}: expected a list of numbers, each 1 or more"
                )
        if len(self.sizes) != len(self.subsets):
            raise BenchError(
                f"protocol.subsets.subsets={self.subsets}: expected a number for each of the sizes {self.sizes}"
            )
        super().__post_init__()

    def _drawn(self, name: str, units: int) -> list[Tensor | None]:
        """The subsets of each size of a sample, (subsets, size); None where it has no more units than that."""
        return [
            draw_subsets(units, size, number, seed_of(name, size)) if size < units else None
            for size, number in zip(self.sizes, self.subsets, strict=True)
        ]


@dataclass(frozen=True)
class SubsetDrops(_Subsets):
    """What the model loses without each subset: a pass for each, shared by all methods.

    Columns: ``drop_probability`` and ``drop_logit``, p(x) − p(x without the subset) and likewise, the subsets
    of one size after those of the size before; None for sizes that a sample has not more units than.
    """

    name: ClassVar[str] = "subset_drops"
    needs_maps: ClassVar[bool] = False
    class_specific: ClassVar[bool] = True

    def measure(self, explanations: Explanations) -> dict[str, Sequence]:
        """The drops of each sample."""
        sizes, masked = self._removal.sizes(explanations), self._removal.masked(explanations)
        device, width = sizes.device, int(sizes.max())
        owners, removed, kept = [], [], []
        for sample, (name, units) in enumerate(zip(explanations.batch.ids, sizes.tolist(), strict=True)):
            masks = [torch.zeros(1, width, dtype=torch.bool)]  # the whole input first
            masks += [subset_masks(drawn, width) for drawn in self._drawn(name, units) if drawn is not None]
            removed.append(torch.cat(masks))
            owners += [sample] * len(removed[-1])
            kept.append(len(removed[-1]))
        owner = torch.tensor(owners, device=device)
        found = evaluated(masked, owner, torch.cat(removed).to(device), explanations.target, rows=len(sizes))
        columns: dict[str, list] = {"drop_probability": [], "drop_logit": []}
        for name, values in (("drop_probability", found.probability), ("drop_logit", found.logit)):
            for sample, own in enumerate(values.split(kept)):
                drops = (own[0] - own[1:]).float().cpu().tolist()
                columns[name].append(self._placed(drops, int(sizes[sample])))
        return columns

    def passes(self, units: int) -> int:
        """Forward passes of a sample of so many units: one for each subset of fewer, and one of the whole."""
        return 1 + sum(number for size, number in zip(self.sizes, self.subsets, strict=True) if size < units)

    def _placed(self, drops: list[float], units: int) -> list[float | None]:
        """The drops of a sample, with None for the subsets that there are not."""
        placed, values = [], iter(drops)
        for size, number in zip(self.sizes, self.subsets, strict=True):
            placed += [next(values) if size < units else None for _ in range(number)]
        return placed


@dataclass(frozen=True)
class SubsetSums(_Subsets):
    """The relevance in each subset. Column: ``subset_sums``, in the order of :class:`SubsetDrops`."""

    name: ClassVar[str] = "subset_sums"
    needs_maps: ClassVar[bool] = True
    class_specific: ClassVar[bool] = False

    def measure(self, explanations: Explanations) -> dict[str, Sequence]:
        """The sums of each sample."""
        scores = self._removal.scores(explanations)
        rows = []
        for name, own, units in zip(
            explanations.batch.ids, scores.values.cpu(), scores.sizes.tolist(), strict=True
        ):
            row: list[float | None] = []
            for drawn, number in zip(self._drawn(name, units), self.subsets, strict=True):
                row += [None] * number if drawn is None else subset_sums(own[None], drawn)[0].tolist()
            rows.append(row)
        return {"subset_sums": rows}
