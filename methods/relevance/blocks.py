"""The tensors of a block around an attention, found from what depends on what and not from names.

A block adds what its attention returned to the tokens that enter it, and what a feed-forward network made of that
to the result. So the first sum after an attention of which one summand depends on it, and the other is what it was
computed from, is the skip connection; what enters the block is that other summand. Whether a normalisation lies
before the attention (pre-norm) or after the sum (post-norm) shows in what the second sum adds to.
"""

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor

from methods.relevance.attentions import Order, Product
from methods.relevance.layouts import Layouts, Place, by_size, place
from methods.relevance.modules import RefusedError
from methods.relevance.program import Step, Trace

# Movements from a layer for queries, keys and values to the values as they meet the attention.
_PARTS = {
    *("unbind", "chunk", "split", "tensor_split", "split_with_sizes", "__getitem__", "select", "narrow"),
    *("repeat_interleave", "repeat", "broadcast_to"),
}


class Linear(NamedTuple):
    """A linear layer: ``output = F.linear(input, weight, bias)``, tokens as (batch, tokens, width)."""

    weight: Tensor
    bias: Tensor | None
    input: Tensor
    output: Tensor


class Norm(NamedTuple):
    """A normalisation over the width of (batch, tokens, width), LayerNorm if ``centred``, else RMSNorm."""

    weight: Tensor | None
    bias: Tensor | None
    eps: float
    centred: bool
    input: Tensor
    output: Tensor


class Activation(NamedTuple):
    """A function of one tensor, element by element: ``output = function(input)``."""

    input: Tensor
    output: Tensor


class Constant(NamedTuple):
    """What was added that does not depend on the input.

    Attributes:
        kind: ``linear``, ``norm`` or ``conv``: the bias of such a layer; ``shift``: what is added to tokens, such
            as positions.
        value: what was added; broadcasts to ``output``.
        input: what it was added to, as ``output``; None for biases of a layer.
        output: what this gave, (batch, tokens, width); (batch, 1, width) for what is no sequence, such as logits.
        block: in which it was added, by its number; −1 before the first, and how many blocks there are after the
            last.
    """

    kind: str
    value: Tensor
    input: Tensor | None
    output: Tensor
    block: int


class Point(NamedTuple):
    """A tensor of the tape as users see it, and as the model has it."""

    shown: Tensor
    raw: Tensor
    order: Order


def _as_it_is(t: Tensor) -> Tensor:
    return t


