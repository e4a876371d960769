"""What is removed from a sample, and what takes its place: one vocabulary for images and texts."""

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from bench.errors import BenchError
from bench.models import Model
from bench.models.dropping import DroppedPatches, place_of_tokens
from bench.tasks.base import Explanations, expect_modality, is_number
from bench.tasks.rationale import check_word_score, word_scores
from metrics import TEXT_FILLS, InpaintedImages, Masked, MaskedImages, MaskedTexts, fill_pixels

IMAGE_FILLS = ("black", "mean", "image_mean", "blur", "inpaint", "drop")
FILLS = {"pixel": IMAGE_FILLS[:-1], "patch": IMAGE_FILLS, "token": TEXT_FILLS, "word": TEXT_FILLS}
MOST_BLUR = 1024  # pixels, beyond the size of any image that models take


@dataclass(frozen=True)
class Scores:
    """The relevance of the units of a batch.

    Attributes:
        values: (batch, units), with their sign, float64.
        valid: (batch, units), False beyond the units of a text; None where all have as many.
    """

    values: Tensor
    valid: Tensor | None = None

    @property
    def sizes(self) -> Tensor:
        """How many units each sample has, (batch,)."""
        if self.valid is None:
            return torch.full((len(self.values),), self.values.shape[1], device=self.values.device)
        return self.valid.sum(dim=1)


@dataclass(frozen=True)
class Removal:
    """Units of a kind, and a fill.

    Args:
        unit: ``pixel`` (maps are upsampled) or ``patch`` (the model's own grid; maps of pixels are averaged)
            of images; ``token`` or ``word`` of texts, of which those at the ends, [CLS] and [SEP], are none.
        fill: for images ``black``, ``mean`` (the model's), ``image_mean`` (of each channel), ``blur``,
            ``inpaint`` (noisy linear imputation, ROAD), or for patches ``drop`` (their tokens are left out);
            for texts ``mask``, ``delete`` (positions close up), ``pad`` or ``attention`` (attention 0).
        blur_sigma: of the Gaussian, in pixels; None for other fills.
        word_score: how a word's score comes from its pieces, ``max`` or ``mean``, where the method does not say.
        key: of the settings, for messages.

    Raises:
        BenchError: for settings out of range.
    """

    unit: str
    fill: str
    blur_sigma: float | None = None
    word_score: str = "max"
    key: str = "protocol.faithfulness"

    def __post_init__(self):
        if self.unit not in FILLS:
            raise BenchError(f"{self.key}: unit={self.unit!r}: expected one of {', '.join(FILLS)}")
        if self.fill not in FILLS[self.unit]:
            raise BenchError(
                f"{self.key}: fill={self.fill!r}: expected one of {', '.join(FILLS[self.unit])} for unit={self.unit}"
            )
        if self.fill == "blur" and not (is_number(self.blur_sigma) and 0 < self.blur_sigma <= MOST_BLUR):
            raise BenchError(
                f"{self.key}: blur_sigma={self.blur_sigma}: fill=blur needs pixels, e.g. 10, at most {MOST_BLUR}"
            )
        check_word_score(f"{self.key}: word_score", self.word_score)

    @property
    def modality(self) -> str:
        """Of the samples."""
        return "image" if self.unit in ("pixel", "patch") else "text"

    def check(self, model: Model) -> None:
        """Raises BenchError if this cannot be removed from what the model takes."""
        if self.fill == "drop":
            place_of_tokens(model.module)
        if self.fill == "mask" and model.mask_id is None:
            raise BenchError(
                f"fill=mask: the tokenizer of {model!r} has no mask token; use fill=delete, as all of "
                "task=faithfulness_decoders does"
            )
        if self.fill == "pad" and model.pad_id is None:
            raise BenchError(f"fill=pad: {model!r} has no padding token; use fill=delete")

    def scores(self, explanations: Explanations) -> Scores:
        """The relevance of each unit."""
        maps, batch = explanations.maps, explanations.batch
        if self.unit == "pixel":
            return Scores(maps.upsampled(tuple(batch.inputs.shape[-2:])).flatten(1))
        if self.unit == "patch":
            values, grid = maps.values.double(), explanations.model.grid
            if tuple(values.shape[1:]) != tuple(grid):
                values = F.adaptive_avg_pool2d(values[:, None], grid)[:, 0]
            return Scores(values.flatten(1))
        values, valid = word_scores(
            maps.values.double(), self._units(batch.words), maps.word_score or self.word_score
        )
        return Scores(values, valid)

    def sizes(self, explanations: Explanations) -> Tensor:
        """How many units each sample has, (batch,), which needs no map."""
        batch = explanations.batch
        if self.modality == "text":
            units = self._units(batch.words)
            return (units.amax(dim=1) + 1).clamp(min=0)
        height, width = explanations.model.grid if self.unit == "patch" else batch.inputs.shape[-2:]
        return torch.full((len(batch.samples),), height * width, device=batch.inputs.device)

    def masked(self, explanations: Explanations) -> Masked:
        """What gives the logits of the batch's samples without some units, of the data set's classes in their order."""
        run = self._run(explanations)
        numbers = list(explanations.numbers)

        def logits(samples: Tensor, removed: Tensor) -> Tensor:
            return run(samples, removed)[:, numbers]

        return logits

    def _run(self, explanations: Explanations) -> Masked:
        model, batch = explanations.model, explanations.batch
        if self.modality == "text":
            units = self._units(batch.words)
            return MaskedTexts(
                model.forward, batch.inputs, units, self.fill, mask_id=model.mask_id, pad_id=model.pad_id
            )
        grid = tuple(model.grid) if self.unit == "patch" else None
        if self.fill == "drop":
            return DroppedPatches(model.forward, model.module, batch.inputs, model.prefix_tokens)
        if self.fill == "inpaint":
            seeds = torch.tensor([seed_of(name) for name in batch.ids])
            return InpaintedImages(model.forward, batch.pixels, model.normalise, seeds, grid)
        filled = fill_pixels(self.fill, batch.pixels, model.mean, self.blur_sigma)
        return MaskedImages(model.forward, batch.inputs, model.normalise(filled), grid)

    def _units(self, words: Tensor) -> Tensor:
        """The number of the unit of each token, −1 for none."""
        if self.unit == "word":
            return words
        real = words >= 0
        return torch.where(real, real.cumsum(dim=1) - 1, -1)


