"""What a model says of inputs from which some units are removed.

Everything here asks one thing: a callable ``masked(samples, removed)`` that gives logits (rows, classes) for
the rows of ``removed`` (rows, units), boolean, each of which says what is removed from one of the ``samples``
(rows,). :class:`MaskedImages` and :class:`MaskedTexts` are such; so is any function of one's own.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from metrics.checks import require_finite, require_shape
from metrics.fills import inpaint
from metrics.ranking import rank

Masked = Callable[[Tensor, Tensor], Tensor]
TextFill = Literal["mask", "delete", "pad", "attention"]
TEXT_FILLS = ("mask", "delete", "pad", "attention")


class Outputs(NamedTuple):
    """What a model says of the explained class, each of one shape, such as (samples, steps)."""

    probability: Tensor  # float64
    log_probability: Tensor  # float64, in nats
    logit: Tensor  # float64
    prediction: Tensor  # int64, the class with the largest logit


@dataclass(frozen=True)
class MaskedImages:
    """Images in which removed pixels or patches are replaced by a fill.

    Args:
        forward: from images to logits.
        images: (batch, channels, height, width), as ``forward`` takes them.
        fill: of the same kind, in a shape that broadcasts to that of the images.
        grid: (rows, columns) of the patches that are removed; None removes pixels.

    Raises:
        ValueError: if the patches do not divide the images.
    """

    forward: Callable[[Tensor], Tensor]
    images: Tensor
    fill: Tensor
    grid: tuple[int, int] | None = None

    def __post_init__(self):
        require_shape("images", self.images, None, None, None, None)
        pixels_of(torch.zeros(0, 0), tuple(self.images.shape[-2:]), self.grid)

    def __call__(self, samples: Tensor, removed: Tensor) -> Tensor:
        """Logits (rows, classes) of the images ``samples`` (rows,) without the units ``removed`` (rows, units)."""
        gone = pixels_of(removed, tuple(self.images.shape[-2:]), self.grid)[:, None]
        fill = self.fill.expand_as(self.images)
        return self.forward(torch.where(gone, fill[samples], self.images[samples]))


@dataclass(frozen=True)
class InpaintedImages:
    """Images in which removed pixels or patches are imputed from what is left (ROAD).

    Rong et al., "A Consistent and Efficient Evaluation Strategy for Attribution Methods", ICML 2022:
    :func:`metrics.inpaint`, plus Gaussian noise on the imputed pixels. The noise of a row is drawn with the
    seed of its sample and the number of its removed units, so that it depends neither on the batch nor on the
    method.

    Args:
        forward: from normalised images to logits.
        pixels: (batch, channels, height, width) in 0..1.
        normalise: from such pixels to what ``forward`` takes.
        seeds: (batch,), of the noise.
        grid: as in :class:`MaskedImages`.
        noise: its standard deviation, in units of the pixels.
    """

    forward: Callable[[Tensor], Tensor]
    pixels: Tensor
    normalise: Callable[[Tensor], Tensor]
    seeds: Tensor
    grid: tuple[int, int] | None = None
    noise: float = 0.01

    def __call__(self, samples: Tensor, removed: Tensor) -> Tensor:
        """As :class:`MaskedImages`. Raises ValueError where nothing is left to impute from."""
        gone = pixels_of(removed, tuple(self.pixels.shape[-2:]), self.grid)
        filled = inpaint(self.pixels[samples], gone)
        if self.noise:
            drawn = [
                self._noise(int(sample), int(row.sum())) for sample, row in zip(samples, gone, strict=True)
            ]
            filled = filled + torch.stack(drawn) * gone[:, None]
        return self.forward(self.normalise(filled))

    def _noise(self, sample: int, removed: int) -> Tensor:
        generator = torch.Generator().manual_seed(int(self.seeds[sample]) * 1_000_003 + removed)
        drawn = torch.randn(self.pixels.shape[1:], generator=generator, dtype=torch.float64)
        return (drawn * self.noise).to(self.pixels)


@dataclass(frozen=True)
class MaskedTexts:
    """Texts from which words or word pieces are removed.

    Args:
        forward: from ``input_ids``, ``attention_mask`` and whatever else ``inputs`` holds to logits.
        inputs: each (batch, tokens), padded at one side.
        units: (batch, tokens), the number of the unit that each token is a part of, from 0; −1 for tokens
            that are never removed, such as those at the ends and padding.
        fill: ``mask`` puts ``mask_id`` in the place of removed tokens, ``pad`` ``pad_id``; ``delete`` takes
            them out, and the positions close up; ``attention`` sets the attention mask to 0 there.
        mask_id, pad_id: token ids, needed for these fills; ``delete`` needs ``pad_id`` to batch texts of
            several lengths.

    Raises:
        ValueError: for another fill, or an id that is missing.
    """

    forward: Callable[[Mapping[str, Tensor]], Tensor]
    inputs: Mapping[str, Tensor]
    units: Tensor
    fill: TextFill
    mask_id: int | None = None
    pad_id: int | None = None

    def __post_init__(self):
        require_shape("units", self.units, *self.inputs["input_ids"].shape)
        if self.fill not in TEXT_FILLS:
            raise ValueError(f"fill={self.fill!r}: expected one of {', '.join(TEXT_FILLS)}")
        for fill, needed in (("mask", "mask_id"), ("pad", "pad_id")):
            if self.fill == fill and getattr(self, needed) is None:
                raise ValueError(
                    f"{needed}: fill={fill} needs a token for it, and there is none; choose fill=delete"
                )

    def __call__(self, samples: Tensor, removed: Tensor) -> Tensor:
        """Logits (rows, classes) of the texts ``samples`` (rows,) without the units ``removed`` (rows, units)."""
        inputs, units = {name: value[samples] for name, value in self.inputs.items()}, self.units[samples]
        gone = removed.gather(1, units.clamp(min=0)) & (units >= 0)
        if self.fill in ("mask", "pad"):
            token = self.mask_id if self.fill == "mask" else self.pad_id
            inputs["input_ids"] = inputs["input_ids"].masked_fill(gone, token)
        elif self.fill == "attention":
            inputs["attention_mask"] = inputs["attention_mask"].masked_fill(gone, 0)
        else:
            inputs = self._without(inputs, gone)
        return self.forward(inputs)

    def _without(self, inputs: Mapping[str, Tensor], gone: Tensor) -> dict[str, Tensor]:
        """The inputs with what is left closed up, and no longer than the longest of them."""
        dropped = gone | (inputs["attention_mask"] == 0)
        kept = (~dropped).sum(dim=1)
        if self.pad_id is None and kept.unique().numel() > 1:
            raise ValueError(
                "pad_id: texts of several lengths need a padding token, and there is none; take one text at a time"
            )
        order = dropped.int().argsort(dim=1, stable=True)[:, : max(int(kept.max()), 1)]
        closed = {name: value.gather(1, order) for name, value in inputs.items()}
        padding = torch.arange(order.shape[1], device=order.device) >= kept[:, None]
        closed["attention_mask"] = closed["attention_mask"].masked_fill(padding, 0)
        if self.pad_id is not None:
            closed["input_ids"] = closed["input_ids"].masked_fill(padding, self.pad_id)
        return closed


def pixels_of(removed: Tensor, size: tuple[int, int], grid: tuple[int, int] | None) -> Tensor:
    """Which pixels belong to removed units: bool (rows, units) to (rows, *size).

    Args:
        grid: (rows, columns) of patches; None where the units are pixels.

    Raises:
        ValueError: if the patches do not divide the size.
    """
    if grid is None:
        return removed.view(-1, *size) if removed.numel() else removed.new_zeros(0, *size, dtype=torch.bool)
    if size[0] % grid[0] or size[1] % grid[1]:
        raise ValueError(f"grid={grid}: its patches do not divide images of {size[0]} × {size[1]} pixels")
    patches = removed.view(-1, *grid) if removed.numel() else removed.new_zeros(0, *grid, dtype=torch.bool)
    return patches.repeat_interleave(size[0] // grid[0], 1).repeat_interleave(size[1] // grid[1], 2)


def evaluated(
    masked: Masked, samples: Tensor, removed: Callable[[slice], Tensor] | Tensor, target: Tensor, rows: int
) -> Outputs:
    """What a model says of each of many masked inputs, as many at a time as memory is known to hold.

    Args:
        samples: (inputs,), which sample each input is made of.
        removed: (inputs, units), or what gives some of its rows.
        target: (batch,), the explained class of each sample.
        rows: how many inputs are passed at once.

    Returns:
        Each (inputs,).
    """
    parts = []
    for start in range(0, len(samples), rows):
        some = slice(start, start + rows)
        with torch.inference_mode():
            logits = masked(samples[some], removed(some) if callable(removed) else removed[some]).double()
        parts.append(_outputs(logits, target[samples[some]]))
    return Outputs(*(torch.cat(each) for each in zip(*parts, strict=True)))


def _outputs(logits: Tensor, target: Tensor) -> Outputs:
    require_finite("logits", logits)
    logs = logits.log_softmax(dim=1).gather(1, target[:, None])[:, 0]
    return Outputs(logs.exp(), logs, logits.gather(1, target[:, None])[:, 0], logits.argmax(dim=1))


def unit_ranks(
    scores: Tensor, valid: Tensor | None = None, ties: Literal["first", "last"] = "first"
) -> Tensor:
    """:func:`metrics.rank` of scores (batch, units), with units that are not ``valid`` behind all others.

    Args:
        valid: (batch, units), boolean; None where all are.
        ties: which of equally relevant units is the more relevant, the ``first`` or the ``last``.
    """
    if ties not in ("first", "last"):
        raise ValueError(f"ties={ties!r}: expected first or last")
    known = scores if valid is None else scores.where(valid, torch.finfo(scores.dtype).min)
    ranks = rank(known) if ties == "first" else rank(known.flip(1)).flip(1)
    if valid is None:
        return ranks
    order = ranks.argsort(dim=1)
    last = (~valid).gather(1, order).int().argsort(dim=1, stable=True)
    return order.gather(1, last).argsort(dim=1).int()


def removal_curves(
    masked: Masked,
    ranks: Tensor,
    most_first: Tensor,
    least_first: Tensor,
    target: Tensor,
    sizes: Tensor | None = None,
    rows: int | None = None,
) -> tuple[Outputs, Outputs]:
    """What a model says while units are removed in the order of their relevance, from either end.

    Both directions read one ranking, so they partition the units. What is asked for twice, such as the whole
    input and that of which nothing is left, is passed once.

    Args:
        ranks: (batch, units), :func:`metrics.rank` of the scores, or :func:`metrics.unit_ranks`.
        most_first: (batch, steps) or (steps,), how many of the most relevant units are removed at each step.
        least_first: (batch, other steps) or (other steps,), how many of the least relevant.
        target: (batch,), the explained class.
        sizes: (batch,), how many units each sample has; None for all.
        rows: how many inputs are passed at once; None for as many as there are samples.

    Returns:
        What the model says for each direction, (batch, steps) and (batch, other steps).

    Raises:
        ValueError: for numbers below 0 or beyond the units of a sample, and logits that are not finite.
    """
    require_shape("ranks", ranks, None, None)
    batch, units = ranks.shape
    device = ranks.device
    sizes = torch.full((batch,), units, device=device) if sizes is None else sizes.to(device)
    counts = torch.cat([c.to(device).expand(batch, c.shape[-1]) for c in (most_first, least_first)], dim=1)
    if (counts < 0).any() or (counts > sizes[:, None]).any():
        raise ValueError(
            f"counts: expected from 0 to the number of units of each sample, {int(sizes.min())} at least; got "
            f"{int(counts.min())} to {int(counts.max())}"
        )
    least = torch.arange(counts.shape[1], device=device) >= most_first.shape[-1]
    least = (
        least & (counts > 0) & (counts < sizes[:, None])
    )  # where nothing or all is removed, both are the same
    # By the number removed first: so inputs that are passed together are of one length where units are dropped.
    keys = (least * (units + 1) + counts) * batch + torch.arange(batch, device=device)[:, None]
    wanted, place = keys.unique(return_inverse=True)
    owner, from_least, count = wanted % batch, wanted // batch // (units + 1), wanted // batch % (units + 1)

    def removed(some: slice) -> Tensor:
        own, number, size = ranks[owner[some]], count[some, None], sizes[owner[some], None]
        from_end = (own >= size - number) & (own < size)
        return torch.where(from_least[some, None] > 0, from_end, own < number)

    found = evaluated(masked, owner, removed, target.to(device), rows or batch)
    steps = most_first.shape[-1]
    return (
        Outputs(*(each[place][:, :steps] for each in found)),
        Outputs(*(each[place][:, steps:] for each in found)),
    )
