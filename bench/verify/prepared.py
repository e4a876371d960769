"""Settings of methods that come from the inputs of a golden: noise, masks, coalitions, ids, groups."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch

from bench.verify.grammar import Asked

if TYPE_CHECKING:
    from bench.verify.subject import Subject


def grad_cam(subject: Subject, asked: Asked, at: slice) -> dict[str, Any]:
    """Tokens that are no patches are left out of the row."""
    return {"prefix_tokens": subject.grid.prefix} if subject.stem.is_vision else {}


def smooth_grad(subject: Subject, asked: Asked, at: slice) -> dict[str, Any]:
    """The noise: of images as torch draws it from a seed for all samples at once, of texts as it is stored."""
    if not subject.stem.is_vision:
        return _stored_noise(subject, at)
    samples, std = asked.settings["samples"], asked.settings["std"]
    repeated = subject.inputs.repeat_interleave(samples, 0)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(asked.values["_seed"])
        noise = torch.normal(torch.zeros_like(repeated), torch.full_like(repeated, std))
    return {"noise": noise.unflatten(0, (-1, samples))[at]}


def _stored_noise(subject: Subject, at: slice) -> dict[str, Any]:
    noise = [torch.from_numpy(subject.array(f"noise.sample{i}")).double() for i in range(len(subject))[at]]
    width = subject.inputs["input_ids"].shape[1]
    padded = [torch.nn.functional.pad(n, (0, 0, 0, width - n.shape[1])) for n in noise]
    return {"noise": torch.stack(padded)}


PREPARED: dict[str, Callable[[Any, Asked, slice], dict[str, Any]]] = {
    "GradCAM": grad_cam,
    "SmoothGrad": smooth_grad,
}
"""By the name of the method's class."""
