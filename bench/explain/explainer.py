"""Explain images and texts that belong to no data set."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from PIL import Image

from bench.batches import seed_everything
from bench.compute import fitted
from bench.config import CONF, build, configuration
from bench.data.imagenet import decode_rgb
from bench.devices import device_of
from bench.errors import BenchError
from bench.explain.classes import Class, find, image_classes, text_classes
from bench.explain.explanation import ImageExplanation, TextExplanation
from bench.images import ImageSettings, signed_maps
from bench.models import ImageModel, TextModel
from bench.tasks.task import explain
from bench.tasks.token_f1 import word_relevance

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SUITE = "embedded"
METHOD = "transformer_attribution"
TASKS = {"image": "segmentation", "text": "token_f1"}  # whose settings are used
NOT_OF_A_MODEL = {"custom", "oracle"}  # files of conf/method that name no method by themselves


class ImageExplainer:
    """An image model with methods, ready for any number of images.

    Args:
        model: a suite (``embedded``, ``small_real``, ``paper``) or timm's name of an architecture.
        methods: names of ``conf/method``, or ``mypackage.MyMethod``; None for all that the protocol's tables
            compare.
        overrides: as ``python -m bench`` takes them: ``protocol=clean``, ``method.start_layer=0``.
        checkpoint: a local file of weights for an architecture of timm; None takes the hub's.

    Raises:
        BenchError: for everything the user can mend.
    """

    def __init__(
        self,
        model: str = SUITE,
        methods: Sequence[str] | None = (METHOD,),
        overrides: Sequence[str] = (),
        checkpoint: str | Path | None = None,
    ):
        of_a_suite = _is_suite(model, "image")
        if of_a_suite and checkpoint is not None:
            raise BenchError(
                f"checkpoint {checkpoint}: the model of the suite {model} has its own; choose as the model "
                "timm's name of the file's architecture, e.g. vit_base_patch16_224"
            )
        choice = [f"suite={model}"] if of_a_suite else ["model=timm", f"model.architecture={_quoted(model)}"]
        if checkpoint is not None:
            if not Path(checkpoint).is_file():
                raise BenchError(f"checkpoint {checkpoint}: no such file; expected .safetensors or .pth")
            choice.append(f"model.checkpoint={_quoted(checkpoint)}")
        self.config, self.model, self.methods = _built("image", [*choice, *overrides], methods)
        self.classes = image_classes(self.model, self.config["model"])
        # The protocol's size is that of its models; a model of one's own brings its own.
        settings = self.config["task"]["images"] | {"size": self.model.input_size[0]}
        self.settings = ImageSettings(**settings)
        self.settings.check(self.model)

    def __call__(self, image: Image.Image | str | Path, target: str | int | None = None) -> ImageExplanation:
        """Explain why the model gives an image to a class.

        Args:
            image: a file, read as the benchmark reads it (as it is stored, whatever its EXIF orientation), or
                an image, RGB.
            target: a class by number, wnid or name; None for the predicted one.

        Raises:
            BenchError: the file cannot be read, there is no such class, or a method refuses.
        """
        name = "the image" if isinstance(image, Image.Image) else str(image)
        image = image.convert("RGB") if isinstance(image, Image.Image) else _read(Path(image))
        seed_everything(self.config["seed"])
        pixels = self.settings.pixels(image, self.model)[None].to(self.model.device)
        inputs = self.model.normalise(pixels)
        with torch.inference_mode():
            logits = self.model.module(inputs)[0]
        explained = _chosen(self.classes, logits, target)
        index = torch.tensor([explained.index], device=self.model.device)
        maps = {}
        for method_name, method in self.methods.items():
            relevance = explain(method, self.model.module, inputs, index, [name], annotation=None)
            maps[method_name] = signed_maps(relevance, self.model, pixels.shape[-2:])[0].cpu().numpy()
        return ImageExplanation(
            model=self.config["model"]["title"],
            explained=explained,
            probabilities=logits.double().softmax(dim=0).tolist(),
            classes=self.classes,
            maps=maps,
            image=self.settings.seen(image, self.model),
        )


class TextExplainer:
    """A text model with methods, ready for any number of texts.

    Args:
        model: a suite (``embedded``, ``small_real``, ``paper``), a directory of transformers or a name on the
            hub.
        methods, overrides: as for :class:`ImageExplainer`.

    Raises:
        BenchError: for everything the user can mend.
    """

    def __init__(
        self,
        model: str = SUITE,
        methods: Sequence[str] | None = (METHOD,),
        overrides: Sequence[str] = (),
    ):
        of_a_suite = _is_suite(model, "text")
        choice = [f"suite={model}"] if of_a_suite else ["model=transformers", f"model.path={_quoted(model)}"]
        self.config, self.model, self.methods = _built("text", [*choice, *overrides], methods)
        self.classes = text_classes()

    def __call__(self, text: str, target: str | int | None = None) -> TextExplanation:
        """Explain why the model gives a text to a class, word by word as they are separated by white space.

        Args:
            target: NEG or POS, or 0 or 1; None for the predicted one.

        Raises:
            BenchError: the text is empty, there is no such class, or a method refuses.
        """
        words = text.split()
        if not words:
            raise BenchError("text: it has no words; expected some")
        seed_everything(self.config["seed"])
        settings = self.config["task"]["settings"]
        encoding = self.model.encode([words], min(settings["max_length"], self.model.max_length))
        with torch.inference_mode():
            logits = self.model(encoding.inputs)[0, self.model.class_indices]
        explained = _chosen(self.classes, logits, target)
        index = torch.tensor([self.model.class_indices[explained.index]], device=self.model.device)
        maps = {}
        for name, method in self.methods.items():
            relevance = explain(method, self.model, encoding.inputs, index, ["the text"], annotation=None)
            scores, _ = word_relevance(relevance, encoding.words, settings["word_score"])
            maps[name] = scores[0].cpu().numpy()
        return TextExplanation(
            model=self.config["model"]["title"],
            explained=explained,
            probabilities=logits.double().softmax(dim=0).tolist(),
            classes=self.classes,
            maps=maps,
            words=words,
        )


def explain_image(
    image: Image.Image | str | Path,
    target: str | int | None = None,
    *,
    model: str = SUITE,
    method: str | Sequence[str] | None = METHOD,
    overrides: Sequence[str] = (),
    checkpoint: str | Path | None = None,
) -> "Figure":
    """One image with its relevance for a class, as a matplotlib figure.

    Arguments and errors are those of :class:`ImageExplainer` and what it is called with; several methods, or
    None for all that the protocol's tables compare, make a grid. For many images make an
    :class:`ImageExplainer` once.
    """
    return ImageExplainer(model, _several(method), overrides, checkpoint)(image, target).figure()


def explain_text(
    text: str,
    target: str | int | None = None,
    *,
    model: str = SUITE,
    method: str | Sequence[str] | None = METHOD,
    overrides: Sequence[str] = (),
) -> TextExplanation:
    """One text with the relevance of its words for a class, which notebooks show as shaded words.

    Arguments and errors are those of :class:`TextExplainer` and what it is called with. For many texts make a
    :class:`TextExplainer` once.
    """
    return TextExplainer(model, _several(method), overrides)(text, target)


def _several(method: str | Sequence[str] | None) -> Sequence[str] | None:
    return [method] if isinstance(method, str) else method


def _is_suite(model: str, modality: str) -> bool:
    return model in {file.parent.name for file in CONF.glob(f"model/*/{modality}.yaml")}


def _built(
    modality: str, choice: Sequence[str], names: Sequence[str] | None
) -> tuple[dict[str, Any], ImageModel | TextModel, dict[str, Any]]:
    """A configuration, its model and the methods by name."""
    choice = [f"task={TASKS[modality]}", *choice]
    if names is None:
        compared = configuration(choice)["protocol"]["compared"][modality]
        names = [name.strip() for name in compared.split(",")]
    configs = [configuration([*_method(name), *choice]) for name in names]
    config = configs[0]
    model = build("model", config["model"]).to(device_of(config["device"]))
    methods = {c["method"]["name"]: fitted(build("method", c["method"]), model, c["method"]) for c in configs}
    return config, model, methods


def _method(name: str) -> list[str]:
    """The overrides that choose a method."""
    if "." in name:
        return ["method=custom", f"method._target_={_quoted(name)}"]
    known = sorted({file.stem for file in (CONF / "method").glob("*.yaml")} - NOT_OF_A_MODEL)
    if name not in known:
        raise BenchError(
            f"method {name!r}: there is no such method; expected one of {', '.join(known)}, or "
            "package.module.Name of your own"
        )
    return [f"method={name}"]


def _quoted(value: str | Path) -> str:
    """A value in an override, whatever characters it has."""
    escaped = str(value).replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def _read(file: Path) -> Image.Image:
    if not file.is_file():
        raise BenchError(f"{file}: no such file; expected an image")
    return decode_rgb(file, str(file))


def _chosen(classes: Sequence[Class], logits: torch.Tensor, target: str | int | None) -> Class:
    return classes[int(logits.argmax())] if target is None else find(classes, target)
