"""What sees a model's torch calls while it runs, and decides how each can be read backwards.

A :class:`Recorder` is a torch function mode: it sees every torch call that an unmodified model makes. A call
with a relevance rule runs inside an ``autograd.Function`` whose forward is the call itself and whose backward
hands on whatever it is asked to carry, the true gradient or the relevance under a set of rules. So
``torch.autograd.grad`` does the bookkeeping in both cases: it walks the graph, adds up what arrives at a
tensor that was used twice and stops where nothing below is needed.

Everything that depends on the input requires a gradient, and nothing else does: parameters and buffers are
constants here.
"""

import opcode
import sys
from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from methods.relevance import calls as ops
from methods.relevance.attentions import AttentionFinder
from methods.relevance.functions import BackwardMode, NoRule, RuledCall, RuledModule, carries
from methods.relevance.modules import calling_module, check
from methods.relevance.rules import rule_of_function, rule_of_module

Inputs = Tensor | Mapping[str, Tensor]


class Recorder(TorchFunctionMode):
    """Runs a model's torch calls so that they can be read backwards.

    Args:
        inputs: of the model; :attr:`inputs` is what to call it with.
        dtype: what everything computed from the input is computed in; None leaves it to the model.
        precision: the type that operations run in under autocast, if another.
        backward: prepare for reading backwards, not only for finding the attentions.

    Attributes:
        inputs: what to call the model with.
        entry: where the tokens enter the network (:class:`methods.relevance.tape.Tape`).
        mode: what is carried backwards.
        found: the attentions seen.
    """

    def __init__(
        self, inputs: Inputs, dtype: torch.dtype | None, precision: torch.dtype | None, backward: bool
    ):
        super().__init__()
        self.dtype = dtype
        self.mode = BackwardMode(precision=precision)
        self.inputs, self.entry = inputs, None
        # Token ids cannot require a gradient: the embeddings looked up with them do instead.
        self._embeds_tokens = backward and not isinstance(inputs, Tensor)
        if backward and isinstance(inputs, Tensor):
            self.inputs = self.entry = inputs.detach().to(dtype, copy=True).requires_grad_()
        batch = len(inputs if isinstance(inputs, Tensor) else next(iter(inputs.values())))
        self.found = AttentionFinder(batch)
        self._nodes: set = set()  # the autograd nodes of everything seen computed
        self._whole: tuple[nn.Module, Tensor] | None = None  # the module we are in that has a rule as a whole

    def __torch_function__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        name = ops.name_of(function)
        if name in ops.WRITTEN_OUT:
            with self:
                return ops.WRITTEN_OUT[name](*args, **kwargs)
        if function is F.multi_head_attention_forward:
            with self, ops.looked_into():
                return function(*args, **kwargs)
        if name == "dropout":
            return _no_dropout(*args, **kwargs)
        if name in ops.IN_PLACE and carries(args[0]) and _is_augmented_assignment():
            # x += y binds the name x anew, so a new tensor will do, and what x was stays as it was.
            name = ops.IN_PLACE[name]
            function = getattr(torch, name)
        args, kwargs = ops.positional(name, args, kwargs)
        result = self._run(name, function, args, kwargs)
        if name == "softmax":
            result = self.found.softmax(result, self.remember)
        elif args:
            self.found.follow(name, args, result)
        self.remember(result)
        return result

    def remember(self, result) -> None:
        """Take what was just computed as seen."""
        self._nodes.update(t.grad_fn for t in _tensors((result,), {}) if carries(t))

    def enter(self, module: nn.Module, arguments: tuple) -> None:
        """Before a module: refuse it, or note that it has a rule as a whole."""
        check(module)
        if self._whole is not None or rule_of_module(module) is None:
            return
        with torch._C.DisableTorchFunction():  # hooks run where the mode sees even a look at an attribute
            carriers = [a for a in arguments if carries(a)]
            if len(carriers) == 1:
                self._whole = module, self._prepare(carriers[0])

    def leave(self, module: nn.Module, arguments: tuple, result):
        """After a module: give what it returned its own rule, if it has one as a whole."""
        if self._whole is None or self._whole[0] is not module:
            return None
        _, x = self._whole
        self._whole = None
        with torch._C.DisableTorchFunction():
            spliced = RuledModule.apply(self.mode, rule_of_module(module), result, x)
            self.remember(spliced)
        return spliced

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
        if name in ops.MOVEMENTS or self._whole is not None:
            return function(*args, **kwargs)
        if self.entry is None and name in ("linear", "layer_norm"):
            self.entry = args[0]
        if rewritten := self._rewritten(name, args, kwargs):
            with self:
                return rewritten()
        kind, function, args = self._classify(name, function, args, kwargs)
        if kind is None:
            return self._without_rule(name, function, args, kwargs)
        return RuledCall.apply(self.mode, kind, function, kwargs, *args)

    def _prepare(self, value):
        """An argument of a call, checked by :meth:`seen` and with the tape's floating point type."""
        if isinstance(value, (tuple, list)) and type(value) in (tuple, list):
            return type(value)(map(self._prepare, value))
        if isinstance(value, torch.dtype) and value.is_floating_point:
            return self.dtype or value
        if isinstance(value, Tensor) and carries(value):
            value = self.seen(value)
            return value if self.dtype is None else value.to(self.dtype)
        if isinstance(value, Tensor):
            value = value.detach()  # a constant, even if it is a parameter that is being trained
            return value.to(self.dtype) if self.dtype is not None and value.is_floating_point() else value
        return value

    def seen(self, t: Tensor) -> Tensor:
        """``t``, barred to relevance if it was computed out of this recorder's sight.

        Scripted code, custom autograd functions and in-place operations change the graph without a rule;
        unnoticed, relevance would pass them as the plain gradient.
        """
        if not carries(t) or t.grad_fn is None or t.grad_fn in self._nodes:
            return t
        node = t.grad_fn.name().rsplit("::")[-1]
        message = f"{node} (in place or hidden from Python, before {calling_module()})"
        return NoRule.apply(self.mode, message, t)

    def _rewritten(self, name: str, args: tuple, kwargs: dict) -> Callable | None:
        """A call as a combination of others that have rules; None if it is not one of these."""
        first, second = (*args, None, None)[:2]
        if name in ops.SUBTRACTIONS and not kwargs:
            return lambda: first + (-second)
        if name == "__rsub__":
            return lambda: (-first) + second
        constant_first = isinstance(second, Tensor) and carries(second) and not carries(first)
        if name in ops.MATRIX_PRODUCTS and constant_first and min(first.ndim, second.ndim) > 1:
            return lambda: (second.mT @ first.mT).mT
        return None

    def _classify(self, name: str, function, args: tuple, kwargs: dict):
        """The kind of rule for a call, and the call with what carries relevance as its first argument."""
        both = len(args) > 1 and carries(args[0]) and carries(args[1])
        if (added := rule_of_function(name)) is not None:
            return added, function, args
        if name in ops.IDENTITIES and not any(map(carries, args[1:])) and not kwargs.get("inplace"):
            return "identity", function, args
        if name == "addmm" and not carries(args[0]) and not carries(args[2]) and not kwargs:
            return "linear", F.linear, (args[1], args[2].mT, args[0])
        if name == "linear" and not carries(args[1]):
            return "linear", F.linear, args
        if name == "conv2d" and args[0] is self.entry:
            return "pixels", function, args
        if name in ops.MATRIX_PRODUCTS and both:
            return "matmul", torch.matmul, args
        if name in ops.MATRIX_PRODUCTS and carries(args[0]) and min(args[0].ndim, args[1].ndim) > 1:
            times = F.linear if args[1].ndim == 2 else _times_transposed
            return "linear", times, (args[0], args[1].mT)
        if name == "einsum" and len(args) == 3 and carries(args[1]) and carries(args[2]):
            return "bilinear", function, args
        if name in ops.MEANS:
            return "mean", torch.mean, args
        if name in ops.ADDITIONS and not kwargs:
            return ("add" if both else "shift"), torch.add, _carrier_first(args)
        if name in ops.PRODUCTS:
            return ("product" if both else "identity"), torch.mul, _carrier_first(args)
        if name in ops.QUOTIENTS and not carries(args[1]):
            return "identity", torch.div, args
        return None, function, args

    def _without_rule(self, name: str, function, args: tuple, kwargs: dict):
        """Run an operation whose gradient may pass but whose relevance must not."""
        result = function(*args, **kwargs)
        message = f"{name} (called by {calling_module()})"

        def guard(t):
            return NoRule.apply(self.mode, message, t) if carries(t) else t

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


def _times_transposed(x: Tensor, weight: Tensor) -> Tensor:
    return x @ weight.mT


_BINARY_OP, _FIRST_IN_PLACE = opcode.opmap["BINARY_OP"], 13


def _is_augmented_assignment() -> bool:
    """Whether the torch function being handled was called by ``x += y`` or the like, not by its name."""
    frame = sys._getframe(2)
    code, at = frame.f_code.co_code, frame.f_lasti
    return code[at] == _BINARY_OP and code[at + 1] >= _FIRST_IN_PLACE


def _carrier_first(args: tuple) -> tuple:
    return args if carries(args[0]) else (args[1], args[0])


def _no_dropout(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    if training and p > 0:
        raise ValueError("the model applies dropout: call model.eval() before explaining it")
    return input
