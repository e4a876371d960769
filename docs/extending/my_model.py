"""A model of one's own: a small Transformer in plain torch that averages its patches."""

import torch
from torch import Tensor, nn


class SmallTransformer(nn.Module):
    """Patches of 32 × 32 pixels, blocks of nn.TransformerEncoderLayer, the mean of all tokens, a linear layer."""

    def __init__(self, width: int, depth: int, classes: int):
        super().__init__()
        self.patches = nn.Conv2d(3, width, kernel_size=32, stride=32)
        self.positions = nn.Parameter(0.1 * torch.randn(1, 49, width))
        self.blocks = nn.ModuleList(
            nn.TransformerEncoderLayer(width, 4, 2 * width, batch_first=True, norm_first=True)
            for _ in range(depth)
        )
        self.head = nn.Linear(width, classes)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (batch, classes) of normalised images (batch, 3, 224, 224)."""
        tokens = self.patches(images).flatten(2).transpose(1, 2) + self.positions
        for block in self.blocks:
            tokens = block(tokens)
        return self.head(tokens.mean(dim=1))


def make_model(width: int = 32, depth: int = 2, seed: int = 0) -> nn.Module:
    """The model with weights drawn from a seed; load trained ones here."""
    torch.manual_seed(seed)
    return SmallTransformer(width, depth, classes=10)
