"""The engine: one forward pass of an unmodified model that can be read backwards in several ways.

A :class:`Tape` is a torch function mode: it sees every torch call that the model makes. A call with a
relevance rule runs inside an ``autograd.Function`` whose forward is the call itself and whose backward
hands on whatever the tape is asked to carry, either the true gradient or the relevance under a set of
rules. So ``torch.autograd.grad`` does the bookkeeping in both cases: it walks the graph, adds up what
arrives at a tensor that was used twice and stops where nothing below is needed.

Everything that depends on the input requires a gradient on the tape, and nothing else does: parameters
and buffers are constants here.
"""

import sys
from collections.abc import Callable, Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from methods import operations as ops
from methods.carried import Carried, Channel, NoRule, carries
from methods.rules import RuleSet

Inputs = Tensor | Mapping[str, Tensor]
Forward = Callable[[Inputs], Tensor]


DTYPES = {"float64": torch.float64, "float32": torch.float32}


class NoAttentionError(ValueError):
    """No attention probabilities were seen in a model's forward pass."""


class Tape(TorchFunctionMode):
    """What one forward pass left behind.

    Attributes:
        logits: (batch, classes).
        attentions: for each block the (batch, heads, queries, keys) probabilities A after the softmax.
        entry: where the tokens enter the network: the pixels, or for text the (batch, tokens, hidden)
            sum of embeddings that the first layer receives. None on a tape that cannot be read backwards.
    """

    def __init__(self, dtype: torch.dtype | None = None):
        super().__init__()
        self.dtype = dtype
        self.logits: Tensor | None = None
        self.attentions: list[Tensor] = []
        self.entry: Tensor | None = None
        self._channel = Channel()
        self._nodes: set = set()  # the autograd nodes of everything this mode has seen computed
        self._last_softmax: Tensor | None = None
        self._embeds_tokens = False

    @classmethod
    def record(
        cls, forward: Forward, inputs: Inputs, backward: bool = True, dtype: str | None = None
    ) -> "Tape":
        """Run ``forward(inputs)`` and remember it.

        Args:
            forward: any callable around an unmodified model in eval mode.
            inputs: a tensor or a mapping of tensors, batch first.
            backward: keep what reading the tape backwards needs; without it only the attentions are kept.
            dtype: ``float64`` or ``float32``: what everything computed from the input is computed in,
                whatever the type of the model's weights; None leaves it to the model. Needs ``backward``.

        Raises:
            ValueError: if the result is not a (batch, classes) tensor, or does not depend on ``inputs`` in
                a way that can be differentiated, or the model is in train mode.
            NoAttentionError: if no attention was seen.
        """
        if dtype is not None and dtype not in DTYPES:
            raise ValueError(f"dtype={dtype!r}: expected 'float64' or 'float32'")
        tape = cls(DTYPES.get(dtype))
        with torch.inference_mode(False), torch.set_grad_enabled(backward):
            if backward:
                inputs = tape._open(inputs)
            with tape:
                tape.logits = forward(inputs)
        if not isinstance(tape.logits, Tensor) or tape.logits.ndim != 2:
            shape = tuple(tape.logits.shape) if isinstance(tape.logits, Tensor) else type(tape.logits)
            raise ValueError(f"{_describe(forward)} must return (batch, classes) logits, not {shape}")
        if backward and not carries(tape.logits):
            raise ValueError(
                f"the logits of {_describe(forward)} cannot be traced back to its inputs: give a tensor of "
                "pixels, or a mapping with token ids that the model looks up in an embedding"
            )
        tape.logits = tape._seen(tape.logits)
        if not tape.attentions:
            raise NoAttentionError(
                f"no attention was seen in {_describe(forward)}: it never multiplies a softmax with values "
                "in Python-visible torch calls, so methods that read attention cannot explain it"
            )
        return tape

    def gradient(self, target: Tensor | None, of: Sequence[Tensor]) -> list[Tensor]:
        """The true gradient of the explained logit with respect to tensors on the tape."""
        return self._carry(None, target, of)

    def relevance(self, target: Tensor | None, of: Sequence[Tensor], rules: RuleSet) -> list[Tensor]:
        """The relevance that reaches tensors on the tape when 1 is put on the explained logit.

        Args:
            target: the explained classes, (batch,), or None for the predicted ones.

        Raises:
            NoRuleError: if relevance meets an operation without a rule.
        """
        return self._carry(rules, target, of)

    def _carry(self, rules: RuleSet | None, target: Tensor | None, of: Sequence[Tensor]) -> list[Tensor]:
        if target is None:
            target = self.logits.argmax(dim=1)
        one_hot = F.one_hot(target.to(self.logits.device), self.logits.shape[1]).to(self.logits.dtype)
        self._channel.rules = rules
        with torch.inference_mode(False):
            return list(torch.autograd.grad(self.logits, list(of), one_hot, retain_graph=True))

    def _open(self, inputs: Inputs) -> Inputs:
        """Let everything computed from the input require a gradient."""
        if isinstance(inputs, Tensor):
            self.entry = inputs.detach().to(self.dtype, copy=True).requires_grad_()
            return self.entry
        # Token ids cannot require a gradient: the embeddings looked up with them do instead.
        self._embeds_tokens = True
        return inputs

    def __torch_function__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        name = ops.name_of(function)
        if function is F.scaled_dot_product_attention:
            with self:
                return ops.scaled_dot_product_attention(*args, **kwargs)
        if name == "dropout":
            return _no_dropout(*args, **kwargs)
        args, kwargs = ops.positional(name, args, kwargs)
        result = self._run(name, function, args, kwargs)
        self._nodes.update(t.grad_fn for t in _tensors((result,), {}) if carries(t))
        if name == "softmax":
            self._last_softmax = result
        elif name in ops.MATRIX_PRODUCTS and args[0] is self._last_softmax and result.ndim == 4:
            self.attentions.append(args[0])
        return result

    def _run(self, name: str, function, args: tuple, kwargs: dict):
        if not any(map(carries, _tensors(args, kwargs))):
            with torch.no_grad():
                result = _map(_constant, function(*args, **kwargs))
            if self._embeds_tokens and self.entry is None and name == "embedding":
                result = result.to(self.dtype).requires_grad_()
            return result
        args, kwargs = self._prepare(args), {key: self._prepare(value) for key, value in kwargs.items()}
        if self.dtype is not None and name in ops.CASTS:
            return args[0]
        if name in ops.MOVEMENTS:
            return function(*args, **kwargs)
        if self.entry is None and name in ("linear", "layer_norm"):
            self.entry = args[0]
        kind, function, args = self._classify(name, function, args, kwargs)
        if kind is None:
            return self._without_rule(name, function, args, kwargs)
        args = tuple(a.detach() if isinstance(a, nn.Parameter) else a for a in args)
        return Carried.apply(self._channel, kind, function, kwargs, *args)

    def _prepare(self, value):
        """An argument of a call, checked by :meth:`_seen` and with the tape's floating point type."""
        if isinstance(value, (tuple, list)) and type(value) in (tuple, list):
            return type(value)(map(self._prepare, value))
        if isinstance(value, torch.dtype) and value.is_floating_point:
            return self.dtype or value
        if isinstance(value, Tensor) and carries(value):
            value = self._seen(value)
            return value if self.dtype is None else value.to(self.dtype)
        if isinstance(value, Tensor) and value.is_floating_point() and self.dtype not in (None, value.dtype):
            return value.detach().to(self.dtype)
        return value

    def _seen(self, t: Tensor) -> Tensor:
        """``t``, barred to relevance if it was computed out of this mode's sight.

        Scripted code, custom autograd functions and in-place operations change the graph without a rule;
        unnoticed, relevance would pass them as the plain gradient.
        """
        if not carries(t) or t.grad_fn is None or t.grad_fn in self._nodes:
            return t
        node = t.grad_fn.name().rsplit("::")[-1]
        message = f"{node} (in place or hidden from Python, before {_calling_module()})"
        return NoRule.apply(self._channel, message, t)

    def _classify(self, name: str, function, args: tuple, kwargs: dict):
        """The kind of rule for a call, and the call with what carries relevance as its first argument."""
        both = len(args) > 1 and carries(args[0]) and carries(args[1])
        if name in ops.IDENTITIES and not any(map(carries, args[1:])) and not kwargs.get("inplace"):
            return "identity", function, args
        if name == "linear" and not carries(args[1]):
            return "linear", function, args
        if name == "conv2d" and args[0] is self.entry:
            return "pixels", function, args
        if name in ops.MATRIX_PRODUCTS and both:
            return "matmul", torch.matmul, args
        if name in ops.ADDITIONS and not kwargs:
            return ("add" if both else "shift"), torch.add, _carrier_first(args)
        if name in ops.PRODUCTS and not both:
            return "identity", torch.mul, _carrier_first(args)
        if name in ops.QUOTIENTS and not carries(args[1]):
            return "identity", torch.div, args
        return None, function, args

    def _without_rule(self, name: str, function, args: tuple, kwargs: dict):
        """Run an operation whose gradient may pass but whose relevance must not."""
        result = function(*args, **kwargs)
        message = f"{name} (called by {_calling_module()})"

        def guard(t):
            return NoRule.apply(self._channel, message, t) if carries(t) else t

        return _map(guard, result)


