"""Which kind of operation a torch call is, by the name under which torch reports it.

The kinds are the fields of :class:`methods.relevance.RuleSet`. A call whose name is in none of these tables
has no rule: its true gradient is known to autograd, its relevance is not.
"""

import functools
import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FunctionType
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

# Functions of one tensor, element by element.
ACTIVATIONS = {
    *("gelu", "relu", "tanh", "silu", "sigmoid", "leaky_relu", "elu", "mish", "hardswish", "softplus"),
}
SOFTMAXES = {"softmax", "_safe_softmax"}
BOUNDED = {"erf", "tanh", "sigmoid"}  # times a factor and with a constant added they are gates, as in GELU
NORMS = {"layer_norm", "rms_norm"}
SIGNS = {"neg", "__neg__"}
# Where normalisations that are spelled out compute 1/σ, or what they divide by.
STATISTICS = {"rsqrt", "sqrt", "std", "norm", "linalg_norm", "linalg_vector_norm", "vector_norm"}
POWERS = {"pow", "__pow__", "float_power"}  # which compute that, too, with the exponent ±½
CLAMPS = {"clamp", "clamp_min", "clip", "maximum", "reciprocal", "__rtruediv__", "__rdiv__"}  # of σ or to 1/σ
ADDITIONS = {"add", "__add__", "__radd__"}
SUBTRACTIONS = {"sub", "__sub__", "subtract"}
PRODUCTS = {"mul", "__mul__", "__rmul__", "multiply"}
QUOTIENTS = {"div", "__truediv__", "true_divide"}
MATRIX_PRODUCTS = {"matmul", "__matmul__", "bmm", "mm"}
MEANS = {"mean": torch.mean, "sum": torch.sum}
CASTS = {"float", "double", "half", "bfloat16", "type", "type_as"}
COPIES = {"clone", "contiguous", "to", *CASTS}
# These keep the order of the elements, and only change what is a row.
RESHAPES = {
    *("view", "view_as", "reshape", "reshape_as", "flatten", "unflatten", "squeeze", "unsqueeze", "ravel"),
}
MOVEMENTS = {
    # Autograd sends a gradient exactly where these send the data, so relevance follows by itself.
    *("T", "mT", "H", "mH"),
    *("__getitem__", "select", "narrow", "index_select", "gather", "take_along_dim"),
    *("transpose", "permute", "movedim", "moveaxis", "swapaxes", "swapdims", "adjoint", "t"),
    *(
        "cat",
        "concat",
        "concatenate",
        "stack",
        "unbind",
        "chunk",
        "split",
        "tensor_split",
        "split_with_sizes",
    ),
    *("expand", "expand_as", "broadcast_to", "repeat", "repeat_interleave", "flip", "roll"),
    *("topk", "sort", "masked_fill", "where", "pad", "index_copy", "index_fill", "masked_scatter", "scatter"),
    *(
        "slice_scatter",
        "select_scatter",
        "squeeze_",
        "unsqueeze_",
        "transpose_",
        "t_",
        "swapaxes_",
        "swapdims_",
    ),
    *RESHAPES,
    *COPIES,
}

JOINS = {"cat", "concat", "concatenate", "stack", "where"}  # of what may be constants in part
SEVERAL_VIEWS = {"unbind", "chunk", "split", "tensor_split", "split_with_sizes"}

# Torch's own derivative of these is wrong on CPUs in a batch of one where input and gradient lie differently in memory,
# as where channels become tokens; instance_norm is a batch_norm of one whatever the batch.
CONTIGUOUS = {"batch_norm", "native_batch_norm", "instance_norm"}

# Calls that write into their first argument, and only move data as they do so.
OVERWRITES = {
    *("__setitem__", "copy_", "fill_", "zero_", "masked_fill_", "masked_scatter_"),
    *("index_copy_", "index_fill_", "scatter_", "index_put_"),
    *("normal_", "uniform_", "bernoulli_", "random_", "exponential_"),
}
# Calls that fill some elements of their first argument: where, and by what name, they take what they put there.
VALUES = {
    **{"__setitem__": (2, "value"), "copy_": (1, "src"), "fill_": (1, "value")},
    **{"masked_fill": (2, "value"), "masked_scatter": (2, "source"), "index_fill": (3, "value")},
    **{"index_copy": (3, "source"), "scatter": (3, "src"), "index_put": (2, "values")},
    **{"slice_scatter": (1, "src"), "select_scatter": (1, "src")},
}
VALUES |= {f"{name}_": at for name, at in VALUES.items() if not name.endswith("_")}
MASKED = -1e4  # numbers from here down are put into scores to mask them
TYPED = {"masked_scatter_", "index_copy_", "scatter_", "index_put_"}  # these do not cast what they write
# Those that add what they move to what is there, and what they call that.
ACCUMULATIONS = {"index_add": "source", "scatter_add": "src", "index_put": "values"}
_PLACES = {
    "index_add": ("dim", "index", "source"),
    "scatter_add": ("dim", "index", "src"),
    "index_put": ("indices", "values", "accumulate"),
}
# These change how a tensor is looked at, not what is in it.
_NO_WRITING = {
    *("squeeze_", "unsqueeze_", "transpose_", "t_", "swapaxes_", "swapdims_", "resize_", "resize_as_"),
    *("requires_grad_", "detach_", "share_memory_", "rename_", "set_", "apply_", "map_"),
}


