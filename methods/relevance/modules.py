"""What the tape sees of a model's modules: those it must refuse, those that have a rule as a whole."""

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook

_QUANTISED = ("torch.ao.nn.quantized", "torch.ao.nn.intrinsic.quantized", "bitsandbytes", "torchao")


class RefusedError(ValueError):
    """A model that cannot be explained, for the reason in the message."""


def check(module: nn.Module) -> None:
    """Raises RefusedError for a module in train mode, and for quantised, compiled or scripted ones."""
    kind, origin = type(module).__name__, type(module).__module__
    if origin.startswith(_QUANTISED):
        raise RefusedError(
            f"{kind} ({origin}) is quantised: relevance needs the weights in floating point; explain the "
            "model it was made from"
        )
    if kind == "OptimizedModule" or getattr(module, "_compiled_call_impl", None) is not None:
        raise RefusedError("the model is compiled: explain the model that torch.compile was given")
    if isinstance(module, torch.jit.ScriptModule):
        raise RefusedError(f"{kind} is scripted, which hides its operations: explain the original module")
    # What has neither state nor parts is the same in both modes, and models make such modules on the fly.
    acts = module._modules or module._parameters or module._buffers or "drop" in kind.lower()
    if module.training and acts:
        raise RefusedError(f"{kind} is in train mode: call model.eval() before explaining it")


@contextmanager
def watched(enter, leave) -> Iterator[None]:
    """Call ``enter(module, arguments)`` before and ``leave(module, arguments, result)`` after every module.

    What ``leave`` returns, if not None, is the module's result.
    """
    handles = [register_module_forward_pre_hook(enter), register_module_forward_hook(leave)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def calling_module() -> str:
    """The class of the innermost module in whose forward we are."""
    frame = sys._getframe(1)
    while frame is not None:
        owner = frame.f_locals.get("self")
        if isinstance(owner, nn.Module):
            return type(owner).__name__
        frame = frame.f_back
    return "code outside of any module"


_REMEDIES = (
    (r"checkpoint", "turn recomputation off, as by model.gradient_checkpointing_disable()"),
    (
        r"dtype|scalar type|converted to type",
        "types of numbers are mixed: convert the model with model.float() or .double()",
    ),
    (r"require grad|used in the graph", "no logit depends on it: ask for tensors of the same tape"),
    (r"in-?place|leaf Variable|is a view", "write x = x + y there in place of what changes x itself"),
)


def failed(error: RuntimeError, where: str) -> Exception:
    """What to raise for an error of torch's own: a RefusedError that says where it arose, and a remedy.

    Memory that has run out is no matter of the model: such an error stays what it is.
    """
    text = str(error).strip() or type(error).__name__
    if isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in text:
        return error
    fitting = (remedy for pattern, remedy in _REMEDIES if re.search(pattern, text, re.IGNORECASE))
    remedy = next(fitting, "see whether the model runs on these inputs by itself, in eval mode")
    return RefusedError(f"{where} failed: {text.splitlines()[0]}; {remedy}")
