"""How far maps depend on the class that they explain."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from bench.models import Model
from bench.tasks.base import AnotherClass, Explanations, Variant
from metrics import spearman


@dataclass(frozen=True)
class ClassComparison:
    """Spearman's correlation of the map with that for the likeliest other class, on patches or tokens.

    Column: ``class_similarity``, None where either map is constant.
    """

    name: ClassVar[str] = "class_comparison"
    version: ClassVar[int] = 1
    modality: ClassVar[None] = None
    needs_maps: ClassVar[bool] = True
    class_specific: ClassVar[bool] = True
    variants: ClassVar[Sequence[Variant]] = (AnotherClass(),)

    def check(self, model: Model, sample: Any) -> None:
        """Every model with two classes will do, which the variant itself checks."""

    def measure(self, explanations: Explanations) -> dict[str, Sequence]:
        """The similarity of each sample's two maps."""
        maps, others = (m.values.flatten(1) for m in (explanations.maps, explanations.others[AnotherClass()]))
        words = explanations.batch.words
        similar = spearman(maps, others, None if words is None else words >= 0)
        return {"class_similarity": [None if value != value else value for value in similar.tolist()]}
