"""Explain images and texts that belong to no data set."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image

from bench.catalogue import Catalogue
from bench.config import build, config_dirs, configuration, quoted
from bench.data import ImageSample, TextSample
from bench.data.imagenet import decode_rgb
from bench.errors import BenchError, did_you_mean
from bench.explain.defaults import METHOD, SUITE
from bench.explain.explanation import ImageExplanation, TextExplanation, picture, words_of
from bench.models import Batch, Maps
from bench.models.build import build_model
from bench.models.classes import classes_of, find
from bench.models.preprocessing import ImageSettings
from bench.runner.batches import seed_everything
from bench.runner.explain import with_prefix_tokens
from bench.runner.loop import Explainer
from bench.runner.resources import device_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ANOTHER = {"image": "vit_base_patch16_224 or small_real", "text": "small_real or a directory of transformers"}
TASKS = {"image": "segmentation", "text": "token_f1"}  # whose settings are used


class _SampleExplainer:
    """A model with methods: what is the same for images and texts.

    Attributes:
        config: the resolved configuration, with the first of the methods.
        model: the model, on its device.
        classes: those of the model, in the order of its logits.
        titles: of the methods, by name.
        settings: how samples are brought to the model's size.
        note: what to know before believing it; None where there is nothing.
    """

    note: str | None = None

    def __init__(
        self, modality: str, choice: Sequence[str], names: Sequence[str] | None, overrides: Sequence[str]
    ):
        choice = [f"task={TASKS[modality]}", *choice, *overrides]
        if names is None:
            compared = configuration(choice)["protocol"]["compared"][modality]
            names = [name.strip() for name in compared.split(",")]
        facts = Catalogue(config_dirs(overrides))
        configs = [configuration([*_method(name, facts), *choice]) for name in names]
        self.config = configs[0]
        self.task = build("task", self.config["task"], description={"_target_"})
        known = self.config["suite"].get("knows", {}).get(modality)
        if known and any(part.startswith("suite=") for part in choice):
            self.note = (
                f"this model knows {known} alone, so what it says of anything else means nothing; choose another, "
                f"e.g. with --model {ANOTHER[modality]}"
            )
        self.model = build_model(self.config["model"]).to(device_of(self.config["device"]))
        self.classes = classes_of(self.model, self.config["model"])
        self.titles = {c["method"]["name"]: c["method"]["title"] for c in configs}
        self.settings = dict(self.config["task"]["inputs"])
        self._explainers = {
            c["method"]["name"]: Explainer(
                self.model,
                with_prefix_tokens(build("method", c["method"]), self.model, c["method"]),
                range(len(self.classes)),
                explained="predicted",
            )
            for c in configs
        }

    def _explained(
        self, sample: ImageSample | TextSample, target: str | int | None
    ) -> tuple[Batch, dict[str, Any], dict[str, Maps]]:
        """The sample as a batch of one, what is the same in every explanation, and the maps by method."""
        seed_everything(self.config["seed"])
        self.model.check(self.settings)
        prepared = self.model.preparation(self.settings)(sample)
        batch = self.model.batch([prepared], self.settings)
        with torch.inference_mode():
            logits = self.model.forward(batch.inputs)[0]
        explained = self.classes[int(logits.argmax())] if target is None else find(self.classes, target)
        index = torch.tensor([explained.index], device=self.model.device)
        common: dict[str, Any] = {
            "model": self.config["model"]["title"],
            "explained": explained,
            "probabilities": logits.double().softmax(dim=0).tolist(),
            "classes": self.classes,
            "titles": self.titles,
        }
        return batch, common, {name: e.maps(batch, index) for name, e in self._explainers.items()}


class ImageExplainer(_SampleExplainer):
    """An image model with methods, ready for any number of images.

    Args:
        model: a suite (``embedded``, ``small_real``, ``paper``), timm's name of an architecture, or a
            directory of transformers.
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
        if _is_suite(model, "image", overrides):
            if checkpoint is not None:
                raise BenchError(
                    f"checkpoint {checkpoint}: the model of the suite {model} has its own; choose as the "
                    "model timm's name of the file's architecture, e.g. vit_base_patch16_224"
                )
            choice = [f"suite={model}"]
        elif Path(model).is_dir():
            choice = ["model=transformers_image", f"model.path={quoted(model)}"]
        else:
            choice = ["model=timm", f"model.architecture={quoted(model)}"]
        if checkpoint is not None:
            if not Path(checkpoint).is_file():
                raise BenchError(f"checkpoint {checkpoint}: no such file; expected .safetensors or .pth")
            choice.append(f"model.checkpoint={quoted(checkpoint)}")
        super().__init__("image", choice, methods, overrides)
        # The protocol's size is that of its models; a model of one's own brings its own.
        self.settings["size"] = self.model.input_size[0]
        self.model.check(self.settings)

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
        batch, common, maps = self._explained(ImageSample(name, image, None, None), target)
        size = tuple(batch.inputs.shape[-2:])
        return ImageExplanation(
            **common,
            maps={method: picture(own, size)[0] for method, own in maps.items()},
            relevance={method: own.values[0].cpu().numpy() for method, own in maps.items()},
            image=ImageSettings.of(self.settings).seen(image, self.model),
        )


