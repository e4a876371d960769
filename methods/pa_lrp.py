"""# PA-LRP: position-aware layer-wise relevance propagation

**Formula.** Relevance of the pixels *and* of the position embedding, an input of its own, from 1 on the
explained logit:

- linear layers of attention, sums, products of matrices and LayerNorm by the ε rule, z + ε without a sign
  (1e-8, 1e-6, 1e-6, 1e-6); 1/σ of LayerNorm constant; the identity for GELU;
- the γ rule (see :mod:`methods.attn_lrp`) in MLPs and head (0.05) and in the convolution (100);
- attention is a constant, and the values get half of what arrives: z ⊘ (2z + ε);
- at the tokens that enter the first block, patch and position each get their share of the sum.

The map is (R_pixels + R_position)⁺: R_pixels summed over the channels, R_position a patch's share of the
position embedding, summed over its features and spread evenly over the patch's pixels. Class-specific,
nowhere negative.

**Cost and memory.** One forward and one backward pass; γ takes about four products for each of a linear
layer's one.

**Reference.** Bakish, Zimerman, Chefer & Wolf, "Revisiting LRP: Positional Attribution as the Missing
Ingredient for Transformer Explainability", NeurIPS 2025 (arXiv 2506.02138). Code: YardenBakish/PE-AWARE-LRP,
which names no licence.

**Paper and code.** Half of the relevance of every attention branch is lost in the code, which drops
attention's own half; so it is here. The code's last norm has an epsilon of 1e-5, here it is the model's.
Without its rule for attention the code's sums explode; its configurations always set that rule.
"""

from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import torch.nn.functional as F
from torch import Tensor

from methods.common import Passes, for_each_class
from methods.places import grid_of, pixels_of, position
from methods.relevance import DTYPE, PA_LRP, Forward, Gamma, Inputs, Proportional, RuleSet, Tape


@dataclass(frozen=True)
class PALRP:
    """The relevance of pixels and of the position embedding, clamped at zero.

    Args:
        position: ``with`` that of the position embedding, ``without`` it, or the position's ``only``.
        gamma: of the linear layers outside of attention.
        gamma_conv: of the convolution on pixels.
        prefix_tokens: how many leading tokens are no patches.
        dtype: in which forward pass and relevance are computed (see :data:`methods.relevance.DTYPE`).

    Raises:
        ValueError: for another ``position``, or a negative γ.
    """

    version: ClassVar[int] = 1

    position: Literal["with", "without", "only"] = "with"
    gamma: float = 0.05
    gamma_conv: float = 100.0
    prefix_tokens: int = 1
    dtype: str = DTYPE

    def __post_init__(self):
        if self.position not in ("with", "without", "only"):
            raise ValueError(f"position={self.position!r}: expected 'with', 'without' or 'only'")
        for name in ("gamma", "gamma_conv"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name}={getattr(self, name)}: expected 0 or more")

    @property
    def rules(self) -> RuleSet:
        """The rule set of these settings."""
        gammas = Proportional(Gamma(self.gamma)), Proportional(Gamma(self.gamma_conv))
        return replace(PA_LRP, linear=gammas[0], pixels=gammas[1])

    def passes(self, tokens: int, blocks: int) -> Passes:
        """One backward pass."""
        return Passes(1, 1)

    def __call__(self, forward: Forward, inputs: Inputs, target: Tensor | None = None) -> Tensor:
        """Explain ``target`` (batch,), or the predicted class if None; returns (batch, height, width).

        A ``target`` of (batch, classes) is explained class by class; returns (batch, classes, height, width).

        Raises:
            RefusedError: for inputs that are no images, and for a model that adds no positions to its patches.
        """
        tape = Tape.record(forward, pixels_of(inputs, self), dtype=self.dtype)
        positions = None if self.position == "without" else position(tape)
        size, rules = tuple(tape.entry.shape[-2:]), self.rules
        patches = tape.attentions[0].shape[-1] - self.prefix_tokens

        def explain(target: Tensor | None) -> Tensor:
            if positions is None:
                (relevance,) = tape.relevance(target, [tape.entry], rules)
                return relevance.sum(dim=1).clamp(min=0)
            pixels, sums = tape.relevance(target, [tape.entry, positions.output], rules)
            share = positions.value / (positions.output.detach() + 1e-6)
            spread = self._spread((sums * share).sum(dim=-1), size, patches)
            return (spread if self.position == "only" else pixels.sum(dim=1) + spread).clamp(min=0)

        return for_each_class(target, explain)

    @staticmethod
    def _spread(of_tokens: Tensor, size: tuple[int, int], patches: int) -> Tensor:
        """What patches have, evenly over their pixels: (batch, tokens) to (batch, height, width).

        Args:
            of_tokens: those that positions are added to, of which the patches are the last; in some models there
                are no others, as registers come later.
            patches: how many there are.
        """
        rows, columns = grid_of(*size, patches)
        grid = of_tokens[:, -patches:].unflatten(1, (rows, columns)) / (
            size[0] // rows * (size[1] // columns)
        )
        return F.interpolate(grid[:, None], size=size, mode="nearest")[:, 0]