class RemovesUnits:
    """What measurements of removed units have in common.

    One has the settings ``unit`` and ``fill``, and ``blur_sigma`` and ``word_score`` if it needs them.

    Attributes:
        key: of the settings, for messages.
    """

    key: ClassVar[str] = "protocol.faithfulness"

    def __post_init__(self):
        _ = self._removal  # finds mistakes in its settings

    @cached_property
    def _removal(self) -> Removal:
        own = {name: getattr(self, name) for name in ("blur_sigma", "word_score") if hasattr(self, name)}
        return Removal(self.unit, self.fill, **own, key=self.key)

    @property
    def modality(self) -> str:
        """Of the samples."""
        return self._removal.modality

    def check(self, model: Model, sample: Any) -> None:
        """Raises BenchError for another modality, or a model that cannot do without what is removed."""
        expect_modality(self.modality, model, sample)
        self._removal.check(model)

    def _check_seen(self, explanations: Explanations, sizes: Tensor) -> None:
        """Raises BenchError for samples of which there is nothing to remove.

        Args:
            sizes: (batch,), how many units, or groups of them, each has.
        """
        numbered = zip(explanations.batch.ids, sizes.tolist(), strict=True)
        if empty := [name for name, size in numbered if not size]:
            raise BenchError(f"{', '.join(empty)}: no {self.unit} of it is seen, so none can be removed")


def seed_of(name: str, *more: Any) -> int:
    """A seed, below 2³¹, that depends on the id of a sample and on nothing of the batch."""
    text = ":".join(map(str, (name, *more)))
    return int(hashlib.sha256(text.encode()).hexdigest()[:8], 16) % 2**31
