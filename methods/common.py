"""What several methods share: rolling attention up over the blocks, masking padding, one class or several."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from numbers import Integral
from typing import NamedTuple

import torch
from torch import Tensor

from methods.relevance import Inputs, RefusedError, Tape
from methods.relevance.blocks import Block


class Passes(NamedTuple):
    """What one map of one sample costs, in passes of the whole model.

    Every method of ours says it in ``passes(tokens, blocks) -> Passes``, for a sample of so many tokens, a model
    of so many blocks and a target that is given; one of a user's own does if it costs more than one of each.
    Not counted is how a tape finds the row that is read (:meth:`methods.relevance.Tape.readout`).

    Attributes:
        forward: forward passes.
        backward: backward passes, each from the logit to the input; one through a part of the blocks is that
            part of one.
    """

    forward: float
    backward: float


def share_of_blocks(start_layer: int, blocks: int) -> float:
    """The part of a backward pass that ends at the block ``start_layer``, of so many."""
    first = start_layer + blocks if start_layer < 0 else start_layer
    return min(max(blocks - first, 0), blocks) / blocks


def roll_up(maps: Sequence[Tensor], row: Tensor, normalise_rows: bool) -> Tensor:
    """The rows that are read of (I + M_B) · … · (I + M_1).

    Only these are computed: a vector times a matrix for each block, from the last block down.

    Args:
        maps: one (batch, tokens, tokens) map per block, in the order of the blocks. The last may be one that
            pools the tokens, (batch, queries, tokens): its queries are no tokens, so it is read without I.
        row: :meth:`methods.relevance.Tape.readout`.
        normalise_rows: divide each row of I + M by its sum.

    Returns:
        (batch, tokens)
    """
    for m in reversed(maps):
        if not _pools(m):
            m = m + torch.eye(m.shape[-1], dtype=m.dtype, device=m.device)
        row = row @ (m / m.sum(dim=-1, keepdim=True) if normalise_rows else m)
    return row.squeeze(1)


def _pools(attention: Tensor) -> bool:
    return attention.shape[-2] != attention.shape[-1]


def blocks(tape: Tape, start_layer: int, stop_layer: int | None = None) -> list[Tensor]:
    """The attentions of the blocks from ``start_layer`` to the one before ``stop_layer`` (None: to the last).

    Blocks are counted from 0, negative numbers from the last.

    Raises:
        ValueError: if there is no such block, or none between the two; if the attentions are not all between
            the same tokens, or all but those of a last block that pools them and is not among the blocks.
        RefusedError: if a block reads other tokens than the one before it left, as in an encoder–decoder.
    """
    attentions = tape.attentions
    shapes = [tuple(a.shape[-2:]) for a in attentions]
    tokens = shapes[-1][-1]
    if set(shapes[:-1]) - {(tokens, tokens)}:
        raise ValueError(
            "attention between different tokens (as in hierarchical models) cannot be rolled up over the "
            f"blocks: (queries, keys) are {', '.join(map(str, dict.fromkeys(shapes)))}"
        )
    if not isinstance(start_layer, Integral) or not -len(attentions) <= start_layer < len(attentions):
        raise ValueError(
            f"start_layer={start_layer}: the model has {len(attentions)} blocks, "
            f"so start_layer lies between {-len(attentions)} and {len(attentions) - 1}"
        )
    fits = stop_layer is None or (isinstance(stop_layer, Integral) and stop_layer <= len(attentions))
    chosen = list(attentions[start_layer:stop_layer]) if fits else []
    if not chosen:
        raise ValueError(
            f"stop_layer={stop_layer}: the model has {len(attentions)} blocks; "
            f"expected one after start_layer={start_layer}, at most {len(attentions)}"
        )
    if _pools(attentions[-1]) and chosen[-1] is not attentions[-1]:
        raise ValueError(
            f"stop_layer={stop_layer}: the last of the {len(attentions)} blocks pools the tokens, so what is "
            "read of the blocks below it is known through it alone; leave stop_layer at null"
        )
    first = range(len(attentions))[start_layer]
    for block in range(first, first + len(chosen)):
        if (block > first and not tape.chained[block]) or (
            tape.crossed[block] and not _pools(chosen[block - first])
        ):
            raise RefusedError(
                f"the attention of block {block} is not between the tokens that block {block - 1} left, "
                "as in encoder–decoder models and in parallel branches: several streams of tokens cannot be "
                "rolled up as one"
            )
    return chosen


def states(tape: Tape, start_layer: int) -> list[Block]:
    """The tokens, scores and values of the blocks of :func:`blocks` from ``start_layer`` to the last.

    Raises:
        ValueError: as :func:`blocks`.
        RefusedError: as :func:`blocks`; if a block's tokens cannot be found.
    """
    return tape.blocks[-len(blocks(tape, start_layer)) :]


def refuse_pooling(tape: Tape, method: object) -> None:
    """Raises RefusedError for a model whose last attention pools the tokens: its rows are no tokens."""
    if _pools(tape.attentions[-1]):
        raise RefusedError(
            f"{type(method).__name__} reads blocks whose tokens attend to each other, and the last attention of "
            "this model pools the tokens: choose GAE, which reads pooling attention too"
        )


def visible(tape: Tape, row: Tensor) -> Tensor:
    """The tokens that the logits can depend on through attention: (batch, tokens), boolean.

    Padding is what nobody attends to, whatever a model calls its mask: all that is read, and all that this
    attends to in any block, is visible.

    Args:
        row: :meth:`methods.relevance.Tape.readout`.
    """
    reached = row.squeeze(1) > 0
    for block in reversed(range(len(tape.attentions))):
        attends = (tape.attentions[block].detach() > 0).any(dim=1)
        if attends.shape[1] != reached.shape[1]:  # of other tokens than those whose attention is read
            break
        read = (reached[:, :, None] & attends).any(dim=1)
        own = not _pools(attends) and not tape.crossed[block]
        reached = reached | read if own else read
        if not tape.chained[block]:
            break
    return reached


def mean_over_queries(maps: Tensor, valid: Tensor) -> Tensor:
    """The mean over the query rows that are tokens of the sample and no padding: (batch, keys).

    Args:
        maps: (batch, queries, keys). Queries that pool the tokens, and so are not these, all count.
        valid: :func:`visible`.
    """
    if _pools(maps):
        return maps.mean(dim=-2)
    return (maps * valid[:, :, None]).sum(dim=-2) / valid.sum(dim=1, keepdim=True)


def min_max(maps: Tensor, valid: Tensor) -> Tensor:
    """Scale each sample's valid entries to [0, 1]; a constant map becomes 0, and so does what is not valid.

    Args:
        maps: (batch, ...).
        valid: boolean, of the same shape.
    """
    dims = tuple(range(1, maps.ndim))
    low = maps.masked_fill(~valid, torch.inf).amin(dim=dims, keepdim=True)
    high = maps.masked_fill(~valid, -torch.inf).amax(dim=dims, keepdim=True)
    span = high - low
    return torch.where(valid & (span > 0), (maps - low) / span, 0.0)


def for_each_class(target: Tensor | None, explain: Callable[[Tensor | None], Tensor]) -> Tensor:
    """What ``explain`` returns for the class of each sample, or for each of its classes.

    Args:
        target: (batch,), or None for the predicted classes; or (batch, classes): several classes of each.
        explain: from (batch,) classes, or None, to (batch, ...). It reads a tape that was recorded once.

    Returns:
        (batch, ...), or (batch, classes, ...) for several.

    Raises:
        ValueError: for a target of another shape.
    """
    if target is None or target.ndim == 1:
        return explain(target)
    return torch.stack([explain(classes) for classes in each_class(target).unbind(dim=1)], dim=1)


def each_class(target: Tensor) -> Tensor:
    """The explained classes as (batch, classes), of which there is one for a target (batch,).

    Raises:
        ValueError: for a target of another shape.
    """
    if target.ndim not in (1, 2) or 0 in target.shape[1:]:
        raise ValueError(
            f"target of shape {tuple(target.shape)}: expected (batch,), or (batch, classes) to explain "
            "several classes of each sample"
        )
    return target if target.ndim == 2 else target[:, None]


def drawing(seed: int, inputs: Inputs, sample: int, is_token: Tensor | None = None) -> torch.Generator:
    """The generator of what is drawn for a sample: by a seed and the sample's own content.

    So it is the same in any batch, in any order and in any process, and no state of torch's plays a part.

    Args:
        seed: another seed draws other numbers.
        inputs: of the batch.
        sample: its place there.
        is_token: (tokens,), which of a text's tokens are not padding.
    """
    if isinstance(inputs, Mapping):
        content = [inputs[name][sample].cpu() for name in sorted(inputs)]
        if is_token is not None:
            content = [t[is_token] if t.shape[:1] == is_token.shape else t for t in content]
    else:
        content = [inputs[sample].cpu()]
        if is_token is not None and not inputs.is_floating_point():
            content = [content[0][is_token]]
    digest = hashlib.sha256(str(seed).encode())
    for tensor in content:
        digest.update(tensor.contiguous().numpy().tobytes())
    return torch.Generator().manual_seed(
        int.from_bytes(digest.digest()[:8], "big") >> 1
    )  # torch takes 63 bits
