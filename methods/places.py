"""Where methods read a model's input: the pixels of an image, its patches, or what tokens are turned into."""

from math import isqrt
from typing import Literal, get_args

import torch
from torch import Tensor

from methods.common import drawing, each_class, visible
from methods.perturbed import predicted
from methods.relevance import Forward, Inputs, RefusedError, Tape
from methods.relevance.entries import token_ids

Reduction = Literal["sum", "l1", "l2", "mean_abs"]
Readout = Literal["pixels", "patch_sums", "tokens", "tokens_with_position"]
Entry = Literal["word", "sum", "embeddings"]

_CHOICES = {"reduce": get_args(Reduction), "readout": get_args(Readout), "entry": get_args(Entry)}


def check_choices(method: object) -> None:
    """Raises ValueError if a method's ``reduce``, ``readout`` or ``entry`` is none that there is, nor its default."""
    for name, choices in _CHOICES.items():
        value = getattr(method, name, choices[0])
        if value not in choices and value is not getattr(type(method), name):
            raise ValueError(f"{name}={value!r}: expected one of {', '.join(choices)}")


def reduced(values: Tensor, how: Reduction = "sum", dim: int | None = None) -> Tensor:
    """One number for each pixel of (batch, channels, height, width), for each token of (batch, tokens, hidden).

    Args:
        values: what is reduced.
        how: ``sum``, signed; ``l1`` and ``l2`` norms; ``mean_abs``, the mean of magnitudes.
        dim: of the channels or the hidden dimension, if there are other leading ones than the batch.
    """
    dim = (-3 if values.ndim == 4 else -1) if dim is None else dim
    if how == "sum":
        return values.sum(dim)
    if how == "l2":
        return values.norm(dim=dim)
    magnitudes = values.abs()
    return magnitudes.sum(dim) if how == "l1" else magnitudes.mean(dim)


def gradient_map(gradient: Tensor, how: Reduction | None, dim: int) -> Tensor:
    """A gradient reduced over the channels of pixels, or the hidden dimension of tokens.

    Args:
        gradient: of pixels, (..., channels, height, width), or of tokens, (..., tokens, hidden).
        how: None for ``sum`` of pixels and ``l2`` of tokens.
        dim: of the channels, −3, or the hidden dimension, −1.

    Raises:
        RefusedError: for the sum over the hidden dimension where that is 0 but for rounding: where every path to
            the logits leads through a normalisation that takes the mean off.
    """
    if how is None:
        how = "sum" if dim == -3 else "l2"
    maps = reduced(gradient, how, dim)
    if how == "sum" and dim == -1:
        sizes = gradient.abs().sum(dim)
        rounding = min(1e3 * torch.finfo(maps.dtype).eps, 1e-3)
        nothing = (maps.abs() <= rounding * sizes).all()
        if nothing and bool((sizes > 0).any()):
            raise RefusedError(
                "reduce=sum: the gradient of a token sums to 0 over the hidden dimension, as this model's "
                "normalisations take the mean off: what is left is rounding; choose reduce=l2"
            )
    return maps


def is_image(inputs: Inputs) -> bool:
    """Whether a batch is (batch, channels, height, width) pixels."""
    return isinstance(inputs, Tensor) and inputs.is_floating_point() and inputs.ndim == 4


def pixels_of(inputs: Inputs, method: object) -> Tensor:
    """The images of a batch, (batch, channels, height, width).

    Raises:
        RefusedError: for inputs that are no images.
    """
    if is_image(inputs):
        return inputs
    raise RefusedError(
        f"{type(method).__name__} explains images, a tensor (batch, channels, height, width) of pixels: "
        "choose another method for texts"
    )


