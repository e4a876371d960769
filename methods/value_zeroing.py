"""# Value zeroing

**Formula.** In each block b, with the tokens that enter it unchanged, the value of token j is set to zero in
all heads. C^(b)_kj is the cosine distance of what then leaves the block at token k to what leaves it
otherwise; rows are divided by their sums. The map is the row that the model reads of C^(B) · … · C^(1),
without an added identity. It sums to 1; it does not depend on the class; nowhere negative.

**Settings.** ``last_block_only`` reads the last block's C alone.

**Cost and memory.** About one forward pass for each token: n runs of the rest of each block. No more memory
than a tape.

**Reference.** Mohebbi, Zuidema, Chrupała & Alishahi, "Quantifying Context Mixing in Transformers", EACL 2023
(arXiv 2301.12971). Code: hmohebbi/ValueZeroing, whose licence was not looked up; none of it is used.

**Paper and code.** They agree. Grouped heads, of which several share a value, have it zeroed in all of them.
"""

from dataclasses import dataclass, replace
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from methods.common import Passes, blocks, for_each_class
from methods.relevance import Forward, Inputs, Tape
from methods.vectors import row_of, row_shares, samples, scattered


@dataclass(frozen=True)
class ValueZeroing:
    """How much what leaves a block changes when a token's value is zeroed in it, rolled up over the blocks.

    Mohebbi et al., "Quantifying Context Mixing in Transformers", EACL 2023 (arXiv 2301.12971).

    Args:
        last_block_only: read the last block alone.
    """

    version: ClassVar[int] = 1
    class_specific: ClassVar[bool] = False
    word_score: ClassVar[str] = "sum"

    last_block_only: bool = False

    def passes(self, tokens: int, blocks: int) -> Passes:
        """One, and one for each token; one backward pass finds the row that the model reads."""
        return Passes(1 + tokens / (blocks if self.last_block_only else 1), 1)

    def for_check(self) -> "ValueZeroing":
        """The same of the last block alone, for :func:`methods.verify`: every block is treated alike."""
        return replace(self, last_block_only=True)

    def scores(self, forward: Forward, inputs: Inputs) -> list[list[Tensor]]:
        """C^(b) of each block, (n, n), row = query, rows of sum 1, for each sample without its padding."""
        tape = _recorded(forward, inputs)
        changes = [_changes(tape, block) for block in tape.blocks]
        return [[_of(sample, c) for c in changes] for sample in samples(tape)]

    def __call__(self, forward: Forward, inputs: Inputs, target: Tensor | None = None) -> Tensor:
        """Returns (batch, tokens), or the same for each class of a (batch, classes) ``target``."""
        tape = _recorded(forward, inputs)
        chosen = tape.blocks[-1:] if self.last_block_only else tape.blocks
        changes = [_changes(tape, block) for block in chosen]
        rows = [(s, row_of(s, [_of(s, c) for c in changes])) for s in samples(tape)]
        relevance = scattered(rows, tape.attentions[0].shape[-1])
        return for_each_class(target, lambda _: relevance)


def _recorded(forward: Forward, inputs: Inputs) -> Tape:
    tape = Tape.record(forward, inputs)
    blocks(tape, 0)
    return tape


def _changes(tape: Tape, block) -> Tensor:
    """The cosine distances, (batch, tokens, tokens): of what leaves at k when the value of j is zero."""
    values, left = block.values.detach(), block.output.detach()
    columns = []
    for j in range(values.shape[2]):
        zeroed = values.clone()
        zeroed[:, :, j] = 0
        with torch.no_grad():
            other = tape.rerun({block.values: zeroed}, until=block.output)
        columns.append(1 - F.cosine_similarity(left, other, dim=-1))
    return torch.stack(columns, dim=-1)


def _of(sample, changes: Tensor) -> Tensor:
    return row_shares(sample.of(changes)[:, sample.tokens])
