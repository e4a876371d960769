"""# ALTI: aggregation of layer-wise token-to-token interactions

**Formula.** In each block, token j brings T_kj = Σ_h A_kj (V_j W_O)^h + 1[k = j] x_k to token k; in a
post-norm block (BERT) the norm after the attention follows, linear with the mean and the variance of what it
was given. y_k is what leaves there. The contribution of j to k is by how much nearer T_kj is to y_k than
nothing is: C_kj = (‖y_k‖ − ‖y_k − T_kj‖)⁺, in the ℓ1 norm; rows of C are divided by their sums, multiplied
over the blocks, and the map is the row that the model reads. It sums to 1; it does not depend on the class;
nowhere negative.

**Settings.** ``distance``: ``l1``, or ``l2``, the paper's ablation. ``after``: ``attention``, or ``block``:
after the second norm of a post-norm block too, the feed-forward network left out.

**Models.** Post-norm blocks, as in the paper. In pre-norm blocks (ViT, decoders) T is what the attention adds
and the skip connection, without a norm after it, as the authors have it in their later work on decoders.

**Cost and memory.** One forward pass and n² d multiplications for each block and sample; the vectors of some
queries at a time are held, so memory does not grow with n² d.

**Reference.** Ferrando, Gállego & Costa-jussà, "Measuring the Mixing of Contextual Information in the
Transformer", EMNLP 2022 (arXiv 2203.04212); pre-norm: Ferrando et al., "Explaining How Transformers Use
Context to Build Predictions", ACL 2023 (arXiv 2305.12535). Code: mt-upc/transformer-contributions, whose
licence was not looked up; none of it is used.

**Paper and code.** The code adds an epsilon to the vectors before their standard deviation and 1e-6 inside
the distance, which moves its maps by 2e-6; here there is none.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from methods.common import Passes, blocks, for_each_class, refuse_pooling
from methods.relevance import Forward, Inputs, RefusedError, Tape
from methods.vectors import Normalisation, Sample, mixed, row_of, row_shares, samples, scattered


@dataclass(frozen=True)
class ALTI:
    """How much nearer each token brings another to what a block's attention makes of that one, rolled up.

    Ferrando, Gállego & Costa-jussà, "Measuring the Mixing of Contextual Information in the Transformer", EMNLP
    2022 (arXiv 2203.04212).

    Args:
        distance: ``l1`` or ``l2``.
        after: ``attention``, or ``block``, whose second norm follows without the feed-forward network.

    Raises:
        ValueError: for another distance or place.
    """

    version: ClassVar[int] = 1
    class_specific: ClassVar[bool] = False
    word_score: ClassVar[str] = "sum"

    distance: Literal["l1", "l2"] = "l1"
    after: Literal["attention", "block"] = "attention"

    def __post_init__(self):
        for name, choices in (("distance", ("l1", "l2")), ("after", ("attention", "block"))):
            if getattr(self, name) not in choices:
                raise ValueError(f"{name}={getattr(self, name)!r}: expected {' or '.join(choices)}")

    def passes(self, tokens: int, blocks: int) -> Passes:
        """One forward pass, and one backward pass that finds the row that the model reads."""
        return Passes(1, 1)

    def contributions(self, forward: Forward, inputs: Inputs) -> list[list[Tensor]]:
        """C of each block, (n, n), row = query, rows of sum 1, for each sample without its padding.

        Raises:
            RefusedError: for ``after="block"`` of pre-norm blocks, and what is no chain of blocks.
        """
        tape = _recorded(self, forward, inputs)
        return [[self._of_block(block, sample) for block in tape.blocks] for sample in samples(tape)]

    def __call__(self, forward: Forward, inputs: Inputs, target: Tensor | None = None) -> Tensor:
        """Returns (batch, tokens), or the same for each class of a (batch, classes) ``target``.

        Raises:
            RefusedError: as :meth:`contributions`.
        """
        tape = _recorded(self, forward, inputs)
        rows = [(s, row_of(s, [self._of_block(block, s) for block in tape.blocks])) for s in samples(tape)]
        relevance = scattered(rows, tape.attentions[0].shape[-1])
        return for_each_class(target, lambda _: relevance)

    def _of_block(self, block, sample: Sample) -> Tensor:
        order = 1 if self.distance == "l1" else 2
        left, norms = sample.of(block.attended), []
        if not block.is_pre_norm:
            norms = [Normalisation(norm, sample) for norm in block.norms[: 2 if self.after == "block" else 1]]
            left = sample.of(block.norms[len(norms) - 1].output)
        elif self.after == "block":
            raise RefusedError(
                "after='block': these blocks have no norm behind them; choose after='attention'"
            )
        rows = []
        for queries, vectors in mixed(block, sample):
            for norm in norms:
                vectors = norm(vectors, queries)
            own = left[queries]
            missed = (own[:, None] - vectors).norm(p=order, dim=-1)
            rows.append((own.norm(p=order, dim=-1, keepdim=True) - missed).clamp(min=0))
        return row_shares(torch.cat(rows))


def _recorded(method: ALTI, forward: Forward, inputs: Inputs) -> Tape:
    tape = Tape.record(forward, inputs)
    refuse_pooling(tape, method)
    blocks(tape, 0)
    return tape
