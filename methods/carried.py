"""Operations whose backward hands on what the tape carries: the true gradient, or relevance by a rule."""

import torch
from torch import Tensor, nn

from methods.rules import RuleSet


class NoRuleError(ValueError):
    """Relevance met an operation for which the rule set has no rule."""


class Channel:
    """What the tape carries backwards at present: relevance under ``rules``, or the gradient if None."""

    rules: RuleSet | None = None


class Carried(torch.autograd.Function):
    """An operation that can hand back either its gradient or, by a rule, its relevance."""

    @staticmethod
    def forward(ctx, channel, kind, function, kwargs, *args):
        # A graph of this one operation, so that its true gradient comes from torch and not from us.
        with torch.enable_grad():
            ctx.args = [
                a.detach().requires_grad_() if needed else a
                for a, needed in zip(args, ctx.needs_input_grad[4:], strict=True)
            ]
            ctx.result = function(*ctx.args, **kwargs)
        ctx.channel, ctx.kind, ctx.kwargs = channel, kind, kwargs
        return ctx.result.detach()

    @staticmethod
    def backward(ctx, incoming):
        rules = ctx.channel.rules
        carriers = [i for i, a in enumerate(ctx.args) if carries(a)]
        if rules is None:
            wanted = [ctx.args[i] for i in carriers]
            shares = torch.autograd.grad(ctx.result, wanted, incoming, retain_graph=True)
        else:
            # Carriers come first among the arguments and a rule answers for these, in order.
            shares = getattr(rules, ctx.kind)(incoming, ctx.result, *ctx.args, **ctx.kwargs)
        outgoing = [None] * len(ctx.args)
        for i, share in zip(carriers, shares, strict=True):
            outgoing[i] = share
        return None, None, None, None, *outgoing


class NoRule(torch.autograd.Function):
    """Lets a gradient pass and stops relevance with an error."""

    @staticmethod
    def forward(ctx, channel, message, t):
        ctx.channel, ctx.message = channel, message
        return t.view_as(t)

    @staticmethod
    def backward(ctx, incoming):
        if ctx.channel.rules is not None:
            raise NoRuleError(f"{ctx.message} has no relevance rule in the rule set '{ctx.channel.rules}'")
        return None, None, incoming


def carries(value) -> bool:
    """Whether a value depends on the input of the tape it is on."""
    return isinstance(value, Tensor) and value.requires_grad and not isinstance(value, nn.Parameter)
