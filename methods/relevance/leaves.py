"""What stands in the place of the input on a tape: tensors that require a gradient."""

from collections.abc import Callable

import torch
from torch import Tensor

from methods.relevance.layouts import Place, along, by_size, place
from methods.relevance.modules import RefusedError


class Leaves:
    """The part of a :class:`methods.relevance.recorder.Recorder` that lets tokens enter where they are looked up."""

    def _leaf(self, value: Tensor) -> Tensor:
        self._leaves.append(value.requires_grad_())
        self.entries.leaves.append(value)
        self.program.leaf(value)
        self.samples[value] = along(self.batch, 0, value.ndim)
        return value

    def _given(self, point: Tensor, numbers: Tensor | None, back: Callable = lambda t: t) -> Tensor:
        """What a model goes on with that may write into it: the point on the tape stays as it is.

        Args:
            point: on the tape, samples first.
            numbers: of the samples in the model's own order.
            back: the order of the model.
        """
        ours = back(point).clone()
        self.program.same(point, ours, back)
        self.remember(ours)
        if (exact := self._precise[point]) is not None:
            self._pair(ours, back(exact).clone())
        self.samples[ours] = numbers
        return ours

    def _looked_up(self, ids: Tensor, vectors: Tensor) -> Tensor:
        """Vectors that token ids were looked up as: they require a gradient in the place of these."""
        numbers = self.samples[ids]
        numbers = None if numbers is None else numbers.unsqueeze(-1)
        where = self._entry_place(vectors, numbers)
        if self._words is not None:
            vectors = self._given_words(vectors, where)
        point = self._leaf(where.leading(vectors.detach().to(self.dtype), vectors.ndim))
        shape = vectors.shape
        ours = self._given(point, numbers, lambda t: where.back(t, shape))
        self._pair(ours, vectors.detach().to(torch.float64))
        self.entries.found(point, ours)
        return ours

    def _given_words(self, vectors: Tensor, where: Place) -> Tensor:
        """What stands in the place of what token ids were looked up as, in the model's order."""
        expected = where.leading(vectors, vectors.ndim).shape
        if self._words.shape != expected:
            raise ValueError(
                f"words of shape {tuple(self._words.shape)}: the model looks token ids up as {tuple(expected)}"
            )
        if self.entries.lookups:
            raise RefusedError(
                "tokens enter the model in several places: which words are meant cannot be told"
            )
        return where.back(self._words.detach().to(vectors.device), vectors.shape)

    def _at_entry(self, name: str, t: Tensor, numbers: Tensor | None) -> Tensor:
        """A tensor that is a point of :class:`Entries`; returns what the model goes on with."""
        self.remember(t)
        self.samples[t] = numbers
        where = self._entry_place(t, numbers)
        point, shape, ndim = where.leading(t, t.ndim), t.shape, t.ndim
        self.program.same(t, point, lambda x: where.leading(x, ndim))
        ours = self._given(point, numbers, lambda x: where.back(x, shape))
        if (exact := self._precise[t]) is not None:
            self._pair(ours, exact.clone())
        self.entries.reached(name, point, ours)
        return ours

    def _entry_place(self, t: Tensor, numbers: Tensor | None) -> Place:
        if self.batch == 1:
            ones = [d for d, size in enumerate(t.shape[:-1]) if size == 1]
            return Place(ones[0] if ones else 0, 1, 1, t.ndim)
        where = None if numbers is None else place(numbers, self.batch)
        return where or by_size(t.shape, self.batch) or Place(0, self.batch, 1, t.ndim)
