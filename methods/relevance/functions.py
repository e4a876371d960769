"""Operations whose backward hands on what the tape carries: the true gradient, or relevance by a rule."""

import weakref
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from methods.relevance.gradients import GRADIENT, Gradient, OfRelevance, Proportional, Stabilised
from methods.relevance.layouts import Place
from methods.relevance.rules import RuleSet, bilinear, identity

Kind = str | Callable  # a field of RuleSet, or a rule itself


class NoRuleError(ValueError):
    """Relevance met an operation for which the rule set has no rule."""


def no_rule(what: str, rules: RuleSet) -> str:
    """What to tell of an operation that has no rule."""
    return (
        f"{what} has no relevance rule in the rule set '{rules}'; methods.register_rule adds one "
        "(see 'Rules of your own' in docs/explaining.md)"
    )


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
    """What the tape carries backwards at present: by ``rules``, or the true gradient if None.

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

    def rule(self, kind: Kind) -> Callable:
        """The rule for an operation; its true gradient if that is what is carried.

        Raises:
            NoRuleError: if the rule set has none.
        """
        rules = self.rules
        if rules is None:
            return GRADIENT
        if kind == "by its own norm":  # a tensor times 1/σ of itself, in a normalisation that is spelled out
            return _by_constant(rules)
        rule = rules.rule(kind.removesuffix(", swapped") if isinstance(kind, str) else kind)
        if rule is None:
            raise NoRuleError(no_rule(f"'{kind}'", rules))
        if isinstance(kind, str):
            swapped = kind.endswith(", swapped") and isinstance(rule, Gradient)
            return rule.swapped() if swapped else rule
        return OfRelevance(rule) if rules.form == "gradient" and not isinstance(rule, Gradient) else rule

    def note(self, kind: Kind, incoming: Tensor, result: Tensor, inputs: Sequence, shares: Sequence) -> None:
        """Note in the ledger what an operation received and handed on, if there is a ledger."""
        if self.ledger is None:
            return
        pairs = [(incoming, result), *((s, x) for s, x in zip(shares, inputs, strict=True) if s is not None)]
        is_gradient = self.rules.form == "gradient"
        received, *handed_on = ((of_g(t, x) if is_gradient else t).sum().item() for t, x in pairs)
        self.ledger.append(LedgerEntry(kind, received, sum(handed_on)))

    def shares(
        self,
        rule: Callable,
        inputs: Sequence[Tensor],
        incoming: Tensor,
        result: Tensor,
        /,
        *arguments,
        **options,
    ) -> tuple:
        """What a rule gives to those of an operation's inputs that carry relevance.

        Args:
            rule: for the operation.
            inputs: those that carry relevance, in order.
            incoming: the relevance of the operation's output.
            result: that output.
            arguments: what the operation was called with, and ``options``.

        Raises:
            ValueError: if a rule, which may be a user's own, does not give each of them its share.
        """
        shares = rule(incoming, result, *arguments, **options)
        given = type(shares)
        if isinstance(shares, tuple):
            given = [None if share is None else tuple(share.shape) for share in shares]
        expected = [tuple(t.shape) for t in inputs]
        fits = isinstance(given, list) and len(given) == len(expected)
        if not fits or any(g not in (None, e) for g, e in zip(given, expected, strict=True)):
            raise ValueError(
                f"the rule {getattr(rule, '__name__', rule)} must return a tuple of relevances, one for each "
                f"input that carries relevance, of shapes {expected}; it returned {given}"
            )
        return shares

    def shares_by_sample(
        self, place: Place, rule: Callable, incoming: Tensor, kept: Kept, options: dict
    ) -> tuple:
        """The same for a rule that looks at samples: it finds them along the leading dimension."""
        inputs = [kept.args[i] for i in kept.carriers]
        if place.leads(incoming, *inputs):
            return self.shares(rule, inputs, incoming, kept.result, *kept.args, **options)
        result, *led = (
            place.leading(t.detach(), incoming.ndim) if isinstance(t, Tensor) else t
            for t in (kept.result, *kept.args)
        )
        incoming = place.leading(incoming, incoming.ndim)
        shares = self.shares(rule, [led[i] for i in kept.carriers], incoming, result, *led, **options)
        return tuple(
            None if share is None else place.back(share, t.shape)
            for share, t in zip(shares, inputs, strict=True)
        )


def _by_constant(rules: RuleSet) -> Callable:
    """The rule for x ⊙ c(x), c(x) the 1/σ of a normalisation that is spelled out: c is a constant."""
    if rules.norm is identity:  # it is not looked into, so this is no part of one
        return rules.product
    if isinstance(rules.norm, Gradient):
        return rules.norm
    return Gradient(only=0) if rules.form == "gradient" else _to_the_first


def _to_the_first(R: Tensor, z: Tensor, x: Tensor, scale: Tensor) -> tuple[Tensor, None]:
    return R.sum_to_size(x.shape), None


def of_g(g: Tensor, x: Tensor) -> Tensor:
    """The relevance x ⊙ g; 0 where nothing arrives, though x be infinite, as masked scores are."""
    R = g * x.detach()
    return R if R.isfinite().all() else R.masked_fill(g == 0, 0)


class RuledModule(torch.autograd.Function):
    """The output of a module that may have a rule of its own as a whole.

    The gradient goes back through whatever happened inside, and so does relevance under a rule set that looks
    into such modules; else relevance goes to the module's input directly.
    """

    @staticmethod
    def forward(ctx, mode, kind, output, x):
        ctx.set_materialize_grads(False)
        ctx.mode, ctx.kind, ctx.kept = mode, kind, mode.keep([x.detach()], output.detach())
        ctx.function, ctx.place, ctx.kwargs = None, None, {}
        return output.clone()

    @staticmethod
    def backward(ctx, incoming):
        if incoming is None:
            return (None,) * 4
        rule = ctx.mode.rule(ctx.kind)
        if isinstance(rule, Gradient):
            return None, None, *rule.of([incoming]), None
        if ctx.kind == "norm" and rule is not identity:
            return None, None, incoming, None
        if isinstance(getattr(rule, "rule", None), Gradient):
            raise NoRuleError(no_rule("the gradient of a whole module, in relevance form,", ctx.mode.rules))
        (x,), output = ctx.kept.args, ctx.kept.result
        shares = _shares(ctx, rule, [x], incoming)
        ctx.mode.note(ctx.kind, incoming, output, [x], shares)
        return None, None, None, *shares


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
        inputs, rule = [kept.args[i] for i in carriers], mode.rule(ctx.kind)
        if ctx.function is F.linear:  # not by its kind, which users may give to other functions
            shares = _by_rows(ctx, rule, incoming)
        else:
            shares = _shares(ctx, rule, inputs, incoming)
            mode.note(ctx.kind, incoming, kept.result, inputs, shares)
        outgoing = [None] * len(kept.args)
        for i, share in zip(carriers, shares, strict=True):
            outgoing[i] = share
        return None, None, None, None, None, None, *outgoing


def _shares(ctx, rule: Callable, inputs: Sequence[Tensor], incoming: Tensor) -> Sequence[Tensor | None]:
    """What a rule gives to those inputs of an operation that carry."""
    kept, z = ctx.kept, ctx.kept.result.detach()
    if isinstance(rule, Gradient):
        return rule.of(_gradients(ctx, inputs, incoming))
    if isinstance(rule, Stabilised):
        return _shares(ctx, rule.rule, inputs, incoming * _quotient(z, z + rule.epsilon))
    if isinstance(rule, Proportional):
        shares = _shares(ctx, rule.rule, inputs, _quotient(incoming, z + rule.epsilon))
        return [s if s is None else of_g(s, x) for s, x in zip(shares, inputs, strict=True)]
    if isinstance(rule, OfRelevance):
        shares = _shares(ctx, rule.rule, inputs, of_g(incoming, z))
        return [s if s is None else _quotient(s, x.detach()) for s, x in zip(shares, inputs, strict=True)]
    if ctx.place is not None:
        return ctx.mode.shares_by_sample(ctx.place, rule, incoming, kept, ctx.kwargs)
    result = kept.result
    if rule is bilinear and not result.requires_grad:
        result = _graph(ctx.mode, ctx.function, kept.args, ctx.kwargs)
    return ctx.mode.shares(rule, inputs, incoming, result, *kept.args, **ctx.kwargs)


def _quotient(a: Tensor, b: Tensor) -> Tensor:
    """a / b, and 0 where b = 0."""
    nothing = b == 0
    return (a / torch.where(nothing, 1, b)).masked_fill(nothing, 0)


def _gradients(ctx, inputs: Sequence[Tensor], incoming: Tensor) -> Sequence[Tensor]:
    """The gradients of an operation's inputs, by autograd on what was kept of it."""
    result = ctx.kept.result
    if ctx.function is F.linear:
        return [incoming @ ctx.kept.args[1]]
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


