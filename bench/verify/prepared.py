"""Settings of methods that come from the inputs of a golden: noise, coalitions, trees, and which tokens are players.

All functions take a :class:`bench.verify.subject.Subject`, a key, the samples and the names of the explained classes.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from bench.verify.grammar import Asked
from bench.verify.offered import offered

Prepare = Callable[[Any, Asked, slice, Sequence[str]], dict[str, Any]]


def smooth_grad(subject: Any, asked: Asked, at: slice, names: Sequence[str]) -> dict[str, Any]:
    """The noise: of images as torch draws it from a seed for all samples at once, of texts as it is stored."""
    if not subject.stem.is_vision:
        return {"noise": _stored_noise(subject, at)}
    samples, std = asked.settings["samples"], asked.settings["std"]
    repeated = subject.inputs.repeat_interleave(samples, 0)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(asked.values["_seed"])
        noise = torch.normal(torch.zeros_like(repeated), torch.full_like(repeated, std))
    return {"noise": noise.unflatten(0, (-1, samples))[at]}


def _stored_noise(subject: Any, at: slice) -> Tensor:
    noise = [torch.from_numpy(subject.array(f"noise.sample{i}")).double() for i in range(len(subject))[at]]
    width = subject.inputs["input_ids"].shape[1]
    return torch.stack([torch.nn.functional.pad(n, (0, 0, 0, width - n.shape[1])) for n in noise])


def integrated_gradients(subject: Any, asked: Asked, at: slice, names: Sequence[str]) -> dict[str, Any]:
    """The token of the baseline, and those that are kept in it."""
    token = asked.values.get("_base", "zero")
    if token == "zero":
        return {}
    keep = [subject.setting("cls_id"), subject.setting("sep_id")]
    return {"token_id": subject.setting(f"{token}_id"), "keep": tuple(keep)}


def tokens(subject: Any, asked: Asked, at: slice, names: Sequence[str]) -> dict[str, Any]:
    """Each token is a player; special ones are none where the fill would leave nothing of them."""
    groups = torch.arange(subject.inputs["input_ids"].shape[1]).expand_as(subject.inputs["input_ids"])
    fixed = subject.inputs["attention_mask"] == 0
    if asked.settings["fill"] in ("delete", "attention"):
        fixed = fixed | subject.specials
    return {"players": _words(subject, groups.masked_fill(fixed, -1)[at])}


def groups(subject: Any, asked: Asked, at: slice, names: Sequence[str]) -> dict[str, Any]:
    """Stored groups of neighbouring tokens are the players."""
    return {"players": _words(subject, group_of_tokens(subject, asked.values["_groups"])[at])}


def group_of_tokens(subject: Any, count: int) -> Tensor:
    """The stored group of each token, (samples, tokens); −1 for none."""
    of = torch.full_like(subject.inputs["input_ids"], -1)
    for row, spans in zip(of, subject.array(f"groups{count}"), strict=True):
        for number, (start, end) in enumerate(spans):
            row[int(start) : int(end)] = number
    return of


def _words(subject: Any, labels: Tensor) -> Any:
    ids = {name: subject.stem.settings.get(name) for name in ("mask_id", "pad_id")}
    return offered("Words")(labels, **ids)


def kernel_shap(subject: Any, asked: Asked, at: slice, names: Sequence[str]) -> dict[str, Any]:
    """Stored coalitions, where the key is of drawn ones."""
    own = groups(subject, asked, at, names)
    if asked.settings.get("sampling") != "captum":
        return own
    stored = subject.array(f"coalitions.captum.sample{at.start}.{names[0]}")
    return own | {"coalitions": torch.from_numpy(stored)}


def lime(subject: Any, asked: Asked, at: slice, names: Sequence[str]) -> dict[str, Any]:
    """Stored masks."""
    stored = torch.from_numpy(subject.array(f"masks.lime.sample{at.start}"))
    return groups(subject, asked, at, names) | {"coalitions": stored}


def partition_shap(subject: Any, asked: Asked, at: slice, names: Sequence[str]) -> dict[str, Any]:
    """A stored tree over the groups."""
    tree = torch.from_numpy(subject.array(f"tree.groups{asked.values['_groups']}"))
    return groups(subject, asked, at, names) | {"tree": tree}


PREPARED: dict[str, Prepare] = {
    "IntegratedGradients": integrated_gradients,
    "KernelSHAP": kernel_shap,
    "LIME": lime,
    "LeaveOneOut": tokens,
    "Occlusion": tokens,
    "PartitionSHAP": partition_shap,
    "SmoothGrad": smooth_grad,
}
"""By the name of the method's class: from a model, a key, the samples and the explained classes to settings."""
