"""Methods that take their time, so that something can happen to a job in the middle of its samples; a second model."""

import os
import time

import torch
from torch import nn

import methods

PAUSE = "BENCH_TEST_PAUSE"  # seconds before every batch
DONE = "a batch was explained"  # printed after each, so that the test can follow a job


class _Slowly:
    def __call__(self, forward, inputs, target=None):
        time.sleep(float(os.environ.get(PAUSE, 0)))
        print(DONE, flush=True)
        return super().__call__(forward, inputs, target)


class Rollout(_Slowly, methods.Rollout):
    """Attention rollout."""


class TransformerAttribution(_Slowly, methods.TransformerAttribution):
    """Transformer attribution."""


class RawAttention(_Slowly, methods.RawAttention):
    """Attention of the last block."""


class GradCAM(_Slowly, methods.GradCAM):
    """GradCAM of attention."""


def small_vit() -> nn.Module:
    """A ViT of two narrow blocks with the ten classes of the embedded data and seeded random weights."""
    import timm

    with torch.random.fork_rng():
        torch.manual_seed(0)
        return timm.create_model("vit_tiny_patch16_224", embed_dim=64, depth=2, num_heads=2, num_classes=10)
