"""Small random models and inputs for the tests of the methods."""

import bench  # noqa: F401  isort: skip  (lets timm and transformers be imported)

import timm
import torch
import torch.nn.functional as F
from torch import nn
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    LlamaConfig,
    LlamaForSequenceClassification,
)

LENGTHS = (9, 5, 7)
IMAGES = torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(1))


def rand(*shape, seed=0, zeros=True):
    """Normal numbers in float64, a fifth of them exactly 0, as in practice (ReLU, padding), or none."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(shape, generator=generator, dtype=torch.float64)
    return x * (torch.rand(shape, generator=generator) > 0.2) if zeros else x


def enlarged(model, std=0.2):
    """Random weights large enough for the attention to be far from uniform."""
    generator = torch.Generator().manual_seed(0)
    for p in model.parameters():
        p.data = torch.randn(p.shape, generator=generator) * std
    return model.eval()


def make_vit(**options):
    """A ViT of 16 patches, 3 blocks and 5 classes, or what the options say."""
    size = {"img_size": 32, "patch_size": 8, "embed_dim": 24, "depth": 3, "num_heads": 3, "num_classes": 5}
    return enlarged(timm.create_model("vit_base_patch16_224", **(size | options)))


def make_bert(attention="sdpa"):
    """A BERT classifier of 3 layers and 2 classes."""
    config = BertConfig(
        vocab_size=50,
        hidden_size=24,
        num_hidden_layers=3,
        num_attention_heads=3,
        intermediate_size=48,
        max_position_embeddings=20,
        attn_implementation=attention,
    )
    return enlarged(BertForSequenceClassification(config))


def make_llama(**options):
    """A Llama classifier of 2 layers and 2 classes, with grouped heads."""
    config = LlamaConfig(
        vocab_size=50,
        hidden_size=24,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        intermediate_size=32,
        max_position_embeddings=20,
        pad_token_id=0,
        **options,
    )
    return enlarged(LlamaForSequenceClassification(config))


def texts(width=9):
    """Three padded texts of LENGTHS words."""
    ids = torch.randint(1, 50, (len(LENGTHS), max(LENGTHS)), generator=torch.Generator().manual_seed(2))
    mask = (torch.arange(width) < torch.tensor(LENGTHS)[:, None]).long()
    return {"input_ids": F.pad(ids, (0, width - ids.shape[1])) * mask, "attention_mask": mask}


WIDTH = 16  # few inputs would leave some outputs of a linear layer without any positive contribution


class Model(nn.Module):
    """One attention layer of one head, and whatever ``op(model, x)`` does to the tokens after it."""

    def __init__(self, op=lambda model, x: x):
        super().__init__()
        self.op = op
        self.embed, self.query, self.branch = (
            nn.Linear(WIDTH, WIDTH),
            nn.Linear(WIDTH, WIDTH),
            nn.Linear(WIDTH, WIDTH),
        )
        self.weight = nn.Parameter(torch.empty(WIDTH, WIDTH))
        self.head = nn.Linear(WIDTH, 3)
        enlarged(self, std=0.5)

    def forward(self, x):
        x = self.embed(x)
        attention = (self.query(x)[:, None] @ x[:, None].transpose(-1, -2)).softmax(dim=-1)
        x = x + (attention @ x[:, None])[:, 0]
        return self.head(self.op(self, x)[:, 0])


TOKENS = torch.randn(2, 4, WIDTH, generator=torch.Generator().manual_seed(3))
