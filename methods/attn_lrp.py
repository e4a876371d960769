"""# AttnLRP and CP-LRP

**Formula.** Relevance R = x ⊙ g with a gradient g that is modified backwards, starting with the explained
logit's value:

| operation | what is handed on |
|---|---|
| linear layer, sum, scaling, convolution | the plain gradient: the ε rule without ε, the bias takes its share |
| activation z = f(x) | g · f(x)/x, the identity rule (``activation="gradient"``: the true gradient) |
| LayerNorm, RMSNorm | the gradient with 1/σ constant |
| softmax | its true gradient (``attention="constant"``: nothing, CP-LRP) |
| attention times values, queries times keys | half the gradient to each (``constant``: all of it to the values) |
| product of two activations (gated MLPs) | half to each (``gate="constant"``: all to what is gated) |

**γ rule**, in the place of the plain gradient of linear layers and of the convolution: W_p = W + γW⁺, W_n = W
+ γW⁻, biases alike; outputs z > 0 divide by x⁺W_pᵀ + x⁻W_nᵀ + b_p, outputs z < 0 by x⁺W_nᵀ + x⁻W_pᵀ + b_n,
each stabilised by 1e-6 with its sign; R_x = x⁺ ⊙ (T_p W_p + T_n W_n) + x⁻ ⊙ (T_p W_n + T_n W_p), T the
relevance of these outputs divided so. γ = 0 is the ε rule, γ → ∞ approaches α = 1, β = 0.

The result is summed over the channels, or the hidden dimension. Class-specific and signed. On a model without
biases CP-LRP sums to the logit.

**Cost and memory.** One forward and one backward pass; γ takes about four products for each of a linear
layer's one. No division by z but under γ, so float32 is exact to about 1e-5 without it.

**Reference.** Achtibat et al., "AttnLRP: Attention-Aware Layer-Wise Relevance Propagation for Transformers",
ICML 2024 (arXiv 2402.05602); CP-LRP: Ali et al., "XAI for Transformers: Better Explanations through
Conservative Propagation", ICML 2022 (arXiv 2202.07304). Code: rachtibat/LRP-eXplains-Transformers (PyPI
``lxt``), Clear BSD licence; its README says LRP is patented and free for personal and scientific use. γ as in
zennit, LGPL-3.0 licence.

**Papers and code.**

- The paper's rule for softmax is the gradient; on ViTs the library takes constant attention with γ, "easier
  to tune". Its example sweeps γ of the convolution over 0.1, 0.25, 100 and of linear layers over 0 … 1 and
  names no default: 0.25 and 0.05 are a fair choice (``conf/method/cp_lrp_gamma.yaml``).
- In torchvision's ViT the library's γ reaches MLPs, head and convolution only, as the layers of attention are
  functions there (``linear="outside_attention"``); on timm's it reaches every linear layer (``everywhere``).
  Maps differ by half their norm.
- The library's explicit form adds ε of 1e-8 to 1e-6 without a sign, 1e-4 to 2e-3 of the map; its efficient
  form does not.
- Ali et al.'s own code lets activations hand on their true gradient; the library's CP-LRP has the identity
  rule, and in gated MLPs gives all to what is gated.
- Where tokens of a text enter differs: ``word`` is the library's, ``embeddings`` the CP-LRP paper's.
"""

from dataclasses import dataclass, replace
from typing import ClassVar, Literal

from torch import Tensor

from methods.common import Passes, for_each_class
from methods.places import Entry, Readout, check_choices, point, read, reduced
from methods.relevance import (
    ATTN_LRP,
    CP_LRP,
    DTYPE,
    GATE_CONSTANT,
    GRADIENT,
    HALF,
    Forward,
    Gamma,
    Inputs,
    RuleSet,
    Tape,
)


@dataclass(frozen=True)
class AttnLRP:
    """Layer-wise relevance propagation with rules for attention.

    Args:
        attention: ``softmax``, AttnLRP: relevance goes through the softmax to queries and keys; ``constant``,
            CP-LRP: all of it to the values.
        gamma: of linear layers.
        gamma_conv: of the convolution on pixels.
        activation: ``identity`` or ``gradient``.
        gate: of gated MLPs, ``half`` or ``constant``.
        linear: which linear layers ``gamma`` is for: ``everywhere`` or ``outside_attention``.
        readout: of images: ``pixels``; ``patch_sums``, these summed over each patch; ``tokens``, the patches'
            embeddings before positions are added; ``tokens_with_position``, what enters the first block.
        entry: of texts: ``word``, ``sum`` or ``embeddings`` (see :meth:`methods.relevance.Tape.entry_at`).
        prefix_tokens: how many leading tokens are no patches; used by ``patch_sums`` only.
        dtype: in which forward pass and relevance are computed (see :data:`methods.relevance.DTYPE`).

    Raises:
        ValueError: for another choice, or a negative γ.
    """

    version: ClassVar[int] = 1

    attention: Literal["softmax", "constant"] = "softmax"
    gamma: float = 0.0
    gamma_conv: float = 0.0
    activation: Literal["identity", "gradient"] = "identity"
    gate: Literal["half", "constant"] = "half"
    linear: Literal["everywhere", "outside_attention"] = "everywhere"
    readout: Readout = "pixels"
    entry: Entry = "word"
    prefix_tokens: int = 1
    dtype: str = DTYPE

    def __post_init__(self):
        check_choices(self)
        choices = {
            "attention": ("softmax", "constant"),
            "activation": ("identity", "gradient"),
            "gate": ("half", "constant"),
            "linear": ("everywhere", "outside_attention"),
        }
        for name, allowed in choices.items():
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name}={getattr(self, name)!r}: expected {allowed[0]!r} or {allowed[1]!r}")
        for name in ("gamma", "gamma_conv"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name}={getattr(self, name)}: expected 0 or more")

    @property
    def rules(self) -> RuleSet:
        """The rule set of these settings."""
        rules = ATTN_LRP if self.attention == "softmax" else CP_LRP
        rules = replace(rules, gate=HALF if self.gate == "half" else GATE_CONSTANT)
        if self.activation == "gradient":
            rules = replace(rules, activation=GRADIENT)
        if self.gamma_conv:
            rules = replace(rules, pixels=Gamma(self.gamma_conv))
        if self.gamma:
            everywhere = self.linear == "everywhere"
            rules = replace(
                rules, linear=Gamma(self.gamma), attention_linear=None if everywhere else GRADIENT
            )
        return rules

    def passes(self, tokens: int, blocks: int) -> Passes:
        """One backward pass."""
        return Passes(1, 1)

    def __call__(self, forward: Forward, inputs: Inputs, target: Tensor | None = None) -> Tensor:
        """Explain ``target`` (batch,) or (batch, classes), or the predicted class if None.

        Returns:
            (batch, height, width) for pixels, else (batch, tokens); (batch, classes, ...) for several classes.
        """
        tape = Tape.record(forward, inputs, dtype=self.dtype)
        x, rules = point(tape, self.readout, self.entry), self.rules

        def explain(target: Tensor | None) -> Tensor:
            (relevance,) = tape.relevance(target, [x], rules)
            return read(tape, reduced(relevance), self.readout, self.prefix_tokens)

        return for_each_class(target, explain)
