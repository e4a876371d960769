"""Which kind of operation a torch call is, by the name under which torch reports it.

The kinds are the fields of :class:`methods.relevance.RuleSet`. A call whose name is in none of these tables
has no rule: its true gradient is known to autograd, its relevance is not.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor

IDENTITIES = {
    # Functions of one tensor, element by element, and normalisations.
    *("gelu", "relu", "tanh", "silu", "sigmoid", "leaky_relu", "elu", "mish", "hardswish", "softplus"),
    *("softmax", "layer_norm", "rms_norm", "neg", "__neg__"),
}

ADDITIONS = {"add", "__add__", "__radd__"}
SUBTRACTIONS = {"sub", "__sub__", "subtract"}
PRODUCTS = {"mul", "__mul__", "__rmul__", "multiply"}
QUOTIENTS = {"div", "__truediv__", "true_divide"}
MATRIX_PRODUCTS = {"matmul", "__matmul__", "bmm"}
MEANS = {"mean"}
# x += y; a call of x.add_(y) as a statement of its own is not one of these (see Tape).
IN_PLACE = {"add_": "add", "sub_": "sub", "mul_": "mul", "div_": "div"}

CASTS = {"float", "double", "half", "bfloat16", "type", "type_as"}
MOVEMENTS = {
    # Autograd sends a gradient exactly where these send the data, so relevance follows by itself.
    *("T", "mT", "H", "mH"),
    *("__getitem__", "select", "narrow", "index_select", "gather", "take_along_dim"),
    *("view", "view_as", "reshape", "reshape_as", "flatten", "unflatten", "squeeze", "unsqueeze"),
    *("transpose", "permute", "movedim", "moveaxis", "swapaxes", "swapdims", "adjoint", "t"),
    *("cat", "concat", "concatenate", "stack", "unbind", "chunk", "split", "tensor_split"),
    *("expand", "expand_as", "broadcast_to", "repeat", "repeat_interleave", "flip", "roll"),
    *("clone", "contiguous", "to", *CASTS),
    *("masked_fill", "pad"),
}

# The order of the tensors in calls that may pass them by keyword.
_PARAMETERS = {
    "linear": ("input", "weight", "bias"),
    "conv2d": ("input", "weight", "bias", "stride", "padding", "dilation", "groups"),
    "layer_norm": ("input",),
    "rms_norm": ("input",),
    "matmul": ("input", "other"),
    "bmm": ("input", "mat2"),
    "add": ("input", "other"),
    "sub": ("input", "other"),
    "mul": ("input", "other"),
    "div": ("input", "other"),
    "mean": ("input", "dim", "keepdim"),
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
    return F.softmax(scores, dim=-1) @ value


def baddbmm(input: Tensor, batch1: Tensor, batch2: Tensor, *, beta: float = 1, alpha: float = 1) -> Tensor:
    """``torch.baddbmm`` written out: a product of matrices and a sum."""
    product = batch1 @ batch2
    return (product if alpha == 1 else product * alpha) + (input if beta == 1 else input * beta)


# Calls that are run as several, each of which has a rule, or whose parts the tape must see.
WRITTEN_OUT = {
    "scaled_dot_product_attention": scaled_dot_product_attention,
    "baddbmm": baddbmm,
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
