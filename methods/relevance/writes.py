"""Calls that write into a tensor, as the call that returns what is written and a copy into the tensor."""

from collections.abc import Callable

import torch
from torch import Tensor

from methods.relevance import calls as ops
from methods.relevance.arguments import as_constant, is_floating, mapped, of_precision, tensors_in
from methods.relevance.functions import NoRule
from methods.relevance.layouts import aligned
from methods.relevance.modules import RefusedError, calling_module


class MultipleViews(Exception):
    """A model writes into one of several views that one call returned."""


class Writes:
    """The part of a :class:`methods.relevance.recorder.Recorder` that runs calls that write into a tensor."""

    def _write(self, name: str, function: Callable, args: tuple, kwargs: dict, writing: ops.Writing):
        """A call that writes into a tensor. Returns that tensor, as the call does."""
        target = writing.target
        if not isinstance(target, Tensor):
            raise RefusedError(f"{name} (called by {calling_module()}) writes into several tensors by out=")
        values = [t for t in tensors_in(args, kwargs) if t is not target]
        constant = not any(map(self.carries, values))
        if constant and not self.carries(target):
            self.mode.before_writing(target)
            self.entries.written(target, *values)
            function(*mapped(as_constant, args), **{key: as_constant(v) for key, v in kwargs.items()})
            if (exact := self._precise[target]) is None:
                self._lose_precise(target)
            else:
                exact.copy_(target)
            return None if name == "__setitem__" else target
        given = ops.accumulation(name.removesuffix("_"), args, kwargs)
        overwrites = given is None and name in ops.OVERWRITES
        self.found.overwritten(target, by_constants=overwrites and constant)
        if overwrites:
            rest = [self._prepare(a) for a in args[1:]]
            if name in ops.TYPED:
                rest = [a.to(target.dtype) if is_floating(a) else a for a in rest]
            self.remember(rest)
            if not self.carries(target):
                self._content_as_point(target)
            self.mode.before_writing(target)
            options = self._prepare(kwargs)
            if name in ops.VALUES:
                (_, *rest), options = self._value_as_point(name, (target, *rest), options)
            if self._is_precise:
                self._overwrite_precise(target, function, rest, options)
            function(target, *rest, **options)
            self.program.wrote(name, function, (target, *rest), options, target)
            same = [v for v in values if v.ndim == target.ndim and self.samples[v] is not None]
            if self.samples[target] is None and same:
                self.samples[target] = aligned(self.samples[same[0]], target.shape)
            self._wrote(target)
        elif given is not None:
            target = self._assign(target, self._accumulated(target, *given))
        elif writing.function is not None:
            # What was there is kept apart: not all that a call keeps of it is known to this recorder.
            before = self._call("clone", Tensor.clone, (target,), {})
            given = tuple(before if a is target else a for a in writing.args)
            target = self._assign(target, self._call(writing.name, writing.function, given, writing.kwargs))
        else:  # what is not remembered is barred to relevance
            self.mode.before_writing(target)
            function(target, *map(self._prepare, args[1:]), **kwargs)
            self._lose_precise(target)
        return None if name == "__setitem__" else target

    def _assign(self, target: Tensor, new: Tensor) -> Tensor:
        """Let a tensor, and all that shares memory with it, have another's value and history."""
        if target.shape != new.shape:
            raise RefusedError(
                f"{calling_module()} writes {tuple(new.shape)} into a tensor of {tuple(target.shape)}"
            )
        if self._is_precise:
            self._overwrite_precise(target, Tensor.copy_, [new], {})
        self.mode.before_writing(target)  # only now: what is new was computed from what is there
        try:
            target.copy_(new)
        except RuntimeError as e:
            if "multiple views" in str(e) and not self._single_views:
                raise MultipleViews from None
            raise
        self.program.wrote("assign", torch.clone, (new,), {}, target)
        self.samples[target] = self.samples[new]
        self._marked_as(target, new)
        self.entries.written(target, new)
        self._wrote(target)
        return target

    def _overwrite_precise(self, target: Tensor, function: Callable, values: list, kwargs: dict) -> None:
        """Write into what a tensor is in float64 as into itself."""
        if (exact := self._precise[target]) is None:
            if target._base is not None:  # what else shares memory with a view would not know of it
                return self._lose_precise(target)
            exact = target.detach().to(of_precision(target, torch.float64), copy=True)
            self._pair(target, exact)
        with torch.no_grad():
            function(exact, *self._exact(values), **self._exact(kwargs))

    def _lose_precise(self, target: Tensor) -> None:
        """Let what a tensor is, and all that shares memory with it, be what it is in float64, too."""
        storage = target.untyped_storage()._cdata
        if self._is_precise:
            self._precise.forget(lambda t: t.untyped_storage()._cdata == storage)

    def _content_as_point(self, target: Tensor) -> None:
        """Let constants that stay beside what is written tell what relevance they get."""
        base = target if target._base is None else target._base
        if self.carries(base) or not is_floating(base) or not bool(base.any()):
            return
        if base is not target and not self._single_views:
            raise MultipleViews
        base.copy_(self._constants_as_points(base.clone()))
        target.grad_fn  # noqa: B018  (a view is told what became of its base only when it is asked)

    def _wrote(self, target: Tensor) -> None:
        self.remember([target] if target._base is None else [target, target._base])

    def _accumulated(self, target: Tensor, name: str, given: dict) -> Tensor:
        """``target`` plus what an operation places in zeros of its shape: a sum, if nothing meets there."""
        source = given.pop(ops.ACCUMULATIONS[name])
        if (alpha := given.pop("alpha", 1)) != 1:
            source = self._call("mul", torch.mul, (source, alpha), {})
        source = self._prepare(source).to(target.dtype)
        constants = {
            key: mapped(as_constant, v) if isinstance(v, (tuple, list)) else v for key, v in given.items()
        }
        add = getattr(Tensor, name)  # out of place

        def placed(values: Tensor) -> Tensor:
            return add(
                torch.zeros_like(target, requires_grad=False, dtype=values.dtype).detach(),
                **constants,
                **{ops.ACCUMULATIONS[name]: values},
            )

        result = placed(source)
        self.program.add(name, "move", placed, (source,), {}, result)
        if self._is_precise:
            with torch.no_grad():
                self._pair(result, placed(self._exact(source)))
        if int(placed(torch.ones_like(source.detach())).max()) > 1:
            message = f"{name} of several rows to one (called by {calling_module()})"
            given, result = result, NoRule.apply(self.mode, "other", message, result)
            self.program.same(given, result)
            self._pair(result, self._precise[given])
        self.remember(result)
        self.samples[result] = aligned(self.samples[target], result.shape)
        if not self.carries(target) and not bool(target.any()):
            return result
        return self._call("add", torch.add, (target, result), {})
