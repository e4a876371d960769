"""Which sample, and which head of attention, every element of a tensor belongs to.

Rules that share relevance sample by sample, and whoever reads attention, need to know which dimension of a
tensor holds the samples of a batch. Sizes do not tell: a residual stream may be (tokens, batch, width), and
there may be as many tokens as samples. So the numbers of the samples follow the data, call by call.

Numbers are kept compressed: an integer tensor with as many dimensions as the tensor that it describes, of
size 1 wherever they do not change; those of (batch, tokens, width) are ``arange(batch)`` as (batch, 1, 1).
"""

import weakref
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Size, Tensor

from methods.relevance import calls as ops
from methods.relevance.modules import RefusedError


def along(length: int, dim: int, ndim: int) -> Tensor:
    """Numbers from 0 on that change along one dimension of a tensor with ``ndim``."""
    return torch.arange(length).view([length if d == dim else 1 for d in range(ndim)])


class Place(NamedTuple):
    """Where the samples of a batch lie in a tensor.

    Attributes:
        dim: the dimension that holds them.
        batch: how many there are.
        inner: how many elements of that dimension lie between one sample and the next: 1 if samples change
            with every step along it; the tokens of a sample in (batch · tokens, width).
        ndim: how many dimensions the tensor has.
    """

    dim: int
    batch: int
    inner: int
    ndim: int

    def leads(self, *tensors: Tensor) -> bool:
        """Whether the samples already are the first dimension of all of these."""
        return self.dim == 0 and all(t.shape[0] == self.batch for t in tensors)

    def leading(self, t: Tensor, ndim: int) -> Tensor:
        """``t``, of at most ``ndim`` dimensions, with the samples along a leading dimension of their own."""
        t = t.reshape((1,) * (ndim - t.ndim) + t.shape)
        if self.batch == 1:
            return t.movedim(self.dim, 0) if t.shape[self.dim] == 1 else t.unsqueeze(0)
        t = t.unflatten(self.dim, (-1, self.batch, self.inner)).movedim(self.dim + 1, 0)
        t = t.flatten(self.dim + 1, self.dim + 2)
        return t.squeeze(self.dim + 1) if t.shape[self.dim + 1] == 1 else t

    def back(self, t: Tensor, shape: Size) -> Tensor:
        """What :meth:`leading` made of a tensor of ``shape``, as it was."""
        if self.batch == 1:
            return t.movedim(0, self.dim) if t.ndim == len(shape) else t.reshape(shape)
        before = t.shape[1 : self.dim + 1]
        return (
            t.reshape(self.batch, *before, -1, self.inner, *self._after(shape))
            .movedim(0, self.dim + 1)
            .reshape(shape)
        )

    def _after(self, shape: Size) -> Size:
        return shape[len(shape) - (self.ndim - self.dim - 1) :] if self.ndim > self.dim + 1 else ()


class Unplaced(NamedTuple):
    """Samples that lie nowhere in a regular way: only what does not ask for them can go on.

    Attributes:
        message: what to tell whoever asks.
    """

    message: str

    def leads(self, *_: Tensor) -> bool:
        """Raises RefusedError."""
        raise RefusedError(self.message)


def by_size(shape: Sequence[int], batch: int) -> Place | None:
    """Where samples lie by the sizes of a tensor alone, if these leave no doubt."""
    possible = [d for d, size in enumerate(shape) if size % batch == 0]
    if len(possible) != 1 or shape[possible[0]] != batch:
        return None
    return Place(possible[0], batch, 1, len(shape))