def grid_of(height: int, width: int, patches: int) -> tuple[int, int]:
    """The rows and columns of so many square patches of an image.

    Raises:
        RefusedError: if they do not tile it.
    """
    size = isqrt(height * width // patches) if patches > 0 else 0
    rows, columns = (height // size, width // size) if size else (0, 0)
    if not size or (rows * size, columns * size) != (height, width) or rows * columns != patches:
        raise RefusedError(
            f"{patches} patches do not tile an image of {height} × {width} pixels as squares: set prefix_tokens "
            "to how many leading tokens are no patches; or choose a method that needs no grid"
        )
    return rows, columns


def patch_sums(maps: Tensor, tokens: int, prefix_tokens: int) -> Tensor:
    """A map of pixels summed over each patch: (batch, height, width) to (batch, tokens), 0 at the prefix.

    Args:
        maps: of an image that is cut into square patches, in row-major order.
        tokens: of the model, with those that are no patches.
        prefix_tokens: how many leading tokens are no patches.

    Raises:
        RefusedError: if so many square patches do not tile the image.
    """
    height, width = maps.shape[-2:]
    rows, columns = grid_of(height, width, tokens - prefix_tokens)
    patches = maps.unflatten(-1, (columns, width // columns)).unflatten(-3, (rows, height // rows))
    return torch.nn.functional.pad(patches.sum(dim=(-3, -1)).flatten(-2), (prefix_tokens, 0))


class Place:
    """Where a batch enters a model, to be read and to be replaced: pixels, or what tokens are turned into.

    Args:
        forward: as methods take it.
        inputs: the batch.
        entry: where the tokens of a text enter.
        target: explained classes, (batch,) or (batch, classes), or None for the predicted ones of ``inputs``.
        dtype: in which everything is computed (see :meth:`methods.relevance.Tape.record`).

    Attributes:
        x: (batch, ...), what enters.
        target: (batch, classes).
        is_token: for texts, (batch, tokens), whether a token is no padding; None for other inputs.
    """

    def __init__(
        self,
        forward: Forward,
        inputs: Inputs,
        entry: Entry,
        target: Tensor | None,
        dtype: str | None = None,
    ):
        self._forward, self._inputs, self._entry, self._dtype = forward, inputs, entry, dtype
        self._is_single = target is None or target.ndim == 1
        self.is_token: Tensor | None = None
        self._tape: Tape | None = None
        if isinstance(inputs, Tensor) and inputs.is_floating_point():
            self.x = inputs.detach()
            target = predicted(forward, inputs) if target is None else target
        else:
            tape = self._tape = self._record(inputs)
            self.x = tape.entry_at(entry).detach()
            self.is_token = visible(tape, tape.readout())
            target = tape.logits.argmax(dim=1) if target is None else target
        self.target = each_class(target)

    def gradient(self, x: Tensor) -> Tensor:
        """The gradient of each explained logit where ``x`` enters: (batch, classes, ...)."""
        if self.is_token is None:
            tape = self._record(x)
        elif self._entry == "word":
            tape = self._record(self._inputs, words=x)
        else:
            return self._gradient_of_rest(self._tape, x.detach().requires_grad_())
        at = [tape.entry_at(self._entry)]
        return torch.stack([tape.gradient(t, at)[0] for t in self.target.unbind(dim=1)], dim=1)

    def _gradient_of_rest(self, tape: Tape, x: Tensor) -> Tensor:
        """The same behind the look-up, from where the rest of the network runs again."""
        logits = tape.rerun({tape.entry_at(self._entry): x})
        gradients = [tape.gradient(t, [x], logits=logits)[0] for t in self.target.unbind(dim=1)]
        return torch.stack(gradients, dim=1)

    def baseline(self, token_id: int | None, keep: tuple[int, ...]) -> Tensor:
        """What enters for a text of one token, but for those that are kept; 0 for None and for images."""
        if self.is_token is None or token_id is None:
            return torch.zeros_like(self.x)
        (ids,) = token_ids(self._inputs)
        kept = torch.isin(ids, torch.tensor(keep, dtype=ids.dtype, device=ids.device))
        ids_of_baseline = torch.where(kept, ids, token_id)
        if isinstance(self._inputs, Tensor):
            inputs = ids_of_baseline
        else:
            inputs = {n: ids_of_baseline if t is ids else t for n, t in self._inputs.items()}
        return self._record(inputs).entry_at(self._entry).detach()

    def _record(self, inputs: Inputs, words: Tensor | None = None) -> Tape:
        return Tape.record(self._forward, inputs, dtype=self._dtype, words=words)

    def maps(self, values: Tensor, how: Reduction | None, is_gradient: bool = False) -> Tensor:
        """Values (batch, classes, ...) reduced, without the dimension of classes if there is one for each sample.

        Args:
            how: None for ``sum``.
            is_gradient: whether they are reduced as by :func:`gradient_map`, and None is its default.
        """
        dim = -3 if self.x.ndim == 4 else -1
        maps = gradient_map(values, how, dim) if is_gradient else reduced(values, how or "sum", dim)
        return maps[:, 0] if self._is_single else maps

    def spread(self) -> Tensor:
        """The range of what enters, of each sample: (batch, 1, ...)."""
        if self.is_token is None:
            flat = self.x.flatten(1)
            low, high = flat.amin(dim=1), flat.amax(dim=1)
        else:
            padding = ~self.is_token[:, :, None]
            low = self.x.masked_fill(padding, torch.inf).amin(dim=(1, 2))
            high = self.x.masked_fill(padding, -torch.inf).amax(dim=(1, 2))
        return (high - low).view(-1, *[1] * (self.x.ndim - 1))

    def draws(self, seed: int) -> "Draws":
        """What draws numbers for each sample by its own content."""
        return Draws(seed, self)


class Draws:
    """Draws numbers for each sample of a batch from the seed and that sample's own content."""

    def __init__(self, seed: int, place: Place):
        masks = [None] * len(place.x) if place.is_token is None else place.is_token
        self._place, self._masks = place, masks
        self._generators = [
            drawing(seed, place._inputs, i, None if mask is None else mask.cpu())
            for i, mask in enumerate(masks)
        ]

    def normal(self) -> Tensor:
        """Standard normal numbers of the shape of what enters, 0 at padding."""
        drawn = torch.zeros(self._place.x.shape, dtype=torch.float64)
        for each, mask, generator in zip(drawn, self._masks, self._generators, strict=True):
            where = slice(None) if mask is None else mask.cpu()
            each[where] = torch.randn(each[where].shape, generator=generator, dtype=torch.float64)
        return drawn.to(self._place.x)

    def uniform(self) -> Tensor:
        """A number in 0..1 for each sample, (batch, 1, ...)."""
        drawn = [torch.rand((), generator=g, dtype=torch.float64) for g in self._generators]
        return torch.stack(drawn).to(self._place.x).view(-1, *[1] * (self._place.x.ndim - 1))

    def choice(self, count: int) -> Tensor:
        """A whole number below ``count`` for each sample, (batch,)."""
        return torch.tensor([int(torch.randint(count, (), generator=g)) for g in self._generators])


def point(tape: Tape, readout: Readout, entry: Entry) -> Tensor:
    """Where relevance, or a gradient, is read of a tape: (batch, ...).

    Args:
        tape: of images or texts.
        readout: of images: ``pixels`` and ``patch_sums``, the pixels; ``tokens``, the patches' embeddings before
            positions are added to them; ``tokens_with_position``, what enters the first block.
        entry: of texts: ``word``, ``sum`` or ``embeddings``.

    Raises:
        RefusedError: for ``tokens`` of a model that adds no positions to its patches.
    """
    x = tape.entry_at(entry)
    if x.ndim != 4 or readout in ("pixels", "patch_sums"):
        return x
    if readout == "tokens_with_position":
        return tape.blocks[0].input
    return position(tape).input


def position(tape: Tape):
    """What adds the position embedding to an image's patches: a constant of :attr:`Tape.constants`.

    Raises:
        RefusedError: if there is none, or more than one.
    """
    found = [c for c in tape.constants if c.kind == "shift" and c.block == -1]
    if len(found) != 1:
        raise RefusedError(
            f"{len(found)} constants are added to the patches before the first block, where one position "
            "embedding is expected: read the map at the pixels or at tokens_with_position; of PA-LRP take position "
            "= 'without'"
        )
    return found[0]


def read(tape: Tape, maps: Tensor, readout: Readout, prefix_tokens: int) -> Tensor:
    """A map, reduced over the features, at the place that ``readout`` names: tokens that are not there are 0."""
    tokens = tape.attentions[0].shape[-1]
    if readout == "patch_sums" and tape.entry.ndim == 4:
        return patch_sums(maps, tokens, prefix_tokens)
    if readout in ("pixels", "patch_sums") or maps.shape[-1] == tokens:
        return maps
    return torch.nn.functional.pad(maps, (tokens - maps.shape[-1], 0))
