"""# FullGrad+ on tokens

**Formula.** For each block b, token by token,

F_b = Σ_d X^(b) ⊙ ∇X^(b) + Σ_layers Σ_d bias ⊙ ∇(output of the layer),

with X^(b) the tokens that enter block b and ∇ the gradient of the explained logit; the second sum is over all
linear layers and norms of the blocks from b on, the last norm and the head, whose biases count where the
model reads. The map is Σ_b F_b. Class-specific and signed. Under :class:`methods.LibraGrad`'s gradient each
F_b sums to the logit exactly.

**Cost and memory.** One forward and one backward pass; the gradients at the outputs of all linear layers and
norms are held.

**Reference.** Srinivas & Fleuret, "Full-Gradient Representation for Neural Network Visualization", NeurIPS
2019 (arXiv 1905.00780); with sums over all blocks as SkipPLUS, CVPR workshops 2024, and in Mehri, Baghshah &
Pilehvar, "LibraGrad: Balancing Gradient Flow for Universally Better Vision Transformer Attributions", CVPR
2025 (arXiv 2411.16760). Code: NightMachinery/decompv-libragrad-v1, which names no licence, on a fork of timm,
Apache-2.0.

**Paper and code.** A variant starts at the middle block (``start_layer``).
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from methods.common import Passes, for_each_class, share_of_blocks, states
from methods.relevance import Forward, Inputs, RefusedError, Tape


@dataclass(frozen=True)
class FullGradPlus:
    """Tokens times their gradient and biases times theirs, summed over all that follows each block and over blocks.

    Args:
        start_layer: the first block that is used, from 0; negative counts from the last.
    """

    version: ClassVar[int] = 1

    start_layer: int = 0

    def passes(self, tokens: int, blocks: int) -> Passes:
        """A backward pass to the first block that is used."""
        return Passes(1, share_of_blocks(self.start_layer, blocks))

    def __call__(self, forward: Forward, inputs: Inputs, target: Tensor | None = None) -> Tensor:
        """Explain ``target`` (batch,), or the predicted class if None; returns (batch, tokens).

        A ``target`` of (batch, classes) is explained class by class; returns (batch, classes, tokens).

        Raises:
            RefusedError: if a bias is added to what is no token, as in norms of queries and keys.
        """
        tape = Tape.record(forward, inputs)
        entering = [block.input for block in states(tape, self.start_layer)]
        count, total = len(entering), len(tape.blocks)
        biases = [c for c in tape.constants if c.kind in ("linear", "norm") and c.block >= total - count]
        # How many of the blocks used are not above a bias: so many of the F_b have it.
        times = [min(c.block, total - 1) - (total - count) + 1 for c in biases]
        row = tape.readout()[:, 0]

        def explain(target: Tensor | None) -> Tensor:
            gradients = tape.gradient(target, [*entering, *(c.output for c in biases)])
            shares = [(x.detach() * g).sum(dim=-1) for x, g in zip(entering, gradients[:count], strict=True)]
            for constant, n, gradient in zip(biases, times, gradients[count:], strict=True):
                shares.append(n * _of_tokens((constant.value * gradient).sum(dim=-1), row))
            return torch.stack(shares).sum(dim=0)

        return for_each_class(target, explain)


def _of_tokens(share: Tensor, row: Tensor) -> Tensor:
    """A bias's share (batch, tokens), or (batch, 1) of what is read of the tokens, as one of each token."""
    if share.shape[1] not in (1, row.shape[1]):
        raise RefusedError(
            f"a normalisation or layer with a bias is of {share.shape[1]} vectors where the model has "
            f"{row.shape[1]} tokens (as of parts of a token for each head): whose share its bias has is not known; "
            "choose a method without biases, such as InputXGradient"
        )
    return share if share.shape == row.shape else share * row