class Graph:
    """The blocks of a model and what lies around them, on one tape.

    Args:
        trace: of the forward pass.
        products: of the attentions with their values, in order.
        samples: which sample every element belongs to.
        batch: the number of samples.
    """

    def __init__(self, trace: Trace, products: list[Product], samples: Layouts, batch: int):
        self.trace, self.products = trace, products
        self._samples, self._batch = samples, batch
        self._shown: dict[int, Point] = {}  # by the identity of what users see, and of what the model has
        self._known: dict[int, Point] = {}

    # --- tensors as users see them

    def tokens(self, step: int) -> Tensor:
        """What a step returned as (batch, tokens, width)."""
        return self.shown(self.trace.steps[step].result, step, self._tokens_order)

    def shown(self, raw: Tensor, step: int, order: Callable[[Tensor], Order]) -> Tensor:
        """A tensor in the order that users see it in; it stands for the tensor of the model.

        Raises:
            RefusedError: if something else has been written there since.
        """
        known = self._known.get(id(raw))
        if known is None:
            if not self.trace.is_as_it_was(raw, step):
                raise RefusedError("the model writes into a tensor in place that was asked for: it is gone")
            to, back = order(raw)
            with torch.inference_mode(False), torch.enable_grad():
                known = Point(to(raw), raw, (to, back))
            self._known[id(raw)] = self._shown[id(known.shown)] = known
        return known.shown

    def point(self, t: Tensor) -> Point:
        """The tensor of the model that a tensor stands for."""
        return self._shown.get(id(t), Point(t, t, (_as_it_is, _as_it_is)))

    def _tokens_order(self, t: Tensor) -> Order:
        """How to make (batch, tokens, width) of a tensor whose last dimension is the width, and that again."""
        shape, where = t.shape, self._place(t)
        if where.dim == 0 and t.ndim == 3 and shape[0] == self._batch:
            return _as_it_is, _as_it_is
        leads = where.leading(t.detach(), t.ndim).shape
        width = shape[-1]

        def to(x: Tensor) -> Tensor:
            return where.leading(x, x.ndim).reshape(leads[0], -1, width)

        return to, lambda x: where.back(x.reshape(leads), shape)

    def _place(self, t: Tensor) -> Place:
        if self._batch == 1:
            ones = [d for d, size in enumerate(t.shape[:-1]) if size == 1]
            return Place(ones[0] if ones else 0, 1, 1, t.ndim)
        numbers = self._samples[t]
        where = place(numbers, self._batch) if numbers is not None else by_size(t.shape, self._batch)
        if where is None or where.dim == t.ndim - 1:
            raise RefusedError(
                f"which tokens of a tensor of shape {tuple(t.shape)} belong to one sample cannot be told: explain "
                "the samples one by one"
            )
        return where

    def features(self, step: int) -> Tensor:
        """What a convolution returned, (batch, channels, height, width), as (batch, positions, channels)."""

        def order(t: Tensor) -> Order:
            shape = t.shape
            return lambda x: x.flatten(2).mT, lambda x: x.mT.reshape(shape)

        return self.shown(self.trace.steps[step].result, step, order)

    def input(self, step: int) -> Tensor:
        """The one input of a step as (batch, tokens, width)."""
        return self.shown(self.trace.input(step), step, self._tokens_order)

    # --- layers

    def linear(self, step: int) -> Linear:
        """A linear layer."""
        _, weight, *bias = self.trace.steps[step].args
        return Linear(weight, bias[0] if bias else None, self.input(step), self.tokens(step))

    def norm(self, step: int) -> Norm:
        """A normalisation.

        Raises:
            RefusedError: if the model spells it out in several calls, so that its parts are not known.
        """
        name, args = self.trace.steps[step].name, self.trace.steps[step].args
        if name != "normalised":
            raise RefusedError(
                f"the weight and the epsilon of {name} cannot be told: it is spelled out in several calls"
            )
        _, _, weight, bias, eps, centred = args
        return Norm(weight, bias, eps, centred, self.input(step), self.tokens(step))

    def activation(self, step: int) -> Activation:
        """An activation."""
        return Activation(self.input(step), self.tokens(step))

    def before(self, step: int) -> int | None:
        """The step that computed the one input of a layer, a normalisation or an activation."""
        sources = self.trace.steps[step].sources
        return self.trace.origin(sources[-1]) if sources else None

    def kind(self, step: int | None) -> str | None:
        """The kind of a step's operation."""
        return None if step is None else self.trace.steps[step].kind

    def above(self, step: int | None, kind: str, what: str) -> int:
        """A step, if it is of a kind.

        Raises:
            RefusedError: if it is not.
        """
        if self.kind(step) != kind:
            found = "nothing" if step is None else self.trace.steps[step].name
            raise RefusedError(
                f"{what} cannot be found: expected an operation of the kind {kind} there, found {found}; "
                "choose a method that reads attention alone, such as GAE or rollout"
            )
        return step


