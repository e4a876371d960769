"""What methods that remove parts of an input remove together: the players of their games.

Of texts: :class:`Words`. Of images: :class:`Patches` of a grid, or :class:`Segments` of any shape. The benchmark fills
in the field ``players`` of a method for each batch; who calls a method gives it by hand::

    words = Words(groups, mask_id=tokenizer.mask_token_id, pad_id=tokenizer.pad_token_id)
    LeaveOneOut(players=words)(forward, inputs, target)
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import ceil, prod

import torch
from torch import Tensor

from methods.places import is_image
from methods.relevance import Inputs, RefusedError

Tree = list[tuple[int, int]]
"""A binary tree over n players: the two children of node n, of node n + 1, …; the last is the root.

Nodes below n are the players. It is the first two columns of a linkage matrix of scipy.
"""


@dataclass(frozen=True, eq=False)
class Words:
    """Which tokens of texts are removed together, and the ids that stand for what is removed.

    Args:
        groups: the player that each token is a piece of, (batch, tokens): whole numbers in the order of the text;
            −1 for what is never removed, such as special tokens and padding.
        mask_id: of the token that stands for a masked one; None if the model has none.
        pad_id: of the padding token; None if the model has none.
        texts: the words themselves, of each text in the order of the groups' numbers; None if they are not known.

    Raises:
        ValueError: for groups that are not whole numbers of −1 or more, (batch, tokens), or have a number that stands
            for no word of ``texts``.
    """

    groups: Tensor
    mask_id: int | None = None
    pad_id: int | None = None
    texts: Sequence[Sequence[str]] | None = None

    def __post_init__(self):
        _check(self.groups, "(batch, tokens)", (2,))
        if self.texts is None:
            return
        last = self.groups.amax(dim=1).tolist() if self.groups.shape[1] else []
        if len(self.texts) != len(last) or any(n >= len(t) for n, t in zip(last, self.texts, strict=True)):
            raise ValueError(
                f"players: groups up to {last} for texts of {[len(text) for text in self.texts]} words; expected a "
                "word for each number"
            )

    def at_most(self, count: int | None) -> "Words":
        """The same, neighbours of a text put together until there are so many; None: as they are."""
        if count is None:
            return self
        joined = torch.stack([_joined(_without_gaps(row), count) for row in self.groups])
        return replace(self, groups=joined, texts=None)

    def labels(self, inputs: Inputs) -> Tensor:
        """The player at each token, (batch, tokens), numbered from 0 without gaps; −1 for none.

        Raises:
            ValueError: if the groups are not of these inputs' shape, or padding is in one.
        """
        ids, mask = ids_of(inputs), mask_of(inputs)
        if self.groups.shape != ids.shape:
            raise ValueError(
                f"players: groups of shape {tuple(self.groups.shape)} for tokens {tuple(ids.shape)}; "
                "expected one number for each token"
            )
        groups = self.groups.to(ids.device)
        if mask is not None and bool(((groups >= 0) & (mask == 0)).any()):
            raise ValueError(
                "players: a group has padding in it, where attention_mask is 0; expected −1 there"
            )
        return torch.stack([_without_gaps(row) for row in groups])

    def of_samples(self, chosen: Tensor, tokens: int | None = None) -> "Words":
        """The same of some samples, by their places in the batch, cut to so many tokens."""
        texts = None if self.texts is None else [self.texts[place] for place in chosen.tolist()]
        return replace(self, groups=self.groups[chosen.to(self.groups.device), :tokens], texts=texts)

    def spread(self, values: Tensor, labels: Tensor) -> Tensor:
        """From values (players, classes) to a map (classes, tokens): each token has an equal share of its word's."""
        return _shared(values, labels)

    def tree(self, count: int) -> Tree:
        """The text, halved again and again."""
        return halved(1, count)

    def windows(self, count: int, window: int, stride: int) -> Tensor:
        """So many words in a row, (windows, players), boolean."""
        return _spans(count, window, stride)


