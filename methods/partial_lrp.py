"""Partial LRP: the relevance of the last block's attention."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from methods.common import Passes, for_each_class
from methods.relevance import DTYPE, OLDER, Forward, Inputs, RuleSet, Tape


@dataclass(frozen=True)
class PartialLRP:
    """E_h[(R^(B))⁺], the row that the model reads: relevance propagated to the last block's attention only.

    Voita et al., "Analyzing Multi-Head Self-Attention", ACL 2019 (arXiv 1905.09418), as the paper's
    baseline has it: the older rules, and the clamp before the mean over heads.

    Args:
        rules: how relevance is propagated.
        dtype: in which forward pass and relevance are computed (see :data:`methods.relevance.DTYPE`).
    """

    version: ClassVar[int] = 1

    rules: RuleSet = OLDER
    dtype: str = DTYPE

    def passes(self, tokens: int, blocks: int) -> Passes:
        """A backward pass through the last block."""
        return Passes(1, 1 / blocks)

    def __call__(self, forward: Forward, inputs: Inputs, target: Tensor | None = None) -> Tensor:
        """Explain ``target`` (batch,), or the predicted class if None; returns (batch, tokens).

        A ``target`` of (batch, classes) is explained class by class; returns (batch, classes, tokens).
        """
        tape = Tape.record(forward, inputs, dtype=self.dtype)
        row = tape.readout()

        def explain(target: Tensor | None) -> Tensor:
            (relevance,) = tape.relevance(target, tape.attentions[-1:], self.rules)
            return (row @ relevance.clamp(min=0).mean(dim=1)).squeeze(1)

        return for_each_class(target, explain)
