"""Finding attention among a model's torch calls: a softmax that multiplies values."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from torch import Tensor

from methods.relevance import calls as ops
from methods.relevance.layouts import Layouts, along, place
from methods.relevance.modules import RefusedError, calling_module
from methods.relevance.program import Program


@dataclass(eq=False)
class _Softmax:
    """A softmax that has not multiplied values yet.

    Attributes:
        attention: (batch, heads, queries, keys), or None if it is of another kind.
        shape: that it came in.
        number: how many softmaxes came before it.
        module: that computed it.
        order: how to make ``attention`` of what came in, and that of ``attention``; None as that.
        moved: itself, and what it was moved or cast to.
    """

    attention: Tensor | None
    shape: tuple[int, ...]
    number: int
    module: str
    order: "Order | None" = None
    moved: list[Tensor] = field(default_factory=list)


Order = tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]


class Product(NamedTuple):
    """The product of an attention with its values.

    Attributes:
        step: the number of the product among the calls of the forward pass.
        attention: (batch, heads, queries, keys).
        order: how to make (batch, heads, queries, keys) of the softmax, and of that the softmax again.
        values_order: the same for (batch, heads, keys, head width) and the values; None if it cannot be told.
        is_plain: whether it is a product of matrices, the attention first.
    """

    step: int | None
    attention: Tensor
    order: Order
    values_order: Order | None
    is_plain: bool


class AttentionFinder:
    """Follows every softmax, through views and casts, to the product of matrices that makes it an attention.

    Args:
        batch: the number of samples.
        samples: which sample every element belongs to.
        program: the calls of the forward pass.

    Attributes:
        attentions: the (batch, heads, queries, keys) probabilities after each softmax, in the order of use.
        values: the autograd nodes of what each of them multiplies; None for constants.
        numbers: how many softmaxes came before that of each.
        products: with its values, of each.
        queries: which query every element belongs to that an attention was multiplied into.
    """

    def __init__(self, batch: int, samples: Layouts, program: Program):
        self.attentions: list[Tensor] = []
        self.values: list = []
        self.numbers: list[int] = []
        self.products: list[Product] = []
        self.queries = Layouts()
        self._batch, self._samples, self._program = batch, samples, program
        self._pending: list[_Softmax] = []
        self._faults: list[str] = []

    def softmax(
        self, result: Tensor, dim: int, number: int, change: Tensor | None, remember: Callable[[Tensor], None]
    ) -> Tensor:
        """Start to follow the result of a softmax; returns what the model goes on with.

        Args:
            result: of the softmax.
            dim: that it is over.
            number: how many came before it in the forward pass.
            change: what to add to it, as (batch, heads, queries, keys).
            remember: takes what is computed here as seen.
        """
        if result.ndim < 3:
            return result  # a router's, a classifier's or the weights of a mean
        shape, attention = tuple(result.shape), None
        order = self._order(result) if dim in (-1, result.ndim - 1) else None
        if order is not None:
            to, back = order
            attention = to(result) if change is None else to(result) + change.to(result.dtype)
            numbers, result = self._samples[result], back(attention)
            self._samples[result] = numbers
            self.queries[result] = along(result.shape[-2], result.ndim - 2, result.ndim)
            remember([attention, result])
        self._pending.append(_Softmax(attention, shape, number, calling_module(), order, [result]))
        return result

    def reordered(self, given: Tensor, result: Tensor) -> list[tuple[Tensor, Tensor, Callable]]:
        """What the last softmax was made to, if :meth:`softmax` returned another tensor: from, to, and how."""
        if result is given:
            return []
        attention, (to, back) = self._pending[-1].attention, self._pending[-1].order
        steps = [(given, attention, to), (attention, result, back)]
        return [step for step in steps if step[0] is not step[1]]

    def _order(self, t: Tensor) -> tuple[Callable, Callable] | None:
        """How to make (batch, heads, queries, keys) of a tensor, and of that the tensor again."""
        batch, numbers = self._batch, self._samples[t]
        where = place(numbers, batch) if numbers is not None and batch > 1 else None
        if t.ndim == 4:
            dim = where.dim if where else self._by_size(t.shape[:2])
            if dim is None or dim > 1 or t.shape[dim] != batch:
                return None
            return (
                (lambda x: x, lambda a: a)
                if dim == 0
                else (lambda x: x.movedim(1, 0), lambda a: a.movedim(0, 1))
            )
        if t.ndim != 3 or t.shape[0] % batch or (batch > 1 and (where.dim if where else 0) != 0):
            return None
        each = t.shape[0] // batch
        if batch == 1 or each == 1 or (where and where.inner == each):
            return lambda x: x.unflatten(0, (batch, each)), lambda a: a.flatten(0, 1)
        if where and where.inner == 1:  # all samples of one head, then those of the next
            return (
                lambda x: x.unflatten(0, (each, batch)).transpose(0, 1),
                lambda a: a.transpose(0, 1).flatten(0, 1),
            )
        return None

    def _by_size(self, sizes: Sequence[int]) -> int | None:
        """Which of two dimensions holds the samples, where only their sizes tell."""
        fitting = [d for d, size in enumerate(sizes) if size == self._batch]
        return fitting[0] if len(fitting) == 1 or (fitting and self._batch == 1) else None

    def follow(self, name: str, args: tuple, result: Tensor) -> None:
        """Look at a call on what may have been a softmax."""
        if not self._pending:
            return
        product = name in ops.MATRIX_PRODUCTS or name == "einsum"
        operands = args[1:] if name == "einsum" else args[:2] if product else args[:1]
        for softmax in reversed(self._pending):
            used = [i for i, t in enumerate(operands) if any(t is moved for moved in softmax.moved)]
            if not used:
                continue
            if product and len(operands) == 2:
                self._pending.remove(softmax)
                is_whole = self._is_whole(softmax, operands[used[0]], None if name == "einsum" else used[0])
                self._multiplied(softmax, operands[1 - used[0]], is_whole)
                if is_whole:
                    step, order = self._program.step_of(result), self._order(operands[1 - used[0]])
                    plain = name != "einsum" and used[0] == 0
                    self.products.append(Product(step, softmax.attention, softmax.order, order, plain))
            elif name in ops.MOVEMENTS and isinstance(result, Tensor):
                softmax.moved.append(result)
            return

    def references(self, t: Tensor) -> int:
        """How many references to a tensor are those of attentions that were found."""
        if t.ndim != 4:
            return 0
        return sum(t is a for a in self.attentions) + sum(t is p.attention for p in self.products)

    def is_attention(self, t) -> bool:
        """Whether a tensor is a softmax that has not multiplied values yet."""
        return any(t is moved for softmax in self._pending for moved in softmax.moved)

    def moved(self, t: Tensor, to: Tensor) -> None:
        """Follow a softmax that was cast."""
        for softmax in self._pending:
            if any(t is known for known in softmax.moved):
                softmax.moved.append(to)

    def _is_whole(self, softmax: _Softmax, t: Tensor, position: int | None) -> bool:
        """Whether a factor is all of a softmax, with its keys where they meet the values."""
        if softmax.attention is None or t.numel() != softmax.attention.numel():
            return False
        queries, count = self.queries[t], softmax.attention.shape[-2]
        if position is None or count == 1:
            return True
        at = t.ndim - (1 if position else 2)
        return queries is not None and queries.shape[at] == count and queries.numel() == count

    def _multiplied(self, softmax: _Softmax, values: Tensor, is_whole: bool) -> None:
        if not is_whole:
            self._faults.append(
                f"attention of shape {softmax.shape} for a batch of {self._batch}: it is not between all "
                "tokens of a sample (as in windowed attention), or its order does not tell whose it is; it "
                "cannot be rolled up over the blocks"
            )
            return
        self.attentions.append(softmax.attention)
        self.values.append(values.grad_fn)
        self.numbers.append(softmax.number)

    def joined(self, *summands: Tensor) -> None:
        """Look at what is added to a residual stream: every query must be there once.

        Otherwise what looked like heads, or like samples, were parts of the sequence.
        """
        for t in summands:
            if (queries := self.queries[t]) is None:
                continue
            once, samples = queries.unique().numel(), self._samples[t]
            dims = [d for d, size in enumerate(queries.shape) if size > 1]
            by_sample = samples is not None and any(samples.shape[d] > 1 for d in dims)
            if queries.numel() > once * (self._batch if by_sample else 1):
                self._faults.append(
                    f"the attention before {calling_module()} is between {once} of {queries.numel()} tokens "
                    "(as in block-sparse or windowed attention), and not between all tokens of a sample; it "
                    "cannot be rolled up over the blocks"
                )

    def overwritten(self, target: Tensor, by_constants: bool) -> None:
        """Look at a tensor that is about to be written into."""

        def shared(t: Tensor) -> bool:
            return t.untyped_storage()._cdata == target.untyped_storage()._cdata

        for softmax in self._pending:
            if not by_constants and any(map(shared, softmax.moved)):
                softmax.moved.clear()
        if any(map(shared, self.attentions)):
            self._faults.append(
                f"{calling_module()} writes into attention probabilities that have been used: they cannot be "
                "read any more; let it write into a copy"
            )

    def check(self) -> None:
        """Raises RefusedError for attention that cannot be read as between the tokens of a sample."""
        unread = [s for s in self._pending if len(s.shape) == 4 or (len(s.shape) == 3 and _square(s.shape))]
        if unread:
            raise RefusedError(
                f"the attention of {unread[0].module} is changed between its softmax and the values (as in "
                "talking heads): what the tokens attend to cannot be read from it"
            )
        if self._faults:
            raise RefusedError(self._faults[0])


def _square(shape: Sequence[int]) -> bool:
    return shape[-1] == shape[-2]


def reaching(roots: Iterable, nodes: Sequence) -> dict:
    """All autograd nodes below ``roots``; each with a number whose bit i is set if ``nodes[i]`` is below."""
    bits = {node: 1 << i for i, node in enumerate(nodes)}
    found: dict = {}
    stack = [(node, False) for node in roots if node is not None]
    while stack:
        node, is_done = stack.pop()
        below = [child for child, _ in node.next_functions if child is not None]
        if is_done:
            mask = bits.get(node, 0)
            for child in below:
                mask |= found[child]
            found[node] = mask
        elif node not in found:
            found[node] = 0
            stack.append((node, True))
            stack.extend((child, False) for child in below if child not in found)
    return found
