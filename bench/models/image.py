"""Vision Transformers: timm's, transformers' image classifiers, and any module of the user's own."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from bench.errors import BenchError, first_line
from bench.hub import is_directory, pretrained, reach_hub
from bench.models.base import Batch, Maps, rounded
from bench.models.checkpoint import check_finite, checksum, files_of_directory, load_weights
from bench.models.preprocessing import ImageSettings
from methods.tape import Tape

# Arguments of timm.create_model that name weights; all weights come through bench.models.checkpoint.
WEIGHTS = {"checkpoint_path", "pretrained", "pretrained_cfg", "pretrained_cfg_overlay"}
# Entries of a config.json that say nothing about what the model computes.
OF_THE_FILE = {"_name_or_path", "transformers_version", "dtype", "torch_dtype"}
MOST_PREFIX_TOKENS = 32  # class, distillation and register tokens of one model


class ImageClassifier:
    """An unmodified classifier of images in eval mode.

    Args:
        module: a callable from normalised images (batch, channels, height, width) to logits.
        name: what it is called in messages.
        input_size: (height, width) that it takes.
        grid: patches per column and row.
        prefix_tokens: how many tokens stand before those of the patches.
        classes: names in the order of the logits.
        mean, std: per channel, of pixels in 0..1.
        crop: the share of the resized image that the model's own preprocessing keeps.
        interpolation: of the model's own preprocessing.

    Raises:
        BenchError: if a weight is NaN or infinite.
    """

    modality: ClassVar[str] = "image"
    version: ClassVar[int] = 1

    def __init__(
        self,
        module: nn.Module,
        name: str,
        input_size: tuple[int, int],
        grid: tuple[int, int],
        prefix_tokens: int,
        classes: Sequence[str],
        mean: Sequence[float],
        std: Sequence[float],
        crop: float = 1.0,
        interpolation: str = "bilinear",
    ):
        self.module = module.eval()
        check_finite(module, f"model.checkpoint: {name}")
        channels = next((part.in_channels for part in module.modules() if isinstance(part, nn.Conv2d)), 3)
        if channels != len(mean) or channels != 3:
            raise BenchError(f"model: {name} takes images of {channels} channels; expected 3 (RGB)")
        if not classes:
            raise BenchError(
                f"model: {name} has no classes; expected a classifier, with num_classes of 1 or more"
            )
        self.name, self.input_size, self.grid, self.prefix_tokens = name, input_size, grid, prefix_tokens
        self.classes, self.mean, self.std = tuple(classes), mean, std
        self.crop, self.interpolation = crop, interpolation
        self.content = {"weights": checksum(module)}
        self.device = torch.device("cpu")

    def __repr__(self) -> str:
        return f"{type(self.module).__name__} ({self.name})"

    def forward(self, inputs: Tensor) -> Tensor:
        """Logits (batch, classes) of normalised images."""
        return self.module(inputs)

    def to(self, device: torch.device) -> "ImageClassifier":
        """Move the weights; returns the model."""
        self.module.to(device)
        self.device = device
        return self

    def check(self, settings: Mapping[str, Any]) -> None:
        """Raises BenchError if the settings are out of range, or the model takes images of another size."""
        ImageSettings.of(settings).check(self)

    def preparation(self, settings: Mapping[str, Any]) -> Callable:
        """What brings samples to the model's size."""
        return ImageSettings.of(settings).preparation(self)

    def batch(self, samples: Sequence, settings: Mapping[str, Any]) -> Batch:
        """Put prepared samples together and normalise their pixels."""
        pixels = torch.stack([sample.image for sample in samples]).to(self.device)
        return Batch(samples, self.normalise(pixels))

    def numbers(self, classes: Sequence[str] | None) -> Sequence[int]:
        """The index of the logit of each class of a data set.

        Where it names the same classes as the model, they are found by their names, without case; otherwise
        they are numbered as the model's.

        Raises:
            BenchError: if there are not as many classes.
        """
        own = {name.casefold(): number for number, name in enumerate(self.classes)}
        theirs = [name.casefold() for name in classes or ()]
        if len(own) == len(self.classes) == len(theirs) and own.keys() == set(theirs):
            return [own[name] for name in theirs]
        if classes is not None and len(classes) != len(self.classes):
            raise BenchError(
                f"model: it has {len(self.classes)} classes, but the data set has {len(classes)}; "
                "choose a model that was trained on these classes"
            )
        return range(len(self.classes))

    def maps(self, relevance: Tensor, batch: Batch, target: Tensor) -> Maps:
        """Patch maps (batch, rows, columns) with their prefix tokens apart, or pixel maps (batch, height, width).

        Raises:
            BenchError: if the relevance has neither one number per token nor one per pixel.
        """
        rows, columns = self.grid
        tokens, prefix = self.prefix_tokens + rows * columns, relevance.new_zeros(len(relevance), 0)
        size = tuple(batch.inputs.shape[-2:])
        if tuple(relevance.shape[1:]) == (tokens,):
            prefix, relevance = relevance.split([self.prefix_tokens, rows * columns], dim=1)
            relevance = relevance.unflatten(1, (rows, columns))
        elif tuple(relevance.shape[1:]) != size:
            raise BenchError(
                f"method: it returned relevance of shape {tuple(relevance.shape)}; expected "
                f"(batch, {tokens}) tokens, prefix tokens included, or (batch, {size[0]}, {size[1]}) pixels"
            )
        return Maps(rounded(relevance, batch.ids), prefix.detach().float(), target)

    def normalise(self, pixels: Tensor) -> Tensor:
        """From pixels in 0..1, (batch, channels, height, width), to what the model takes.

        In double precision, then rounded, so that every device gives the same numbers: relevance can
        change visibly with the last bit of a pixel.
        """
        mean, std = (
            torch.tensor(v, dtype=torch.float64, device=pixels.device).view(1, -1, 1, 1)
            for v in (self.mean, self.std)
        )
        return ((pixels.double() - mean) / std).to(pixels.dtype)


