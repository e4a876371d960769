"""Class sensitivity: do the maps for two classes of one picture lie on the objects of these classes?"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from bench.errors import BenchError
from bench.models import Model
from bench.tasks.base import AnotherClass, Explanations, Variant, expect_modality
from bench.tasks.localisation import known
from metrics import class_sensitivity


@dataclass(frozen=True)
class ClassSensitivity:
    """Compare the map with that for the likeliest other class, on pictures that show objects of both.

    Column: ``class_sensitivity`` (:func:`metrics.class_sensitivity`), None where the explained class and the
    likeliest other one are not those of the two objects.
    """

    name: ClassVar[str] = "class_sensitivity"
    version: ClassVar[int] = 1
    modality: ClassVar[str] = "image"
    needs_maps: ClassVar[bool] = True
    class_specific: ClassVar[bool] = True
    variants: ClassVar[Sequence[Variant]] = (AnotherClass(),)

    def check(self, model: Model, sample: Any) -> None:
        """Raises BenchError for a text model, texts, or images without a second object."""
        expect_modality("image", model, sample)
        if sample.mask is None or getattr(sample, "other_mask", None) is None:
            raise BenchError(
                "dataset: class sensitivity needs two objects of different classes with their masks; choose "
                "dataset=embedded/two_classes or one like it"
            )

    def measure(self, explanations: Explanations) -> dict[str, Sequence]:
        """The number of each sample.

        Raises:
            BenchError: if the class of an object is not known.
        """
        batch, other = explanations.batch, explanations.others[AnotherClass()]
        if unknown := [s.id for s in batch.samples if s.label is None or s.other_label is None]:
            raise BenchError(
                f"{', '.join(unknown)}: no class is known of an object, so whether it is explained cannot be told"
            )
        size = tuple(batch.inputs.shape[-2:])
        masks = [torch.stack([getattr(s, name) for s in batch.samples]) for name in ("mask", "other_mask")]
        masks = [each.to(batch.inputs.device) for each in masks]
        shown = torch.tensor([[s.label, s.other_label] for s in batch.samples])
        explained = torch.stack([explanations.maps.target, other.target], dim=1).cpu()
        same, swapped = ((explained == each).all(dim=1) for each in (shown, shown.flip(1)))
        first = torch.where(same.to(masks[0].device)[:, None, None], *masks)
        second = torch.where(same.to(masks[0].device)[:, None, None], masks[1], masks[0])
        found = class_sensitivity(
            explanations.maps.upsampled(size), other.upsampled(size), first, second & ~first
        ).cpu()
        return {"class_sensitivity": known(found.where(same | swapped, torch.nan))}