def accumulation(name: str, args: tuple, kwargs: dict) -> tuple[str, dict] | None:
    """The name and the arguments, by name, of a call that adds rows to rows; None if it is another."""
    if name not in ACCUMULATIONS:
        return None
    given = dict(zip(_PLACES[name], args[1:], strict=False)) | kwargs
    return None if name == "index_put" and not given.get("accumulate") else (name, given)


_AUGMENTED = {
    "__iadd__": "add",
    "__isub__": "sub",
    "__imul__": "mul",
    "__itruediv__": "div",
    "__ipow__": "pow",
}


@functools.cache
def _inplace_position(function) -> int | None:
    """At which position a Python function takes ``inplace``."""
    try:
        names = list(inspect.signature(function).parameters)
    except (ValueError, TypeError):  # written in C
        return None
    return names.index("inplace") if "inplace" in names else None


class Writing(NamedTuple):
    """A call that writes into one of its arguments, and the same call without that.

    Attributes:
        target: what is written into.
        name: of the call that returns what is to be written; None if it cannot be told.
        function: that call.
        args: its arguments.
        kwargs: its keyword arguments.
    """

    target: Tensor
    name: str | None
    function: Callable | None
    args: tuple
    kwargs: dict


def writing(name: str, function: Callable, args: tuple, kwargs: dict) -> Writing | None:
    """What a call writes into; None if that is nothing."""
    if kwargs.get("out") is not None:
        return Writing(kwargs["out"], name, function, args, {k: v for k, v in kwargs.items() if k != "out"})
    if not args or not isinstance(args[0], Tensor):
        return None
    if name in _NO_WRITING:
        return None
    if name == "__setitem__" or (name.endswith("_") and not name.endswith("__")) or name in _AUGMENTED:
        plain = _AUGMENTED.get(name, name[:-1])
        homes = (torch, Tensor, F)
        without = next((getattr(home, plain) for home in homes if hasattr(home, plain)), None)
        return Writing(args[0], plain if without else None, without, args, kwargs)
    at = _inplace_position(function) if isinstance(function, FunctionType) else None
    if at is not None and (kwargs.get("inplace") or (len(args) > at and args[at])):
        args = (*args[:at], False, *args[at + 1 :]) if len(args) > at else args
        return Writing(args[0], name, function, args, {k: v for k, v in kwargs.items() if k != "inplace"})
    return None


# The order of the tensors in calls that may pass them by keyword.
_PARAMETERS = {
    "linear": ("input", "weight", "bias"),
    "conv2d": ("input", "weight", "bias", "stride", "padding", "dilation", "groups"),
    "layer_norm": ("input",),
    "rms_norm": ("input",),
    "matmul": ("input", "other"),
    "bmm": ("input", "mat2"),
    "mm": ("input", "mat2"),
    "add": ("input", "other"),
    "sub": ("input", "other"),
    "mul": ("input", "other"),
    "div": ("input", "other"),
    "mean": ("input", "dim", "keepdim"),
    "sum": ("input", "dim", "keepdim"),
}


def name_of(function) -> str:
    """The plain name of a torch function, method or property, e.g. ``softmax`` or ``shape``."""
    name = getattr(function, "__name__", repr(function))
    return function.__self__.__name__ if name == "__get__" else name


def positional(name: str, args: tuple, kwargs: dict) -> tuple[tuple, dict]:
    """The same call with the tensors that were passed by keyword moved into their positions."""
    kwargs = dict(kwargs)
    for parameter in _PARAMETERS.get(name, ("input",))[len(args) :]:
        if parameter not in kwargs:
            break
        args = (*args, kwargs.pop(parameter))
    return args, kwargs


def normalised(
    x: Tensor, shape, weight: Tensor | None, bias: Tensor | None, eps: float | None, centred: bool
) -> Tensor:
    """``F.layer_norm``, or ``F.rms_norm`` if not ``centred``: all normalisations with one list of arguments."""
    return F.layer_norm(x, shape, weight, bias, eps) if centred else F.rms_norm(x, shape, weight, eps)


def as_normalised(name: str, args: tuple, kwargs: dict) -> tuple:
    """The arguments of :func:`normalised` for a call of ``layer_norm`` or ``rms_norm``."""
    centred = name == "layer_norm"
    names = ("input", "normalized_shape", "weight", *(["bias"] if centred else []), "eps")
    given = {"eps": 1e-5 if centred else None} | dict(zip(names, args, strict=False)) | kwargs
    return *(given.get(n) for n in ("input", "normalized_shape", "weight", "bias", "eps")), centred