class ImageModel(ImageClassifier):
    """An unmodified timm classifier in eval mode.

    Args:
        architecture: timm's name of the model; with its tag, the hub's weights of that name are loaded.
        checkpoint: a local ``.safetensors`` or ``.pth`` file instead of the hub's weights.
        options: further arguments of ``timm.create_model``, but none that name weights.
        mean, std: per channel, for pixels in 0..1; None takes the model's own.

    Raises:
        BenchError: if there is no such model, its weights are not available or do not fit, or it is not a
            Vision Transformer.
    """

    def __init__(
        self,
        architecture: str,
        checkpoint: str | Path | None = None,
        options: Mapping | None = None,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
    ):
        import timm  # takes its time to import

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
            module = timm.create_model(architecture, pretrained=checkpoint is None, **options).eval()
        except Exception as e:  # of timm and torch about the options, or of the hub's clients
            if checkpoint is None and isinstance(e, (OSError, RuntimeError, ValueError)):
                raise BenchError(
                    f"model.architecture: no weights of {architecture} are available from the hub "
                    f"({type(e).__name__}); download them and give model.checkpoint=<file>"
                ) from e
            raise BenchError(f"model.options: {architecture} does not take {options}: {e!r}") from e
        if not hasattr(getattr(module, "patch_embed", None), "grid_size"):
            raise BenchError(
                f"model.architecture: {architecture} is not supported: expected a Vision Transformer that cuts "
                "images into a grid of patches that stay tokens to the end (results/models.md lists families)"
            )
        if checkpoint is not None:
            load_weights(module, checkpoint, architecture)
        config = timm.data.resolve_model_data_config(module)
        super().__init__(
            module,
            str(checkpoint or architecture),
            input_size=tuple(module.patch_embed.img_size or config["input_size"][1:]),
            grid=tuple(module.patch_embed.grid_size),
            prefix_tokens=getattr(module, "num_prefix_tokens", 0),
            classes=[str(number) for number in range(module.num_classes)],
            mean=_channels("mean", mean, config["mean"]),
            std=_channels("std", std, config["std"]),
            crop=config["crop_pct"],
            interpolation=config["interpolation"],
        )

    @staticmethod
    def files(checkpoint: str | Path | None = None, **_: Any) -> list[Path]:
        """The local files that the weights come from; none if they are the hub's."""
        return [] if checkpoint is None else [Path(checkpoint)]


