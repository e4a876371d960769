"""The torch calls of a forward pass as a list: what each was given, what it returned, and which came before it."""

import functools
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from methods.relevance import calls as ops
from methods.relevance.layouts import Values
from methods.relevance.modules import RefusedError

# Movements that keep every element, so that a tensor and what became of it are the same tokens.
_PLAIN = {
    *(
        "transpose",
        "permute",
        "movedim",
        "moveaxis",
        "swapaxes",
        "swapdims",
        "adjoint",
        "t",
        "T",
        "mT",
        "H",
        "mH",
    ),
    *("expand", "expand_as", "same", "assign"),
    *ops.RESHAPES,
    *ops.COPIES,
}


class Step(NamedTuple):
    """A call on what depends on the input.

    Attributes:
        name: of the torch function.
        kind: of operation; ``move`` if it only moves data, ``write`` if it wrote into a tensor.
        function: that was called with ``args`` and ``kwargs``.
        result: what it returned.
        sources: by the tensors among the arguments that depend on the input, in order, the numbers of the steps
            that they came from; None for what came from no step.
    """

    name: str
    kind: Any
    function: Callable
    args: tuple
    kwargs: dict
    result: Any
    sources: tuple[int | None, ...]


class _Kept(NamedTuple):
    """The place of a tensor among those that a program keeps."""

    number: int


class Program:
    """All calls of a forward pass on what depends on the input, in order.

    Each tensor is referred to once, so that one can tell whether the model still holds it, too.
    """

    def __init__(self):
        self._steps: list[Step] = []
        self._tensors: list[Tensor] = []
        self._numbers: dict[int, int] = {}  # of these, by their identity
        self._made: dict[int, int] = {}  # by the number of a tensor, the last step that made it
        self._sharing: dict[int, list[int]] = {}  # the numbers of what lies in a storage
        self._written: dict[int, int] = {}  # the last step that wrote into a storage

    @property
    def steps(self) -> list[Step]:
        """The calls, with their tensors."""
        return [
            step._replace(
                args=self._restored(step.args),
                kwargs=self._restored(step.kwargs),
                result=self._restored(step.result),
            )
            for step in self._steps
        ]

    def _number(self, t: Tensor) -> int:
        if id(t) not in self._numbers:
            self._numbers[id(t)] = len(self._tensors)
            self._tensors.append(t)
            self._sharing.setdefault(_storage(t), []).append(self._numbers[id(t)])
        return self._numbers[id(t)]

    def _stored(self, value):
        return _map(lambda t: _Kept(self._number(t)) if t.requires_grad else t, Tensor, value)

    def _restored(self, value):
        return _map(lambda kept: self._tensors[kept.number], _Kept, value)

    def add(self, name: str, kind, function: Callable, args: tuple, kwargs: dict, result) -> None:
        """Take in a call."""
        if not any(True for _ in tensors(result)):
            return  # a look at a shape or a type
        given = [t for t in tensors((*args, *kwargs.values())) if t.requires_grad]
        # A leaf that no step made is a constant that is put beside what depends on the input.
        made = [(t, self._made.get(self._number(t))) for t in given]
        sources = tuple(step for t, step in made if step is not None or not t.is_leaf)
        stored = self._stored(args), self._stored(kwargs), self._stored(result)
        self._steps.append(Step(name, kind, function, *stored, sources))
        for t in tensors(result):
            self._made[self._number(t)] = len(self._steps) - 1

    def wrote(self, name: str, function: Callable, args: tuple, kwargs: dict, target: Tensor) -> None:
        """Take in a call that wrote into a tensor, and so into all that shares memory with it.

        What replaced the whole of a tensor, ``assign``, with which nothing shares memory, can be run again.
        """
        number = self._number(target)
        others = [n for n in self._sharing[_storage(target)] if n != number]
        alone = name == "assign" and not others and target._base is None
        self.add(name, "move" if alone else "write", function, args, kwargs, target)
        self._made |= dict.fromkeys(others, len(self._steps) - 1)
        self._written[_storage(target)] = len(self._steps) - 1

    def is_as_it_was(self, t: Tensor, at: int) -> bool:
        """Whether nothing has been written into a tensor after a step."""
        return self._written.get(_storage(t), -1) <= at

    def leaf(self, t: Tensor) -> None:
        """Take in a tensor that stands in the place of the input."""
        self.add("leaf", "leaf", _itself, (), {}, t)

    def whole(self, module: str, kind, output: Tensor, x: Tensor, result: Tensor) -> None:
        """Take in that a module is one operation of a kind, from its input to what its last call returned."""
        self.add(module, kind, _output, (output, x), {}, result)

    def same(self, t: Tensor, became: Tensor, function: Callable | None = None) -> None:
        """Take in that a tensor goes on as another: itself, or its elements in the order that a function tells."""
        if became is not t:
            self.add("same", "move", function or _itself, (t,), {}, became)

    def step_of(self, t: Tensor) -> int | None:
        """The number of the step that made a tensor; None if it was written into since, or is not known."""
        number = self._numbers.get(id(t))
        step = self._made.get(number)
        made = () if step is None else _flat(self._steps[step].result)
        return step if any(kept == _Kept(number) for kept in made) else None

    def alone_holds(self, t: Tensor, others: int = 0) -> bool:
        """Whether nobody has a reference to a tensor any more but a program and :meth:`Values.forget`.

        Asked by a function that :meth:`Values.forget` calls, which has one, too.

        Args:
            t: the tensor.
            others: how many references more are known.
        """
        if id(t) not in self._numbers:
            return False
        return sys.getrefcount(t) - others <= _when_alone(has_views=t._use_count() > 1)