class Block:
    """What lies around one attention. Every tensor can be asked for its gradient or relevance.

    Each attribute raises RefusedError where what it names cannot be found, as in parallel blocks.

    Attributes:
        number: of the block, from 0.
        attention: (batch, heads, queries, keys), the probabilities after the softmax.
    """

    def __init__(self, graph: Graph, number: int):
        self._graph, self._trace, self.number = graph, graph.trace, number
        self._product = graph.products[number]
        self.attention = self._product.attention

    def _refuse(self, what: str) -> RefusedError:
        return RefusedError(
            f"in block {self.number}, {what}; choose a method that reads attention alone, such as GAE or rollout"
        )

    # --- numbers of steps

    @property
    def _multiplied(self) -> int:
        return self._product.step

    @cached_property
    def _softmax(self) -> int:
        step = self._trace.origin(self._trace.step_of(self.attention))
        return self._graph.above(step, "softmax", f"the softmax of block {self.number}")

    @cached_property
    def _skip(self) -> tuple[int, int, int]:
        """The sum with the skip connection, the skip, and the branch of the attention."""
        product, beside = self._multiplied, False
        for number in range(product + 1, len(self._trace.steps)):
            step = self._trace.steps[number]
            if step.kind != "add" or len(step.sources) != 2 or None in step.sources:
                continue
            after = [self._trace.depends(source, product) for source in step.sources]
            if after[0] == after[1]:
                continue
            branch, skip = sorted(step.sources, key=lambda source: not self._trace.depends(source, product))
            if self._trace.depends(product, self._trace.origin(skip)):
                if beside:
                    raise self._refuse(
                        "something else is added to what the attention returns before the skip connection (as in "
                        "parallel blocks): what the attention alone adds cannot be told"
                    )
                return number, skip, branch
            beside = True
        raise self._refuse("no skip connection leads around the attention")

    @cached_property
    def start(self) -> int:
        """The number of the step that computed what enters the block."""
        return self._trace.origin(self._skip[1])

    @cached_property
    def _second(self) -> tuple[int, int, int]:
        """The sum with the second skip connection, the skip, and the branch of the feed-forward network."""
        first = self._skip[0]
        for number in range(first + 1, len(self._trace.steps)):
            step = self._trace.steps[number]
            if step.kind != "add" or len(step.sources) != 2 or None in step.sources:
                continue
            for skip, branch in (step.sources, step.sources[::-1]):
                trunk = self._trace.origin(skip)
                if trunk != first and not (
                    self._graph.kind(trunk) == "norm" and self._graph.before(trunk) == first
                ):
                    continue
                if not self._trace.depends(branch, first):
                    raise self._refuse(
                        "the feed-forward network does not read what the attention added (parallel blocks)"
                    )
                return number, skip, branch
        raise self._refuse("no feed-forward network with a skip connection follows the attention")

    @cached_property
    def _trunk(self) -> int:
        return self._trace.origin(self._second[1])

    @cached_property
    def end(self) -> int:
        """The number of the step that computed what leaves the block."""
        return self._second[0] if self.is_pre_norm else self._norm_after(self._second[0])

    def _norm_after(self, step: int) -> int:
        for number in range(step + 1, len(self._trace.steps)):
            if self._graph.kind(number) == "norm" and self._graph.before(number) == step:
                return number
        raise self._refuse(
            "no normalisation follows the feed-forward network, though one follows the attention"
        )

    @cached_property
    def linear_steps(self) -> list[int]:
        """The numbers of the linear layers inside of the attention."""
        return [
            n
            for n in range(self.start + 1, self._skip[0])
            if self._graph.kind(n) == "linear" and self._trace.depends(self._skip[0], n)
        ]

    def mark_linears(self) -> None:
        """Let the linear layers inside of the attention have a kind of their own."""
        for step in self.linear_steps:
            self._trace.steps[step].result.grad_fn.kind = "attention_linear"

    @cached_property
    def score_steps(self) -> set[int]:
        """The numbers of what is done to the scores before the softmax but to compute them."""
        found, step = set(), self._trace.origin(self._trace.steps[self._softmax].sources[0])
        while step is not None and self._graph.kind(step) in ("shift", "scale", "move"):
            found.add(step)
            sources = self._trace.steps[step].sources
            step = self._trace.origin(sources[0]) if sources else None
        return found

    @cached_property
    def _value_layer(self) -> int:
        if not self._product.is_plain:
            raise self._refuse(
                "attention and values are multiplied in an order in which values cannot be told"
            )
        step = self._trace.steps[self._multiplied].sources[-1]
        step = self._trace.origin(step, also=_PARTS)
        return self._graph.above(step, "linear", f"the layer of the values of block {self.number}")

    # --- tensors

    @property
    def is_pre_norm(self) -> bool:
        """Whether what attention and feed-forward network read is normalised, and not what they add to."""
        return self._trunk == self._skip[0]

    @property
    def input(self) -> Tensor:
        """What enters the block, X^(b): (batch, tokens, width)."""
        return self._graph.tokens(self.start)

    @property
    def normed(self) -> Tensor:
        """The tokens that the values are computed from: (batch, tokens, width).

        In a pre-norm block what the last normalisation before the attention returned, else :attr:`input`.
        """
        return self._graph.tokens(self._graph.before(self._value_layer))

    @property
    def scores(self) -> Tensor:
        """What the softmax is taken of, scaled and masked: (batch, heads, queries, keys)."""
        raw = self._trace.steps[self._softmax].args[0]
        return self._graph.shown(raw, self._softmax, lambda _: self._product.order)

    @property
    def values(self) -> Tensor:
        """What the attention multiplies: (batch, heads, keys, head width)."""
        if not self._product.is_plain or self._product.values_order is None:
            raise self._refuse(
                "attention and values are multiplied in an order in which values cannot be told"
            )
        raw = self._trace.steps[self._multiplied].args[1]
        return self._graph.shown(raw, self._multiplied, lambda _: self._product.values_order)

    @property
    def attended(self) -> Tensor:
        """What enters the block plus what its attention returns, M^(b): (batch, tokens, width)."""
        return self._graph.tokens(self._skip[0])

    @property
    def output(self) -> Tensor:
        """What leaves the block, X^(b+1): (batch, tokens, width); in a post-norm block after its normalisation."""
        return self._graph.tokens(self.end)

    # --- layers

    @property
    def projection(self) -> Linear:
        """The output projection, which alone lies between the heads and the skip connection."""
        step = self._graph.above(self._trace.origin(self._skip[2]), "linear", "the output projection")
        if self._graph.before(step) != self._multiplied:
            raise self._refuse("something lies between the heads of the attention and the output projection")
        return self._graph.linear(step)

    @property
    def norms(self) -> tuple[Norm, Norm]:
        """The normalisations before attention and feed-forward network (pre-norm), or after each (post-norm)."""
        if self.is_pre_norm:
            steps = self._graph.before(self._value_layer), self._graph.before(self._layers[0])
        else:
            steps = self._trunk, self.end
        first, second = (self._graph.above(s, "norm", f"a norm of block {self.number}") for s in steps)
        return self._graph.norm(first), self._graph.norm(second)

    @cached_property
    def _layers(self) -> tuple[int, int, int]:
        what = f"the feed-forward network of block {self.number}"
        second = self._graph.above(self._trace.origin(self._second[2]), "linear", what)
        active = self._graph.above(self._graph.before(second), "activation", what)
        return self._graph.above(self._graph.before(active), "linear", what), active, second

    @property
    def feed_forward(self) -> tuple[Linear, Activation, Linear]:
        """The two layers of the feed-forward network and the activation between them."""
        first, active, second = self._layers
        return self._graph.linear(first), self._graph.activation(active), self._graph.linear(second)


