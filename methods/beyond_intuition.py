"""# Transition attention maps (TAM) and Beyond Intuition (BI)

Both weigh a roll-up of attention by W = E_h[(1/n Σ_k ∇A^(B)(α_k x))⁺], the "reasoning feedback": gradients of
the *last* block's attention at the image scaled by α_k = 0, …, 1, n evenly spaced numbers, plainly averaged.

**TAM.** V = E_h A^(B), then V ← V E_h A^(b) + V from the block below the last down to ``start_layer``; the
map is the row that the model reads of V ⊙ W.

**BI, head by head.** Each block's heads are weighed by I_h, the mean of |A_hᵀ ∇A_h|, divided by their sum; R
= I, then R ← R + (Σ_h I_h A_h) R from ``start_layer`` on; the map is the row that the model reads of W ⊙ R.

**BI, token by token.** m_j = ‖W_proj v_j‖ / ‖x_j‖, with v_j the values of token j, all heads side by side,
W_proj the attention's output projection without its bias and x_j the token that enters the block, before its
norm; R ← R + (E_h A diag m) R; the map is the row that the model reads of W ⊙ |R|.

All three are class-specific, BI by tokens and heads nowhere negative.

**Cost and memory.** ``points`` forward passes and as many backward passes to the last block's attention; BI
by heads one backward pass more, to the first block used. A tape is held for one scaled image at a time.

**Reference.** Yuan et al., "Explaining Information Flow Inside Vision Transformers Using Markov Chain",
NeurIPS 2021 workshop on XAI; code: XianrenYty/Transition_Attention_Maps, Apache-2.0. Chen, Li, Yu, Dou &
Xiong, "Beyond Intuition: Rethinking Token Attributions inside Transformers", TMLR 2023; code:
jiaminchen-1031/transformerinterp, which names no licence.

**Paper and code.** The integral's plain mean includes α = 0, an image of the data set's mean colour if pixels
are normalised. BI's code counts blocks from 1: its ``start_layer=4`` (heads) and 7 (tokens, in its
perturbation script; 6 is the function's default) are 3 and 6 here. It divides I_h by its sum over the
*batch*, so it takes one image at a time; here each sample has a sum of its own. Where tokens are pooled, BI's
code averages the rows of W ⊙ R but for the class token's; here those rows that the model reads. Its
segmentation script adds that average to the class token's row whatever the model, which is not offered.
"""

from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from methods.common import Passes, blocks, each_class, for_each_class, roll_up, share_of_blocks, states
from methods.places import pixels_of
from methods.relevance import Forward, Inputs, Tape


@dataclass(frozen=True)
class TransitionAttention:
    """TAM: attention's transitions from the last block down, weighed by the integrated gradient of the last.

    Args:
        start_layer: the last block that is walked down to, from 0; negative counts from the last. The authors'
            setting for 12 blocks is 4; a model of fewer blocks needs a lower one.
        points: α = 0, …, 1 at which the gradient is taken.
        integrate: without it the gradient at the image itself alone, the reference's ablation.

    Raises:
        ValueError: for fewer than 2 points.
    """

    version: ClassVar[int] = 1

    start_layer: int = 4
    points: int = 20
    integrate: bool = True

    def __post_init__(self):
        _check_points(self.points)

    def passes(self, tokens: int, blocks: int) -> Passes:
        """A forward pass and a backward pass through the last block for each point."""
        points = self.points if self.integrate else 1
        return Passes(points, points / blocks)

    def for_check(self) -> "TransitionAttention":
        """The same with few points."""
        return replace(self, points=3)

    def __call__(self, forward: Forward, inputs: Inputs, target: Tensor | None = None) -> Tensor:
        """Explain ``target`` (batch,), or the predicted class if None; returns (batch, tokens).

        A ``target`` of (batch, classes) is explained class by class; returns (batch, classes, tokens).

        Raises:
            RefusedError: for inputs that are no images.
        """
        tape = Tape.record(forward, pixels_of(inputs, self))
        flow, *below = (a.detach().mean(dim=1) for a in reversed(blocks(tape, self.start_layer)))
        for attention in below:
            flow = flow @ attention + flow
        weights = _feedback(forward, inputs, target, tape, self.points if self.integrate else 1)
        return _read(tape, target, [flow * weight for weight in weights])


