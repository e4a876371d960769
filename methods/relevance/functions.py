"""Operations whose backward hands on what the tape carries: the true gradient, or relevance by a rule."""

import weakref
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from methods.relevance.layouts import Place
from methods.relevance.rules import RuleSet

Kind = str | Callable  # a field of RuleSet, or a rule itself


class NoRuleError(ValueError):
    """Relevance met an operation for which the rule set has no rule."""


class LedgerEntry(NamedTuple):
    """What one operation did with relevance: the totals over the batch that it received and handed on."""

    kind: Kind
    received: float
    handed_on: float


class Kept:
    """What a call keeps for reading it backwards.

    Attributes:
        args: what it was called with; those that carry require a gradient.
        result: what it returned. If it requires a gradient, it is the result of a graph from ``args``.
    """

    __slots__ = ("__weakref__", "args", "result")

    def __init__(self, args: Sequence, result: Tensor):
        self.args, self.result = list(args), result

    @property
    def carriers(self) -> list[int]:
        """Which of the arguments carry."""
        return [i for i, a in enumerate(self.args) if isinstance(a, Tensor) and a.requires_grad]

    def part_from(self, storage: int, copies: dict) -> None:
        """Copy what lies in a storage that is about to be written into."""

        def parted(t):
            if not isinstance(t, Tensor) or _storage(t) != storage:
                return t
            key = t.dtype, t.shape, t.stride(), t.storage_offset()
            if key not in copies:
                copies[key] = t.detach().clone()
            return copies[key].detach().requires_grad_(t.requires_grad)

        self.args, self.result = [parted(a) for a in self.args], parted(self.result).detach()


def _storage(t: Tensor) -> int:
    return t.untyped_storage()._cdata


@dataclass
class BackwardMode:
    """What the tape carries backwards at present: relevance under ``rules``, or the gradient if None.

    Attributes:
        ledger: if not None, what every operation received and handed on is noted in it.
        precision: run operations under autocast to this type, and store what they return in float32.
        precise: what the last operation returned in float64, where that is another tensor.
    """

    rules: RuleSet | None = None
    ledger: list[LedgerEntry] | None = None
    precision: torch.dtype | None = None
    precise: Tensor | None = None
    _kept: dict[int, list[weakref.ref]] = field(default_factory=dict)  # by the storages that it lies in

    def keep(self, args: Sequence, result: Tensor) -> Kept:
        """Keep what a call was given and returned until the tape is gone."""
        kept = Kept(args, result)
        for storage in {_storage(t) for t in (*args, result) if isinstance(t, Tensor)}:
            self._kept.setdefault(storage, []).append(weakref.ref(kept))
        return kept

    def before_writing(self, target: Tensor) -> None:
        """Let what was kept stay as it is when a tensor is written into that shares memory with it."""
        storage, copies = _storage(target), {}
        for reference in self._kept.pop(storage, []):
            if (kept := reference()) is not None:
                kept.part_from(storage, copies)

    def forward_is_over(self) -> None:
        """Nothing is written into from now on."""
        self._kept.clear()

    def autocast(self, args: Sequence):
        """The context in which an operation on ``args`` runs."""
        if self.precision is None:
            return nullcontext()
        device = next(a.device.type for a in args if isinstance(a, Tensor))
        return torch.autocast(device, dtype=self.precision)

    def stored(self, result: Tensor) -> Tensor:
        """What an operation returned, in the type that relevance is computed in."""
        return result if self.precision is None else result.float()

    def shares(
        self, kind: Kind, inputs: Sequence[Tensor], incoming: Tensor, result: Tensor, /, *arguments, **options
    ) -> tuple:
        """What the rule for an operation gives to those of its inputs that carry relevance.

        Args:
            kind: of the operation.
            inputs: those that carry relevance, in order.
            incoming: the relevance of the operation's output.
            result: that output.
            arguments: what the operation was called with, and ``options``.

        Raises:
            ValueError: if a rule, which may be a user's own, does not give each of them its share.
        """
        rule = self.rules.rule(kind)
        shares = rule(incoming, result, *arguments, **options)
        given = [tuple(share.shape) for share in shares] if isinstance(shares, tuple) else type(shares)
        if given != (expected := [tuple(t.shape) for t in inputs]):
            raise ValueError(
                f"the rule {rule.__name__} must return a tuple of relevances, one for each input that carries"
                f" relevance, of shapes {expected}; it returned {given}"
            )
        if self.ledger is not None:
            handed_on = sum(share.sum().item() for share in shares)
            self.ledger.append(LedgerEntry(kind, incoming.sum().item(), handed_on))
        return shares

    def shares_by_sample(
        self, place: Place, kind: Kind, incoming: Tensor, kept: Kept, options: dict
    ) -> tuple:
        """The same for a rule that looks at samples: it finds them along the leading dimension."""
        inputs = [kept.args[i] for i in kept.carriers]
        if place.leads(incoming, *inputs):
            return self.shares(kind, inputs, incoming, kept.result, *kept.args, **options)
        result, *led = (
            place.leading(t.detach(), incoming.ndim) if isinstance(t, Tensor) else t
            for t in (kept.result, *kept.args)
        )
        incoming = place.leading(incoming, incoming.ndim)
        shares = self.shares(kind, [led[i] for i in kept.carriers], incoming, result, *led, **options)
        return tuple(place.back(share, t.shape) for share, t in zip(shares, inputs, strict=True))


