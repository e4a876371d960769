"""One run of removing units in the order of their relevance, which many metrics read."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch

from bench.errors import BenchError
from bench.tasks.base import Explanations, Variant, is_rising
from bench.tasks.units import RemovesUnits
from metrics import bin_counts, removal_curves, tied_share, unit_counts, unit_ranks


@dataclass(frozen=True)
class RemovalCurves(RemovesUnits):
    """What the model says while the most, or the least, relevant units are removed first.

    Columns: at each step ``positive_…`` (most relevant first) and ``negative_…`` with ``probability``,
    ``logit`` (of the explained class) and ``predictions``; ``log_probability`` of the whole sample; at each
    bin ``without_top_log_probability`` and ``only_top_probability``, the latter with all but the most
    relevant units removed; ``units`` and ``tied``, the share of units that are as relevant as another.

    Args:
        steps: the fractions removed, from 0 to 1.
        bins: the fractions of ERASER's metrics, each of at least one unit.
        unit, fill, blur_sigma, word_score: what is removed, and what takes its place
            (:class:`bench.tasks.units.Removal`).
        rounding: of the units in a bin, ``floor`` or ``ceil``.
        ranked_by: ``relevance``, with its sign, or its ``magnitude``.
        ties: which of equally relevant units is the more relevant, the ``first`` or the ``last``.

    Raises:
        BenchError: for settings out of range.
    """

    name: ClassVar[str] = "removal_curves"
    version: ClassVar[int] = 1
    needs_maps: ClassVar[bool] = True
    class_specific: ClassVar[bool] = True
    variants: ClassVar[Sequence[Variant]] = ()

    steps: Sequence[float]
    bins: Sequence[float]
    unit: str
    fill: str
    blur_sigma: float | None = None
    word_score: str = "max"
    rounding: str = "floor"
    ranked_by: str = "relevance"
    ties: str = "first"

    def __post_init__(self):
        if not is_rising(self.steps) or len(self.steps) < 2 or self.steps[0] != 0 or self.steps[-1] > 1:
            raise BenchError(
                f"{self.key}.steps={self.steps}: expected fractions that start at 0 and rise to at most 1"
            )
        if not is_rising(self.bins) or not all(0 < b < 1 for b in self.bins):
            raise BenchError(
                f"{self.key}.bins={self.bins}: expected rising fractions above 0 and below 1, or none"
            )
        for name, known in (
            ("rounding", ("floor", "ceil")),
            ("ranked_by", ("relevance", "magnitude")),
            ("ties", ("first", "last")),
        ):
            if getattr(self, name) not in known:
                raise BenchError(f"{self.key}: {name}={getattr(self, name)!r}: expected {' or '.join(known)}")
        if self.fill == "inpaint" and self.steps[-1] > 0.95:
            raise BenchError(
                f"{self.key}.steps={self.steps}: fill=inpaint leaves nothing to impute from at 1; end at 0.9"
            )
        super().__post_init__()

    def passes(self, units: int) -> int:
        """Forward passes of a sample of so many units; what two steps ask for is passed once."""
        steps, bins = unit_counts(units, self.steps), bin_counts(units, self.bins, self.rounding)
        ends, least = {0, units}, {*steps, *(units - count for count in bins)}
        return len({*steps, *bins} | (least & ends)) + len(least - ends)

    def measure(self, explanations: Explanations) -> dict[str, Sequence]:
        """The curves of each sample."""
        scores = self._removal.scores(explanations)
        self._check_seen(explanations, scores.sizes)
        values, valid, sizes = scores.values, scores.valid, scores.sizes.tolist()
        values = values.abs() if self.ranked_by == "magnitude" else values
        ranks = unit_ranks(values, valid, self.ties)
        steps = torch.tensor([unit_counts(size, self.steps) for size in sizes], dtype=torch.long)
        bins = torch.tensor([bin_counts(size, self.bins, self.rounding) for size in sizes], dtype=torch.long)
        rest = torch.tensor(sizes)[:, None] - bins
        most, least = removal_curves(
            self._removal.masked(explanations),
            ranks,
            torch.cat([steps, bins], dim=1),
            torch.cat([steps, rest], dim=1),
            explanations.maps.target,
            scores.sizes,
            rows=len(sizes),
        )
        count = len(self.steps)
        columns = {
            f"{direction}_{name}": list(tensor[:, :count].cpu().numpy())
            for direction, found in (("positive", most), ("negative", least))
            for name, tensor in (
                ("probability", found.probability.float()),
                ("logit", found.logit.float()),
                ("predictions", found.prediction),
            )
        }
        return columns | {
            "log_probability": most.log_probability[:, 0].tolist(),
            "without_top_log_probability": list(most.log_probability[:, count:].cpu().numpy()),
            "only_top_probability": list(least.probability[:, count:].float().cpu().numpy()),
            "units": sizes,
            "tied": tied_share(values, valid).tolist(),
        }
