"""What the parts of a recorder share: tensors in the arguments and results of calls."""

from collections.abc import Callable

import torch
from torch import Tensor


def tensors_in(args, kwargs: dict):
    """The tensors among the arguments of a call."""
    for value in (*args, *kwargs.values()):
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, (list, tuple)):
            yield from (v for v in value if isinstance(v, Tensor))


def mapped(function: Callable, result):
    """``function`` of what a torch call returned, or of each part if it returned several."""
    # Results with named fields, e.g. those of max and topk, are tuples of their own, built from a sequence.
    return (
        type(result)(list(map(function, result))) if isinstance(result, (tuple, list)) else function(result)
    )


def as_constant(value):
    """What is no function of the input, even if it is a parameter that is being trained."""
    if isinstance(value, (tuple, list)) and type(value) in (tuple, list):
        return type(value)(map(as_constant, value))
    return value.detach() if isinstance(value, Tensor) and value.requires_grad else value


def is_floating(value) -> bool:
    """Whether a value is a tensor of floating point numbers."""
    return isinstance(value, Tensor) and value.is_floating_point()


def of_precision(t: Tensor, dtype: torch.dtype) -> torch.dtype:
    """A floating point type, or for complex numbers the type whose parts are of that."""
    return dtype.to_complex() if t.is_complex() else dtype