@dataclass(frozen=True)
class BeyondIntuition:
    """Attention rolled up with its heads or its tokens weighed, times the last block's integrated gradient.

    Args:
        by: ``head`` weighs heads by the size of Aᵀ∇A; ``token`` weighs tokens by the norm of what they hand
            on, relative to their own.
        start_layer: the first block that is used, from 0; negative counts from the last; None for the
            authors' setting for 12 blocks: 3 for heads, 6 for tokens.
        points: α = 0, …, 1 at which the gradient is taken.

    Raises:
        ValueError: for another ``by``, or fewer than 2 points.
    """

    version: ClassVar[int] = 1

    by: Literal["head", "token"] = "head"
    start_layer: int | None = None
    points: int = 20

    def __post_init__(self):
        if self.by not in ("head", "token"):
            raise ValueError(f"by={self.by!r}: expected 'head' or 'token'")
        _check_points(self.points)

    def passes(self, tokens: int, blocks: int) -> Passes:
        """A forward pass and a backward pass through the last block for each point; for heads one to the first."""
        heads = share_of_blocks(self._first, blocks) if self.by == "head" else 0
        return Passes(self.points, self.points / blocks + heads)

    def for_check(self) -> "BeyondIntuition":
        """The same with few points."""
        return replace(self, points=3)

    def __call__(self, forward: Forward, inputs: Inputs, target: Tensor | None = None) -> Tensor:
        """Explain ``target`` (batch,), or the predicted class if None; returns (batch, tokens).

        A ``target`` of (batch, classes) is explained class by class; returns (batch, classes, tokens).

        Raises:
            RefusedError: for inputs that are no images.
        """
        tape = Tape.record(forward, pixels_of(inputs, self))
        weights = _feedback(forward, inputs, target, tape, self.points)
        flow = self._by_heads if self.by == "head" else self._by_tokens
        flows = for_each_class(target, lambda classes: flow(tape, classes))
        flows = flows.unbind(dim=1) if flows.ndim == 4 else [flows]
        return _read(tape, target, [w * flow for w, flow in zip(weights, flows, strict=True)])

    @property
    def _first(self) -> int:
        return {"head": 3, "token": 6}[self.by] if self.start_layer is None else self.start_layer

    def _by_heads(self, tape: Tape, target: Tensor | None) -> Tensor:
        attentions = blocks(tape, self._first)
        maps = []
        for a, gradient in zip(attentions, tape.gradient(target, attentions), strict=True):
            importance = (a.detach().mT @ gradient).abs().mean(dim=(-2, -1), keepdim=True)
            share = importance / importance.sum(dim=1, keepdim=True).clamp(min=torch.finfo(a.dtype).tiny)
            maps.append((share * a.detach()).sum(dim=1))
        return _roll_up_all(maps)

    def _by_tokens(self, tape: Tape, _: Tensor | None) -> Tensor:
        maps = []
        for block in states(tape, self._first):
            handed_on = F.linear(block.values.detach().transpose(1, 2).flatten(2), block.projection.weight)
            size = handed_on.norm(dim=-1) / block.input.detach().norm(dim=-1)
            maps.append(block.attention.detach().mean(dim=1) * size[:, None])
        return _roll_up_all(maps).abs()


def _check_points(points: int) -> None:
    if points < 2:
        raise ValueError(f"points={points}: expected at least 2, α = 0 and α = 1")


def _feedback(
    forward: Forward, images: Tensor, target: Tensor | None, tape: Tape, points: int
) -> list[Tensor]:
    """E_h[(1/n Σ_k ∇A^(B)(α_k x))⁺] for each class, (batch, queries, tokens).

    Args:
        tape: at α = 1.
        points: α = 0, …, 1; for 1 the image itself.
    """
    target = tape.logits.argmax(dim=1) if target is None else target
    total = 0.0
    for alpha in torch.linspace(0, 1, points, dtype=torch.float64).tolist() if points > 1 else [1.0]:
        at = tape if alpha == 1 else Tape.record(forward, alpha * images)
        gradients = [at.gradient(t, at.attentions[-1:])[0] for t in each_class(target).unbind(dim=1)]
        total = total + torch.stack(gradients)
    return list((total / points).clamp(min=0).mean(dim=2))


def _roll_up_all(maps: list[Tensor]) -> Tensor:
    """All rows of Π_b (I + M_b)."""
    last = maps[-1]
    every = torch.eye(last.shape[-2], dtype=last.dtype, device=last.device)
    # Of a last attention with one query roll_up returns one row, without its dimension.
    return roll_up(maps, every.expand(len(last), -1, -1), normalise_rows=False).reshape(last.shape)


def _read(tape: Tape, target: Tensor | None, flows: list[Tensor]) -> Tensor:
    """The row that the model reads of a matrix (batch, queries, tokens) for each class."""
    row = tape.readout()
    maps = [(row @ flow).squeeze(1) for flow in flows]
    return torch.stack(maps, dim=1) if target is not None and target.ndim == 2 else maps[0]
