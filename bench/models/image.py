"""Vision Transformers of timm."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from bench.errors import BenchError
from bench.hub import reach_hub
from bench.models.checkpoint import check_finite, checksum, load_weights

# Arguments of timm.create_model that name weights; all weights come through bench.models.checkpoint.
WEIGHTS = {"checkpoint_path", "pretrained", "pretrained_cfg", "pretrained_cfg_overlay"}


class ImageModel:
    """An unmodified timm classifier in eval mode.

    Args:
        architecture: timm's name of the model; with its tag, the hub's weights of that name are loaded.
        checkpoint: a local ``.safetensors`` or ``.pth`` file instead of the hub's weights.
        options: further arguments of ``timm.create_model``, but none that name weights.
        mean, std: per channel, for pixels in 0..1; None takes the model's own.

    Attributes:
        module: the timm model itself, a callable from normalised images (batch, 3, H, W) to logits.
        input_size: (height, width) that the model takes.
        crop: the share of the resized image that the model's own preprocessing keeps.
        interpolation: of the model's own preprocessing.
        grid: patches per column and row.
        prefix_tokens: how many tokens stand before those of the patches.

    Raises:
        BenchError: if there is no such model, its weights cannot be had or do not fit, or it is no Vision
            Transformer.
    """

    def __init__(
        self,
        architecture: str,
        checkpoint: str | Path | None = None,
        options: Mapping | None = None,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
    ):
        timm = _timm()
        architecture, options = str(architecture), options or {}
        if not timm.is_model(architecture):
            near = ", ".join(timm.list_models(f"{architecture.split('_')[0]}*")[:5])
            raise BenchError(
                f"model.architecture: timm has no model {architecture!r}; similar ones: {near or 'none'}"
            )
        if not isinstance(options, Mapping) or WEIGHTS & set(options):
            raise BenchError(
                f"model.options={options}: expected arguments of timm.create_model, such as "
                "{img_size: 384}; name weights in model.checkpoint"
            )
        if checkpoint is None:
            reach_hub(
                f"model.architecture: no local weights of {architecture}", "Give model.checkpoint=<file>"
            )
        try:
            self.module = timm.create_model(architecture, pretrained=checkpoint is None, **options).eval()
        except Exception as e:  # of timm and torch about the options, or of the hub's clients
            if checkpoint is None and isinstance(e, (OSError, RuntimeError, ValueError)):
                raise BenchError(
                    f"model.architecture: no weights of {architecture} to be had from the hub "
                    f"({type(e).__name__}); download them and give model.checkpoint=<file>"
                ) from e
            raise BenchError(f"model.options: {architecture} does not take {options}: {e!r}") from e
        if not hasattr(getattr(self.module, "patch_embed", None), "grid_size"):
            raise BenchError(
                f"model.architecture: {architecture} is no Vision Transformer: it does not cut images into a "
                "grid of patches that stay tokens to the end (results/models.md lists families that work)"
            )
        if checkpoint is not None:
            load_weights(self.module, checkpoint, architecture)
        check_finite(self.module, f"model.checkpoint: {checkpoint or architecture}")
        config = timm.data.resolve_model_data_config(self.module)
        self.input_size = tuple(self.module.patch_embed.img_size or config["input_size"][1:])
        self.crop = config["crop_pct"]
        self.interpolation = config["interpolation"]
        self.mean = _channels("mean", mean, config["mean"])
        self.std = _channels("std", std, config["std"])
        self.grid = tuple(self.module.patch_embed.grid_size)
        self.prefix_tokens = getattr(self.module, "num_prefix_tokens", 0)
        self.classes = self.module.num_classes
        self.checksum = checksum(self.module)
        self.device = torch.device("cpu")

    def to(self, device: torch.device) -> "ImageModel":
        """Move the weights; returns the model."""
        self.module.to(device)
        self.device = device
        return self

    def normalise(self, pixels: Tensor) -> Tensor:
        """From pixels in 0..1, (batch, 3, H, W), to what the model takes.

        In double precision, then rounded, so that every device gives the same numbers: relevance can
        change visibly with the last bit of a pixel.
        """
        mean, std = (
            torch.tensor(v, dtype=torch.float64, device=pixels.device).view(1, -1, 1, 1)
            for v in (self.mean, self.std)
        )
        return ((pixels.double() - mean) / std).to(pixels.dtype)

    @torch.inference_mode()
    def predict(self, images: Tensor) -> Tensor:
        """The predicted classes (batch,) of normalised images."""
        return self.module(images).argmax(dim=1)


def _channels(key: str, value, default: Sequence[float]) -> Sequence[float]:
    """A setting of one number per channel, or the model's own where it is None."""
    if value is None:
        return default
    numbers = isinstance(value, Sequence) and all(isinstance(v, (int, float)) for v in value)
    if not numbers or len(value) != len(default) or not all(0 <= v <= 1 for v in value):
        raise BenchError(f"model.{key}={value}: expected {len(default)} numbers in 0..1, one per channel")
    if key == "std" and 0 in value:
        raise BenchError(f"model.std={value}: pixels are divided by it, so it cannot be 0")
    return value


def _timm():
    """The package, without wandb: that takes half a second to import, and only training scripts need it."""
    if "timm" in sys.modules or "wandb" in sys.modules:
        import timm

        return timm
    sys.modules["wandb"] = None  # as if it were not installed
    try:
        import timm
    finally:
        del sys.modules["wandb"]
    return timm