@dataclass(frozen=True)
class Patches:
    """The patches of images. Maps have one number for each token, prefix tokens included.

    Args:
        grid: (rows, columns) of patches of one size.
        prefix_tokens: how many tokens of the model, such as a class token, stand before those of the patches.
        block: a player is a square of so many patches a side; at the right and below, what is left.

    Raises:
        ValueError: for a grid without patches, or a block below 1.
    """

    grid: tuple[int, int]
    prefix_tokens: int = 0
    block: int = 1

    def __post_init__(self):
        if len(self.grid) != 2 or min(self.grid) < 1 or self.block < 1:
            raise ValueError(
                f"players: {self}; expected a grid of rows and columns, and a block of 1 or more"
            )

    @property
    def _blocks(self) -> tuple[int, int]:
        return ceil(self.grid[0] / self.block), ceil(self.grid[1] / self.block)

    def at_most(self, count: int | None) -> "Patches":
        """The same, with blocks large enough for so many players; None: as they are."""
        coarser = self
        while count is not None and prod(coarser._blocks) > count:
            coarser = replace(coarser, block=coarser.block + 1)
        return coarser

    def labels(self, inputs: Inputs) -> Tensor:
        """The player at each pixel, (batch, height, width), numbered row by row.

        Raises:
            ValueError: if the patches do not divide the images.
        """
        images = images_of(inputs)
        size, (rows, columns) = images.shape[-2:], self.grid
        if size[0] % rows or size[1] % columns:
            raise ValueError(
                f"players: {rows} × {columns} patches do not divide images of {tuple(size)} pixels"
            )
        of_pixels = self._of_patches().to(images.device).repeat_interleave(size[0] // rows, 0)
        return of_pixels.repeat_interleave(size[1] // columns, 1).expand(len(images), *size)

    def of_samples(self, chosen: Tensor, tokens: int | None = None) -> "Patches":
        """The same: every image has these patches."""
        return self

    def spread(self, values: Tensor, labels: Tensor) -> Tensor:
        """From values (players, classes) to a map (classes, tokens), 0 at the prefix tokens."""
        prefix = values.new_zeros(values.shape[1], self.prefix_tokens)
        return torch.cat([prefix, _shared(values, self._of_patches().flatten())], dim=1)

    def tree(self, count: int) -> Tree:
        """The grid, its longer side halved again and again."""
        return halved(*self._blocks)

    def windows(self, count: int, window: int, stride: int) -> Tensor:
        """Squares of so many players a side, (windows, players), boolean."""
        rows, columns = (_spans(length, window, stride) for length in self._blocks)
        return (rows[:, None, :, None] & columns[None, :, None, :]).flatten(0, 1).flatten(1)

    def _of_patches(self) -> Tensor:
        """The player of each patch, (rows, columns)."""
        rows, columns = (torch.arange(length) // self.block for length in self.grid)
        return rows[:, None] * self._blocks[1] + columns


@dataclass(frozen=True, eq=False)
class Segments:
    """Regions of images. Maps have one number for each pixel.

    Args:
        groups: the player that each pixel is of, (batch, height, width), or (height, width) for all images: whole
            numbers; −1 for what is never removed.

    Raises:
        ValueError: for groups that are not whole numbers of −1 or more in one of these shapes.
    """

    groups: Tensor

    def __post_init__(self):
        _check(self.groups, "(batch, height, width) or (height, width)", (2, 3))

    def at_most(self, count: int | None) -> "Segments":
        """The same; raises RefusedError for a limit: segments have no neighbours to be put together with."""
        if count is None:
            return self
        raise RefusedError(f"most_players={count}: segments are not put together; give fewer of them")

    def labels(self, inputs: Inputs) -> Tensor:
        """The player at each pixel, (batch, height, width), numbered from 0 without gaps; −1 for none.

        Raises:
            ValueError: if the groups are not of the images' size.
        """
        images = images_of(inputs)
        expected = (len(images), *images.shape[-2:])
        if tuple(self.groups.shape) not in (expected, expected[1:]):
            raise ValueError(
                f"players: groups of shape {tuple(self.groups.shape)} for images {tuple(images.shape)}; "
                "expected one number for each pixel"
            )
        groups = self.groups.to(images.device).expand(expected)
        return torch.stack([_without_gaps(image) for image in groups])

    def of_samples(self, chosen: Tensor, tokens: int | None = None) -> "Segments":
        """The same of some samples, by their places in the batch."""
        return (
            self
            if self.groups.ndim == 2
            else replace(self, groups=self.groups[chosen.to(self.groups.device)])
        )

    def spread(self, values: Tensor, labels: Tensor) -> Tensor:
        """From values (players, classes) to a map (classes, height, width): each pixel has an equal share."""
        return _shared(values, labels)

    def tree(self, count: int) -> Tree:
        """The segments in the order of their numbers, halved again and again."""
        return halved(1, count)

    def windows(self, count: int, window: int, stride: int) -> Tensor:
        """Raises RefusedError: segments have no neighbours."""
        raise RefusedError("windows slide over words or over a grid of patches: segments have no order")


Players = Words | Patches | Segments


def ids_of(inputs: Inputs) -> Tensor:
    """The token ids of a batch of texts, (batch, tokens).

    Raises:
        RefusedError: for inputs that are no token ids.
    """
    ids = inputs.get("input_ids") if isinstance(inputs, Mapping) else inputs
    if not isinstance(ids, Tensor) or ids.is_floating_point() or ids.ndim != 2:
        raise RefusedError("players=Words(…) are of texts: expected input_ids, whole numbers (batch, tokens)")
    return ids


def mask_of(inputs: Inputs) -> Tensor | None:
    """The attention mask of a batch of texts, (batch, tokens); None if there is none of this shape."""
    mask = inputs.get("attention_mask") if isinstance(inputs, Mapping) else None
    return mask if mask is not None and mask.ndim == 2 else None


def images_of(inputs: Inputs) -> Tensor:
    """The images of a batch, (batch, channels, height, width).

    Raises:
        RefusedError: for inputs that are no images.
    """
    if is_image(inputs):
        return inputs
    raise RefusedError(
        "players=Patches(…) and Segments(…) are of images: expected (batch, channels, height, width)"
    )


def halved(rows: int, columns: int) -> Tree:
    """A grid of players, numbered row by row, whose longer side is halved again and again."""
    made: Tree = []

    def node(top: int, bottom: int, left: int, right: int) -> int:
        high, wide = bottom - top, right - left
        if high * wide == 1:
            return top * columns + left
        if high > wide:
            middle = top + high // 2
            children = node(top, middle, left, right), node(middle, bottom, left, right)
        else:
            middle = left + wide // 2
            children = node(top, bottom, left, middle), node(top, bottom, middle, right)
        made.append(children)
        return rows * columns + len(made) - 1

    if rows * columns:
        node(0, rows, 0, columns)
    return made


def _check(groups: Tensor, shape: str, dimensions: tuple[int, ...]) -> None:
    whole = not groups.is_floating_point() and groups.dtype != torch.bool
    if not whole or groups.ndim not in dimensions or (groups.numel() and int(groups.min()) < -1):
        raise ValueError(
            f"players: groups {tuple(groups.shape)} of {groups.dtype}; expected whole numbers of −1 or more, {shape}"
        )


def _without_gaps(groups: Tensor) -> Tensor:
    """Groups numbered anew, 0, 1, …, in their order; −1 stays."""
    known = groups[groups >= 0].unique()
    return torch.where(groups < 0, -1, torch.searchsorted(known, groups.contiguous()))


def _joined(labels: Tensor, most: int) -> Tensor:
    """Neighbours put together, until there are at most so many players, all of about as many."""
    count = int(labels.max()) + 1 if labels.numel() else 0
    if count <= most:
        return labels
    return torch.where(labels < 0, -1, labels * most // count)


def _shared(values: Tensor, labels: Tensor) -> Tensor:
    """Values (players, classes) spread evenly over the places of their players: (classes, *places)."""
    sizes = torch.bincount(labels[labels >= 0], minlength=len(values))
    share = values / sizes[:, None].to(values)
    share = torch.cat([share, share.new_zeros(1, share.shape[1])])  # −1 is the last
    return share[labels].movedim(-1, 0)


def _spans(length: int, window: int, stride: int) -> Tensor:
    """Windows over 0, 1, …, length − 1: (windows, length), boolean. The last may reach beyond the end."""
    count = 1 + max(0, ceil((length - window) / stride))
    starts = torch.arange(count)[:, None] * stride
    places = torch.arange(length)
    return (places >= starts) & (places < starts + window)
