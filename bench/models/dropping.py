"""Vision Transformers without some of their patches: the tokens are left out, so nothing takes their place.

Jain et al., "Missingness Bias in Model Debugging", ICLR 2022. The position embedding is added first, class
and register tokens stay, and the other patches keep their order.
"""

from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from bench.errors import BenchError


@dataclass(frozen=True)
class DroppedPatches:
    """Images of which some patches are not passed on: a callable as :mod:`metrics.masked` asks for.

    Args:
        forward: from images to logits.
        module: the model that it runs, as :func:`place_of_tokens` knows it.
        images: (batch, channels, height, width), normalised.
        prefix_tokens: how many tokens stand before those of the patches.

    Raises:
        BenchError: for a model that is not known to do with fewer tokens.
    """

    forward: Callable[[Tensor], Tensor]
    module: nn.Module
    images: Tensor
    prefix_tokens: int

    def __post_init__(self):
        place_of_tokens(self.module)

    def __call__(self, samples: Tensor, removed: Tensor) -> Tensor:
        """Logits (rows, classes) of the images ``samples`` (rows,) without the patches ``removed`` (rows, patches)."""
        kept = (~removed).sum(dim=1)
        logits: Tensor | None = None
        for count in kept.unique().tolist():
            rows = (kept == count).nonzero()[:, 0]
            # Patches that stay come first, in their order.
            order = removed[rows].int().argsort(dim=1, stable=True)[:, :count] + self.prefix_tokens
            prefix = torch.arange(self.prefix_tokens, device=order.device).expand(len(rows), -1)
            with _only(place_of_tokens(self.module), torch.cat([prefix, order], dim=1)):
                found = self.forward(self.images[samples[rows]])
            if logits is None:
                logits = found.new_empty(len(samples), found.shape[1])
            logits[rows] = found
        return logits


@contextmanager
def _only(place: nn.Module, tokens: Tensor):
    """Let a module give on only these of its tokens, (rows, kept)."""

    def gather(module: nn.Module, inputs: tuple, output: Tensor) -> Tensor:
        return output.gather(1, tokens[..., None].expand(-1, -1, output.shape[2]))

    handle = place.register_forward_hook(gather)
    try:
        yield
    finally:
        handle.remove()


def place_of_tokens(module: nn.Module) -> nn.Module:
    """The submodule after which all tokens are there with their positions, and no later one needs the whole
    grid.

    Raises:
        BenchError: for a model of which that is not known, or one that averages patches.
    """
    from timm.models.vision_transformer import VisionTransformer
    from transformers import DeiTForImageClassification, ViTForImageClassification

    if isinstance(module, VisionTransformer):
        if module.global_pool not in ("token", "") or module.attn_pool is not None:
            raise BenchError(
                f"fill=drop: {type(module).__name__} pools its patches ({module.global_pool}), so a part of them is "
                "another input; use fill=mean"
            )
        if getattr(module.blocks[0].attn, "rel_pos", None) is None and isinstance(
            module.patch_drop, nn.Identity
        ):
            return module.patch_drop
    if isinstance(module, ViTForImageClassification):
        return module.vit.embeddings
    if isinstance(module, DeiTForImageClassification):
        return module.deit.embeddings
    raise BenchError(
        f"fill=drop: {type(module).__name__} is not known to do with some of its patches (windows, convolutions "
        "between blocks and relative positions need all); use fill=mean"
    )
