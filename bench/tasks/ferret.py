"""Comprehensiveness and sufficiency of texts as the library ferret computes them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from bench.tasks.base import Explanations, Variant
from bench.tasks.units import RemovesUnits
from metrics import evaluated, ferret_aopc
from metrics.ferret import SHARES


@dataclass(frozen=True)
class FerretScores(RemovesUnits):
    """AOPC over bins of 10 % to 100 % of those tokens that have a positive score (:mod:`metrics.ferret`).

    Attanasio et al., EACL 2023. Columns: ``ferret_comprehensiveness``, ``ferret_sufficiency`` and
    ``ferret_bins``, how many bins there were.

    Args:
        unit, fill: what is removed, and what takes its place (:class:`bench.tasks.units.Removal`); ferret's
            own are ``token`` and ``delete``.
        word_score: how a word's score comes from its pieces: ``max`` or ``mean``.
    """

    name: ClassVar[str] = "ferret"
    version: ClassVar[int] = 1
    modality: ClassVar[str] = "text"
    needs_maps: ClassVar[bool] = True
    class_specific: ClassVar[bool] = True
    variants: ClassVar[Sequence[Variant]] = ()

    unit: str = "token"
    fill: str = "delete"
    word_score: str = "max"

    def passes(self, units: int) -> int:
        """Forward passes of a sample at most: one of the whole, and two for each bin."""
        return 1 + 2 * len(SHARES)

    def measure(self, explanations: Explanations) -> dict[str, Sequence]:
        """The scores of each text."""
        scores, masked = self._removal.scores(explanations), self._removal.masked(explanations)
        target, width, rows = explanations.target, scores.values.shape[1], len(scores.values)

        def probability(sample: int, removed: Tensor) -> Tensor:
            whole = torch.zeros(len(removed), width, dtype=torch.bool, device=target.device)
            whole[:, : removed.shape[1]] = removed
            own = torch.full((len(removed),), sample, device=target.device)
            return evaluated(masked, own, whole, target, rows).probability

        found = []
        for sample, size in enumerate(scores.sizes.tolist()):
            nothing = torch.zeros(1, size, dtype=torch.bool, device=target.device)
            clean = float(probability(sample, nothing))
            own = scores.values[sample, :size]
            found.append(ferret_aopc(own, clean, lambda removed, i=sample: probability(i, removed)))
        return {
            "ferret_comprehensiveness": [one.comprehensiveness for one in found],
            "ferret_sufficiency": [one.sufficiency for one in found],
            "ferret_bins": [one.bins for one in found],
        }
