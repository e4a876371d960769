"""# ViT-CX

**Formula.** The features H of the patches in front of the last block (its first normalisation's output),
enlarged to the image and scaled to 0..1 each, are D masks; those that are alike are joined by agglomerative
clustering (complete linkage, distance 1 − cosine, up to a threshold), summed and scaled again: K masks m_k.
With noise n_k, what a mask is worth is

Score_k = p_t(x ⊙ m_k + n_k ⊙ (1 − m_k)) − p_t(x + n_k ⊙ (1 − m_k)) + p_t(x),

and the map is Σ_k Score_k · m_k / (K Σ_l m_l), pixel by pixel. Class-specific.

**Cost and memory.** One forward pass and two for each of K masks, of which there are fewer than about 100 on
trained models of 768 features, ``chunk`` at once; no backward pass. Several classes cost no more than one. D
masks of the image's size are held for one sample at a time.

**Reference.** Xie, Li, Cao & Zhang, "ViT-CX: Causal Explanation of Vision Transformers", IJCAI 2023 (arXiv
2211.03064). Code: vaynexie/CausalX-ViT, which names no licence. The clustering is scikit-learn's, BSD-3.

**Paper and code.** The noise is 0.1 times normal numbers in the normalised input; the same seed draws the
same for every image, as the code does when its seed is set before each. A pixel that is 0 in every mask, of
which the formula is 0/0, gets 0.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from methods.common import Passes, each_class
from methods.perturbed import probabilities
from methods.places import grid_of, pixels_of
from methods.relevance import Forward, Inputs, Tape


@dataclass(frozen=True)
class ViTCX:
    """What clusters of the model's own features keep of a class's probability when they mask the image.

    Args:
        distance: up to which masks are joined, 1 − cosine.
        std: of the noise.
        seed: another seed draws other noise.
        prefix_tokens: how many leading tokens are no patches.
        chunk: images that go through the model at once.

    Raises:
        ValueError: for a chunk below 1, or a distance that is not positive.
    """

    version: ClassVar[int] = 1

    distance: float = 0.1
    std: float = 0.1
    seed: int = 0
    prefix_tokens: int = 1
    chunk: int = 64

    def __post_init__(self):
        if self.chunk < 1:
            raise ValueError(f"chunk={self.chunk}: expected at least 1")
        if not self.distance > 0:
            raise ValueError(f"distance={self.distance}: expected more than 0")

    def passes(self, tokens: int, blocks: int, width: int = 768) -> Passes:
        """One forward pass and two for each cluster: at most for each feature, and for 100 of them as a rule."""
        return Passes(1 + 2 * min(width, 100), 0)

    def for_check(self) -> "ViTCX":
        """The same with fewer masks, as more of them are joined."""
        return replace(self, distance=max(self.distance, 0.9))

    def __call__(self, forward: Forward, inputs: Inputs, target: Tensor | None = None) -> Tensor:
        """Explain ``target`` (batch,), or the predicted class if None; returns (batch, height, width).

        A ``target`` of (batch, classes) returns (batch, classes, height, width).

        Raises:
            RefusedError: for inputs that are no images, and for patches that do not tile the image.
        """
        images = pixels_of(inputs, self)
        tape = Tape.record(forward, images)
        features = tape.blocks[-1].normed.detach()[:, self.prefix_tokens :]
        clean = tape.logits.detach().softmax(dim=1)
        target = clean.argmax(dim=1) if target is None else target
        maps = []
        for image, own, p, classes in zip(images, features, clean, each_class(target), strict=True):
            masks = self._masks(own, tuple(image.shape[-2:]))
            scores = (self._scores(forward, image, masks) + p)[:, classes]
            total = masks.sum(dim=0)  # 0 where no mask leaves anything
            shares = masks / total.where(total > 0, 1) / len(masks)
            maps.append(torch.einsum("kc,khw->chw", scores.to(shares.dtype), shares))
        maps = torch.stack(maps)
        return maps[:, 0] if target.ndim == 1 else maps

    def _masks(self, features: Tensor, size: tuple[int, int]) -> Tensor:
        """The masks of one sample, (clusters, height, width), of its features (patches, D)."""
        from sklearn.cluster import AgglomerativeClustering  # slow to import, and no other method needs it

        channels = features.mT.unflatten(-1, grid_of(*size, len(features)))
        masks = _scaled(F.interpolate(channels[None], size=size, mode="bilinear", align_corners=False)[0])
        directions = F.normalize(masks.flatten(1), dim=1)
        clustering = AgglomerativeClustering(
            n_clusters=None, distance_threshold=self.distance, metric="precomputed", linkage="complete"
        )
        labels = clustering.fit((1 - directions @ directions.mT).cpu().numpy()).labels_
        joined = masks.new_zeros(clustering.n_clusters_, *size)
        return _scaled(joined.index_add_(0, torch.from_numpy(labels).to(masks.device), masks))

    def _scores(self, forward: Forward, image: Tensor, masks: Tensor) -> Tensor:
        """What the masked image keeps beyond the noise alone, (clusters, classes of the model)."""
        found = []
        for some, noise in zip(masks.split(self.chunk), self._noise(image, len(masks)), strict=True):
            some = some[:, None].to(image.dtype)
            noise = noise * (1 - some)
            found.append(probabilities(forward, image * some + noise) - probabilities(forward, image + noise))
        return torch.cat(found)

    def _noise(self, image: Tensor, count: int) -> Iterator[Tensor]:
        generator = torch.Generator().manual_seed(self.seed)
        for start in range(0, count, self.chunk):
            size = min(self.chunk, count - start)
            drawn = [torch.randn(image.shape, generator=generator, dtype=torch.float64) for _ in range(size)]
            yield self.std * torch.stack(drawn).to(image)


def _scaled(masks: Tensor) -> Tensor:
    """Each mask scaled to 0..1; a constant one is 0."""
    low, high = masks.amin(dim=(-2, -1), keepdim=True), masks.amax(dim=(-2, -1), keepdim=True)
    return torch.where(high > low, (masks - low) / (high - low), 0)