def place(numbers: Tensor, batch: int) -> Place | None:
    """Where samples lie whose numbers follow each other in a regular way; None if they do not."""
    changing = [d for d, size in enumerate(numbers.shape) if size > 1]
    if len(changing) != 1 or numbers.numel() % batch:
        return None
    flat, rest = numbers.flatten(), numbers.numel() // batch
    inner = int((flat == flat[0]).long().cumprod(0).sum())  # the run of the first sample
    if rest % inner:
        return None
    regular = torch.arange(batch).repeat_interleave(inner).repeat(rest // inner)
    return Place(changing[0], batch, inner, numbers.ndim) if torch.equal(flat, regular) else None


def compressed(numbers: Tensor) -> Tensor:
    """The same numbers, of size 1 along every dimension along which they do not change."""
    for dim, size in enumerate(numbers.shape):  # what was only expanded first, which needs no look
        if size > 1 and numbers.stride(dim) == 0:
            numbers = numbers.narrow(dim, 0, 1)
    for dim, size in enumerate(numbers.shape):
        if size > 1 and bool((numbers == (first := numbers.narrow(dim, 0, 1))).all()):
            numbers = first
    return numbers.contiguous()


def aligned(numbers: Tensor | None, shape: Sequence[int]) -> Tensor | None:
    """Numbers for a tensor of another shape whose last dimensions are the same; None if they do not fit."""
    if numbers is None:
        return None
    extra = numbers.ndim - len(shape)
    if extra > 0 and max(numbers.shape[:extra]) > 1:
        return None
    sizes = (1,) * -extra + tuple(numbers.shape[max(extra, 0) :])
    fits = all(size in (1, expected) for size, expected in zip(sizes, shape, strict=True))
    return numbers.view(sizes) if fits else None


class Marks:
    """A set of tensors, known by their identity while they live."""

    def __init__(self):
        self._known: dict[int, weakref.ref] = {}

    def add(self, t: Tensor) -> None:
        """Take a tensor in."""
        self._known[id(t)] = weakref.ref(t)

    def discard(self, t: Tensor) -> None:
        """Leave a tensor out."""
        if t in self:
            del self._known[id(t)]

    def __contains__(self, t: Tensor) -> bool:
        known = self._known.get(id(t))
        return known is not None and known() is t


class Values:
    """What belongs to tensors, and is let go with them."""

    def __init__(self):
        self._known: dict[int, tuple[weakref.ref, Tensor]] = {}

    def __setitem__(self, t: Tensor, value: Tensor) -> None:
        key, known = id(t), self._known

        def forget(reference: weakref.ref) -> None:
            if key in known and known[key][0] is reference:
                del known[key]

        known[key] = weakref.ref(t, forget), value

    def forget(self, is_done: Callable[[Tensor], bool]) -> None:
        """Let go of what belongs to tensors that are done with."""
        for key, (reference, _) in list(self._known.items()):
            t = reference()
            if t is not None and is_done(t):
                del self._known[key]

    def __getitem__(self, t: Tensor) -> Tensor | None:
        known = self._known.get(id(t))
        return known[1] if known is not None and known[0]() is t else None


class Layouts:
    """The numbers of everything that was computed so far from what they were first given for."""

    def __init__(self):
        # Tensors are known by their identity; what has died makes room for another of the same.
        self._known: dict[int, tuple[weakref.ref, Tensor]] = {}

    def __setitem__(self, t: Tensor, numbers: Tensor | None) -> None:
        if numbers is None:
            self._known.pop(id(t), None)
        else:
            self._known[id(t)] = weakref.ref(t), numbers

    def __getitem__(self, t: Tensor) -> Tensor | None:
        known = self._known.get(id(t))
        return known[1] if known is not None and known[0]() is t else None

    def follow(self, name: str, function: Callable, args: tuple, kwargs: dict, result) -> None:
        """Give the result of a call the numbers that it has by those of its arguments, where they tell."""
        tensors = [t for t in _flat((args, kwargs)) if isinstance(t, Tensor) and self[t] is not None]
        parts = [t for t in (result if isinstance(result, (tuple, list)) else (result,))]
        if not tensors or not all(isinstance(t, Tensor) for t in parts):
            return
        if name in ops.MOVEMENTS and name != "where" and isinstance(args[0], Tensor):
            if self[args[0]] is None:
                return
            numbers = _moved(name, function, args, kwargs, self[args[0]], result)
            found = numbers if isinstance(numbers, (tuple, list)) else [numbers] * len(parts)
        else:
            found = [self._computed(name, args, kwargs, tensors, t) for t in parts]
        for t, numbers in zip(parts, found, strict=True):
            if numbers is not None and all(n in (1, s) for n, s in zip(numbers.shape, t.shape, strict=True)):
                self[t] = numbers

    def _computed(self, name: str, args: tuple, kwargs: dict, tensors: list, result: Tensor) -> Tensor | None:
        """The numbers of what was computed element by element, or along dimensions that hold one number."""
        if name == "einsum" and len(args) == 3:
            return self._einsum(args)
        if name in ("cat", "concat", "concatenate"):
            return self._joined(args, kwargs, result)
        if name == "stack":
            dim = kwargs.get("dim", args[1] if len(args) > 1 else 0)
            return self[tensors[0]].unsqueeze(dim)
        if name in ("embedding", "one_hot"):
            return self[tensors[0]].unsqueeze(-1)
        if result.ndim < max(t.ndim for t in tensors):
            return _reduced(self[tensors[0]], args, kwargs, tensors[0], result)
        if name in ops.MATRIX_PRODUCTS or name == "linear":
            # What is summed over has left, so only numbers that do not change along it remain.
            first, second = (*args, None)[:2]
            own = self[first]
            if own is not None and own.shape[-1] == 1:
                return aligned(own, result.shape)
            own = self[second] if isinstance(second, Tensor) and name != "linear" else None
            return aligned(own, result.shape) if own is not None and own.shape[-2] == 1 else None
        for t in tensors:
            if (numbers := aligned(self[t], result.shape)) is not None:
                return numbers
        return None

    def _joined(self, args: tuple, kwargs: dict, result: Tensor) -> Tensor | None:
        dim = kwargs.get("dim", args[1] if len(args) > 1 else 0) % result.ndim
        parts, numbers = args[0], [self[t] for t in args[0]]
        elsewhere = [n for n in numbers if n is not None and n.shape[dim] == 1 and n.numel() > 1]
        if elsewhere:  # along another dimension than that of the samples, beside constants maybe
            return elsewhere[0]
        if any(n is None for n in numbers):
            return None
        sizes = [
            [*n.shape[:dim], t.shape[dim], *n.shape[dim + 1 :]] for n, t in zip(numbers, parts, strict=True)
        ]
        return compressed(torch.cat([n.expand(s) for n, s in zip(numbers, sizes, strict=True)], dim))

    def _einsum(self, args: tuple) -> Tensor | None:
        inputs, arrow, output = args[0].replace(" ", "").partition("->")
        if not arrow or "." in inputs:
            return None
        for letters, t in zip(inputs.split(","), args[1:], strict=True):
            numbers = self[t]
            if numbers is None or any(
                size > 1 and letter not in output for letter, size in zip(letters, numbers.shape, strict=True)
            ):
                continue
            kept = [letter for letter in letters if letter in output]
            numbers = numbers[tuple(slice(None) if letter in output else 0 for letter in letters)]
            numbers = numbers.permute([kept.index(letter) for letter in output if letter in kept])
            shape = [
                numbers.shape[[x for x in output if x in kept].index(y)] if y in kept else 1 for y in output
            ]
            return numbers.reshape(shape)
        return None


def _flat(value):
    if isinstance(value, (tuple, list)):
        for part in value:
            yield from _flat(part)
    elif isinstance(value, dict):
        yield from _flat(tuple(value.values()))
    else:
        yield value


def _reduced(numbers: Tensor, args: tuple, kwargs: dict, source: Tensor, result: Tensor) -> Tensor | None:
    """The numbers of a mean, a maximum or the like over some dimensions, which are gone."""
    dims = kwargs.get("dim", args[1] if len(args) > 1 else None)
    dims = (dims,) if isinstance(dims, int) else dims
    if not isinstance(dims, (tuple, list)) or not all(isinstance(d, int) for d in dims):
        return None
    dims = sorted((d % source.ndim for d in dims), reverse=True)
    if source.ndim - len(dims) != result.ndim or any(numbers.shape[d] > 1 for d in dims):
        return None
    for d in dims:
        numbers = numbers.squeeze(d)
    return numbers


_FILLING = ("masked_", "index_copy", "index_fill", "scatter", "slice_scatter", "select_scatter")


def _moved(name: str, function: Callable, args: tuple, kwargs: dict, numbers: Tensor, result):
    """The numbers of what a call did nothing with but to move it."""
    source = args[0]
    if name.endswith("_") and not name.endswith("__"):
        return None
    if name in ops.RESHAPES:
        return _reshaped(numbers, source.shape, result.shape)
    if (
        name in ops.COPIES
        or name in ("pad", "gather", "take_along_dim", "topk", "sort")
        or name.startswith(_FILLING)
    ):
        several = isinstance(result, (tuple, list))
        return [aligned(numbers, t.shape) for t in result] if several else aligned(numbers, result.shape)
    args, kwargs = _without_device(args[1:]), _without_device(kwargs)
    try:
        moved = function(numbers.expand(source.shape), *args, **kwargs)
    except (RuntimeError, TypeError, IndexError):  # a call in a form that is not one of integers
        return None
    return [compressed(m) for m in moved] if isinstance(moved, (tuple, list)) else compressed(moved)


def _reshaped(numbers: Tensor, old: Size, new: Size) -> Tensor | None:
    """Rows stay in their order, so only dimensions that are not the same before and after need a look."""
    shortest = min(len(old), len(new))
    lead = next((d for d in range(shortest) if old[d] != new[d]), shortest)
    rest = shortest - lead
    trail = next((d for d in range(rest) if old[-1 - d] != new[-1 - d]), rest)
    stop = len(old) - trail
    sizes = numbers.shape[:lead], old[lead:stop], numbers.shape[stop:]
    middle = numbers.expand(sum(map(tuple, sizes), ()))
    return compressed(middle.reshape((*sizes[0], *new[lead : len(new) - trail], *sizes[2])))


def _without_device(value):
    """Arguments of a call with their tensors on the CPU, where numbers are kept."""
    if isinstance(value, Tensor):
        return value.detach().cpu()
    if isinstance(value, (tuple, list)) and type(value) in (tuple, list):
        return type(value)(map(_without_device, value))
    if isinstance(value, dict):
        return {key: _without_device(v) for key, v in value.items()}
    return value
