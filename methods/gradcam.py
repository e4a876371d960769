"""GradCAM on the last block's attention."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from methods.common import Passes, for_each_class, min_max, visible
from methods.relevance import Forward, Inputs, Tape


@dataclass(frozen=True)
class GradCAM:
    """The last block's attention, its heads weighted by their mean gradient, clamped at zero.

    minmax((E_h w_h A_h^(B))⁺), the row that the model reads, where w_h is the mean of ∇A_h^(B), the gradient of
    the explained logit at the attention of head h.

    GradCAM (Selvaraju et al., ICCV 2017, arXiv 1610.02391) with attention heads in the place of channels,
    as the paper's baseline has it. A map that is nowhere positive is 0 everywhere.

    Args:
        weights: what a head's weight is averaged over. ``row``: the row that the model reads (the class
            token's), prefix tokens left out; the map is that row, min–max scaled over what is left (images).
            ``matrix``: the whole matrix; it is clamped and min–max scaled as a whole before the row is read
            (text).
        prefix_tokens: how many leading tokens are no patches; used by ``row`` only.

    Raises:
        ValueError: for another value of ``weights``.
    """

    version: ClassVar[int] = 1

    weights: Literal["row", "matrix"] = "row"
    prefix_tokens: int = 1

    def __post_init__(self):
        if self.weights not in ("row", "matrix"):
            raise ValueError(f"weights={self.weights!r}: expected 'row' or 'matrix'")

    def passes(self, tokens: int, blocks: int) -> Passes:
        """A backward pass through the last block."""
        return Passes(1, 1 / blocks)

    def __call__(self, forward: Forward, inputs: Inputs, target: Tensor | None = None) -> Tensor:
        """Explain ``target`` (batch,), or the predicted class if None; returns (batch, tokens).

        A ``target`` of (batch, classes) is explained class by class; returns (batch, classes, tokens).
        """
        tape = Tape.record(forward, inputs)
        attention, row = tape.attentions[-1].detach(), tape.readout()
        valid = visible(tape, row)
        by_row = self.weights == "row"
        if by_row:
            valid = valid & (torch.arange(valid.shape[1], device=valid.device) >= self.prefix_tokens)
            valid, attention = valid[:, None], row[:, None] @ attention
        else:
            valid = valid[:, None, :] & (
                valid[:, :, None] if attention.shape[-2] == attention.shape[-1] else True
            )
        count = valid.sum(dim=(-2, -1))[:, None, None, None]

        def explain(target: Tensor | None) -> Tensor:
            (gradient,) = tape.gradient(target, tape.attentions[-1:])
            gradient = row[:, None] @ gradient if by_row else gradient
            weight = (gradient * valid[:, None]).sum(dim=(-2, -1), keepdim=True) / count
            cam = min_max((weight * attention).mean(dim=1).clamp(min=0), valid)
            return (cam if by_row else row @ cam).squeeze(1)

        return for_each_class(target, explain)
