"""What the benchmark asks of a model, whatever library it is from."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Literal, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from bench.errors import BenchError
from metrics import minmax, upsample

Modality = Literal["image", "text"]
Inputs = Tensor | Mapping[str, Tensor]


@dataclass(frozen=True)
class Batch:
    """Samples as a model takes them.

    Attributes:
        samples: as they were prepared for the model.
        inputs: what ``forward`` is called with, on the model's device.
        words: the word of the document that each token is a piece of, (batch, tokens), numbered from 0; −1 for
            none, as for tokens of a query, special ones and padding. None for images.
    """

    samples: Sequence[Any]
    inputs: Inputs
    words: Tensor | None = None

    @property
    def ids(self) -> list[str]:
        """The ids of the samples."""
        return [sample.id for sample in self.samples]

    @property
    def labels(self) -> list[int | None]:
        """The annotated classes, numbered as by the data set; None where there is none."""
        return [sample.label for sample in self.samples]

    @cached_property
    def pixels(self) -> Tensor:
        """(batch, channels, height, width) in 0..1, before they are normalised. Images only."""
        return torch.stack([sample.image for sample in self.samples]).to(self.inputs.device)

    @cached_property
    def masks(self) -> Tensor | None:
        """(batch, height, width), boolean, True on the annotated object; None if a sample has no mask."""
        masks = [sample.mask for sample in self.samples]
        return None if any(mask is None for mask in masks) else torch.stack(masks).to(self.inputs.device)

    @cached_property
    def rationales(self) -> Tensor:
        """(batch, words of the longest document), boolean, True on annotated words. Texts only."""
        return self._of_documents([np.asarray(sample.rationale, dtype=bool) for sample in self.samples])

    @cached_property
    def alternatives(self) -> Tensor | None:
        """(alternatives, batch, words of the longest document), boolean: rationales of which each suffices.

        A sample with fewer than another has its last one several times. None if no sample has any.
        """
        found = [sample.alternatives for sample in self.samples]
        if all(rows is None for rows in found):
            return None
        own = [
            np.asarray(sample.rationale if rows is None else rows, dtype=bool).reshape(-1, len(sample.words))
            for sample, rows in zip(self.samples, found, strict=True)
        ]
        most = max(map(len, own))
        return torch.stack(
            [self._of_documents([rows[min(i, len(rows) - 1)] for rows in own]) for i in range(most)]
        )

    @property
    def read(self) -> list[dict[str, int]]:
        """What the model reads of each text: numbers of words, and of those that are annotated. Texts only.

        ``words`` and ``visible`` of the document, ``annotated`` and ``annotated_visible``.
        """
        visible = (self.words.amax(dim=1) + 1).clamp(min=0)
        seen = torch.arange(self.rationales.shape[1], device=self.words.device) < visible[:, None]
        counts = {
            "words": [len(sample.document) for sample in self.samples],
            "visible": visible.tolist(),
            "annotated": self.rationales.sum(dim=1).tolist(),
            "annotated_visible": (self.rationales & seen).sum(dim=1).tolist(),
        }
        return [dict(zip(counts, row, strict=True)) for row in zip(*counts.values(), strict=True)]

    def _of_documents(self, marks: Sequence[np.ndarray]) -> Tensor:
        """Marks of all words of each sample, without those of its query, padded: (batch, words)."""
        rows = [
            torch.from_numpy(own[sample.query_words :])
            for own, sample in zip(marks, self.samples, strict=True)
        ]
        return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True).to(self.words.device)

    def annotation(self) -> Tensor | None:
        """What is annotated as relevant, in a shape that methods return; None where nothing is annotated."""
        if self.words is None:
            return self.masks
        return (self.rationales.gather(1, self.words.clamp(min=0)) & (self.words >= 0)).double()


@dataclass(frozen=True)
class Maps:
    """The maps of a batch as they are kept: float32, with sign and scale.

    Attributes:
        values: one number per patch (batch, rows, columns) or per pixel (batch, height, width) of images, or
            one per token of texts, (batch, tokens).
        prefix: of the tokens that stand before those of the patches, (batch, tokens).
        target: the explained classes, numbered as by the data set, (batch,).
        word_score: how the method says that a word's score comes from those of its pieces, ``sum``, ``max`` or
            ``mean``; None if it says nothing.
    """

    values: Tensor
    prefix: Tensor
    target: Tensor
    word_score: str | None = None

    def pixels(self, size: tuple[int, int]) -> Tensor:
        """Maps of images, upsampled bilinearly where they are of patches and min–max scaled: (batch, *size), 0..1.

        In double precision, rounded to float32 at the end: interpolation makes equal pixels equal up to
        rounding only, and ranking would take the rounding for a ranking.
        """
        return minmax(self.upsampled(size)).float()

    def upsampled(self, size: tuple[int, int]) -> Tensor:
        """Maps of images with sign and scale, one number per pixel: (batch, *size), float64."""
        values = self.values.double()
        return values if tuple(values.shape[1:]) == tuple(size) else upsample(values, size)


@runtime_checkable
class Model(Protocol):
    """A classifier with what is needed to run it over a data set.

    Attributes:
        modality: ``image`` or ``text``.
        version: rises when the same files or settings make another function.
        content: SHA-256 of what was loaded, by what it is: ``weights``, and for texts ``tokenizer``.
        classes: the names of the classes, in the order of the logits.
        device: where its weights are.
    """

    modality: Modality
    version: ClassVar[int]
    content: dict[str, str]
    classes: Sequence[str]
    device: torch.device

    def forward(self, inputs: Inputs) -> Tensor:
        """Logits (batch, classes): what methods are given, for images and texts alike."""

    def to(self, device: torch.device) -> "Model":
        """Move the weights; returns the model."""

    def check(self, settings: Any) -> None:
        """Raises BenchError if the model cannot take samples prepared under these settings."""

    def preparation(self, settings: Any) -> Callable[[Any], Any]:
        """What is done to a sample where it is loaded, maybe in another process: it is pickled."""

    def batch(self, samples: Sequence[Any], settings: Any) -> Batch:
        """Put prepared samples together."""

    def numbers(self, classes: Sequence[str] | None) -> Sequence[int]:
        """The index of the logit of each class of a data set, given their names (None where it has none).

        Raises:
            BenchError: if these are not the model's classes.
        """

    def maps(self, relevance: Tensor, batch: Batch, target: Tensor) -> Maps:
        """What a method returned for a batch, checked and rounded to float32.

        Raises:
            BenchError: for a shape that is neither one number per token nor one per pixel.
        """


def predicted(model: Model, inputs: Inputs, numbers: Sequence[int]) -> Tensor:
    """The predicted classes (batch,), numbered as by the data set (:meth:`Model.numbers`)."""
    with torch.inference_mode():
        return model.forward(inputs)[:, list(numbers)].argmax(dim=1)


def rounded(relevance: Tensor, ids: Sequence[str]) -> Tensor:
    """Relevance in float32, in which maps are kept and scored.

    Raises:
        BenchError: naming the samples whose map float32 cannot hold.
    """
    result = relevance.detach().float()
    lost = result.flatten(1).isinf().any(dim=1) | (
        (relevance.flatten(1) != 0).any(dim=1) & (result.flatten(1) == 0).all(dim=1)
    )
    if lost.any():
        bad = [name for name, is_lost in zip(ids, lost.tolist(), strict=True) if is_lost]
        raise BenchError(
            f"method: the map of {', '.join(bad)} has numbers beyond what float32 holds "
            "(1e-45 to 3e38 in magnitude); scale the map in the method"
        )
    return result


def as_mapping(settings: Any) -> Mapping[str, Any]:
    """The section ``inputs`` of a configuration, or BenchError if it is not a section."""
    if not isinstance(settings, Mapping):
        raise BenchError(f"task.inputs={settings}: expected a section with the settings of the samples' size")
    return settings
