"""# CAM on tokens: Grad-CAM and its kin

**Formulas.** H is the output of the last block's first normalisation, the patches' tokens alone (P × D), and
G = ∂y_t/∂H. Later layers have no gradient at the patches where a class token is read.

| cam | map over patches |
|---|---|
| ``gradcam`` | Σ_d H w, w = mean of G over patches |
| ``hirescam`` | Σ_d G ⊙ H |
| ``layercam`` | Σ_d G⁺ ⊙ H |
| ``xgradcam`` | Σ_d H w, w = Σ_p(G ⊙ H) / (Σ_p H + 1e-7) |
| ``gradcam_plusplus`` | Σ_d H w, w = Σ_p α ⊙ G⁺, α = G² / (2 G² + (Σ_p H) G³ + 1e-6), 0 where G = 0 |
| ``eigencam`` | first principal component of H, centred over the patches |
| ``eigengradcam`` | the same of G ⊙ H |
| ``scorecam`` | Σ_d H w, w = softmax over d of y_t of the image times channel d, enlarged and scaled to 0..1 |

The maps are raw: signed, and 0 at tokens that are no patches. :func:`scaled` makes the image of them that the
reference draws: clamped at zero, scaled, enlarged and scaled again. All but ``eigencam`` are class-specific.

**Cost and memory.** One forward pass and a backward pass through the last block; ``eigencam`` no backward
pass; ``scorecam`` one forward pass and one more for each of the D features, ``chunk`` at once.

**Reference.** Grad-CAM: Selvaraju et al., ICCV 2017 (arXiv 1610.02391); Grad-CAM++: Chattopadhay et al., WACV
2018; Score-CAM: Wang et al., CVPR-W 2020; XGrad-CAM: Fu et al., BMVC 2020; Eigen-CAM: Muhammad & Yeasin,
IJCNN 2020; LayerCAM: Jiang et al., IEEE TIP 2021; HiResCAM: Draelos & Carin, 2020 (arXiv 2011.08891). Code:
jacobgil/pytorch-grad-cam, MIT licence, with its transform for ViTs.

**Papers and code.** The papers explain convolutional networks; tokens as pixels of a feature map are the
package's recipe. Its principal components have the sign that the decomposition happens to give; here the
entry of the largest magnitude is positive. :class:`methods.GradCAM` is another method: it weighs attention
heads, not features.
"""

from dataclasses import dataclass, replace
from typing import ClassVar, Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from methods.common import Passes, each_class, for_each_class
from methods.perturbed import logits_of
from methods.places import grid_of, pixels_of
from methods.relevance import Forward, Inputs, RefusedError, Tape

Kind = Literal[
    "gradcam",
    "hirescam",
    "layercam",
    "xgradcam",
    "gradcam_plusplus",
    "eigencam",
    "eigengradcam",
    "scorecam",
]


