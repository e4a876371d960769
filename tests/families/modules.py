"""Models that no library builds at any size, from torch's own layers, and the layout of OpenAI's CLIP."""

import torch
from torch import Tensor, nn

from tests.families.family import BLOCKS, CLASSES, HEADS, IMAGE, PATCH, WIDTH


class _Patches(nn.Module):
    """Patches behind a class token, and a head that reads it; subclasses say what lies between."""

    def __init__(self):
        super().__init__()
        self.patches = nn.Conv2d(3, WIDTH, PATCH, PATCH)
        self.class_token = nn.Parameter(torch.zeros(1, 1, WIDTH))
        self.head = nn.Linear(WIDTH, CLASSES)

    def tokens(self, x: Tensor) -> Tensor:
        """(batch, tokens, width)"""
        x = self.patches(x).flatten(2).transpose(1, 2)
        return torch.cat([self.class_token.expand(len(x), -1, -1), x], dim=1)


class Encoder(_Patches):
    """``nn.TransformerEncoder``, batch first or, as is its default, tokens first."""

    def __init__(self, batch_first: bool, norm_first: bool = False):
        super().__init__()
        self.batch_first = batch_first
        layer = nn.TransformerEncoderLayer(
            WIDTH, HEADS, 2 * WIDTH, batch_first=batch_first, norm_first=norm_first
        )
        self.encoder = nn.TransformerEncoder(layer, BLOCKS, enable_nested_tensor=False)

    def forward(self, x: Tensor) -> Tensor:
        x = self.tokens(x)
        if self.batch_first:
            return self.head(self.encoder(x)[:, 0])
        return self.head(self.encoder(x.transpose(0, 1))[0])


class Attention(_Patches):
    """``nn.MultiheadAttention`` in blocks of its own, which returns its weights."""

    def __init__(self):
        super().__init__()
        self.blocks = nn.ModuleList(
            nn.MultiheadAttention(WIDTH, HEADS, batch_first=True) for _ in range(BLOCKS)
        )

    def forward(self, x: Tensor) -> Tensor:
        x = self.tokens(x)
        for attention in self.blocks:
            x = x + attention(x, x, x)[0]
        return self.head(x[:, 0])


class _QuickGELU(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(1.702 * x)


class _ClipBlock(nn.Module):
    def __init__(self):
        super().__init__()
        self.attn = nn.MultiheadAttention(WIDTH, HEADS)
        self.ln_1, self.ln_2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.mlp = nn.Sequential(nn.Linear(WIDTH, 4 * WIDTH), _QuickGELU(), nn.Linear(4 * WIDTH, WIDTH))

    def forward(self, x: Tensor) -> Tensor:
        y = self.ln_1(x)
        x = x + self.attn(y, y, y, need_weights=False)[0]
        return x + self.mlp(self.ln_2(x))


class OpenAIClip(_Patches):
    """The image tower of OpenAI's CLIP against fixed text features: (tokens, batch, width) between two norms.

    Radford et al., "Learning Transferable Visual Models From Natural Language Supervision", ICML 2021
    (arXiv 2103.00020).

    Args:
        cosine: whether the logits are cosines, or the image's features keep their length.
    """

    def __init__(self, cosine: bool):
        super().__init__()
        self.cosine = cosine
        self.positions = nn.Parameter(torch.zeros((IMAGE // PATCH) ** 2 + 1, WIDTH))
        self.ln_pre, self.ln_post = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.blocks = nn.Sequential(*(_ClipBlock() for _ in range(BLOCKS)))
        self.projection = nn.Parameter(torch.zeros(WIDTH, WIDTH // 2))
        self.texts = nn.Parameter(torch.zeros(CLASSES, WIDTH // 2))
        self.head = None

    def forward(self, x: Tensor) -> Tensor:
        x = self.ln_pre(self.tokens(x) + self.positions).permute(1, 0, 2)
        x = self.ln_post(self.blocks(x).permute(1, 0, 2)[:, 0]) @ self.projection
        if self.cosine:
            x = x / x.norm(dim=-1, keepdim=True)
        return x @ (self.texts / self.texts.norm(dim=-1, keepdim=True)).t()


def torchvision_vit() -> nn.Module:
    """torchvision's ViT, whose blocks are ``nn.MultiheadAttention``."""
    from torchvision.models import VisionTransformer

    return VisionTransformer(IMAGE, PATCH, BLOCKS, HEADS, WIDTH, 2 * WIDTH, num_classes=CLASSES)
