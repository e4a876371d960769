"""Stored arrays that are not the map of a method: logits, and what stands inside a method or the engine."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from bench.verify.grammar import Asked
from bench.verify.offered import make
from methods import Tape


def logits(subject: Any, asked: Asked) -> Tensor:
    """Of the model itself."""
    return subject.logits(asked.key)


def nothing(subject: Any, asked: Asked) -> None:
    """Not computed: the reference aims at nothing here."""


def completeness(subject: Any, asked: Asked) -> Tensor:
    """How far a map's sum is from y(x) − y(baseline), (samples,)."""
    (maps,) = subject.maps(asked, [asked.explained])
    at = subject.explained(asked.explained, asked.key)[:, None]
    change = (subject.logits(asked.key) - _at_baseline(subject, asked)).gather(1, at)[:, 0]
    return maps.nansum(dim=1) - change


def _at_baseline(subject: Any, asked: Asked) -> Tensor:
    """The logits where integration begins."""
    token, inputs = asked.values["_base"], subject.inputs
    if token != "zero":
        own = inputs["input_ids"].masked_fill(~subject.specials, subject.setting(f"{token}_id"))
        with torch.no_grad():
            return subject.forward(inputs | {"input_ids": own})
    tape = Tape.record(subject.forward, inputs)
    zeros = torch.zeros_like(tape.entry_at(asked.settings["entry"]))
    if asked.settings["entry"] == "word":
        return Tape.record(subject.forward, inputs, words=zeros).logits.detach()
    return tape.rerun({tape.entry_at(asked.settings["entry"]): zeros}).detach()


MATRICES = {"GlobEnc": "norms", "ALTI": "contributions", "ValueZeroing": "scores"}
"""What a class calls the matrices that it rolls up."""


def matrices(subject: Any, asked: Asked) -> Tensor:
    """Of one sample, (blocks, n, n), or (n, n) of one block."""
    name = asked.entry.method
    if name not in subject.matrices:
        method = make(name, subject.settings(asked))
        subject.matrices[name] = getattr(method, MATRICES[name])(subject.forward, subject.inputs)
    own = subject.matrices[name][asked.values["_sample"]]
    return own[asked.values["_block"]] if "_block" in asked.values else torch.stack(own)


TENSORS: dict[str, Callable[[Any, Asked], Tensor | None]] = {
    "completeness": completeness,
    "logits": logits,
    "matrices": matrices,
    "debug": nothing,
    "not compared": nothing,
}
"""By the name of the view."""
