"""Does the relevance lie where the object is? Maps against masks, pixel by pixel, without the model.

All take maps (batch, height, width) with their sign and bool masks of the same shape, and give one float64
number per sample, NaN where it is undefined; a mask without a pixel leaves everything undefined. Higher is
better for all of them. They say whether a map is plausible to people, which is another thing than faithful to
the model: a model may rightly look beside the object.
"""

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from metrics.checks import require_finite, require_shape

NAN = float("nan")


def box_mask(boxes: Sequence[Sequence[float]], size: tuple[int, int]) -> Tensor:
    """The pixels in any of several boxes: bool (height, width) = ``size``.

    Args:
        boxes: each x0, y0, x1, y1 in pixels, to the right and down; a box covers every pixel that it touches:
            ⌊x0⌋ to ⌈x1⌉, the latter excluded. What lies outside the image is cut off.

    Raises:
        ValueError: for a box whose ends are out of order or not finite.
    """
    mask = torch.zeros(size, dtype=torch.bool)
    for box in boxes:
        if len(box) != 4 or not all(map(math.isfinite, box)) or not (box[0] < box[2] and box[1] < box[3]):
            raise ValueError(f"box {list(box)}: expected x0 < x1 and y0 < y1 in pixels")
        left, top = (max(0, math.floor(edge)) for edge in box[:2])
        right, bottom = (max(0, math.ceil(edge)) for edge in box[2:])
        mask[top:bottom, left:right] = True
    return mask


def mask_share(masks: Tensor) -> Tensor:
    """Share of the pixels that the masks (batch, height, width) cover: (batch,) in 0..1, what chance would hit."""
    require_shape("masks", masks, None, None, None)
    return masks.double().mean((1, 2))


def pointing_game(maps: Tensor, masks: Tensor, tolerance: float = 0.0) -> Tensor:
    """Whether the most relevant pixel is in the mask, 1 or 0: (batch,).

    Zhang et al., "Top-down Neural Attention by Excitation Backprop", ECCV 2016 / IJCV 2018. Of equally
    relevant pixels the first counts, as in :func:`metrics.rank`.

    Args:
        tolerance: a pixel that is at most so far from the mask, in pixels from centre to centre, is a hit as
            well (15 in the paper).
    """
    maps, masks = _checked(maps, masks)
    width = masks.shape[2]
    reach = math.floor(min(tolerance, sum(masks.shape)))
    hits = []
    for best, mask in zip(maps.flatten(1).argmax(dim=1).tolist(), masks, strict=True):
        down, across = best // width, best % width
        top, left = max(0, down - reach), max(0, across - reach)
        rows, columns = mask[top : down + reach + 1, left : across + reach + 1].nonzero(as_tuple=True)
        squared = (rows + (top - down)) ** 2 + (columns + (left - across)) ** 2
        hits.append((squared <= tolerance**2).any())
    return _defined(torch.stack(hits).double() if hits else maps.new_zeros(0).double(), masks)


def mass_accuracy(maps: Tensor, masks: Tensor) -> Tensor:
    """Share of the positive relevance that lies in the mask: (batch,) in 0..1.

    Energy-based pointing game (Wang et al., Score-CAM, CVPRW 2020); relevance mass accuracy (Arras, Osman,
    Samek, "CLEVR-XAI", Information Fusion 2022). Undefined, too, for a map without positive relevance.
    """
    maps, masks = _checked(maps, masks)
    mass = maps.new_zeros(len(maps), 2, dtype=torch.float64)  # in the mask and in all
    # Image by image, which stays in a processor's cache.
    for sums, values, inside in zip(mass, maps, masks, strict=True):
        positive = values.double().clamp(min=0)
        sums[0], sums[1] = positive.where(inside, 0).sum(), positive.sum()
    total = mass[:, 1]
    return _defined((mass[:, 0] / total).where(total > 0, NAN), masks)


def mass_over_chance(maps: Tensor, masks: Tensor) -> Tensor:
    """:func:`mass_accuracy` over the share of the mask: (batch,), 1 for an even map. Undefined for a full mask, too."""
    share = mask_share(masks)
    return (mass_accuracy(maps, masks) / share).where(share < 1, NAN)