class RuledModule(torch.autograd.Function):
    """The output of a module that has a rule of its own as a whole.

    The gradient goes back through whatever happened inside, relevance goes to the module's input directly.
    """

    @staticmethod
    def forward(ctx, mode, kind, output, x):
        ctx.mode, ctx.kind, ctx.kept = mode, kind, mode.keep([x.detach()], output.detach())
        return output.clone()

    @staticmethod
    def backward(ctx, incoming):
        if ctx.mode.rules is None:
            return None, None, incoming, None
        (x,), output = ctx.kept.args, ctx.kept.result
        return None, None, None, *ctx.mode.shares(ctx.kind, [x], incoming, output, x)


class RuledCall(torch.autograd.Function):
    """An operation that can hand back either its gradient or, by a rule, its relevance."""

    @staticmethod
    def forward(ctx, mode, kind, place, function, kwargs, precise, *args):
        ctx.set_materialize_grads(False)
        args = [
            a.detach().requires_grad_() if needed else a
            for a, needed in zip(args, ctx.needs_input_grad[6:], strict=True)
        ]
        if precise is None:
            result = _graph(mode, function, args, kwargs)
        else:  # the graph is made from what is kept, when a gradient is asked for
            mode.precise = function(*precise[0], **precise[1])
            result = mode.precise.to(next(a.dtype for a in args if isinstance(a, Tensor) and a.requires_grad))
        ctx.kept = mode.keep(args, result)
        ctx.mode, ctx.kind, ctx.place, ctx.function, ctx.kwargs = mode, kind, place, function, kwargs
        return result.detach()

    @staticmethod
    def backward(ctx, incoming):
        kept, mode = ctx.kept, ctx.mode
        if incoming is None:
            return (None,) * (6 + len(kept.args))
        carriers = kept.carriers
        inputs = [kept.args[i] for i in carriers]
        if ctx.function is F.linear:  # not by its kind, which users may give to other functions
            shares = _by_rows(ctx, incoming)
        elif mode.rules is None:
            shares = _gradients(ctx, inputs, incoming)
        elif ctx.place is not None:
            shares = mode.shares_by_sample(ctx.place, ctx.kind, incoming, kept, ctx.kwargs)
        else:
            shares = mode.shares(ctx.kind, inputs, incoming, kept.result, *kept.args, **ctx.kwargs)
        outgoing = [None] * len(kept.args)
        for i, share in zip(carriers, shares, strict=True):
            outgoing[i] = share
        return None, None, None, None, None, None, *outgoing


def _gradients(ctx, inputs: Sequence[Tensor], incoming: Tensor) -> Sequence[Tensor]:
    """The gradients of an operation's inputs, by autograd on what was kept of it."""
    result = ctx.kept.result
    if not result.requires_grad:  # there is no graph yet, or what it was made from has been written into
        if ctx.function is torch.matmul and len(inputs) == 2 and min(t.ndim for t in inputs) > 1:
            u, v = (t.detach() for t in inputs)  # known without the product itself
            return (incoming @ v.mT).sum_to_size(u.shape), (u.mT @ incoming).sum_to_size(v.shape)
        if ctx.function is torch.add and not ctx.kwargs:
            return [incoming.sum_to_size(t.shape) for t in inputs]
        result = _graph(ctx.mode, ctx.function, ctx.kept.args, ctx.kwargs)
    return torch.autograd.grad(result, inputs, incoming, retain_graph=True)


def _graph(mode: BackwardMode, function: Callable, args: Sequence, kwargs: dict) -> Tensor:
    """An operation with a graph of its own, so that its true gradient comes from torch and not from us."""
    with torch.enable_grad(), mode.autocast(args):
        return mode.stored(function(*args, **kwargs))


def _by_rows(ctx, incoming: Tensor) -> tuple[Tensor]:
    """What a linear layer hands on, computed for those rows alone that receive something.

    In the last block that is the class token's row, if the logits are read from it.
    """
    given, weight, *bias = ctx.kept.args
    x, z, arriving = (t.detach().flatten(0, -2) for t in (given, ctx.kept.result, incoming))
    rows = _live_rows(arriving)
    some = rows is not None
    if some:
        x, z, arriving = x[rows], z[rows], arriving[rows]
    if ctx.mode.rules is None:
        share = arriving @ weight
    else:
        (share,) = ctx.mode.shares(ctx.kind, [x], arriving, z, x, weight, *bias, **ctx.kwargs)
    if some:
        share = share.new_zeros(given.shape).flatten(0, -2).index_copy_(0, rows, share)
    return (share.view(given.shape),)


def _live_rows(arriving: Tensor) -> Tensor | None:
    """The rows of a matrix that are not all 0; None if they are most of them."""
    for part in (arriving[:, :8], arriving):  # a few columns tell nearly always that there is nothing to save
        live = (part != 0).any(dim=1)
        if 2 * live.sum() >= len(live):
            return None
    return live.nonzero()[:, 0]


class NoRule(torch.autograd.Function):
    """Lets a gradient pass and stops relevance with an error."""

    @staticmethod
    def forward(ctx, mode, message, t):
        ctx.set_materialize_grads(False)  # where nothing arrives, as below a module with a rule as a whole
        ctx.mode, ctx.message = mode, message
        return t.clone()  # not a view, which a model could not change in place

    @staticmethod
    def backward(ctx, incoming):
        if ctx.mode.rules is not None and incoming is not None:
            raise NoRuleError(
                f"{ctx.message} has no relevance rule in the rule set '{ctx.mode.rules}'; "
                "methods.register_rule adds one (see 'Rules of your own' in docs/explaining.md)"
            )
        return None, None, incoming
