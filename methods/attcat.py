"""# AttCAT

**Formula.** Σ_b E_h E_i[A^(b)_ij] · Σ_d (X^(b) ⊙ ∂y_t/∂X^(b))_jd: the tokens X^(b) that enter each block,
times the gradient of the explained logit there, weighed by the attention that token j receives, averaged over
heads and query rows i. Class-specific and signed.

**Cost and memory.** One forward and one backward pass; the attentions and the tokens of all blocks are held.

**Reference.** Qiang, Pan, Li, Li, Jang & Zhu, "AttCAT: Explaining Transformers via Attentive Class Activation
Tokens", NeurIPS 2022. Code: qiangyao1988/AttCAT, for BERT, which names no licence.

**Paper and code.** The authors' notebooks put 0 into the attention mask at [CLS] and [SEP], which is another
output of the model, and average over their rows all the same; here the mask is as it is given, and
``queries="all"`` averages over rows that nobody reads, too. Padding is no query: the mean over rows is one
over those tokens that the logits can depend on, so a text's map is the same in any batch.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from methods.common import Passes, for_each_class, mean_over_queries, share_of_blocks, states, visible
from methods.relevance import Forward, Inputs, Tape


@dataclass(frozen=True)
class AttCAT:
    """Tokens times their gradient, weighed by the attention that they receive, summed over the blocks.

    Args:
        start_layer: the first block that is used, from 0; negative counts from the last.
        queries: ``tokens``: the mean over query rows is one over those that the logits can depend on, so that
            padding changes nothing; ``all``: over all rows, for texts without padding alone.

    Raises:
        ValueError: for another choice of ``queries``.
    """

    version: ClassVar[int] = 1

    start_layer: int = 0
    queries: Literal["tokens", "all"] = "tokens"

    def __post_init__(self):
        if self.queries not in ("tokens", "all"):
            raise ValueError(f"queries={self.queries!r}: expected 'tokens' or 'all'")

    def passes(self, tokens: int, blocks: int) -> Passes:
        """A backward pass to the first block that is used."""
        return Passes(1, share_of_blocks(self.start_layer, blocks))

    def __call__(self, forward: Forward, inputs: Inputs, target: Tensor | None = None) -> Tensor:
        """Explain ``target`` (batch,), or the predicted class if None; returns (batch, tokens).

        A ``target`` of (batch, classes) is explained class by class; returns (batch, classes, tokens).
        """
        tape = Tape.record(forward, inputs)
        chosen = states(tape, self.start_layer)
        valid = visible(tape, tape.readout())
        valid = torch.ones_like(valid) if self.queries == "all" else valid
        received = [mean_over_queries(b.attention.detach().mean(dim=1), valid) for b in chosen]

        def explain(target: Tensor | None) -> Tensor:
            gradients = tape.gradient(target, [b.input for b in chosen])
            impacts = [(b.input.detach() * g).sum(dim=-1) for b, g in zip(chosen, gradients, strict=True)]
            return sum(r * impact for r, impact in zip(received, impacts, strict=True))

        return for_each_class(target, explain)
