"""What the methods do with attention maps: averaging, rolling up over the blocks, masking padding."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from methods.tape import Inputs


def roll_up(maps: Sequence[Tensor], normalise_rows: bool) -> Tensor:
    """The class token's row of (I + M_B) · … · (I + M_1).

    Only that row is computed: a vector times a matrix for each block, from the last block down.

    Args:
        maps: one (batch, tokens, tokens) map per block, in the order of the blocks.
        normalise_rows: divide each row of I + M by its sum.

    Returns:
        (batch, tokens)

    Raises:
        ValueError: if the maps are not all between the same tokens, e.g. where a pooling layer attends too.
    """
    shapes = {tuple(m.shape[1:]) for m in maps}
    if shapes != {(maps[0].shape[-1],) * 2}:
        raise ValueError(f"attention between different tokens cannot be rolled up: (queries, keys) {shapes}")
    identity = torch.eye(maps[0].shape[-1], dtype=maps[0].dtype, device=maps[0].device)
    row = identity[0].expand(maps[0].shape[0], 1, -1)
    for m in reversed(maps):
        m = m + identity
        row = row @ (m / m.sum(dim=-1, keepdim=True) if normalise_rows else m)
    return row.squeeze(1)


def blocks(attentions: Sequence[Tensor], start_layer: int, stop_layer: int | None = None) -> list[Tensor]:
    """The attentions of the blocks from ``start_layer`` to the one before ``stop_layer`` (None: to the last).

    Blocks are counted from 0, negative numbers from the last.

    Raises:
        ValueError: if there is no such block, or none between the two.
    """
    if not -len(attentions) <= start_layer < len(attentions):
        raise ValueError(
            f"start_layer={start_layer}: the model has {len(attentions)} blocks, "
            f"so start_layer lies between {-len(attentions)} and {len(attentions) - 1}"
        )
    chosen = list(attentions[start_layer:stop_layer])
    if not chosen or (stop_layer is not None and stop_layer > len(attentions)):
        raise ValueError(
            f"stop_layer={stop_layer}: the model has {len(attentions)} blocks; "
            f"expected one after start_layer={start_layer}, at most {len(attentions)}"
        )
    return chosen


def visible(inputs: Inputs, attention: Tensor) -> Tensor:
    """Which tokens are not padding: (batch, tokens), boolean, from ``attention_mask`` where there is one."""
    mask = inputs.get("attention_mask") if isinstance(inputs, Mapping) else None
    if mask is None:
        return torch.ones(attention.shape[0], attention.shape[-1], dtype=torch.bool, device=attention.device)
    return mask.bool().to(attention.device)


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
