"""Layer-wise relevance propagation down to the input."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor

from methods.common import Passes, for_each_class
from methods.relevance import DTYPE, OLDER, Forward, Inputs, RuleSet, Tape


@dataclass(frozen=True)
class LRP:
    """Relevance of the input itself: of every pixel, or of every token that enters the encoder.

    From 1 on the explained logit backwards, every layer hands its relevance R to what it was computed from:
    a linear layer R_x = x⁺ ⊙ (S₁ W⁺) + x⁻ ⊙ (S₂ W⁻), with S₁ = R / x⁺W⁺ᵀ and S₂ = R / x⁻W⁻ᵀ; a sum each
    summand's share of it; a product of two matrices half to each. Images: summed over the channels. Text: what
    reaches the embeddings, summed over the hidden dimension.

    Bach et al., "On Pixel-Wise Explanations for Non-Linear Classifier Decisions by Layer-Wise Relevance
    Propagation", PLOS ONE 2015, as the baseline of Chefer, Gur & Wolf (CVPR 2021, arXiv 2012.09838) has it:
    the older rules, under which the total is not kept.

    Args:
        rules: how relevance is propagated.
        entry: where the tokens of a text are said to enter: ``word``, ``sum`` or ``embeddings`` (see
            :meth:`methods.relevance.Tape.entry_at`).
        dtype: in which forward pass and relevance are computed (see :data:`methods.relevance.DTYPE`).
    """

    version: ClassVar[int] = 1

    rules: RuleSet = OLDER
    dtype: str = DTYPE
    entry: Literal["word", "sum", "embeddings"] = "sum"

    def passes(self, tokens: int, blocks: int) -> Passes:
        """One of each."""
        return Passes(1, 1)

    def __call__(self, forward: Forward, inputs: Inputs, target: Tensor | None = None) -> Tensor:
        """Explain ``target`` (batch,) or (batch, classes), or the predicted class if None.

        Returns:
            (batch, height, width) for images, (batch, tokens) for text; (batch, classes, ...) for several
            classes.
        """
        tape = Tape.record(forward, inputs, dtype=self.dtype)
        entry = tape.entry_at(self.entry)

        def explain(target: Tensor | None) -> Tensor:
            (relevance,) = tape.relevance(target, [entry], self.rules)
            return relevance.sum(dim=1 if relevance.ndim == 4 else -1)

        return for_each_class(target, explain)
