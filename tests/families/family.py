"""What a family is, and how examples of it are built.

Nothing is downloaded: an example is built from its library's class at a size that is quick on a CPU.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

import torch
from torch import Tensor, nn

CLASSES = 5
VOCABULARY = 60
LENGTHS = (9, 6)  # of the texts of a batch, in tokens
WIDTH, BLOCKS, HEADS, IMAGE, PATCH = 32, 2, 4, 32, 8
END = 2  # the token id that ends a text, for models that read their answer there


@dataclass(frozen=True)
class Example:
    """A model and what to call it with.

    Attributes:
        forward: from ``inputs`` to logits.
        inputs: pixels (batch, 3, height, width), or token ids and their mask.
        module: the model.
    """

    forward: Callable
    inputs: Tensor | dict[str, Tensor]
    module: nn.Module


@dataclass(frozen=True)
class _Logits:
    """Calls a model of transformers and takes the logits."""

    module: nn.Module

    def __repr__(self) -> str:
        return type(self.module).__name__

    def __call__(self, inputs: Tensor | dict[str, Tensor]) -> Tensor:
        return (self.module(inputs) if isinstance(inputs, Tensor) else self.module(**inputs)).logits


@dataclass(frozen=True)
class Family:
    """A kind of model.

    Attributes:
        name: what it is called in the table, unlike any other.
        example: the library, and the class or the name that it knows it by.
        make: builds it with one of ``variants``.
        variants: ways in which the same model can compute its attention; their maps must agree.
        image: (height, width) of the example.
    """

    name: str
    example: str
    make: Callable[[str], nn.Module]
    modality: Literal["image", "text"]
    variants: tuple[str, ...] = ("",)
    image: tuple[int, int] = (IMAGE, IMAGE)

    def build(self, variant: str | None = None) -> Example:
        """The model of this family, in its first variant unless told otherwise; all have the same random weights."""
        torch.manual_seed(0)
        module = self.make(self.variants[0] if variant is None else variant).eval().requires_grad_(False)
        generator = torch.Generator().manual_seed(0)
        for p in module.parameters():
            # Larger than usual initial weights, or attention would be uniform and agree with anything.
            scale = 2 * p.shape[-1] ** -0.5 if p.ndim > 1 else 0.2
            p.copy_(torch.randn(p.shape, generator=generator) * scale + (p.ndim == 1) * 0.5)
        forward = _Logits(module) if self.example.startswith("transformers") else module
        return Example(forward, self._inputs(generator.manual_seed(1)), module)

    def _inputs(self, generator: torch.Generator) -> Tensor | dict[str, Tensor]:
        if self.modality == "image":
            return torch.randn(len(LENGTHS), 3, *self.image, generator=generator)
        longest, lengths = max(LENGTHS), torch.tensor(LENGTHS)[:, None]
        place = torch.arange(longest)
        mask = (place < lengths).long()
        ids = torch.randint(3, VOCABULARY, (len(LENGTHS), longest), generator=generator)
        return {"input_ids": ids.where(place < lengths - 1, END) * mask, "attention_mask": mask}


def timm(name: str, example: str, image: tuple[int, int] = (IMAGE, IMAGE), **options: Any) -> Family:
    """A family of timm's; an option that is None is not given at all."""

    def make(variant: str) -> nn.Module:
        import timm
        from timm.layers import set_fused_attn

        arguments = {
            "img_size": image if image[0] != image[1] else image[0],
            "patch_size": PATCH,
            "embed_dim": WIDTH,
            "depth": BLOCKS,
            "num_heads": HEADS,
            "num_classes": CLASSES,
        } | options
        set_fused_attn(variant == "fused")  # read when a model is built
        try:
            return timm.create_model(example, **{k: v for k, v in arguments.items() if v is not None})
        finally:
            set_fused_attn(True)

    return Family(name, f"timm {example}", make, "image", ("fused", "unfused"), image)


def transformers(
    name: str,
    example: str,
    modality: Literal["image", "text"] = "text",
    rename: Mapping[str, str | None] = MappingProxyType({}),
    variants: tuple[str, ...] = ("sdpa", "eager"),
    **options: Any,
) -> Family:
    """A family of transformers'.

    Args:
        rename: what its configuration calls an argument, or None if it has none of its kind.
    """

    def make(variant: str) -> nn.Module:
        import transformers

        arguments = {
            "hidden_size": WIDTH,
            "num_hidden_layers": BLOCKS,
            "num_attention_heads": HEADS,
            "intermediate_size": 2 * WIDTH,
            "num_labels": CLASSES,
        }
        if modality == "image":
            arguments |= {"image_size": IMAGE, "patch_size": PATCH}
        else:
            ids = {
                "pad_token_id": 0,
                "bos_token_id": 1,
                "cls_token_id": 1,
                "sep_token_id": END,
                "eos_token_id": END,
            }
            arguments |= {"vocab_size": VOCABULARY, "max_position_embeddings": 64} | ids
        arguments = {rename.get(key, key): value for key, value in arguments.items()}
        arguments.pop(None, None)
        configuration = getattr(transformers, re.sub("For(Sequence|Image)Classification$", "Config", example))
        config = configuration(**arguments | options, attn_implementation=variant)
        return getattr(transformers, example)(config)

    return Family(name, f"transformers {example}", make, modality, variants)


def own(name: str, example: str, make: Callable[[], nn.Module]) -> Family:
    """A family of plain torch, on images."""
    return Family(name, example, lambda variant: make(), "image")
