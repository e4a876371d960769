"""# Attention-guided CAM (AG-CAM)

**Formula.** Σ_b Σ_h sigmoid(S^(b)) ⊙ (∇̂A^(b))⁺, the row that the model reads. S^(b) are the scores before
the softmax, 1/√d included; ∇̂A^(b) is the gradient of the explained logit at the attention, that has come
down through skip connections and MLPs alone: every attention's own input counts as a constant.
Class-specific, nowhere negative.

**Cost and memory.** One forward and one backward pass; scores and attentions of all blocks and the gradients
are held.

**Reference.** Leem & Seo, "Attention Guided CAM: Visual Explanations of Vision Transformer Guided by
Self-Attention", AAAI 2024 (arXiv 2402.04563). Code:
LeemSaebom/Attention-Guided-CAM-Visual-Explanations-of-Vision-Transformer-Guided-by-Self-Attention, which
names no licence.

**Paper and code.** The code detaches the input of each attention, which the restricted gradient ∇̂ does here.
Where tokens are pooled, the rows that the model reads are averaged; the reference has class tokens only.
"""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from methods.common import Passes, blocks, for_each_class, refuse_pooling
from methods.relevance import AG_CAM, Forward, Inputs, Tape


@dataclass(frozen=True)
class AGCAM:
    """The sigmoid of attention's scores times the clamped gradient past attention, the row that the model reads."""

    version: ClassVar[int] = 1

    def passes(self, tokens: int, blocks: int) -> Passes:
        """One backward pass."""
        return Passes(1, 1)

    def __call__(self, forward: Forward, inputs: Inputs, target: Tensor | None = None) -> Tensor:
        """Explain ``target`` (batch,), or the predicted class if None; returns (batch, tokens).

        A ``target`` of (batch, classes) is explained class by class; returns (batch, classes, tokens).

        Raises:
            RefusedError: for a model that pools its tokens by attention.
        """
        tape = Tape.record(forward, inputs)
        refuse_pooling(tape, self)
        attentions, row = blocks(tape, 0), tape.readout()
        gates = [block.scores.detach().sigmoid() for block in tape.blocks]

        def explain(target: Tensor | None) -> Tensor:
            gradients = tape.gradient(target, attentions, rules=AG_CAM)
            maps = [
                (gate * gradient.clamp(min=0)).sum(dim=1)
                for gate, gradient in zip(gates, gradients, strict=True)
            ]
            # Some models take the softmax in another type than the scores.
            return sum(row.to(m.dtype) @ m for m in maps).squeeze(1)

        return for_each_class(target, explain)
