"""What the tape sees of a model's modules: those it must refuse, those that have a rule as a whole."""

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