def scaled_dot_product_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """``F.scaled_dot_product_attention`` written out, so that its attention probabilities can be seen.

    Raises:
        ValueError: for attention dropout, which only a model in train mode applies.
    """
    if dropout_p > 0:
        raise ValueError("the model applies dropout to its attention: call model.eval() before explaining it")
    if enable_gqa:
        groups = query.shape[-3] // key.shape[-3]
        key, value = key.repeat_interleave(groups, -3), value.repeat_interleave(groups, -3)
    scale = query.shape[-1] ** -0.5 if scale is None else scale
    scores = query @ key.transpose(-2, -1) * scale
    if is_causal:
        attn_mask = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).tril()
    if attn_mask is not None and attn_mask.dtype == torch.bool:
        scores = scores.masked_fill(~attn_mask, -torch.inf)
    elif attn_mask is not None:
        scores = scores + attn_mask
    # A query that no key is left to, such as padding in front of a text, has no attention at all.
    softmax = torch._safe_softmax if _leaves_nothing(attn_mask) else F.softmax
    return softmax(scores, -1) @ value


def _leaves_nothing(mask: Tensor | None) -> bool:
    """Whether a mask of scores leaves no key to some query."""
    if mask is None:
        return False
    masked = ~mask if mask.dtype == torch.bool else mask.detach() == -torch.inf
    return bool(masked.all(dim=-1).any())


def baddbmm(input: Tensor, batch1: Tensor, batch2: Tensor, *, beta: float = 1, alpha: float = 1) -> Tensor:
    """``torch.baddbmm`` written out: a product of matrices and a sum."""
    product = batch1 @ batch2
    return (product if alpha == 1 else product * alpha) + (input if beta == 1 else input * beta)


def grouped_mm(mat_a: Tensor, mat_b: Tensor, *, offs: Tensor | None = None, **options) -> Tensor:
    """``F.grouped_mm`` of rows that are sorted by their expert written out: a product for each expert.

    Raises:
        ValueError: for a product in another form.
    """
    if offs is None or mat_a.ndim != 2 or mat_b.ndim != 3:
        raise ValueError("grouped_mm: only rows (2 dimensions) times one matrix for each group have a rule")
    ends = offs.tolist()
    parts = [mat_a[i:j] @ w for i, j, w in zip([0, *ends], ends, mat_b.unbind(), strict=False) if j > i]
    rest = mat_a.new_zeros(len(mat_a) - ends[-1], mat_b.shape[-1])
    return torch.cat([*parts, rest])


def addcmul(input: Tensor, tensor1: Tensor, tensor2: Tensor, *, value: float = 1) -> Tensor:
    """``torch.addcmul`` written out: a product and a sum."""
    product = tensor1 * tensor2
    return input + (product if value == 1 else product * value)


def lerp(input: Tensor, end: Tensor, weight: Tensor | float) -> Tensor:
    """``torch.lerp`` written out: a weighted sum of two tensors."""
    return input * (1 - weight) + end * weight


def normalize(input: Tensor, p: float = 2.0, dim: int = 1, eps: float = 1e-12) -> Tensor:
    """``F.normalize`` written out: a quotient by the norm."""
    return input / input.norm(p, dim, keepdim=True).clamp_min(eps)


def glu(input: Tensor, dim: int = -1) -> Tensor:
    """``F.glu`` written out: one half times the sigmoid of the other."""
    passed, gate = input.chunk(2, dim)
    return passed * gate.sigmoid()


def group_norm(
    input: Tensor,
    num_groups: int,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """``F.group_norm`` written out: a normalisation of each group of channels, and what is done to channels."""
    groups = input.reshape(len(input), num_groups, -1)
    y = F.layer_norm(groups, groups.shape[-1:], None, None, eps).reshape(input.shape)
    channels = (-1, *(1 for _ in input.shape[2:]))
    y = y if weight is None else y * weight.view(channels)
    return y if bias is None else y + bias.view(channels)


def plus(input: Tensor, other: Tensor, alpha: float) -> Tensor:
    """``torch.add`` with a factor ``alpha`` written out."""
    return input + other * alpha


# Calls on what depends on the input that are run as several, each of which has a rule.
COMBINED = {
    **{"addcmul": addcmul, "lerp": lerp, "normalize": normalize, "glu": glu},
    "group_norm": group_norm,
    "rsub": lambda input, other, alpha=1: other + input * -alpha,
}
WITH_ALPHA = {"add": plus, "sub": lambda input, other, alpha: input + other * -alpha}

# Calls that are run as several, each of which has a rule, or whose parts the tape must see.
WRITTEN_OUT = {
    "scaled_dot_product_attention": scaled_dot_product_attention,
    "baddbmm": baddbmm,
    "grouped_mm": grouped_mm,
    "_grouped_mm": grouped_mm,
}


@contextmanager
def looked_into() -> Iterator[None]:
    """Let ``F.multi_head_attention_forward`` run in sight of a mode that it has just been handed to.

    It is written in Python and hands itself over as a whole before it starts; this time it must not.
    """
    hands_over = F.has_torch_function
    F.has_torch_function = lambda _: False
    try:
        yield
    finally:
        F.has_torch_function = hands_over
