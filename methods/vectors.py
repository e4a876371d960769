"""What methods share that take the tokens that leave a block apart into what each token brought: as vectors."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from methods.common import visible
from methods.relevance import RefusedError, Tape

MOST_NUMBERS = 2**24  # in a tensor of one vector for each pair of tokens, of which a few are held
# Of parts of the model that are recomputed, relative. Models round softmax and norms to float32 whatever their type.
TOLERANCE = {torch.float64: 1e-5, torch.float32: 1e-3}


class Sample(NamedTuple):
    """One sample of a batch on a tape, without padding.

    Attributes:
        number: its place in the batch.
        tokens: the places of its tokens, (n,).
        read: of these, those whose rows the model reads, (rows,), and how much each weighs, (rows,).
    """

    number: int
    tokens: Tensor
    read: Tensor
    weights: Tensor

    def of(self, t: Tensor) -> Tensor:
        """What a tensor (batch, tokens, ...) has for the tokens: (n, ...)."""
        return t[self.number].detach()[self.tokens]

    def attention(self, t: Tensor) -> Tensor:
        """What a tensor (batch, heads, tokens, tokens) has for the tokens: (heads, n, n)."""
        return t[self.number].detach()[:, self.tokens][:, :, self.tokens]

    def rows(self, t: Tensor) -> Tensor:
        """The same; of what is no sequence, (batch, 1, width), the one row there is."""
        return t[self.number].detach() if t.shape[1] == 1 else self.of(t)


def samples(tape: Tape) -> Iterator[Sample]:
    """The samples of a tape."""
    row = tape.readout()
    for number, (weights, is_token) in enumerate(zip(row.squeeze(1), visible(tape, row), strict=True)):
        tokens = is_token.nonzero().flatten()
        weights = weights[tokens]
        read = weights.nonzero().flatten()
        yield Sample(number, tokens, read, weights[read])


def scattered(of_samples: Sequence[tuple[Sample, Tensor]], tokens: int) -> Tensor:
    """Maps of samples, (..., n), as those of a batch, (batch, ..., tokens), 0 at padding."""
    first = of_samples[0][1]
    maps = first.new_zeros(len(of_samples), *first.shape[:-1], tokens)
    for own, (sample, values) in zip(maps, of_samples, strict=True):
        own[..., sample.tokens] = values
    return maps


def row_of(sample: Sample, matrices: Sequence[Tensor]) -> Tensor:
    """The row that the model reads of M_B · … · M_1, (n,), for one matrix (n, n) for each block."""
    row = matrices[0].new_zeros(len(sample.tokens))
    row[sample.read] = sample.weights.to(row)
    for matrix in reversed(matrices):
        row = row @ matrix
    return row


def row_shares(matrix: Tensor) -> Tensor:
    """Each row divided by its sum; a row of zeros stays."""
    return matrix / matrix.sum(dim=-1, keepdim=True).where(matrix.sum(dim=-1, keepdim=True) != 0, 1)


def projected(block, sample: Sample) -> Tensor:
    """What each head makes of each token's value: V_j W_O, (heads, n, width).

    Raises:
        RefusedError: if the output projection does not read the heads side by side.
    """
    values = block.values[sample.number].detach()[:, sample.tokens]
    # Some models take the softmax in another type than what it weighs.
    joined = (sample.attention(block.attention).to(values) @ values).transpose(0, 1).flatten(1)
    expect(joined, sample.of(block.projection.input), "what the output projection reads")
    weight = block.projection.weight.detach().to(values)
    return torch.einsum("hnc,dhc->hnd", values, weight.unflatten(1, values.shape[::2]))


def mixed(block, sample: Sample) -> Iterator[tuple[Tensor, Tensor]]:
    """What each token brings to what a block's attention adds to the tokens, and the token itself by the skip.

    T_kj = Σ_h A_kj (V_j W_O)^h + 1[k = j] x_k.

    Returns:
        some queries k at a time, (queries,), and their vectors (queries, n, width).
    """
    heads, entering = projected(block, sample), sample.of(block.input)
    attention = sample.attention(block.attention).to(heads)
    count, width = entering.shape
    for queries in torch.arange(count, device=heads.device).split(max(1, MOST_NUMBERS // (count * width))):
        vectors = torch.einsum("hkj,hjd->kjd", attention[:, queries], heads)
        vectors[queries - queries[0], queries] += entering[queries]
        yield queries, vectors


class Normalisation:
    """A normalisation with the mean and the variance of what it was given, which makes it linear.

    Args:
        norm: on the tape.

    Raises:
        RefusedError: if the model's does something else.
    """

    def __init__(self, norm, sample: Sample):
        given = sample.rows(norm.input)
        centred = given - given.mean(dim=-1, keepdim=True) if norm.centred else given
        self._scale = (centred.pow(2).mean(dim=-1, keepdim=True) + norm.eps).rsqrt()
        self._centred = norm.centred
        self._weight = None if norm.weight is None else norm.weight.detach().to(given)
        self.bias = None if norm.bias is None else norm.bias.detach().to(given)
        ours = self(given[:, None])[:, 0]
        expect(ours if self.bias is None else ours + self.bias, sample.rows(norm.output), "a normalisation")

    def __call__(self, vectors: Tensor, rows: Tensor | None = None) -> Tensor:
        """The vectors (rows, n, width) of some rows, (rows,), or of all, without the bias."""
        scale = self._scale if rows is None or len(self._scale) == 1 else self._scale[rows]
        if self._centred:
            vectors = vectors - vectors.mean(dim=-1, keepdim=True)
        vectors = vectors * scale[:, None]
        return vectors if self._weight is None else vectors * self._weight


def expect(ours: Tensor, theirs: Tensor, what: str) -> None:
    """Raises RefusedError if something that is recomputed is not what the model has."""
    theirs = theirs.detach()
    off = float((ours.detach() - theirs).norm() / theirs.norm().clamp(min=1e-30))
    if not off <= TOLERANCE.get(theirs.dtype, 0.05):
        raise RefusedError(
            f"{what} is not what is expected of a Transformer, by {off:.1e}: the model does something else there, "
            "which cannot be taken apart into tokens"
        )