def _by_rows(ctx, rule: Callable, incoming: Tensor) -> tuple[Tensor]:
    """What a linear layer hands on, computed for those rows alone that receive something.

    In the last block that is the class token's row, if the logits are read from it.
    """
    given, weight, *bias = ctx.kept.args
    x, z, arriving = (t.detach().flatten(0, -2) for t in (given, ctx.kept.result, incoming))
    rows = _live_rows(arriving)
    some = rows is not None
    if some:
        x, z, arriving = x[rows], z[rows], arriving[rows]
    kept = Kept([x, weight, *bias], z)
    part = SimpleNamespace(mode=ctx.mode, place=None, function=F.linear, kept=kept, kwargs=ctx.kwargs)
    (share,) = _shares(part, rule, [x], arriving)
    ctx.mode.note(ctx.kind, arriving, z, [x], [share])
    if share is None:
        return (None,)
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
    """Lets a gradient pass and stops relevance with an error.

    A rule set may let relevance pass, too, as the true gradient: by the rule that it has for ``kind``.
    """

    @staticmethod
    def forward(ctx, mode, kind, message, t):
        ctx.set_materialize_grads(False)  # where nothing arrives, as below a module with a rule as a whole
        ctx.mode, ctx.kind, ctx.message = mode, kind, message
        return t.clone()  # not a view, which a model could not change in place

    @staticmethod
    def backward(ctx, incoming):
        rules = ctx.mode.rules
        if incoming is None or rules is None or isinstance(rules.rule(ctx.kind), Gradient):
            return None, None, None, incoming
        raise NoRuleError(no_rule(ctx.message, rules))
