"""What methods share that look at a model's answers only: forward passes without a tape."""

import torch
from torch import Tensor

from methods.relevance import Forward, Inputs, RefusedError
from methods.relevance.modules import check, watched


def logits_of(forward: Forward, inputs: Inputs) -> Tensor:
    """The logits (batch, classes) of a forward pass that nothing is remembered of.

    Raises:
        RefusedError: if a module is in train mode, quantised, compiled or scripted.
        ValueError: if the result is not a (batch, classes) tensor.
    """
    with (
        torch.inference_mode(False),
        torch.no_grad(),
        watched(lambda module, _: check(module), lambda *_: None),
    ):
        logits = forward(inputs)
    if not isinstance(logits, Tensor) or logits.ndim != 2:
        shape = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits)
        raise ValueError(f"the model must return (batch, classes) logits, not {shape}")
    return logits


def predicted(forward: Forward, inputs: Inputs) -> Tensor:
    """The predicted class of each sample, (batch,)."""
    return logits_of(forward, inputs).argmax(dim=1)


def probabilities(forward: Forward, inputs: Inputs) -> Tensor:
    """The softmax probability of every class, (batch, classes), for inputs of which parts were masked.

    Raises:
        RefusedError: if a logit is not finite.
    """
    remedy = "this model's answers to such images say nothing"
    return logits_of_edited(forward, inputs, "masks of pixels", remedy).softmax(dim=1)


def logits_of_edited(forward: Forward, inputs: Inputs, how: str, remedy: str) -> Tensor:
    """The logits (batch, classes) of inputs from which parts were removed.

    Args:
        forward: as methods take it.
        inputs: after that.
        how: it was done, and
        remedy: what to do if a logit is not finite: the beginning and the end of the message.

    Raises:
        RefusedError: if one is not finite.
    """
    logits = logits_of(forward, inputs)
    if not logits.isfinite().all():
        raise RefusedError(
            f"{how}: the logits of an input from which parts were removed are not finite; {remedy}"
        )
    return logits
