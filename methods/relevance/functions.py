"""Operations whose backward hands on what the tape carries: the true gradient, or relevance by a rule."""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from methods.relevance.rules import RuleSet

Kind = str | Callable  # a field of RuleSet, or a rule itself


class NoRuleError(ValueError):
    """Relevance met an operation for which the rule set has no rule."""


class LedgerEntry(NamedTuple):
    """What one operation did with relevance: the totals over the batch that it received and handed on."""

    kind: Kind
    received: float
    handed_on: float


@dataclass
class BackwardMode:
    """What the tape carries backwards at present: relevance under ``rules``, or the gradient if None.

    Attributes:
        ledger: if not None, what every operation received and handed on is noted in it.
        precision: run operations under autocast to this type, and store what they return in float32.
    """

    rules: RuleSet | None = None
    ledger: list[LedgerEntry] | None = None
    precision: torch.dtype | None = None

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


class RuledModule(torch.autograd.Function):
    """The output of a module that has a rule of its own as a whole.

    The gradient goes back through whatever happened inside, relevance goes to the module's input directly.
    """

    @staticmethod
    def forward(ctx, mode, kind, output, x):
        ctx.mode, ctx.kind, ctx.output, ctx.x = mode, kind, output.detach(), x.detach()
        return output.clone()

    @staticmethod
    def backward(ctx, incoming):
        if ctx.mode.rules is None:
            return None, None, incoming, None
        return None, None, None, *ctx.mode.shares(ctx.kind, [ctx.x], incoming, ctx.output, ctx.x)


class RuledCall(torch.autograd.Function):
    """An operation that can hand back either its gradient or, by a rule, its relevance."""

    @staticmethod
    def forward(ctx, mode, kind, function, kwargs, *args):
        # A graph of this one operation, so that its true gradient comes from torch and not from us.
        with torch.enable_grad(), mode.autocast(args):
            ctx.args = [
                a.detach().requires_grad_() if needed else a
                for a, needed in zip(args, ctx.needs_input_grad[4:], strict=True)
            ]
            ctx.result = mode.stored(function(*ctx.args, **kwargs))
        ctx.mode, ctx.kind, ctx.function, ctx.kwargs = mode, kind, function, kwargs
        return ctx.result.detach()

    @staticmethod
    def backward(ctx, incoming):
        carriers = [i for i, a in enumerate(ctx.args) if carries(a)]
        inputs = [ctx.args[i] for i in carriers]
        if ctx.function is F.linear:  # not by its kind, which users may give to other functions
            shares = _by_rows(ctx, incoming)
        elif ctx.mode.rules is None:
            shares = torch.autograd.grad(ctx.result, inputs, incoming, retain_graph=True)
        else:
            shares = ctx.mode.shares(ctx.kind, inputs, incoming, ctx.result, *ctx.args, **ctx.kwargs)
        outgoing = [None] * len(ctx.args)
        for i, share in zip(carriers, shares, strict=True):
            outgoing[i] = share
        return None, None, None, None, *outgoing


def _by_rows(ctx, incoming: Tensor) -> tuple[Tensor]:
    """What a linear layer hands on, computed for those rows alone that receive something.

    In the last block that is the class token's row, if the logits are read from it.
    """
    x, weight, *bias = ctx.args
    x, z, arriving = x.detach().flatten(0, -2), ctx.result.detach().flatten(0, -2), incoming.flatten(0, -2)
    rows = _live_rows(arriving)
    some = rows is not None
    if some:
        x, z, arriving = x[rows], z[rows], arriving[rows]
    if ctx.mode.rules is None:
        share = arriving @ weight
    else:
        (share,) = ctx.mode.shares(ctx.kind, [x], arriving, z, x, weight, *bias, **ctx.kwargs)
    if some:
        share = share.new_zeros(ctx.args[0].shape).flatten(0, -2).index_copy_(0, rows, share)
    return (share.view(ctx.args[0].shape),)


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
        ctx.mode, ctx.message = mode, message
        return t.clone()  # not a view, which a model could not change in place

    @staticmethod
    def backward(ctx, incoming):
        if ctx.mode.rules is not None:
            raise NoRuleError(
                f"{ctx.message} has no relevance rule in the rule set '{ctx.mode.rules}'; "
                "methods.register_rule adds one (see 'Rules of your own' in README.md)"
            )
        return None, None, incoming


def carries(value) -> bool:
    """Whether a value depends on the input of the tape it is on."""
    return isinstance(value, Tensor) and value.requires_grad and not isinstance(value, nn.Parameter)
