"""Train the embedded vision model: a small, unmodified timm ViT that names the large digit in a picture."""

import numpy as np
import timm
import torch
from PIL import Image
from safetensors.torch import save_file
from timm.layers import build_sincos2d_pos_embed
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, Dataset

from bench.embedded import CHECKPOINTS, VIT, make
from bench.embedded.fit import fit
from bench.embedded.images import Picture, draw, heldout

PATCH, GRID, BACKGROUND = 16, 14, 10
BATCH = 32
STEPS = 3800
# How many of the 196 patches the model sees from which step on: a few teach shapes fast, all are what counts.
KEPT = {0: 64, 2400: 112, 3400: GRID * GRID}
LEARNING_RATE = 2e-3
HELDOUT_SEED = 7  # no picture of the written data root comes from this seed


class _TrainingPictures(Dataset):
    """(3, 224, 224) uint8 pixels, the class, and the class of every patch; each index is a fresh picture."""

    def __init__(self, seed: int, count: int) -> None:
        self.seed, self.count = seed, count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> tuple[Tensor, int, Tensor]:
        rng = np.random.default_rng([self.seed, index])
        picture = draw(rng, "train", int(rng.integers(10)))
        pixels = torch.tensor(picture.pixels).permute(2, 0, 1).contiguous()
        return pixels, picture.label, torch.from_numpy(_patch_labels(picture))


def _patch_labels(picture: Picture) -> np.ndarray:
    """(196,) class of the digit that covers a fifth of a patch or more, else BACKGROUND."""
    labels = np.full((GRID, GRID), BACKGROUND)
    for label, mask in ((picture.label, picture.mask), (picture.other_label, picture.other_mask)):
        covered = mask.reshape(GRID, PATCH, GRID, PATCH).mean((1, 3)) > 0.2
        if label is not None:
            labels[covered] = label
    return labels.reshape(-1)


class _KeepDigits(nn.Module):
    """Stands in for timm's patch dropout: keeps the patches of digits first, then random ones."""

    kept: Tensor  # (batch, kept patches) indices

    def choose(self, patch_labels: Tensor, count: int) -> Tensor:
        """Choose ``count`` patches of each picture for the next forward pass; returns their labels."""
        self.kept = (torch.rand(patch_labels.shape) + (patch_labels != BACKGROUND)).topk(count).indices
        return patch_labels.gather(1, self.kept)

    def forward(self, tokens: Tensor) -> Tensor:
        index = self.kept[..., None].expand(-1, -1, tokens.shape[2])
        return torch.cat([tokens[:, :1], tokens[:, 1:].gather(1, index)], 1)


def normalise(pixels: Tensor) -> Tensor:
    """uint8 pixels to what the model takes: mean = std = 0.5."""
    return pixels.float() / 127.5 - 1


def train(seed: int) -> dict[str, object]:
    """Train, save ``vit_digits.safetensors`` and return what is worth knowing about the run.

    The patches have a loss of their own, the class of the digit they lie on, and position embeddings start
    from sines and cosines. Both make a ViT learn in minutes what takes hours from the class token alone. The
    patches' head is dropped afterwards: what is saved is timm's model and nothing else.
    """
    torch.manual_seed(seed)
    model = timm.create_model(**VIT)
    with torch.no_grad():
        model.pos_embed[0, 1:] = build_sincos2d_pos_embed([GRID, GRID], model.embed_dim) * 0.2
    patch_head = nn.Linear(model.embed_dim, BACKGROUND + 1)
    every_patch, keep = model.patch_drop, _KeepDigits()
    model.patch_drop = keep

    def loss_of(step: int, batch: tuple[Tensor, Tensor, Tensor]) -> Tensor:
        pixels, labels, patch_labels = batch
        patch_labels = keep.choose(patch_labels, KEPT[max(start for start in KEPT if start <= step)])
        features = model.forward_features(normalise(pixels))
        loss = cross_entropy(model.forward_head(features), labels, label_smoothing=0.05)
        return loss + cross_entropy(patch_head(features[:, 1:]).flatten(0, 1), patch_labels.flatten())

    loader = DataLoader(_TrainingPictures(seed, STEPS * BATCH), BATCH, num_workers=1, prefetch_factor=8)
    fit(nn.ModuleList([model, patch_head]), loader, loss_of, STEPS, LEARNING_RATE, "train vit_digits")
    model.patch_drop = every_patch
    save_file(model.state_dict(), CHECKPOINTS / "vit_digits.safetensors")
    return {
        "steps": STEPS,
        "batch": BATCH,
        "accuracy_on_1000_heldout_pictures": accuracy(model, HELDOUT_SEED, 1000),
        "accuracy_on_embedded_imagenet": accuracy(model, **make.CLASSIFICATION),
        "accuracy_on_embedded_segmentation": accuracy(model, **make.SEGMENTATION),
    }


@torch.inference_mode()
def accuracy(model: nn.Module, seed: int, count: int) -> float:
    """Top-1 accuracy on held-out pictures, squashed to 224×224 by bilinear resizing."""
    model.eval()
    right = 0
    for picture in heldout(seed, count):
        image = Image.fromarray(picture.pixels).resize((224, 224), Image.Resampling.BILINEAR)
        pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1)[None]
        right += int(model(normalise(pixels)).argmax() == picture.label)
    return right / count
