"""# Token transformation matters (TokenTM)

**Formula.** L(x) = ‖x‖₂ is a token's length, and W(E → Ẽ)_i = L(ẽ_i) / (L(e_i) + 1e-8) · softmax_i(cos(e_i,
ẽ_i)), the softmax over the tokens, how much a layer changes token i. With X^(b) the tokens that enter a
block, M^(b) those after its attention and skip connection and X^(b+1) those that leave it:

- C = diag L(X^(0));
- in each block C ← U_mlp U_attn C, with U_attn = I + (E_h A^(b) · diag W(X^(b) → M^(b))) ⊙ E_h[(∇A^(b))⁺] and
  U_mlp = I + diag W(M^(b) → X^(b+1)).

The map is the row of C that the model reads: all blocks, no normalisation. Class-specific, nowhere negative.

**Cost and memory.** One forward and one backward pass; attentions, their gradients and the tokens of all
blocks are held.

**Reference.** Wu et al., "Token Transformation Matters: Towards Faithful Post-hoc Explanation for Vision
Transformer", CVPR 2024 (arXiv 2403.14552). No code of the authors was found: this is the formula as the
authors of LibraGrad implemented it, in code without a licence, which our maps are compared with.

**Paper and code.** Because of its softmax over the tokens W is about one over their number, so the skip
dominates. Where tokens are pooled, the rows that the model reads are averaged here.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from methods.common import Passes, blocks, for_each_class, refuse_pooling, visible
from methods.relevance import Forward, Inputs, Tape


@dataclass(frozen=True)
class TokenTM:
    """Attention times its clamped gradient, weighed by how each layer changes tokens, rolled up over the blocks."""

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
        valid = visible(tape, row)
        weighed, of_mlp = [], []
        for block in tape.blocks:
            entering, between, leaving = (t.detach() for t in (block.input, block.attended, block.output))
            weighed.append(block.attention.detach().mean(dim=1) * _change(entering, between, valid)[:, None])
            of_mlp.append(_change(between, leaving, valid)[:, None])
        lengths = tape.blocks[0].input.detach().norm(dim=-1)

        def explain(target: Tensor | None) -> Tensor:
            gradients = tape.gradient(target, attentions)
            c = row
            for a, mlp, gradient in zip(weighed[::-1], of_mlp[::-1], gradients[::-1], strict=True):
                c = c + c * mlp
                c = c + c @ (a * gradient.clamp(min=0).mean(dim=1))
            return c.squeeze(1) * lengths

        return for_each_class(target, explain)


def _change(before: Tensor, after: Tensor, valid: Tensor) -> Tensor:
    """W(before → after), (batch, tokens): the ratio of lengths times the softmax over the tokens of the cosines."""
    cosines = F.cosine_similarity(before, after, dim=-1).masked_fill(~valid, -torch.inf)
    return after.norm(dim=-1) / (before.norm(dim=-1) + 1e-8) * cosines.softmax(dim=1)
