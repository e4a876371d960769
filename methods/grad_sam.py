"""# Grad-SAM

**Formula.** E_b E_h E_i[A^(b)_ij (∇A^(b)_ij)⁺]: attention times its clamped gradient, averaged over blocks,
heads and query rows i. Class-specific, nowhere negative.

**Cost and memory.** One forward and one backward pass; the attentions of all blocks and their gradients are
held, 2 · blocks · heads · tokens² numbers for each sample.

**Reference.** Barkan, Hauon, Caciularu, Katz, Malkiel, Armstrong & Koenigstein, "Grad-SAM: Explaining
Transformers via Gradient Self-Attention Maps", CIKM 2021 (arXiv 2204.11073). No code of the authors was
found; our maps are held to a second implementation of the formula.

**Paper and code.** The paper is about texts. Padding is no query here: the mean over rows is one over those
tokens that the logits can depend on, so a text's map is the same in any batch.
"""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from methods.common import Passes, blocks, for_each_class, mean_over_queries, share_of_blocks, visible
from methods.relevance import Forward, Inputs, Tape


@dataclass(frozen=True)
class GradSAM:
    """Attention times its clamped gradient, averaged over blocks, heads and query rows.

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
        """
        tape = Tape.record(forward, inputs)
        attentions = blocks(tape, self.start_layer)
        valid = visible(tape, tape.readout())

        def explain(target: Tensor | None) -> Tensor:
            gradients = tape.gradient(target, attentions)
            maps = [
                mean_over_queries((attention.detach() * gradient.clamp(min=0)).mean(dim=1), valid)
                for attention, gradient in zip(attentions, gradients, strict=True)
            ]
            return sum(maps) / len(maps)

        return for_each_class(target, explain)
