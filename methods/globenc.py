"""# GlobEnc

**Formula.** In each block, token j brings v_kj = Σ_h A_kj (V_j W_O)^h + 1[k = j] x_k to token k. Both
normalisations are linear with the mean and the variance of what they were given: (v − E_d v) / σ_k ⊙ γ, first
those of the norm after the attention, then those of the norm after the feed-forward network, which itself is
skipped. N^(b)_kj = ‖v_kj‖₂ after both, and the map is the row of N^(B) · … · N^(1) that the model reads: no
normalisation of rows, no added identity. It does not depend on the class; nowhere negative.

**Models.** Blocks that normalise what they leave (post-norm, as BERT); others are refused, as the formula
says nothing of them.

**Cost and memory.** One forward pass and n² d multiplications for each block and sample; the vectors of some
queries at a time are held, so memory does not grow with n² d.

**Reference.** Modarressi, Fayyaz, Yaghoobzadeh & Pilehvar, "GlobEnc: Quantifying Global Token Attribution by
Incorporating the Whole Encoder Layer in Transformers", NAACL 2022 (arXiv 2205.03286). Code:
mohsenfayyaz/GlobEnc, whose licence was not looked up; none of it is used.

**Paper and code.** They agree: biases of W_O and of the norms are dropped, that of the values stays within V.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from methods.common import Passes, blocks, for_each_class
from methods.relevance import Forward, Inputs, RefusedError, Tape
from methods.vectors import Normalisation, Sample, mixed, row_of, samples, scattered


@dataclass(frozen=True)
class GlobEnc:
    """Norms of what each token brings to each other through attention, skip connections and norms, rolled up.

    Modarressi et al., "GlobEnc", NAACL 2022 (arXiv 2205.03286).
    """

    version: ClassVar[int] = 1
    class_specific: ClassVar[bool] = False

    def passes(self, tokens: int, blocks: int) -> Passes:
        """One forward pass, and one backward pass that finds the row that the model reads."""
        return Passes(1, 1)

    def norms(self, forward: Forward, inputs: Inputs) -> list[list[Tensor]]:
        """N^(b) of each block, (n, n), row = query, for each sample without its padding.

        Raises:
            RefusedError: for blocks that are not post-norm.
        """
        tape = _recorded(forward, inputs)
        return [[_norms(block, sample) for block in tape.blocks] for sample in samples(tape)]

    def __call__(self, forward: Forward, inputs: Inputs, target: Tensor | None = None) -> Tensor:
        """Returns (batch, tokens), or the same for each class of a (batch, classes) ``target``.

        Raises:
            RefusedError: as :meth:`norms`.
        """
        tape = _recorded(forward, inputs)
        rows = [(s, row_of(s, [_norms(block, s) for block in tape.blocks])) for s in samples(tape)]
        relevance = scattered(rows, tape.attentions[0].shape[-1])
        return for_each_class(target, lambda _: relevance)


def _recorded(forward: Forward, inputs: Inputs) -> Tape:
    tape = Tape.record(forward, inputs)
    blocks(tape, 0)
    if any(block.is_pre_norm for block in tape.blocks):
        raise RefusedError(
            "GlobEnc is defined for blocks that normalise what they leave (post-norm, as BERT's); these normalise "
            "what they read: ALTI explains such models"
        )
    return tape


def _norms(block, sample: Sample) -> Tensor:
    first, second = (Normalisation(norm, sample) for norm in block.norms)
    return torch.cat([second(first(v, queries), queries).norm(dim=-1) for queries, v in mixed(block, sample)])