class TextExplainer(_SampleExplainer):
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
        of_a_suite = _is_suite(model, "text", overrides)
        choice = [f"suite={model}"] if of_a_suite else ["model=transformers", f"model.path={quoted(model)}"]
        super().__init__("text", choice, methods, overrides)
        if self.model.max_length is not None:
            self.settings["max_length"] = min(self.settings["max_length"], self.model.max_length)

    def __call__(self, text: str, target: str | int | None = None) -> TextExplanation:
        """Explain why the model gives a text to a class, word by word as they are separated by white space.

        Args:
            target: a class by number or name; None for the predicted one.

        Raises:
            BenchError: the text is empty, there is no such class, or a method refuses.
        """
        words = text.split()
        if not words:
            raise BenchError("text: it has no words; expected some")
        sample = TextSample("the text", words, None, np.zeros(len(words), dtype=bool))
        batch, common, maps = self._explained(sample, target)
        scores = {name: words_of(own, batch, self.task)[0] for name, own in maps.items()}
        return TextExplanation(**common, maps=scores, relevance=scores, words=words)


def explain_image(
    image: Image.Image | str | Path,
    target: str | int | None = None,
    *,
    model: str = SUITE,
    method: str | Sequence[str] | None = METHOD,
    overrides: Sequence[str] = (),
    checkpoint: str | Path | None = None,
) -> "Figure":
    """One image with its relevance for a class, as a matplotlib figure: a grid for several methods.

    Arguments and errors are those of :class:`ImageExplainer`, better for many images, and of its call.
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

    Arguments and errors are those of :class:`TextExplainer`, better for many texts, and of its call.
    """
    return TextExplainer(model, _several(method), overrides)(text, target)


def _several(method: str | Sequence[str] | None) -> Sequence[str] | None:
    return [method] if isinstance(method, str) else method


def _is_suite(model: str, modality: str, overrides: Sequence[str]) -> bool:
    return Catalogue(config_dirs(overrides)).file("model", f"{model}/{modality}") is not None


def _method(name: str, facts: Catalogue) -> list[str]:
    """The overrides that choose a method; the ceiling, which explains no model, is not one."""
    if "." in name:
        return ["method=custom", f"method._target_={quoted(name)}"]
    targets = {known: facts.read("method", known).get("_target_") for known in facts.names("method")}
    known = [
        method
        for method, target in targets.items()
        if target != "???" and facts.method(method).kind != "ceiling"
    ]
    if name not in known:
        raise BenchError(
            f"method {name!r}: there is no such method; {did_you_mean(name, known)}; package.module.Name is one "
            "of your own"
        )
    return [f"method={name}"]


def _read(file: Path) -> Image.Image:
    if not file.is_file():
        raise BenchError(f"{file}: no such file; expected an image")
    return decode_rgb(file, str(file))
