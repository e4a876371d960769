"""Transformer attribution, the method proposed by the paper."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from methods.common import Passes, blocks, for_each_class, roll_up, share_of_blocks
from methods.relevance import DTYPE, PROPOSED, Forward, Inputs, RuleSet, Tape


@dataclass(frozen=True)
class TransformerAttribution:
    """Relevance of attention, weighed by its gradient and rolled up over the blocks.

    Ā^(b) = I + E_h[(∇A^(b) ⊙ R^(b))⁺], C = Ā^(B) · … · Ā^(start), and the map is the row of C that the model
    reads (the class token's, see :meth:`methods.relevance.Tape.readout`), where R^(b) is the relevance that
    reaches the attention A^(b) of block b under the proposed rules and ∇A^(b) the gradient of the explained
    logit.

    Chefer, Gur & Wolf, "Transformer Interpretability Beyond Attention Visualization", CVPR 2021
    (arXiv 2012.09838), equations 13 and 14.

    Args:
        start_layer: the first block that is used, from 0; negative counts from the last. The reference
            implementation uses 1 for images and the last block only for text.
        stop_layer: the block before which to stop; None for all. ``start_layer=1, stop_layer=2`` is the
            second block alone, ``start_layer=-1`` the last alone: the paper's ablations.
        normalise_rows: divide the rows of Ā by their sums (the reference implementation does for text).
        use_gradient: without it Ā^(b) = I + E_h[(R^(b))⁺], the paper's ablation.
        rules: how relevance is propagated.
        dtype: in which forward pass and relevance are computed (see :data:`methods.relevance.DTYPE`).

    Raises:
        ValueError: if ``normalise_rows`` or ``use_gradient`` is not True or False.
    """

    version: ClassVar[int] = 1

    start_layer: int = 1
    stop_layer: int | None = None
    normalise_rows: bool = False
    use_gradient: bool = True
    rules: RuleSet = PROPOSED
    dtype: str = DTYPE

    def __post_init__(self):
        for name in ("normalise_rows", "use_gradient"):
            if not isinstance(getattr(self, name), bool):
                raise ValueError(f"{name}={getattr(self, name)!r}: expected True or False")

    def passes(self, tokens: int, blocks: int) -> Passes:
        """Relevance and, if it is used, the gradient, to the first block that is used."""
        return Passes(1, (1 + self.use_gradient) * share_of_blocks(self.start_layer, blocks))

    def __call__(self, forward: Forward, inputs: Inputs, target: Tensor | None = None) -> Tensor:
        """Explain ``target`` (batch,), or the predicted class if None; returns (batch, tokens).

        A ``target`` of (batch, classes) is explained class by class; returns (batch, classes, tokens).
        """
        tape = Tape.record(forward, inputs, dtype=self.dtype)
        attentions = blocks(tape, self.start_layer, self.stop_layer)
        row = tape.readout()

        def explain(target: Tensor | None) -> Tensor:
            maps = tape.relevance(target, attentions, self.rules)
            if self.use_gradient:
                gradients = tape.gradient(target, attentions)
                maps = [(g * r).clamp_(min=0) for g, r in zip(gradients, maps, strict=True)]
            else:
                maps = [r.clamp(min=0) for r in maps]
            maps = [m.mean(dim=1) for m in maps]
            return roll_up(maps, row, self.normalise_rows)

        return for_each_class(target, explain)