def rank_accuracy(maps: Tensor, masks: Tensor) -> Tensor:
    """Share of the |mask| most relevant pixels that lie in the mask: (batch,) in 0..1.

    Relevance rank accuracy, Arras, Osman, Samek 2022.
    """
    maps, masks = _checked(maps, masks)
    size = masks.sum((1, 2))
    return _defined(_inside(maps, masks, size.tolist()) / size.clamp(min=1), masks)


def top_k_intersection(maps: Tensor, masks: Tensor, k: int = 1000) -> Tensor:
    """Share of the k most relevant pixels that lie in the mask: (batch,) in 0..1.

    Theiner, Müller-Budack, Ewerth, "Interpretable Semantic Photo Geolocation", WACV 2022.

    Raises ValueError for k below 1 or beyond the pixels of the image.
    """
    maps, masks = _checked(maps, masks)
    if not 1 <= k <= masks[0].numel():
        raise ValueError(f"k={k}: expected from 1 to the {masks[0].numel()} pixels of an image")
    return _defined(_inside(maps, masks, [k] * len(maps)) / k, masks)


def roc_auc(maps: Tensor, masks: Tensor) -> Tensor:
    """Chance that a pixel of the mask is more relevant than one beside it, ties counting half: (batch,) in
    0..1.

    The area under the ROC curve of the map as a score for the mask; ½ for a constant map. Undefined for a
    full mask, too.
    """
    maps, masks = _checked(maps, masks)
    return torch.tensor(
        [_auc(*_parts(values, inside)) for values, inside in zip(maps, masks, strict=True)],
        dtype=torch.float64,
        device=maps.device,
    )


def _auc(within: Tensor, beside: Tensor) -> float:
    """The chance that a number (n,) is larger than another (m,), ties counting half."""
    pairs = len(within) * len(beside)
    if not pairs:
        return NAN
    within, beside = _sorted(within), _sorted(beside)
    below = torch.searchsorted(beside, within)
    tied = beside[below.clamp(max=len(beside) - 1)] == within  # few, as a rule
    ties = torch.searchsorted(beside, within[tied], right=True) - below[tied]
    return float(2 * below.sum() + ties.sum()) / (2 * pairs)


def _inside(maps: Tensor, masks: Tensor, sizes: Sequence[int]) -> Tensor:
    """How many of the most relevant pixels lie in the mask: (batch,) float64. Ties go to the lower index.

    Args:
        sizes: for each sample, of how many pixels.
    """
    found = []
    for values, inside, size in zip(maps.flatten(1), masks.flatten(1), sizes, strict=True):
        if not size:
            found.append(inside.new_zeros((), dtype=torch.int64))
            continue
        # A part of the ranking is enough: what is above the least relevant of them, and the first that equal it.
        least = _largest(values, size)
        above = values > least
        equal = (values == least).nonzero()[: size - int(above.count_nonzero()), 0]
        found.append((above & inside).count_nonzero() + inside[equal].count_nonzero())
    return torch.stack(found).double() if found else masks.new_zeros(0, dtype=torch.float64)


# On a CPU by NumPy, which takes a fraction of torch's time to choose and to sort.
def _parts(values: Tensor, inside: Tensor) -> tuple[Tensor, Tensor]:
    """The numbers (...) in a mask and those beside it: (n,) and (m,)."""
    if values.device.type != "cpu":
        return values[inside], values[~inside]
    numbers, chosen = values.detach().numpy(), inside.numpy()
    return torch.from_numpy(numbers[chosen]), torch.from_numpy(numbers[~chosen])


def _sorted(values: Tensor) -> Tensor:
    return (
        torch.from_numpy(np.sort(values.detach().numpy()))
        if values.device.type == "cpu"
        else values.sort().values
    )


def _largest(values: Tensor, k: int) -> Tensor | float:
    """The k-th largest of (n,), k from 1."""
    place = len(values) - k
    if values.device.type == "cpu":
        return float(np.partition(values.detach().numpy(), place)[place])
    return values.kthvalue(place + 1).values


def _checked(maps: Tensor, masks: Tensor) -> tuple[Tensor, Tensor]:
    require_shape("maps", maps, None, None, None)
    require_shape("masks", masks, *maps.shape)
    require_finite("maps", maps)
    return maps, masks.bool()


def _defined(values: Tensor, masks: Tensor) -> Tensor:
    """The values, NaN where the mask is empty."""
    return values.where(masks.flatten(1).amax(dim=1), NAN)
