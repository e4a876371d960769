"""# Generic attention explainability (GAE)

**Formula.** Ā^(b) = E_h[(∇A^(b) ⊙ A^(b))⁺] of every block b, with ∇A^(b) the gradient of the explained logit
with respect to the attention A^(b) after the softmax. R = I, then R ← R + Ā^(b) R from the first block to the
last; the map is the row of R that the model reads. Rows are not normalised. Class-specific, nowhere negative.

**Cost and memory.** One forward and one backward pass; the attentions of all blocks and their gradients are
held, 2 · blocks · heads · tokens² numbers for each sample.

**Reference.** Chefer, Gur & Wolf, "Generic Attention-model Explainability for Interpreting Bi-Modal and
Encoder-Decoder Transformers", ICCV 2021 (arXiv 2103.15679), for models of one stream. Code:
hila-chefer/Transformer-MM-Explainability, MIT licence.

**Paper and code.** They agree: the product is clamped before the mean over heads. Some benchmarks clamp after
it. The paper knows class tokens only; where tokens are pooled, the rows that are read are averaged here.

**Variant.** ``last_block_only`` is attention × gradient: E_h[(∇A^(B) ⊙ A^(B))⁺] of the last block, the row
that is read, without the skip connection.
"""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from methods.common import Passes, blocks, for_each_class, roll_up, share_of_blocks
from methods.relevance import Forward, Inputs, Tape


@dataclass(frozen=True)
class GAE:
    """E_h[(∇A ⊙ A)⁺] rolled up over the blocks: the row that the model reads of Π_b (I + Ā^(b)).

    Args:
        start_layer: the first block that is used, from 0; negative counts from the last.
        last_block_only: the last block's own map, without the skip connection: attention × gradient.
        signed: leave out the clamp at zero.

    Raises:
        ValueError: if ``last_block_only`` or ``signed`` is not True or False.
    """

    version: ClassVar[int] = 1

    start_layer: int = 0
    last_block_only: bool = False
    signed: bool = False

    def __post_init__(self):
        for name in ("last_block_only", "signed"):
            if not isinstance(getattr(self, name), bool):
                raise ValueError(f"{name}={getattr(self, name)!r}: expected True or False")

    def passes(self, tokens: int, blocks: int) -> Passes:
        """One backward pass to the first block that is used."""
        return Passes(1, share_of_blocks(-1 if self.last_block_only else self.start_layer, blocks))

    def __call__(self, forward: Forward, inputs: Inputs, target: Tensor | None = None) -> Tensor:
        """Explain ``target`` (batch,), or the predicted class if None; returns (batch, tokens).

        A ``target`` of (batch, classes) is explained class by class; returns (batch, classes, tokens).
        """
        tape = Tape.record(forward, inputs)
        attentions = blocks(tape, -1 if self.last_block_only else self.start_layer)
        row = tape.readout()

        def explain(target: Tensor | None) -> Tensor:
            maps = [
                gradient * attention.detach()
                for gradient, attention in zip(tape.gradient(target, attentions), attentions, strict=True)
            ]
            maps = [(m if self.signed else m.clamp(min=0)).mean(dim=1) for m in maps]
            return (row @ maps[0]).squeeze(1) if self.last_block_only else roll_up(maps, row, False)

        return for_each_class(target, explain)