@dataclass(frozen=True)
class TokenCAM:
    """A class activation map of the patches' tokens in front of the last block.

    Args:
        cam: which of the family, see the table of this module.
        prefix_tokens: how many leading tokens are no patches.
        features: for ``scorecam``: the first so many features only; None: all, as its authors have it.
        chunk: for ``scorecam``: images that go through the model at once.

    Raises:
        ValueError: for another ``cam``, or numbers below 1.
    """

    version: ClassVar[int] = 1

    cam: Kind = "gradcam"
    prefix_tokens: int = 1
    features: int | None = None
    chunk: int = 64

    def __post_init__(self):
        if self.cam not in get_args(Kind):
            raise ValueError(f"cam={self.cam!r}: expected one of {', '.join(get_args(Kind))}")
        for name in ("features", "chunk"):
            if getattr(self, name) is not None and getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)}: expected at least 1")

    @property
    def class_specific(self) -> bool:
        """Whether the map depends on the explained class."""
        return self.cam != "eigencam"

    def passes(self, tokens: int, blocks: int, width: int = 768) -> Passes:
        """A backward pass through the last block, or for Score-CAM a forward pass for each of ``width`` features."""
        if self.cam == "scorecam":
            return Passes(1 + min(width, self.features or width), 0)
        return Passes(1, 1 / blocks if self.class_specific else 0)

    def for_check(self) -> "TokenCAM":
        """The same with few features."""
        return replace(self, features=4)

    def __call__(self, forward: Forward, inputs: Inputs, target: Tensor | None = None) -> Tensor:
        """Explain ``target`` (batch,), or the predicted class if None; returns (batch, tokens).

        A ``target`` of (batch, classes) is explained class by class; returns (batch, classes, tokens).

        Raises:
            RefusedError: for inputs that are no images, and for a model without tokens of patches.
        """
        images = pixels_of(inputs, self)
        tape = Tape.record(forward, images)
        at = tape.blocks[-1].normed
        features = at.detach()[:, self.prefix_tokens :]
        if features.shape[1] == 0:
            raise RefusedError(
                f"prefix_tokens={self.prefix_tokens} of {at.shape[1]} tokens leaves no patches to map"
            )
        if self.cam == "scorecam":
            maps = self._by_scores(forward, images, target, tape, features)
        elif self.cam == "eigencam":
            maps = for_each_class(target, lambda _: _first_component(features))
        else:
            combine = _COMBINATIONS[self.cam]
            maps = for_each_class(
                target, lambda t: combine(features, tape.gradient(t, [at])[0][:, self.prefix_tokens :])
            )
        return F.pad(maps, (self.prefix_tokens, 0))

    def _by_scores(
        self, forward: Forward, images: Tensor, target: Tensor | None, tape: Tape, features: Tensor
    ) -> Tensor:
        """Σ_d w_d H_d, w the softmax over features d of the logit of the image seen through H_d."""
        target = tape.logits.detach().argmax(dim=1) if target is None else target
        features = features[..., : self.features]
        size = tuple(images.shape[-2:])
        channels = features.mT.unflatten(-1, grid_of(*size, features.shape[1]))  # (batch, D, rows, columns)
        large = F.interpolate(channels, size=size, mode="bilinear", align_corners=True)
        low, high = large.amin(dim=(-2, -1), keepdim=True), large.amax(dim=(-2, -1), keepdim=True)
        masks = (large - low) / (high - low + 1e-8)
        weights = []
        for image, own, classes in zip(images, masks, each_class(target), strict=True):
            logits = [logits_of(forward, image * some[:, None]) for some in own.split(self.chunk)]
            weights.append(torch.cat(logits)[:, classes].softmax(dim=0).mT)  # (classes, D)
        maps = torch.stack(weights).to(features.dtype) @ features.mT
        return maps[:, 0] if target.ndim == 1 else maps


def _weighted(features: Tensor, weights: Tensor) -> Tensor:
    return (features * weights[:, None]).sum(dim=-1)


def _gradcam(H: Tensor, G: Tensor) -> Tensor:
    return _weighted(H, G.mean(dim=1))


def _hirescam(H: Tensor, G: Tensor) -> Tensor:
    return (G * H).sum(dim=-1)


def _layercam(H: Tensor, G: Tensor) -> Tensor:
    return (G.clamp(min=0) * H).sum(dim=-1)


def _xgradcam(H: Tensor, G: Tensor) -> Tensor:
    return _weighted(H, (G * H).sum(dim=1) / (H.sum(dim=1) + 1e-7))


def _gradcam_plusplus(H: Tensor, G: Tensor) -> Tensor:
    alpha = G**2 / (2 * G**2 + H.sum(dim=1, keepdim=True) * G**3 + 1e-6)
    return _weighted(H, (torch.where(G == 0, 0, alpha) * G.clamp(min=0)).sum(dim=1))


def _eigengradcam(H: Tensor, G: Tensor) -> Tensor:
    return _first_component(G * H)


def _first_component(values: Tensor) -> Tensor:
    """The projection of (batch, patches, D) on their first principal component, its largest entry positive."""
    centred = values - values.mean(dim=1, keepdim=True)
    maps = (centred @ torch.linalg.svd(centred, full_matrices=False).Vh[:, 0, :, None])[..., 0]
    largest = maps.gather(1, maps.abs().argmax(dim=1, keepdim=True))
    return maps * largest.sign()


_COMBINATIONS = {
    "gradcam": _gradcam,
    "hirescam": _hirescam,
    "layercam": _layercam,
    "xgradcam": _xgradcam,
    "gradcam_plusplus": _gradcam_plusplus,
    "eigengradcam": _eigengradcam,
}


def scaled(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """The image that the reference draws of raw maps: clamped at zero, scaled to 0..1, enlarged, scaled again.

    Args:
        maps: (batch, patches), without other tokens.
        size: height and width of the image.

    Returns:
        (batch, height, width)
    """

    def scale(m: Tensor) -> Tensor:
        m = m - m.amin(dim=(-2, -1), keepdim=True)
        return m / (1e-7 + m.amax(dim=(-2, -1), keepdim=True))

    grid = maps.clamp(min=0).unflatten(-1, grid_of(*size, maps.shape[-1]))
    return scale(F.interpolate(scale(grid)[:, None], size=size, mode="bilinear", align_corners=False)[:, 0])
