"""# DecompX

**Formula.** The tokens are carried through the whole network as sums of n vectors, v_kj the part of token k
that came from token j, which norms and activations do not mix. From v_kj = 1[k = j] x_k on,

- attention: v ← Σ_h Σ_i A_ki (W_V v_ij) W_O + v_kj, then share(W_O b_V + b_O);
- norms: (v − E_d v) / σ_k ⊙ γ, then share(β);
- feed-forward network: share(b₁, W₁ v) ⊙ f(u) / (u + 1e-12), share(b₂, W₂ ·), + v;
- what follows the last block (pooler, classifier) likewise, at the token that is read.

share(b, v)_kj = v_kj + b w_kj / (Σ_j w_kj + 1e-12) gives each part its share of a bias, w_kj = |⟨v_kj, b⟩|.
The map is what arrives at the logit of the explained class: class-specific, signed, and it sums to the logit,
which is checked.

**Settings.** ``bias``: ``absdot``, as above; ``norm``, w = ‖v_kj‖₂; ``cosine``, w = |cos(v_kj, b)|;
``equal``; ``None`` drops biases. ``activation``: ``zero_origin``, as above, or ``tangent``, f'(u), with the
intercept shared as a bias. ``feed_forward=False`` leaves the network out. ``readout``: ``logit``, or the
norms of the vectors at the token that is read, when they leave the ``last_block`` or the ``pooler`` (what
follows the block but for the last layer): these do not depend on the class and are nowhere negative.

**Models.** Blocks with LayerNorm before or after them and a plain feed-forward network; gated ones (Llama)
are refused, and so are models that pool several tokens.

**Cost and memory.** About n forward passes through the linear layers, and three tensors of n² d numbers for
one sample at a time: 0.8 GB each for n = 512, d = 768 in float32. In the last block only the row that is read
is computed. With ``bias=None`` the map of logits is CP-LRP where tokens enter the first block, plus the share
of that block's value bias; it is computed so, in one forward and one backward pass without these tensors.

**Reference.** Modarressi, Fayyaz, Aghazadeh, Yaghoobzadeh & Pilehvar, "DecompX: Explaining Transformers
Decisions by Propagating Token Decomposition", ACL 2023 (arXiv 2306.02873). Code: mohsenfayyaz/DecompX, whose
licence was not looked up; none of it is used.

**Paper and code.** In the first block the values are taken with their bias, and only b_O is shared, as in the
code. The code is for BERT and RoBERTa; pre-norm blocks follow the same rules here.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from methods.common import Passes, blocks, for_each_class
from methods.relevance import CP_LRP, Forward, Inputs, RefusedError, Tape
from methods.vectors import MOST_NUMBERS, Normalisation, Sample, expect, mixed, samples, scattered

EPSILON = 1e-12  # of the denominators, as in the code


@dataclass(frozen=True)
class DecompX:
    """Tokens taken apart into what each token brought, carried through the whole network to the logits.

    Modarressi et al., "DecompX", ACL 2023 (arXiv 2306.02873).

    Args:
        bias: how a bias is shared between the parts: ``absdot``, ``norm``, ``cosine``, ``equal``, or None, which
            drops biases.
        activation: ``zero_origin``, the line through the origin, or ``tangent``.
        feed_forward: whether the feed-forward networks are decomposed, or left out.
        readout: ``logit``; or the norms of the parts of the token that is read, as they leave the ``last_block``
            or the ``pooler``.

    Raises:
        ValueError: for another choice.
    """

    version: ClassVar[int] = 1
    word_score: ClassVar[str] = "sum"

    bias: Literal["absdot", "norm", "cosine", "equal"] | None = "absdot"
    activation: Literal["zero_origin", "tangent"] = "zero_origin"
    feed_forward: bool = True
    readout: Literal["logit", "last_block", "pooler"] = "logit"

    def __post_init__(self):
        for name, choices in (
            ("bias", (*WEIGHTS, None)),
            ("activation", ("zero_origin", "tangent")),
            ("feed_forward", (True, False)),
            ("readout", ("logit", "last_block", "pooler")),
        ):
            if getattr(self, name) not in choices:
                raise ValueError(
                    f"{name}={getattr(self, name)!r}: expected one of {', '.join(map(str, choices))}"
                )

    @property
    def class_specific(self) -> bool:
        """Whether the map depends on the class: that of the logit."""
        return self.readout == "logit"

    def passes(self, tokens: int, blocks: int) -> Passes:
        """One, and about one for each token; without biases one of each."""
        return Passes(1 if self._is_one_gradient else 1 + tokens, 1)

    def __call__(self, forward: Forward, inputs: Inputs, target: Tensor | None = None) -> Tensor:
        """Explain ``target`` (batch,), or the predicted class if None; returns (batch, tokens).

        A ``target`` of (batch, classes) is explained class by class; returns (batch, classes, tokens).

        Raises:
            RefusedError: for gated feed-forward networks, for several tokens that are read, for what is no chain of
                layers, and if the parts do not sum to the logit.
        """
        tape = Tape.record(forward, inputs)
        blocks(tape, 0)
        if self.feed_forward:
            _expect_plain(tape)
        if self._is_one_gradient:
            return for_each_class(target, lambda classes: _without_biases(tape, classes))
        maps = [(sample, self._parts(tape, sample)) for sample in samples(tape)]
        parts = scattered(maps, tape.attentions[0].shape[-1])  # (batch, classes or 1, tokens)
        if not self.class_specific:
            return for_each_class(target, lambda _: parts[:, 0])
        predicted = tape.logits.argmax(dim=1)
        every = torch.arange(len(parts), device=parts.device)
        return for_each_class(target, lambda t: parts[every, predicted if t is None else t.to(parts.device)])

    @property
    def _is_one_gradient(self) -> bool:
        plain = self.activation == "zero_origin" and self.feed_forward
        return self.bias is None and self.readout == "logit" and plain

    def _parts(self, tape: Tape, sample: Sample) -> Tensor:
        """What the tokens of one sample brought to each logit, (classes, n); or the norms, (1, n)."""
        if len(sample.read) != 1:
            raise RefusedError(
                f"DecompX reads one token, as a class token or a decoder's last; this model reads {len(sample.read)}"
            )
        own = _Decomposition(self, tape, sample)
        for number in range(len(tape.blocks)):
            own.through_block(number)
        if self.readout == "last_block":
            return own.vectors.norm(dim=-1)
        layers = tape.head
        for layer in layers[: -1 if self.readout == "pooler" else None]:
            own.through_layer(layer)
        if self.readout == "pooler":
            return own.vectors.norm(dim=-1)
        if self.bias is not None and self.feed_forward:
            expect(
                own.vectors[0].sum(dim=0), tape.logits[sample.number].detach(), "the sum of all tokens' parts"
            )
        return own.vectors[0].T


class _Decomposition:
    """The tokens of one sample as sums of parts.

    Attributes:
        vectors: (rows, n, width), the part of each token, or of that which is read, that came from each.
    """

    def __init__(self, method: DecompX, tape: Tape, sample: Sample):
        self._method, self._tape, self._sample = method, tape, sample
        self._rows = torch.arange(len(sample.tokens), device=sample.tokens.device)
        self.vectors: Tensor | None = None

    def through_block(self, number: int) -> None:
        """Attention, feed-forward network and norms of a block."""
        block, before = self._tape.blocks[number], self._rows
        if number == len(self._tape.blocks) - 1:
            self._rows = self._sample.read
        norms = block.norms
        if number == 0:  # values with their bias
            self.vectors = torch.cat([vectors for _, vectors in mixed(block, self._sample)])[self._rows]
            self._share(self.vectors, block.projection.bias)
        else:
            self.vectors = self._attended(block, norms[0], before)
        if not block.is_pre_norm:
            self.vectors = self._normed(norms[0], self.vectors, self._rows)
        if self._method.feed_forward:
            self._feed_forward(block, norms[1] if block.is_pre_norm else None)
        if not block.is_pre_norm:
            self.vectors = self._normed(norms[1], self.vectors, self._rows)

    def through_layer(self, layer) -> None:
        """A layer, a norm or an activation behind the last block, at the token that is read."""
        if hasattr(layer, "eps"):
            self.vectors = self._normed(layer, self.vectors, self._rows)
        elif hasattr(layer, "weight"):
            self.vectors = self._share(self.vectors @ layer.weight.detach().to(self.vectors).T, layer.bias)
        else:
            self.vectors = self._activated(layer, self.vectors, self._rows)

    def _attended(self, block, norm, before: Tensor) -> Tensor:
        entering = self._normed(norm, self.vectors, before) if block.is_pre_norm else self.vectors
        weight, bias = value_map(self._tape, block)
        weight, bias = weight.to(entering), bias.to(entering)
        attention = self._sample.attention(block.attention)[:, self._rows].to(entering)
        out = block.projection.weight.detach().to(entering)
        added = self.vectors[self._rows]  # the skip connection
        count, width = entering.shape[1:]
        for parts in torch.arange(count, device=out.device).split(max(1, MOST_NUMBERS // (count * width))):
            values = torch.einsum("ijd,dhc->ijhc", entering[:, parts], weight)
            context = torch.einsum("hki,ijhc->kjhc", attention, values)
            added[:, parts] += context.flatten(2) @ out.T
        own = block.projection.bias
        shared = out @ bias.flatten() + (0 if own is None else own.detach().to(out))
        return self._share(added, shared)

    def _feed_forward(self, block, norm) -> None:
        first, activation, second = block.feed_forward
        weights = [layer.weight.detach().to(self.vectors) for layer in (first, second)]
        count = self.vectors.shape[1]
        for at in torch.arange(len(self._rows)).split(max(1, MOST_NUMBERS // (count * len(weights[0])))):
            at, rows = at.to(self._rows.device), self._rows[at.to(self._rows.device)]
            entering = self.vectors[at]
            entering = entering if norm is None else self._normed(norm, entering, rows)
            hidden = self._share(entering @ weights[0].T, first.bias)
            hidden = self._activated(activation, hidden, rows)
            self.vectors[at] += self._share(hidden @ weights[1].T, second.bias)

    def _normed(self, norm, vectors: Tensor, rows: Tensor) -> Tensor:
        normalisation = Normalisation(norm, self._sample)
        return self._share(normalisation(vectors, rows), normalisation.bias)

    def _activated(self, activation, vectors: Tensor, rows: Tensor) -> Tensor:
        given, returned = (self._at(t, rows) for t in activation)
        if self._method.activation == "zero_origin":
            return vectors * (returned / (given + EPSILON))[:, None]
        slope = self._at(_slope(self._tape, activation), rows)
        return self._share(vectors * slope[:, None], returned - slope * given)

    def _at(self, t: Tensor, rows: Tensor) -> Tensor:
        """What (batch, tokens, width) has for rows; of what is no sequence, (batch, 1, width), the one row."""
        own = self._sample.rows(t)
        return own if len(own) == 1 else own[rows]

    def _share(self, vectors: Tensor, bias: Tensor | None) -> Tensor:
        """Give each part its share of a bias, in place."""
        if bias is None or self._method.bias is None:
            return vectors
        bias = bias.detach().to(vectors).view(-1, 1, vectors.shape[-1])
        weights = WEIGHTS[self._method.bias](vectors, bias)
        return vectors.addcmul_((weights / (weights.sum(dim=1, keepdim=True) + EPSILON))[:, :, None], bias)


# How parts (rows, n, width) weigh where a bias is shared, (1 or rows, 1, width): (rows, n).
WEIGHTS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "absdot": lambda vectors, bias: (vectors @ bias.mT).squeeze(-1).abs(),
    "norm": lambda vectors, bias: vectors.norm(dim=-1),
    "cosine": lambda vectors, bias: torch.cosine_similarity(vectors, bias, dim=-1).abs(),
    "equal": lambda vectors, bias: (vectors.norm(dim=-1) != 0).to(vectors),
}


def value_map(tape: Tape, block) -> tuple[Tensor, Tensor]:
    """How a block computes values from tokens: (width, heads, head width), and the bias (heads, head width).

    It is found by running that part of the model on unit vectors, whatever layers it is made of.

    Raises:
        RefusedError: if it is not linear in each token.
    """
    tokens, values = block.normed.detach(), block.values.detach()
    batch, places, width = tokens.shape
    units = torch.eye(width, dtype=tokens.dtype, device=tokens.device)
    with torch.no_grad():
        bias = tape.rerun({block.normed: torch.zeros_like(tokens)}, until=block.values)[0, :, 0]
        found = []
        for some in units.split(batch * places):
            given = torch.zeros_like(tokens).flatten(0, 1)
            given[: len(some)] = some
            answer = tape.rerun({block.normed: given.view_as(tokens)}, until=block.values)
            found.append(answer.transpose(1, 2).flatten(0, 1)[: len(some)] - bias)
    weight = torch.cat(found)
    ours = torch.einsum("bnd,dhc->bhnc", tokens, weight) + bias[:, None]
    expect(ours, values, "what values are computed from tokens by")
    return weight, bias


def _expect_plain(tape: Tape) -> None:
    """Raises RefusedError if a feed-forward network is not two layers and an activation."""
    for block in tape.blocks:
        try:
            block.feed_forward  # noqa: B018  looks for it
        except RefusedError as e:
            raise RefusedError(
                "DecompX decomposes feed-forward networks of two layers with an activation between them, not gated "
                f"ones (as Llama's): {e}; AttnLRP explains such models"
            ) from e


def _slope(tape: Tape, activation) -> Tensor:
    """The derivative of an activation, element by element."""
    with torch.inference_mode(False), torch.enable_grad():
        total = activation.output.flatten(1).sum(dim=1, keepdim=True).expand_as(tape.logits)
    first = torch.zeros(len(total), dtype=torch.long, device=total.device)
    (slope,) = tape.gradient(first, [activation.input], logits=total)
    return slope


def _without_biases(tape: Tape, target: Tensor | None) -> Tensor:
    """Tokens times their gradient under the rules of CP-LRP, where they enter the first block, (batch, tokens).

    The values of that block are taken with what is constant in them, so its share of the logit is added.
    """
    block = tape.blocks[0]
    tokens, values = tape.gradient(target, [block.input, block.values], rules=CP_LRP)
    weight, constant = value_map(tape, block)
    if block.is_pre_norm and block.norms[0].bias is not None:
        constant = constant + torch.einsum("d,dhc->hc", block.norms[0].bias.detach().to(weight), weight)
    return (block.input.detach() * tokens).sum(dim=-1) + torch.einsum("bhnc,hc->bn", values, constant)