@functools.cache
def _when_alone(has_views: bool) -> int:
    """How many references Python counts then: that depends on its version, and on torch's for what a view is of."""
    program, values, counts = Program(), Values(), []
    t = torch.zeros(1, requires_grad=True)
    program.leaf(t)
    values[t] = torch.zeros(1)
    view = t.view(1) if has_views else None  # noqa: F841  alive until the end
    del t

    def note(t: Tensor) -> bool:
        return bool(counts.append(sys.getrefcount(t)))

    values.forget(lambda t: note(t))  # called as alone_holds is
    return counts[0]


def _adds_nothing(name: str, args: tuple, result) -> bool:
    """Whether a tensor was only joined with empty ones, as with a cache that holds nothing yet."""
    return name in ops.JOINS and max(t.numel() for t in tensors(args)) == result.numel()


def _storage(t: Tensor) -> int:
    return t.untyped_storage()._cdata


def _itself(t: Tensor) -> Tensor:
    return t


def _output(output: Tensor, x: Tensor) -> Tensor:
    return output


def tensors(value) -> Iterator[Tensor]:
    """The tensors in a value, in tuples and lists too."""
    return (t for t in _flat(value) if isinstance(t, Tensor))


def _flat(value) -> Iterator:
    if isinstance(value, (tuple, list)) and not isinstance(value, _Kept):
        for v in value:
            yield from _flat(v)
    else:
        yield value


def _map(function: Callable, kind: type, value):
    """A value with what is of a kind in it, in tuples, lists and mappings too, replaced by a function of it."""
    if isinstance(value, kind):
        return function(value)
    if isinstance(value, dict):
        return {key: _map(function, kind, v) for key, v in value.items()}
    if isinstance(value, (tuple, list)):
        parts = [_map(function, kind, v) for v in value]
        return parts if isinstance(value, list) else tuple(parts)
    return value


class Trace:
    """A program that has ended, and what depends on what in it.

    Attributes:
        steps: of the program.
    """

    def __init__(self, program: Program):
        self.steps, self._program = program.steps, program
        self._above: list[int] = []  # for each step, a bit for every step that it depends on
        for step in self.steps:
            bits = 0
            for source in step.sources:
                if source is not None:
                    bits |= self._above[source] | 1 << source
            self._above.append(bits)

    def step_of(self, t: Tensor) -> int:
        """The number of the step that made a tensor.

        Raises:
            RefusedError: for a tensor that is not on the tape.
        """
        number = self._program.step_of(t)
        if number is None:
            raise RefusedError(
                "no logit depends on a tensor that was asked for; ask for tensors of the same tape"
            )
        return number

    def is_as_it_was(self, t: Tensor, at: int) -> bool:
        """Whether nothing has been written into a tensor after a step."""
        return self._program.is_as_it_was(t, at)

    def input(self, step: int) -> Tensor:
        """The one input of a layer, a normalisation or an activation."""
        return self.steps[step].args[1 if self.steps[step].function is _output else 0]

    def depends(self, step: int, on: int) -> bool:
        """Whether a step is another one, or depends on it."""
        return step == on or bool(self._above[step] >> on & 1)

    def origin(self, step: int | None, also: Iterable[str] = ()) -> int | None:
        """The step that computed what was only moved since, with every element kept.

        Args:
            step: None if nothing is known of it.
            also: other movements to go back through, by name.
        """
        while step is not None:
            name, kind, _, args, _, result, sources = self.steps[step]
            passes = kind == "move" and (name in _PLAIN or name in also or _adds_nothing(name, args, result))
            if not passes or len(sources) != 1 or sources[0] is None:
                break
            step = sources[0]
        return step

    def rerun(self, replaced: Sequence[tuple[Tensor, Tensor]], until: Tensor) -> Tensor:
        """What a tensor would be if others had been what they were not.

        Args:
            replaced: tensors, and what stands in the place of each.
            until: the tensor.

        Raises:
            RefusedError: if what is to be computed again was written into a tensor in place.
        """
        last = self.step_of(until)
        new = {id(old): value for old, value in replaced}
        first = {self.step_of(old) for old, _ in replaced}
        changed = sum(1 << number for number in first)
        with torch.enable_grad():
            for number, step in enumerate(self.steps[: last + 1]):
                if number in first or not self._above[number] & changed or not self.depends(last, number):
                    continue
                given = [t for t in tensors((*step.args, *step.kwargs.values())) if id(t) not in new]
                if step.kind == "write" or not all(self._program.is_as_it_was(t, number) for t in given):
                    raise RefusedError(
                        "the model writes into tensors in place, so the rest of it cannot be run again"
                    )
                changed |= 1 << number
                args, kwargs = (
                    _map(lambda t: new.get(id(t), t), Tensor, v) for v in (step.args, step.kwargs)
                )
                result = step.function(*args, **kwargs)
                for old, value in zip(tensors(step.result), tensors(result), strict=True):
                    new[id(old)] = value
        return new.get(id(until), until)
