"""Model families that are checked, each as an unmodified model with random weights.

Nothing is downloaded: an example is built from its library's class at a size that is quick on a CPU.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn

CLASSES = 5
VOCABULARY = 60
LENGTHS = (9, 6)  # of the texts of a batch, in tokens


@dataclass(frozen=True)
class Size:
    """How large the examples are."""

    width: int
    blocks: int
    heads: int
    image: int
    patch: int


TINY = Size(width=32, blocks=2, heads=4, image=32, patch=8)
SMALL = Size(width=192, blocks=6, heads=6, image=112, patch=8)


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

    def __call__(self, inputs: Tensor | dict[str, Tensor]) -> Tensor:
        return (self.module(inputs) if isinstance(inputs, Tensor) else self.module(**inputs)).logits


@dataclass(frozen=True)
class Family:
    """A kind of model.

    Attributes:
        name: what it is called in the table.
        example: the class or the name that its library knows it by.
        make: builds it at a size, with one of ``variants``.
        variants: ways in which the same model can compute its attention; their maps must agree.
    """

    name: str
    example: str
    make: Callable[[Size, str], nn.Module]
    modality: str
    variants: tuple[str, ...]
    image: tuple[int, int] | None = None  # of the example, if not square

    @property
    def returns_logits(self) -> bool:
        """Whether the model's forward returns logits, not an object that holds them."""
        return not self.example.startswith("transformers")

    def build(self, size: Size, variant: str) -> Example:
        """The model of this family with the same random weights in every variant."""
        torch.manual_seed(0)
        module = self.make(size, variant).eval().requires_grad_(False)
        generator = torch.Generator().manual_seed(0)
        for p in module.parameters():
            # Larger than usual initial weights, or attention would be uniform and agree with anything.
            scale = 2 * p.shape[-1] ** -0.5 if p.ndim > 1 else 0.2
            p.copy_(torch.randn(p.shape, generator=generator) * scale + (p.ndim == 1) * 0.5)
        generator.manual_seed(1)
        if self.modality == "image":
            height, width = self.image or (size.image, size.image)
            images = torch.randn(len(LENGTHS), 3, height, width, generator=generator)
            return Example(module if self.returns_logits else _Logits(module), images, module)
        longest = max(LENGTHS) * size.blocks // TINY.blocks
        ids = torch.randint(3, VOCABULARY, (len(LENGTHS), longest), generator=generator)
        lengths = torch.tensor(LENGTHS)[:, None] * size.blocks // TINY.blocks
        mask = (torch.arange(longest) < lengths).long()
        inputs = {"input_ids": ids * mask, "attention_mask": mask}
        return Example(_Logits(module), inputs, module)


def _timm(name: str, example: str, image: tuple[int, int] | None = None, **options: Any) -> Family:
    def make(size: Size, variant: str) -> nn.Module:
        import timm
        from timm.layers import set_fused_attn

        arguments = {
            "img_size": image or size.image,
            "patch_size": size.patch,
            "embed_dim": size.width,
            "depth": size.blocks,
            "num_heads": size.heads,
            "num_classes": CLASSES,
        } | options
        set_fused_attn(variant == "fused")  # read when a model is built
        try:
            return timm.create_model(example, **{k: v for k, v in arguments.items() if v is not None})
        finally:
            set_fused_attn(True)

    return Family(name, f"timm {example}", make, "image", ("fused", "unfused"), image)


def _transformers(
    name: str,
    example: str,
    modality: str = "text",
    rename: Mapping[str, str | None] = MappingProxyType({}),
    variants: tuple[str, ...] = ("sdpa", "eager"),
    **options: Any,
) -> Family:
    """``rename`` says what this configuration calls an argument, or None if it has none of its kind."""

    def make(size: Size, variant: str) -> nn.Module:
        import transformers

        configuration = getattr(transformers, example.partition("For")[0] + "Config")
        arguments = {
            "vocab_size": VOCABULARY,
            "hidden_size": size.width,
            "num_hidden_layers": size.blocks,
            "num_attention_heads": size.heads,
            "intermediate_size": 2 * size.width,
            "max_position_embeddings": 64,
            "pad_token_id": 0,
            "num_labels": CLASSES,
        }
        if modality == "image":
            arguments = {
                key: value
                for key, value in arguments.items()
                if key not in ("vocab_size", "max_position_embeddings", "pad_token_id")
            } | {"image_size": size.image, "patch_size": size.patch}
        arguments = {rename.get(key, key): value for key, value in arguments.items()}
        arguments.pop(None, None)
        config = configuration(**arguments | options, attn_implementation=variant)
        return getattr(transformers, example)(config)

    return Family(name, f"transformers {example}", make, modality, variants)


class TorchEncoder(nn.Module):
    """Patches, a class token, torch's own encoder layers, and a head."""

    def __init__(self, size: Size):
        super().__init__()
        self.patches = nn.Conv2d(3, size.width, size.patch, size.patch)
        self.class_token = nn.Parameter(torch.zeros(1, 1, size.width))
        layer = nn.TransformerEncoderLayer(size.width, size.heads, 2 * size.width, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, size.blocks)
        self.head = nn.Linear(size.width, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.class_token.expand(len(x), -1, -1), x], dim=1)
        return self.head(self.encoder(x)[:, 0])


