"""A random map, the floor of every comparison."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from methods.common import Passes, drawing, for_each_class, visible
from methods.relevance import Forward, Inputs, Tape


@dataclass(frozen=True)
class RandomMap:
    """Independent uniform numbers in 0..1, one per token.

    They are drawn from the seed and the sample's own content, so a sample has the same map in any batch, in
    any order and in any process. The model only tells how many tokens there are.

    Args:
        seed: another seed is another map.
    """

    version: ClassVar[int] = 1
    class_specific: ClassVar[bool] = False

    seed: int = 0

    def passes(self, tokens: int, blocks: int) -> Passes:
        """No backward pass."""
        return Passes(1, 0)

    def __call__(self, forward: Forward, inputs: Inputs, target: Tensor | None = None) -> Tensor:
        """Returns (batch, tokens), 0 at padding; the same for each class of a (batch, classes) ``target``."""
        padded = isinstance(inputs, Mapping)
        tape = Tape.record(forward, inputs, backward=padded)
        attention = tape.attentions[-1]
        size = attention.shape[0], attention.shape[-1]
        valid = (visible(tape, tape.readout()) if padded else torch.ones(size, dtype=torch.bool)).cpu()
        relevance = torch.zeros(valid.shape, dtype=torch.float64)
        for sample, is_token in enumerate(valid):
            generator = drawing(self.seed, inputs, sample, is_token)
            count = int(is_token.sum())
            relevance[sample, is_token] = torch.rand(count, generator=generator, dtype=torch.float64)
        relevance = relevance.to(attention.device)
        return for_each_class(target, lambda _: relevance)
