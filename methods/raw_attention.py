"""Raw attention of the last block."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from methods.tape import Forward, Inputs, Tape


@dataclass(frozen=True)
class RawAttention:
    """E_h A^(B), the row that the model reads: the last block's attention, averaged over the heads.

    That is the class token's row, where there is one (see :meth:`methods.tape.Tape.readout`).

    It does not depend on the explained class.
    """

    class_specific: ClassVar[bool] = False

    def __call__(self, forward: Forward, inputs: Inputs, target: Tensor | None = None) -> Tensor:
        """``target`` is ignored; returns (batch, tokens)."""
        tape = Tape.record(forward, inputs)
        attention = tape.attentions[-1]
        return (tape.readout() @ attention.detach().mean(dim=1)).squeeze(1)