# --- the whole


def constants(graph: Graph, blocks: Sequence[Block], logits: int) -> list[Constant]:
    """What is added on the way to the logits that does not depend on the input, in order; not to scores.

    What no logit depends on, such as a pooler that the head does not read, is left out.

    Args:
        logits: the number of the step that computed them.
    """
    scores = {step for block in blocks for step in block.score_steps}
    starts, end, found = [block.start for block in blocks], blocks[-1].end, []
    for number, step in enumerate(graph.trace.steps):
        value, given = _added(step)
        if value is None or number in scores or not graph.trace.depends(logits, number):
            continue
        block = len(starts) if number > end else sum(start < number for start in starts) - 1
        is_conv = step.kind == "pixels"
        output = graph.features(number) if is_conv else graph.tokens(number)
        before = None if given is None else graph.input(number)
        found.append(Constant("conv" if is_conv else step.kind, value, before, output, block))
    return found


def _added(step: Step) -> tuple[Tensor | None, Tensor | None]:
    """What a step adds that does not depend on the input; and to what, if it does nothing else."""
    if step.kind == "shift":
        x, value = step.args[:2]
        is_tensor = isinstance(value, Tensor) and value.numel() > 1 and x.shape[-1] > 1
        return (value, x) if is_tensor else (None, None)
    if step.kind in ("linear", "pixels") and len(step.args) > 2:
        return step.args[2], None
    if step.name == "normalised":
        return step.args[3], None
    return None, None


def head(graph: Graph, last: Block, logits: int) -> list[Linear | Norm | Activation]:
    """What lies between the last block and the logits, in order.

    Raises:
        RefusedError: if it is no chain of layers, normalisations and activations.
    """
    found, step = [], graph.trace.origin(logits)
    while step != last.end:
        kind, sources = graph.kind(step), graph.trace.steps[step].sources
        if kind in ("linear", "norm", "activation"):
            found.append(getattr(graph, kind)(step))
        elif kind != "move":
            name = graph.trace.steps[step].name
            raise RefusedError(f"the head of the model is no chain of layers: {name} is none")
        if not sources or sources[-1] is None or not graph.trace.depends(sources[-1], last.end):
            raise RefusedError(
                "the head of the model does not read the tokens that the last block left alone"
            )
        step = sources[-1]
    return found[::-1]
