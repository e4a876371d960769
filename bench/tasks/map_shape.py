"""What maps look like, and whether they sum to what the model says."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from bench.models import Model
from bench.tasks.base import Explanations, Variant
from bench.tasks.localisation import known
from metrics import completeness, effective_complexity, entropy, gini, tied_share


@dataclass(frozen=True)
class MapShape:
    """Descriptions of the magnitudes of a map on its own grid, or over the tokens of a text
    (:mod:`metrics.shape`).

    Columns: ``gini``, ``entropy`` (in nats), ``effective`` (how many exceed 1 % of the greatest) and ``tied``
    (share of units that are as relevant as another).
    """

    name: ClassVar[str] = "map_shape"
    version: ClassVar[int] = 1
    modality: ClassVar[None] = None
    needs_maps: ClassVar[bool] = True
    class_specific: ClassVar[bool] = False
    variants: ClassVar[Sequence[Variant]] = ()

    def check(self, model: Model, sample: Any) -> None:
        """Every map has a shape."""

    def measure(self, explanations: Explanations) -> dict[str, Sequence]:
        """The numbers of each sample."""
        rows = _units(explanations)
        formulas = {"gini": gini, "entropy": entropy, "effective": effective_complexity, "tied": tied_share}
        return {name: [formula(row[None]).item() for row in rows] for name, formula in formulas.items()}


@dataclass(frozen=True)
class Conservation:
    """Does the relevance of all inputs sum to the logit? For methods that claim it.

    Bach et al., PLOS ONE 2015. Columns: ``total`` (prefix tokens included), ``logit`` of the explained class,
    and ``conservation_error``, |total − logit| / |logit|.
    """

    name: ClassVar[str] = "conservation"
    version: ClassVar[int] = 1
    modality: ClassVar[None] = None
    needs_maps: ClassVar[bool] = True
    class_specific: ClassVar[bool] = True
    variants: ClassVar[Sequence[Variant]] = ()

    def check(self, model: Model, sample: Any) -> None:
        """Every classifier has logits."""

    def passes(self, units: int) -> int:
        """Forward passes of a sample."""
        return 1

    def measure(self, explanations: Explanations) -> dict[str, Sequence]:
        """The sums of each sample."""
        maps = explanations.maps
        total = (maps.values.double().flatten(1).sum(dim=1) + maps.prefix.double().sum(dim=1)).cpu()
        with torch.inference_mode():
            logits = explanations.model.forward(explanations.batch.inputs)[
                :, list(explanations.numbers)
            ].double()
        logit = logits.gather(1, explanations.target[:, None])[:, 0].cpu()
        error = torch.from_numpy(completeness(total.numpy(), logit.numpy()))
        return {"total": total.tolist(), "logit": logit.tolist(), "conservation_error": known(error)}


def _units(explanations: Explanations) -> list[torch.Tensor]:
    """The relevance of the patches or pixels of each image, or of the tokens of words of each text."""
    values, words = explanations.maps.values.flatten(1), explanations.batch.words
    return list(values) if words is None else [row[own >= 0] for row, own in zip(values, words, strict=True)]
