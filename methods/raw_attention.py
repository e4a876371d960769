"""Raw attention of the last block."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from methods.common import Passes, for_each_class
from methods.relevance import Forward, Inputs, Tape


@dataclass(frozen=True)
class RawAttention:
    """E_h A^(B), the row that the model reads: the last block's attention, averaged over the heads.

    That is the class token's row, where there is one (see :meth:`methods.relevance.Tape.readout`).

    It does not depend on the explained class. A baseline of Chefer, Gur & Wolf (CVPR 2021, arXiv 2012.09838).
    """

    version: ClassVar[int] = 1
    class_specific: ClassVar[bool] = False

    def passes(self, tokens: int, blocks: int) -> Passes:
        """No backward pass."""
        return Passes(1, 0)

    def __call__(self, forward: Forward, inputs: Inputs, target: Tensor | None = None) -> Tensor:
        """Returns (batch, tokens), or the same for each class of a (batch, classes) ``target``."""
        tape = Tape.record(forward, inputs)
        attention = tape.attentions[-1]
        relevance = (tape.readout() @ attention.detach().mean(dim=1)).squeeze(1)
        return for_each_class(target, lambda _: relevance)