class TorchAttention(TorchEncoder):
    """The same with ``nn.MultiheadAttention`` in blocks of its own, which returns its weights."""

    def __init__(self, size: Size):
        super().__init__(size)
        self.encoder = nn.ModuleList(
            nn.MultiheadAttention(size.width, size.heads, batch_first=True) for _ in range(size.blocks)
        )

    def forward(self, x: Tensor) -> Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.class_token.expand(len(x), -1, -1), x], dim=1)
        for attention in self.encoder:
            x = x + attention(x, x, x)[0]
        return self.head(x[:, 0])


VIT = "vit_base_patch16_224"
# The arguments that models of a fixed size do not take.
FIXED = dict.fromkeys(("img_size", "patch_size", "embed_dim", "depth", "num_heads"))
FAMILIES = (
    _timm("ViT", VIT),
    _timm("DeiT", "deit_tiny_patch16_224"),
    _timm("DeiT, distilled (two prefix tokens, two heads)", "deit_tiny_distilled_patch16_224"),
    _timm("DeiT-3 (LayerScale)", "deit3_small_patch16_224"),
    _timm("ViT with registers (DINOv2)", "vit_small_patch14_reg4_dinov2"),
    _timm("SwiGLU MLP (DINOv2 giant)", "vit_giant_patch14_dinov2"),
    _timm("QK-norm", VIT, qk_norm=True),
    _timm("rotary positions (EVA-02)", "eva02_tiny_patch14_224"),
    _timm("relative position bias (BEiT)", "beit_base_patch16_224"),
    _timm("average-pooled head, no class token", VIT, global_pool="avg", class_token=False),
    _timm("average-pooled head beside a class token", VIT, global_pool="avg"),
    _timm("attention-pooled head (SigLIP)", "vit_base_patch16_siglip_224"),
    _timm("hybrid patch embedding (ResNet)", "vit_small_r26_s32_224", (64, 64), patch_size=None),
    _timm("another patch size", VIT, patch_size=4),
    _timm("another image size than built for", VIT, (48, 48), img_size=32, dynamic_img_size=True),
    _timm("grid that is not square", VIT, (32, 48)),
    _timm("class attention with talking heads (CaiT)", "cait_xxs24_224"),
    _timm(
        "windowed attention (Swin)",
        "swin_tiny_patch4_window7_224",
        (32, 32),
        **{"window_size": 4, "embed_dim": 24, "depths": (1, 1), "num_heads": (2, 2)},
        **{"depth": None, "patch_size": None},
    ),
    _timm(
        "hierarchical attention, fewer keys than queries (PVT v2)",
        "pvt_v2_b0",
        (64, 64),
        **FIXED,
    ),
    _timm(
        "linear attention (EfficientViT)",
        "efficientvit_b0",
        (64, 64),
        **FIXED,
    ),
    _timm("cross-covariance attention (XCiT)", "xcit_nano_12_p16_224", (32, 32), patch_size=None),
    _transformers("BERT", "BertForSequenceClassification"),
    _transformers("RoBERTa", "RobertaForSequenceClassification"),
    _transformers(
        "DistilBERT",
        "DistilBertForSequenceClassification",
        rename={
            "hidden_size": "dim",
            "num_hidden_layers": "n_layers",
            "num_attention_heads": "n_heads",
            "intermediate_size": "hidden_dim",
        },
    ),
    _transformers("ELECTRA", "ElectraForSequenceClassification", embedding_size=32),
    _transformers("ALBERT (shared layers)", "AlbertForSequenceClassification", embedding_size=16),
    _transformers(
        "DeBERTa-v2",
        "DebertaV2ForSequenceClassification",
        variants=("eager",),
        relative_attention=True,
        pos_att_type=["p2c", "c2p"],
        position_buckets=8,
    ),
    _transformers("XLM-R", "XLMRobertaForSequenceClassification"),
    _transformers("MPNet", "MPNetForSequenceClassification", variants=("eager",)),
    _transformers(
        "ModernBERT",
        "ModernBertForSequenceClassification",
        **{"cls_token_id": 1, "bos_token_id": 1, "sep_token_id": 2, "eos_token_id": 2},
    ),
    _transformers("ViT", "ViTForImageClassification", "image"),
    _transformers("DeiT", "DeiTForImageClassification", "image"),
    _transformers("DINOv2", "Dinov2ForImageClassification", "image", rename={"intermediate_size": None}),
    _transformers(
        "GPT-2 (causal, last token)",
        "GPT2ForSequenceClassification",
        rename={
            "hidden_size": "n_embd",
            "num_hidden_layers": "n_layer",
            "num_attention_heads": "n_head",
            "intermediate_size": "n_inner",
            "max_position_embeddings": "n_positions",
        },
    ),
    _transformers(
        "Llama (causal, grouped queries, last token)", "LlamaForSequenceClassification", num_key_value_heads=2
    ),
    Family(
        "torch's TransformerEncoderLayer",
        "torch nn.TransformerEncoderLayer",
        lambda size, variant: TorchEncoder(size),
        "image",
        ("batch first",),
    ),
    Family(
        "torch's MultiheadAttention",
        "torch nn.MultiheadAttention",
        lambda size, variant: TorchAttention(size),
        "image",
        ("batch first",),
    ),
)
