"""# LeGrad

**Formula.** For each block b: z_b the mean of all tokens that the block returns, s_b the logit of the
explained class that the model's last norm and head make of z_b alone, G = (∂s_b/∂A^(b))⁺ the clamped gradient
at the block's own attention, and r_b = E_h E_i[G] over heads and query rows. The map is Σ_b r_b.
Class-specific, nowhere negative; the attention itself is not used.

**Cost and memory.** One forward pass, and for each block that is used the head alone, forward and backward
through that block: together less than one backward pass of the whole model. The attentions of all blocks are
held.

**Reference.** Bousselham, Boggust, Chaybouti, Strobelt & Kuehne, "LeGrad: An Explainability Method for Vision
Transformers via Feature Formation Sensitivity", ICCV 2025 (arXiv 2404.03214). Code: WalBouss/LeGrad, MIT
licence.

**Paper and code.** The code's default is the last two blocks (``start_layer=-2``); the paper sums over all
(0). In CLIP s_b is a cosine of image and text: ``similarity="cosine"`` divides the logit, without the head's
bias, by the norm of all logits, which is that where the head has a row for each text feature; for a
classifier take the plain ``logit``. Models that pool their tokens by attention (SigLIP) have another form
there, with the pooling's attention in the place of the block's: they are refused here.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch.nn.functional as F
from torch import Tensor

from methods.common import (
    Passes,
    for_each_class,
    mean_over_queries,
    refuse_pooling,
    share_of_blocks,
    states,
    visible,
)
from methods.relevance import Forward, Inputs, Tape
from methods.relevance.blocks import Block


@dataclass(frozen=True)
class LeGrad:
    """The gradient of each block's own logit at its attention, averaged over heads and rows, summed over blocks.

    Args:
        start_layer: the first block that is used, from 0; negative counts from the last.
        similarity: ``logit``, or ``cosine``, the logit by the norm of all logits, without the head's bias.

    Raises:
        ValueError: for another ``similarity``.
    """

    version: ClassVar[int] = 1

    start_layer: int = -2
    similarity: Literal["logit", "cosine"] = "logit"

    def __post_init__(self):
        if self.similarity not in ("logit", "cosine"):
            raise ValueError(f"similarity={self.similarity!r}: expected 'logit' or 'cosine'")

    def passes(self, tokens: int, blocks: int) -> Passes:
        """A backward pass through each block that is used, by itself."""
        return Passes(1, share_of_blocks(self.start_layer, blocks))

    def __call__(self, forward: Forward, inputs: Inputs, target: Tensor | None = None) -> Tensor:
        """Explain ``target`` (batch,), or the predicted class if None; returns (batch, tokens).

        A ``target`` of (batch, classes) is explained class by class; returns (batch, classes, tokens).

        Raises:
            RefusedError: for a model that pools its tokens by attention.
        """
        tape = Tape.record(forward, inputs)
        chosen = states(tape, self.start_layer)
        refuse_pooling(tape, self)
        target = tape.logits.detach().argmax(dim=1) if target is None else target
        valid = visible(tape, tape.readout())
        return sum(self._of_block(tape, target, block, valid) for block in chosen)

    def _of_block(self, tape: Tape, target: Tensor, block: Block, valid: Tensor) -> Tensor:
        logits = tape.rerun({tape.blocks[-1].output: lambda: _mean_token(block.output, valid)})
        if self.similarity == "cosine":
            logits = F.normalize(logits - _head_bias(tape), dim=1)

        def explain(target: Tensor | None) -> Tensor:
            (gradient,) = tape.gradient(target, [block.attention], logits=logits)
            possible = gradient.clamp(min=0) * (block.attention > 0)  # and not masked, as padding is
            return mean_over_queries(possible.mean(dim=1), valid)

        return for_each_class(target, explain)


def _head_bias(tape: Tape) -> Tensor | float:
    """The bias of the layer that returns the logits; 0 if it has none."""
    after = [c for c in tape.constants if c.kind == "linear" and c.block == len(tape.blocks)]
    biases = [c.value.flatten() for c in after if c.value.numel() == tape.logits.shape[1]]
    return biases[-1].detach() if biases else 0.0


def _mean_token(tokens: Tensor, valid: Tensor) -> Tensor:
    """The mean token of each sample, padding left out, in the place of every token."""
    weights = (valid / valid.sum(dim=1, keepdim=True)).to(tokens.dtype)
    return (weights[:, None] @ tokens).expand_as(tokens)
