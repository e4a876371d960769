"""The torch calls of a forward pass as a list: what each was given, what it returned, and which came before it."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from methods.relevance import calls as ops
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


class Program:
    """All calls of a forward pass on what depends on the input, in order."""

    def __init__(self):
        self.steps: list[Step] = []
        self._made: dict[int, int] = {}  # by the identity of tensors, which the steps keep alive
        self._sharing: dict[int, list[Tensor]] = {}  # what lies in a storage
        self._written: dict[int, int] = {}  # the last step that wrote into a storage

    def add(self, name: str, kind, function: Callable, args: tuple, kwargs: dict, result) -> None:
        """Take in a call."""
        if not any(True for _ in tensors(result)):
            return  # a look at a shape or a type
        given = [t for t in tensors((*args, *kwargs.values())) if t.requires_grad]
        # A leaf that no step made is a constant that is put beside what depends on the input.
        sources = tuple(self._made.get(id(t)) for t in given if id(t) in self._made or not t.is_leaf)
        self.steps.append(Step(name, kind, function, args, kwargs, result, sources))
        for t in tensors(result):
            self._made[id(t)] = len(self.steps) - 1
            self._sharing.setdefault(_storage(t), []).append(t)

    def wrote(self, name: str, function: Callable, args: tuple, kwargs: dict, target: Tensor) -> None:
        """Take in a call that wrote into a tensor, and so into all that shares memory with it.

        What replaced the whole of a tensor, ``assign``, with which nothing shares memory, can be run again.
        """
        others = [t for t in self._sharing.get(_storage(target), ()) if t is not target]
        alone = name == "assign" and not others and target._base is None
        self.add(name, "move" if alone else "write", function, args, kwargs, target)
        self._made |= {id(t): len(self.steps) - 1 for t in others}
        self._written[_storage(target)] = len(self.steps) - 1

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
        """Take in that a tensor goes on as another one: itself, or its elements in the order that a function tells."""
        if became is not t:
            self.add("same", "move", function or _itself, (t,), {}, became)

    def step_of(self, t: Tensor) -> int | None:
        """The number of the last step that made a tensor."""
        number = self._made.get(id(t))
        return (
            number if number is not None and any(t is r for r in tensors(self.steps[number].result)) else None
        )


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
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, (tuple, list)):
        for v in value:
            yield from tensors(v)


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
                args, kwargs = _with(new, step.args), _with(new, step.kwargs)
                result = step.function(*args, **kwargs)
                for old, value in zip(tensors(step.result), tensors(result), strict=True):
                    new[id(old)] = value
        return new.get(id(until), until)


def _with(new: Mapping[int, Tensor], value):
    """A value with the tensors that are new."""
    if isinstance(value, Tensor):
        return new.get(id(value), value)
    if isinstance(value, dict):
        return {key: _with(new, v) for key, v in value.items()}
    if isinstance(value, (tuple, list)) and type(value) in (tuple, list):
        return type(value)(_with(new, v) for v in value)
    return value
