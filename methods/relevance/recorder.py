"""What sees a model's torch calls while it runs, and decides how each can be read backwards.

A :class:`Recorder` is a torch function mode: it sees every torch call that an unmodified model makes. A call
with a relevance rule runs inside an ``autograd.Function`` whose forward is the call itself and whose backward
hands on whatever it is asked to carry, the true gradient or the relevance under a set of rules. So
``torch.autograd.grad`` does the bookkeeping in both cases: it walks the graph, adds up what arrives at a
tensor that was used twice and stops where nothing below is needed.

What depends on the input carries, and nothing else does: parameters, buffers and whatever else requires a
gradient are constants here. A call that writes into a tensor is run as the call that returns what is to be
written, which has a rule, and as a copy into the tensor, which only moves data. So everything that shares
memory with that tensor has the value and the history that it has in the model.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from methods.relevance import calls as ops
from methods.relevance.arguments import as_constant, is_floating, mapped, of_precision, tensors_in
from methods.relevance.attentions import AttentionFinder
from methods.relevance.entries import Entries
from methods.relevance.functions import BackwardMode, NoRule, RuledCall, RuledModule
from methods.relevance.kinds import Kinds
from methods.relevance.layouts import Layouts, Marks, Place, Unplaced, Values, aligned, along
from methods.relevance.leaves import Leaves
from methods.relevance.modules import RefusedError, calling_module, check, failed
from methods.relevance.program import Program
from methods.relevance.rules import rule_of_module
from methods.relevance.writes import Writes

Inputs = Tensor | Mapping[str, Tensor]

# Nodes of autograd that only move data. It makes them anew for a view whose base was written into.
_VIEW_NODES = {
    f"{name}Backward{n}"
    for name in (
        *("AsStrided", "Slice", "Select", "View", "UnsafeView", "ReshapeAlias", "Transpose", "Permute", "T"),
        *("Unsqueeze", "Squeeze", "Expand", "Alias", "Diagonal"),
    )
    for n in range(3)
}


class Recorder(Kinds, Writes, Leaves, TorchFunctionMode):
    """Runs a model's torch calls so that they can be read backwards.

    Args:
        inputs: of the model; :attr:`inputs` is what to call it with.
        dtype: what everything computed from the input is computed in; None leaves it to the model.
        precision: the type that operations run in under autocast, if another.
        backward: prepare for reading backwards, not only for finding the attentions.
        single_views: let a model write into each of the views that one call returned, at some cost.
        changes: what to add to attentions, by how many softmaxes came before them.
        words: (batch, tokens, width), in the place of what token ids are looked up as.
        precise: compute the forward pass in float64, and from that what is kept in ``dtype``. Every tensor
            of the tape then has its value in float64 beside it, as long as the model holds it.

    Attributes:
        inputs: what to call the model with.
        entries: where the tokens enter the network.
        mode: what is carried backwards.
        program: the calls on what depends on the input.
        batch: the number of samples.
        samples: which sample every element belongs to.
        found: the attentions seen.
    """

    def __init__(
        self,
        inputs: Inputs,
        dtype: torch.dtype | None,
        precision: torch.dtype | None,
        backward: bool,
        single_views: bool = False,
        changes: Mapping[int, Tensor] = MappingProxyType({}),
        precise: bool = False,
        words: Tensor | None = None,
    ):
        super().__init__()
        self.dtype, self._single_views, self._words = dtype, single_views, words
        self.mode = BackwardMode(precision=precision)
        self.inputs, self.entries = inputs, Entries(inputs)
        given = [inputs] if isinstance(inputs, Tensor) else list(inputs.values())
        self.batch = len(given[0])
        self.samples = Layouts()  # of more than one sample; all of a batch of one is that one's
        self.program = Program()
        self.found = AttentionFinder(self.batch, self.samples, self.program)
        self._active = Marks()  # from activations
        self._bounded = Marks()  # of these from bounded ones, as in gates
        self._statistics = Marks()  # 1/σ of normalisations
        self._backward = backward
        self._nodes: set = set()  # the autograd nodes of everything seen computed
        self._foreign: set = set()  # those of what depends on no input
        self._leaves: list[Tensor] = []
        self._changes, self._softmaxes = changes, 0
        self._is_precise, self._precise = precise, Values()
        self._depth = 0  # of the module we are in
        self._whole: tuple[nn.Module, Tensor, Tensor] | None = None  # the one that has a rule as a whole
        self._is_spliced = True  # unless something inside of that has no rule, or its own rule is to be used
        self._records_inside = False  # whether there may be rule sets that look inside of that
        self._buffers: list[Tensor] = []  # of the model, which must not keep a tape alive
        for t in given if self.batch > 1 else ():
            if isinstance(t, Tensor) and t.ndim and len(t) == self.batch:
                self.samples[t] = along(self.batch, 0, t.ndim)
        if backward and isinstance(inputs, Tensor) and inputs.is_floating_point():
            self._own_type = inputs.dtype
            exact = inputs.detach().to(torch.float64)
            leaf = self._leaf(inputs.detach().to(dtype, copy=True))
            self.entries.points["pixels"] = leaf
            self._pair(leaf, exact)
            self.inputs = self._given(leaf, self.samples[inputs])
            if inputs.ndim == 4:
                self.entries.pixels.add(self.inputs)

    # --- the calls of a model

    def __torch_function__(self, function, types, args=(), kwargs=None):
        name = ops.name_of(function)
        try:
            return self._call(name, function, args, kwargs or {})
        except RuntimeError as e:
            raise failed(e, f"{name} (called by {calling_module()})") from e

    def _call(self, name: str, function: Callable, args: tuple, kwargs: dict):
        if name in ops.WRITTEN_OUT:
            with self:
                return ops.WRITTEN_OUT[name](*args, **kwargs)
        if function is F.multi_head_attention_forward:
            with self, ops.looked_into():
                return function(*args, **kwargs)
        if name == "dropout":
            return _no_dropout(*args, **kwargs)
        given = ops.accumulation(name, args, kwargs)
        if given is not None and any(map(self.carries, tensors_in(args, kwargs))):
            return self._accumulated(args[0], *given)
        if (writing := ops.writing(name, function, args, kwargs)) is not None:
            return self._write(name, function, args, kwargs, writing)
        args, kwargs = ops.positional(name, args, kwargs)
        if name in ops.CONTIGUOUS and not args[0].is_contiguous():
            with self:
                args = (args[0].contiguous(), *args[1:])
        result = self._run(name, function, args, kwargs)
        self.remember(result)
        if self.batch > 1:
            self.samples.follow(name, function, args, kwargs, result)
        if name not in ops.ADDITIONS or result.ndim > 3:  # a sum on the residual stream is of tokens
            self.found.queries.follow(name, function, args, kwargs, result)
        if name in ops.SOFTMAXES:
            self._softmaxes += 1
        if name in ops.SOFTMAXES and (self.carries(result) or not self._backward):
            dim, number = kwargs.get("dim", args[1] if len(args) > 1 else -1), self._softmaxes - 1
            exact = self._precise[result]
            given = result
            result = self.found.softmax(given, dim, number, self._changes.get(number), self.remember)
            for step in self.found.reordered(given, result) if self._backward else ():
                self.program.same(*step)
            self._pair(result, exact)
        elif args:
            self.found.follow(name, args, result)
        return result

    def _run(self, name: str, function: Callable, args: tuple, kwargs: dict):
        carriers = [t for t in tensors_in(args, kwargs) if self.carries(t)]
        if not carriers:
            constants = {key: as_constant(v) for key, v in kwargs.items()}
            try:
                result = self._moved_or_made(name, function, tuple(map(as_constant, args)), constants)
            except RuntimeError:  # of what comes from the tape, in another type than the model's own
                if self.dtype is None:
                    raise
                result = function(*self._prepare(args), **self._prepare(kwargs))
            if (
                self._is_precise
                and name in ops.MOVEMENTS
                and any(map(self._has_exact, tensors_in(args, kwargs)))
            ):
                self._pair(
                    result, self._moved_or_made(name, function, self._exact(args), self._exact(kwargs))
                )
            self.entries.follow_constants(name, args, result)
            if not self._backward or (ids := self.entries.looked_up(name, args, result)) is None:
                return result
            return self._looked_up(ids, result)
        args, kwargs = self._prepare(args), self._prepare(kwargs)
        if self.dtype is not None and name in ops.CASTS:
            return args[0]
        if self._whole is not None and not self._records_inside:
            return self._native(name, function, args, kwargs)
        if rewritten := self._rewritten(name, args, kwargs):
            with self:
                return rewritten()
        result = self._ruled(name, function, args, kwargs)
        if self._whole is not None or (entry := self.entries.follow(name, carriers, result)) is None:
            return result
        return self._at_entry(entry, result, aligned(self.samples[carriers[0]], result.shape))

    def _ruled(self, name: str, function: Callable, args: tuple, kwargs: dict):
        """A call with the rule that it has, or barred to relevance if it has none."""
        if name in ops.MOVEMENTS and kwargs.get("reduce") is None:
            if name == "where":
                args = tuple(self._as_tensor(a, next(filter(self.carries, args))) for a in args)
            if name in ops.JOINS:
                args = self._constants_as_points(args)
            elif name in ops.VALUES:
                args, kwargs = self._value_as_point(name, args, kwargs)
            return self._follow_marks(name, args, self._native(name, function, args, kwargs))
        kind, function, args = self._classify(name, function, args, kwargs)
        if kind is None:
            return self._follow_marks(name, args, self._without_rule(name, function, args, kwargs))
        if function is ops.normalised:
            args, kwargs = ops.as_normalised(name, args, kwargs), {}
        if kind != "add":
            result = self._follow_marks(name, args, self._call_ruled(kind, None, function, args, kwargs))
            if kind == "identity" and args[0] in self.entries.pixels:
                self._round(result, function, args)
            return result
        self.found.joined(*args[:2])
        return self._call_ruled(kind, self._place(*args[:2]), function, args, kwargs)

    def _call_ruled(
        self, kind, where: Place | Unplaced | None, function: Callable, args: tuple, kwargs: dict
    ):
        precise = (self._exact(args), self._exact(kwargs)) if self._is_precise else None
        result = RuledCall.apply(self.mode, kind, where, function, kwargs, precise, *args)
        self.program.add(ops.name_of(function), kind, function, args, kwargs, result)
        self._pair(result, self.mode.precise)
        self.mode.precise = None
        if self._is_precise:
            self._precise.forget(lambda t: self.program.alone_holds(t, self.found.references(t)))
        return result

    def _native(self, name: str, function: Callable, args: tuple, kwargs: dict):
        """Run a call that autograd reads backwards by itself, or that relevance does not pass."""
        result = self._moved_or_made(name, function, args, kwargs)
        if name in ops.CONTIGUOUS:
            for t in tensors_in((result,), {}):
                if t.requires_grad:
                    t.register_hook(Tensor.contiguous)
        self.program.add(name, "move" if name in ops.MOVEMENTS else "other", function, args, kwargs, result)
        if self._is_precise:
            with torch.no_grad():
                self._pair(
                    result, self._moved_or_made(name, function, self._exact(args), self._exact(kwargs))
                )
        return result

    def _exact(self, value):
        """An argument with its value in float64."""
        if isinstance(value, dict):
            return {key: self._exact(v) for key, v in value.items()}
        if isinstance(value, (tuple, list)) and type(value) in (tuple, list):
            return type(value)(map(self._exact, value))
        if isinstance(value, torch.dtype) and value.is_floating_point:
            return torch.float64
        if not _has_parts(value):
            return value
        exact = self._precise[value]
        return value.detach().to(of_precision(value, torch.float64)) if exact is None else exact

    def _has_exact(self, t: Tensor) -> bool:
        return self._precise[t] is not None

    def _pair(self, result, exact) -> None:
        """Note the float64 values of what a call returned."""
        if not self._is_precise or exact is None:
            return
        if isinstance(result, (tuple, list)):
            for t, e in zip(result, exact, strict=True):
                self._pair(t, e)
        elif _has_parts(result) and result.shape == exact.shape:
            self._precise[result] = exact

    def _constants_as_points(self, value):
        """Let constants that are put beside what depends on the input tell what relevance they get."""
        if isinstance(value, (tuple, list)):
            return type(value)(map(self._constants_as_points, value))
        if not is_floating(value) or value.requires_grad:
            return value
        self.entries.beside.append(value.detach().requires_grad_())
        self._pair(self.entries.beside[-1], self._precise[value])
        return self.entries.beside[-1]

    def _as_tensor(self, value, like: Tensor):
        """A number as a tensor; not a mask's, which leaves nothing of a score, so that it gets no relevance."""
        if not isinstance(value, (int, float)) or value <= ops.MASKED or not is_floating(like):
            return value
        made = torch.tensor(value, dtype=like.dtype, device=like.device)
        self._pair(made, torch.tensor(value, dtype=torch.float64, device=like.device))
        return made

    def _value_as_point(self, name: str, args: tuple, kwargs: dict) -> tuple[tuple, dict]:
        """The same for the constant that a call fills some elements with, a tensor or a number."""
        at, keyword = ops.VALUES[name]
        value = self._as_tensor(args[at] if len(args) > at else kwargs.get(keyword), args[0])
        if not is_floating(value):
            return args, kwargs
        point = self._constants_as_points(value)
        if len(args) > at:
            return (*args[:at], point, *args[at + 1 :]), kwargs
        return args, kwargs | {keyword: point}

    def _round(self, result: Tensor, function: Callable, args: tuple) -> None:
        """Give what became of pixels the values that it has in their own type: no network has begun yet."""
        own = self._own_type
        if self.dtype is not None and own != torch.float64:
            with torch.no_grad():
                result.copy_(function(*(a.to(own) if is_floating(a) else a for a in args)))
                self._pair(result, result.to(torch.float64))

    # --- what carries

    def remember(self, result) -> None:
        """Take what was just computed as seen."""
        self._nodes.update(t.grad_fn for t in tensors_in((result,), {}) if t.requires_grad)

    def carries(self, value) -> bool:
        """Whether a value depends on the input."""
        if not isinstance(value, Tensor) or not value.requires_grad or isinstance(value, nn.Parameter):
            return False
        node = value.grad_fn
        if node is None:
            return any(value is leaf for leaf in self._leaves)
        return node in self._nodes or self._depends(node)

    def _depends(self, node) -> bool:
        """Whether an autograd node that was not seen leads to the input."""
        walked, stack = set(), [node]
        while stack:
            node = stack.pop()
            if node in self._nodes or any(getattr(node, "variable", None) is leaf for leaf in self._leaves):
                return True
            if node not in walked and node not in self._foreign:
                walked.add(node)
                stack.extend(child for child, _ in node.next_functions if child is not None)
        self._foreign |= walked
        return False

    def seen(self, t: Tensor) -> Tensor:
        """``t``, barred to relevance if it was computed out of this recorder's sight.

        Scripted code and custom autograd functions change the graph without a rule; unnoticed, relevance
        would pass them as the plain gradient.

        Raises:
            RefusedError: if it was computed by torch.utils.checkpoint, inside of which nothing is seen.
        """
        if not self.carries(t) or t.grad_fn is None or self._is_seen(t.grad_fn):
            return t
        node = t.grad_fn.name().rsplit("::")[-1]
        if "Checkpoint" in node:
            raise RefusedError(
                f"torch.utils.checkpoint (before {calling_module()}) hides what it runs: turn recomputation "
                "off, as by model.gradient_checkpointing_disable() or model.set_grad_checkpointing(False)"
            )
        message = f"{node} (in place or hidden from Python, before {calling_module()})"
        barred = NoRule.apply(self.mode, "other", message, t)
        self.program.same(t, barred)
        return barred

    def _is_seen(self, node) -> bool:
        """Whether only data was moved since what was seen."""
        walked = []
        while node is not None and node not in self._nodes:
            if node.name().rsplit("::")[-1] not in _VIEW_NODES:
                return False
            walked.append(node)
            node = node.next_functions[0][0]
        self._nodes.update(walked)
        return True

    def _prepare(self, value):
        """An argument of a call, checked by :meth:`seen` and with the tape's floating point type."""
        if isinstance(value, dict):
            return {key: self._prepare(v) for key, v in value.items()}
        if isinstance(value, (tuple, list)) and type(value) in (tuple, list):
            return type(value)(map(self._prepare, value))
        if isinstance(value, torch.dtype) and value.is_floating_point:
            return self.dtype or value
        if isinstance(value, Tensor) and self.carries(value):
            seen = self.seen(value)
            dtype = None if self.dtype is None else of_precision(seen, self.dtype)
            if dtype is not None and seen.dtype != dtype:
                given, seen = seen, seen.to(dtype)
                self.program.add("to", "move", Tensor.to, (given, dtype), {}, seen)
                self.remember(seen)
            if seen is not value:
                self.samples[seen] = self.samples[value]
                self._pair(seen, self._precise[value])
                self.found.moved(value, seen)
                self._marked_as(seen, value)
            return seen
        if isinstance(value, Tensor):
            constant = as_constant(value)
            cast = self.dtype is not None and constant.is_floating_point()
            constant = constant.to(self.dtype) if cast else constant
            if constant is not value:
                self.samples[constant] = self.samples[value]
            return constant
        return value

    # --- rules of modules

    def enter(self, module: nn.Module, arguments: tuple) -> None:
        """Before a module: refuse it, or note that it has a rule as a whole."""
        check(module)
        if self._depth == 0:
            self._buffers += module.buffers()
        self._depth += 1
        if self._whole is not None or (rule := rule_of_module(module)) is None:
            return
        with torch._C.DisableTorchFunction():  # hooks run where the mode sees even a look at an attribute
            carriers = [a for a in arguments if self.carries(a)]
            if len(carriers) == 1:
                self._whole = module, carriers[0], self._prepare(carriers[0])
                self._is_spliced = self._records_inside = rule[1]

    def leave(self, module: nn.Module, arguments: tuple, result):
        """After a module: give what it returned its own rule, if it has one as a whole."""
        self._depth -= 1
        if self._whole is None or self._whole[0] is not module:
            return None
        _, given, x = self._whole
        self._whole = None
        with torch._C.DisableTorchFunction():
            if not isinstance(result, Tensor) or not self.carries(result):
                return None
            numbers = self.samples[result]
            exact = self._precise[result]
            if not self._is_spliced:
                kind, inside = rule_of_module(module)[0], result
                result = RuledModule.apply(self.mode, kind, result, x)
                self.remember(result)
                self.samples[result] = numbers
                self._pair(result, exact)
                self.program.whole(type(module).__name__, kind, inside, x, result)
                if kind == "activation":
                    self._active.add(result)
            name = "layer_norm" if "Norm" in type(module).__name__ else "module"
            entry = self.entries.follow(name, [given], result)
            return result if entry is None else self._at_entry(entry, result, numbers)

    # --- operations without a rule

    def _without_rule(self, name: str, function, args: tuple, kwargs: dict):
        """Run an operation whose gradient may pass but whose relevance must not."""
        self._is_spliced = False
        result = self._native(name, function, args, kwargs)
        of = " of what are no pixels of the input any more" if name == "conv2d" else ""
        message, kind = f"{name} (called by {calling_module()}){of}", "conv" if name == "conv2d" else "other"

        def guard(t):
            if not isinstance(t, Tensor) or not t.requires_grad:
                return t
            barred = NoRule.apply(self.mode, kind, message, t)
            self._pair(barred, self._precise[t])
            self.program.same(t, barred)
            return barred

        return mapped(guard, result)

    def _moved_or_made(self, name: str, function: Callable, args: tuple, kwargs: dict):
        """Run a call as it is, if torch lets a model write into the views that it returns."""
        parts = function(*args, **kwargs)
        if name not in ops.SEVERAL_VIEWS or not self._single_views:
            return parts
        x, dim = (
            args[0],
            kwargs.get("dim", args[at] if len(args) > (at := 1 if name == "unbind" else 2) else 0),
        )
        if name == "unbind":
            return tuple(x.select(dim, i) for i in range(len(parts)))
        starts = [sum(p.shape[dim] for p in parts[:i]) for i in range(len(parts))]
        return tuple(x.narrow(dim, s, p.shape[dim]) for s, p in zip(starts, parts, strict=True))

    def release(self) -> None:
        """Let go of what only the forward pass needs, and the model of what it wrote into its buffers."""
        self.mode.forward_is_over()
        for buffer in self._buffers:
            if buffer.grad_fn is not None:
                buffer.detach_()


def _has_parts(value) -> bool:
    """Whether a value is a tensor of floating point or complex numbers."""
    return is_floating(value) or (isinstance(value, Tensor) and value.is_complex())


def _no_dropout(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    if training and p > 0:
        raise ValueError("the model applies dropout: call model.eval() before explaining it")
    return input
