"""Attention rollout."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from methods.common import Passes, blocks, for_each_class, roll_up
from methods.relevance import Forward, Inputs, Tape


@dataclass(frozen=True)
class Rollout:
    """Attention multiplied through the blocks, with the skip connections as an identity.

    Â^(b) = rownormalise(I + E_h A^(b)), and the map is the row of Â^(B) · … · Â^(start) that the model reads
    (the class token's, see :meth:`methods.relevance.Tape.readout`). It does not depend on the explained
    class.

    Abnar & Zuidema, "Quantifying Attention Flow in Transformers", ACL 2020 (arXiv 2005.00928).

    Args:
        start_layer: the first block that is used, from 0; negative counts from the last. The reference
            implementation uses 1 for images and 0 for text.
    """

    version: ClassVar[int] = 1
    class_specific: ClassVar[bool] = False

    start_layer: int = 1

    def passes(self, tokens: int, blocks: int) -> Passes:
        """No backward pass."""
        return Passes(1, 0)

    def __call__(self, forward: Forward, inputs: Inputs, target: Tensor | None = None) -> Tensor:
        """Returns (batch, tokens), or the same for each class of a (batch, classes) ``target``."""
        tape = Tape.record(forward, inputs)
        attentions = blocks(tape, self.start_layer)
        maps = [a.detach().mean(dim=1) for a in attentions]
        relevance = roll_up(maps, tape.readout(), normalise_rows=True)
        return for_each_class(target, lambda _: relevance)