class TransformersImageModel(ImageClassifier):
    """An unmodified image classifier of transformers in eval mode.

    Args:
        path: a directory, or a name on the hub.
        mean, std: per channel, for pixels in 0..1; None takes those of the model's image processor.

    Raises:
        BenchError: if there is no such model, its files are damaged, or it is not a Vision Transformer.
    """

    def __init__(
        self, path: str | Path, mean: Sequence[float] | None = None, std: Sequence[float] | None = None
    ):
        from transformers import AutoImageProcessor, AutoModelForImageClassification

        path = str(path)
        content = "config.json, model.safetensors and preprocessor_config.json"
        local = is_directory("model.path", path, content)
        try:
            processor = AutoImageProcessor.from_pretrained(
                path, local_files_only=local, trust_remote_code=False, use_fast=False
            )
            module, loading = pretrained(AutoModelForImageClassification, path, local, dtype=torch.float32)
        except Exception as e:  # transformers' errors have no base of their own
            raise BenchError(
                f"model.path: {path} cannot be loaded as an image classifier: {first_line(e)}; "
                f"expected {content}"
            ) from e
        if missing := sorted(loading["missing_keys"]):
            raise BenchError(
                f"model.path: {path} lacks {', '.join(missing[:3])}; expected a fine-tuned image classifier"
            )
        size = getattr(module.config, "image_size", None) or 224
        size = (size, size) if isinstance(size, int) else tuple(size)
        grid, prefix_tokens = layout(lambda images: module(images).logits, module, size)
        super().__init__(
            module,
            path,
            input_size=size,
            grid=grid,
            prefix_tokens=prefix_tokens,
            classes=[str(module.config.id2label[number]) for number in range(module.config.num_labels)],
            mean=_channels("mean", mean, processor.image_mean),
            std=_channels("std", std, processor.image_std),
        )
        # The same weights with another activation, or other means, are another model.
        described = {k: v for k, v in module.config.to_diff_dict().items() if k not in OF_THE_FILE}
        described |= {"mean": list(self.mean), "std": list(self.std)}
        text = json.dumps(described, sort_keys=True, default=str)
        self.content["configuration"] = hashlib.sha256(text.encode()).hexdigest()

    @staticmethod
    def files(path: str | Path, **_: Any) -> list[Path]:
        """The local files that the model comes from; none if it is the hub's."""
        return files_of_directory(path)

    def forward(self, inputs: Tensor) -> Tensor:
        """Logits (batch, classes) of normalised images."""
        return self.module(inputs).logits


class TorchImageModel(ImageClassifier):
    """A classifier of images that is any ``nn.Module``.

    Args:
        module: from normalised images (batch, 3, height, width) to logits (batch, classes).
        input_size: height and width of the images.
        grid: [rows, columns] of patches; None finds them by running the module once.
        prefix_tokens: how many tokens stand before those of the patches; None finds out.
        mean, std: per channel, for pixels in 0..1.

    Raises:
        BenchError: if the module does not give logits, or its patches cannot be found.
    """

    def __init__(
        self,
        module: nn.Module,
        input_size: int = 224,
        grid: Sequence[int] | None = None,
        prefix_tokens: int | None = None,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
    ):
        size = (input_size, input_size)
        if grid is None or prefix_tokens is None:
            found, prefix = layout(module.eval(), module, size)
            grid, prefix_tokens = grid or found, prefix if prefix_tokens is None else prefix_tokens
        with torch.inference_mode():
            classes = module.eval()(torch.zeros(1, 3, *size)).shape[-1]
        super().__init__(
            module,
            type(module).__name__,
            input_size=size,
            grid=tuple(grid),
            prefix_tokens=prefix_tokens,
            classes=[str(number) for number in range(classes)],
            mean=_channels("mean", mean, (0.5, 0.5, 0.5)),
            std=_channels("std", std, (0.5, 0.5, 0.5)),
        )


def layout(forward: Callable, module: nn.Module, size: tuple[int, int]) -> tuple[tuple[int, int], int]:
    """The (rows, columns) of patches and the number of tokens before them, found by running a model once.

    Patches are those that a convolution cuts whose stride is its kernel.

    Raises:
        BenchError: if they cannot be found.
    """
    cuts = [
        part.stride
        for part in module.modules()
        if isinstance(part, nn.Conv2d) and part.stride == part.kernel_size and part.stride[0] > 1
    ]
    remedy = "set model.grid=[rows,columns] and model.prefix_tokens"
    try:
        tape = Tape.record(forward, torch.zeros(1, 3, *size), backward=False)
    except (ValueError, RuntimeError) as e:
        raise BenchError(f"model: {type(module).__name__} cannot be run on {size}: {first_line(e)}") from e
    if not cuts:
        raise BenchError(f"model: {type(module).__name__} has no convolution that cuts patches; {remedy}")
    grid = (size[0] // cuts[0][0], size[1] // cuts[0][1])
    prefix = tape.attentions[-1].shape[-1] - grid[0] * grid[1]
    if not 0 <= prefix <= MOST_PREFIX_TOKENS:
        raise BenchError(
            f"model: {type(module).__name__} has {tape.attentions[-1].shape[-1]} tokens for "
            f"{grid[0]} × {grid[1]} patches; {remedy}"
        )
    return grid, prefix


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