def _tensors(args: tuple, kwargs: dict):
    for value in (*args, *kwargs.values()):
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, (list, tuple)):
            yield from (v for v in value if isinstance(v, Tensor))


def _map(function: Callable, result):
    """``function`` of what a torch call returned, or of each part if it returned several."""
    # Results with named fields, e.g. those of max and topk, are tuples of their own, built from a sequence.
    return (
        type(result)(list(map(function, result))) if isinstance(result, (tuple, list)) else function(result)
    )


def _constant(value):
    """A view of a parameter requires a gradient even if it was made without: it must not seem to carry."""
    return value.detach() if carries(value) else value


def _carrier_first(args: tuple) -> tuple:
    return args if carries(args[0]) else (args[1], args[0])


def _no_dropout(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    if training and p > 0:
        raise ValueError("the model applies dropout: call model.eval() before explaining it")
    return input


def _describe(forward: Forward) -> str:
    return type(forward).__name__ if isinstance(forward, nn.Module) else repr(forward)


def _calling_module() -> str:
    """The class of the innermost module in whose forward we are."""
    frame = sys._getframe(1)
    while frame is not None:
        owner = frame.f_locals.get("self")
        if isinstance(owner, nn.Module):
            return type(owner).__name__
        frame = frame.f_back
    return "code outside of any module"
