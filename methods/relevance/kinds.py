"""The kind of each torch call, which tells the rule that it is read backwards by."""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from methods.relevance import calls as ops
from methods.relevance.layouts import Place, Unplaced, aligned, by_size, place
from methods.relevance.modules import calling_module
from methods.relevance.rules import rule_of_function

_UNARY = {
    "activation": ops.ACTIVATIONS,
    "softmax": ops.SOFTMAXES,
    "norm": ops.NORMS,
    "scale": ops.SIGNS,
}


class Kinds:
    """The part of a :class:`methods.relevance.recorder.Recorder` that knows what kind of operation a call is."""

    def _follow_marks(self, name: str, args: tuple, result):
        """Note what an activation returned, and 1/σ of a normalisation, and what these were moved to."""
        if not isinstance(result, Tensor):
            return result
        moved = name in ops.MOVEMENTS
        scaled = name in ops.ADDITIONS | ops.PRODUCTS | ops.QUOTIENTS
        carriers = [t for t in args[:2] if isinstance(t, Tensor) and self.carries(t)]
        alone = len(carriers) == 1 and carriers[0] in self._bounded and (moved or scaled)
        if name in ops.BOUNDED or alone:
            self._bounded.add(result)
        if name in ops.ACTIVATIONS or alone or (moved and args[0] in self._active):
            self._active.add(result)
        passes = moved or scaled or name in ops.CLAMPS
        known = (t for t in args[:2] if isinstance(t, Tensor) and t in self._statistics)
        root = name in ops.STATISTICS or (name in ops.POWERS and args[1] in (0.5, -0.5))
        if root or (passes and any(moved or t.numel() == result.numel() for t in known)):
            self._statistics.add(result)
        return result

    def _marked_as(self, t: Tensor, given: Tensor) -> None:
        """Note of a tensor what is known of another, which it was made from."""
        for marks in (self._active, self._bounded, self._statistics):
            marks.add(t) if given in marks else marks.discard(t)

    def _place(self, u: Tensor, v: Tensor) -> Place | Unplaced:
        """Where the samples lie in the sum of two tensors."""
        shape = torch.broadcast_shapes(u.shape, v.shape)
        if self.batch == 1:
            return Place(0, 1, 1, len(shape))
        known = [n for t in (u, v) if (n := aligned(self.samples[t], shape)) is not None]
        places = (place(numbers, self.batch) for numbers in known)
        where = next(filter(None, places), None) if known else by_size(shape, self.batch)
        if where is None:
            return Unplaced(
                f"which numbers of a sum of shape {tuple(shape)} in {calling_module()} belong to one sample "
                "cannot be told: explain the samples one by one"
            )
        at = where.dim - len(shape)
        if any(t.ndim < -at or t.shape[at] != shape[at] for t in (u, v)):
            return Unplaced(
                f"a sum in {calling_module()} mixes the samples of a batch: explain the samples one by one"
            )
        return where

    def _rewritten(self, name: str, args: tuple, kwargs: dict) -> Callable | None:
        """A call as a combination of others that have rules; None if it is not one of these."""
        combined = ops.COMBINED.get(name) or (ops.WITH_ALPHA.get(name) if "alpha" in kwargs else None)
        if combined is not None:
            given = {key: value for key, value in kwargs.items() if key != "out"}
            return lambda: combined(*args, **given)
        first, second = (*args, None, None)[:2]
        if name in ops.SUBTRACTIONS and not kwargs:
            return lambda: first + (-second)
        if name == "__rsub__":
            return lambda: (-first) + second
        constant_first = isinstance(second, Tensor) and self.carries(second) and not self.carries(first)
        if name in ops.MATRIX_PRODUCTS and constant_first and min(first.ndim, second.ndim) > 1:
            return lambda: (second.mT @ first.mT).mT
        return None

    def _classify(self, name: str, function, args: tuple, kwargs: dict):
        """The kind of rule for a call, and the call with what carries relevance as its first argument."""
        carries = self.carries
        both = len(args) > 1 and carries(args[0]) and carries(args[1])
        if (added := rule_of_function(name)) is not None:
            return added, function, args
        kind = next((kind for kind, names in _UNARY.items() if name in names), None)
        if kind is not None and not any(map(carries, args[1:])):
            return kind, ops.normalised if kind == "norm" else function, args
        if name == "addmm" and not carries(args[0]) and not carries(args[2]) and not kwargs:
            return "linear", F.linear, (args[1], args[2].mT, args[0])
        if name == "linear" and not carries(args[1]):
            return "linear", F.linear, args
        if name == "conv2d" and args[0] in self.entries.pixels:
            return "pixels", function, args
        if name in ops.MATRIX_PRODUCTS and both:
            return self._at_attention("matmul", "attention", args), torch.matmul, args
        if name in ops.MATRIX_PRODUCTS and carries(args[0]) and min(args[0].ndim, args[1].ndim) > 1:
            times = F.linear if args[1].ndim == 2 else _times_transposed
            return "linear", times, (args[0], args[1].mT)
        if name == "einsum" and len(args) == 3 and carries(args[1]) and carries(args[2]):
            return self._at_attention("bilinear", "attention einsum", args[1:]), function, args
        if name in ops.MEANS:
            return "mean", ops.MEANS[name], args
        if name in ops.ADDITIONS and not kwargs:
            first, second = args if carries(args[0]) else (args[1], args[0])
            if both:
                return "add", torch.add, (first, second)
            # What is added to a pixel itself, as in a normalisation, changes its scale and not its share.
            return "identity" if first in self.entries.pixels else "shift", torch.add, (first, second)
        if name in ops.PRODUCTS:
            first, second = args if carries(args[0]) else (args[1], args[0])
            if both:
                return self._product(first, second)
            return "identity" if first in self.entries.pixels else "scale", torch.mul, (first, second)
        if name in ops.QUOTIENTS and not carries(args[1]):
            return "identity" if args[0] in self.entries.pixels else "scale", torch.div, args
        if name in ops.QUOTIENTS and both and self._is_scale(args[1], args[0]):
            return "by its own norm", torch.div, args
        return None, function, args

    def _at_attention(self, kind: str, at_attention: str, factors: Sequence) -> str:
        """The kind of a product of two tensors, one of which may be an attention."""
        first, second = (self.found.is_attention(t) for t in factors[:2])
        return at_attention if first else f"{at_attention}, swapped" if second else kind

    def _is_scale(self, t: Tensor, x: Tensor) -> bool:
        """Whether ``t`` is one 1/σ, or σ, for several elements of ``x``."""
        reduced = t.numel() < x.numel() or any(
            n > 1 and s == 0 for n, s in zip(t.shape, t.stride(), strict=True)
        )
        return t in self._statistics and x not in self._statistics and reduced

    def _product(self, u: Tensor, v: Tensor):
        """The kind of an element-wise product: by an activation or by 1/σ, which come first, or of equals."""
        for x, scale in ((u, v), (v, u)):
            if self._is_scale(scale, x):
                return "by its own norm", torch.mul, (x, scale)
        active = [t in self._active for t in (u, v)]
        if active[0] != active[1]:
            return "gate", torch.mul, (u, v) if active[0] else (v, u)
        return "product", torch.mul, (u, v)


def _times_transposed(x: Tensor, weight: Tensor) -> Tensor:
    return x @ weight.mT
