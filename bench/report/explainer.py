"""Maps of single samples, made as the runner makes them: the report keeps pictures, the store only scores."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

import numpy as np
import torch
from omegaconf import OmegaConf

from bench.batches import seed_everything
from bench.compute import dataset_of, fitted
from bench.config import CONF, build
from bench.devices import device_of
from bench.errors import BenchError
from bench.explain.classes import image_classes, text_classes
from bench.images import pixel_maps
from bench.store import Result
from bench.tasks import TokenF1
from bench.tasks.task import explain
from bench.tasks.token_f1 import word_relevance


@dataclass(frozen=True)
class Seen:
    """What the model makes of a sample.

    Attributes:
        sample: as the task prepares it.
        inputs: what the model takes, a batch of one.
        classes: the likeliest class and the runner-up, as numbers of the task.
        probabilities: of these.
        words: the word each token is a piece of (1, tokens); None for images.
    """

    sample: Any
    inputs: Any
    classes: list[int]
    probabilities: list[float]
    words: torch.Tensor | None = None


@cache
def _known() -> set[str]:
    """The ``_target_`` of every method that has a file in ``conf/method``."""
    files = (CONF / "method").glob("*.yaml")
    return {OmegaConf.to_container(OmegaConf.load(file)).get("_target_") for file in files} - {"???"}


def may_be_run(result: Result) -> bool:
    """Whether the method of a cell is one of the benchmark's: no other code that a result names is run."""
    return result.record["method"].get("_target_") in _known()


class Explainer:
    """The model, the data set and the methods of finished cells.

    Args:
        config: the resolved configuration of the cells.
        cells: finished ones by the label of their method; those that :func:`may_be_run`.

    Attributes:
        classes: of the model, by their numbers in the task.
        methods: by label.

    Raises:
        BenchError: if data, model or methods cannot be had.
    """

    def __init__(self, config: dict[str, Any], cells: dict[str, Result]):
        seed_everything(config["seed"])
        self.task = build("task", config["task"])
        self.dataset = dataset_of(config)
        self.model = build("model", config["model"]).to(device_of(config["device"]))
        self.task.check(self.model, self.dataset, self.dataset[0])
        self.classes = text_classes() if self.of_text else image_classes(self.model, config["model"])
        self.methods = {}
        for label, result in cells.items():
            settings = result.record["method"]
            if not may_be_run(result):
                raise BenchError(f"{result.path}: {settings.get('_target_')} is none of conf/method; not run")
            self.methods[label] = fitted(build("method", settings), self.model, settings)

    def samples(self, ids: Sequence[str]) -> Iterator[Any]:
        """The samples of these ids, prepared, in their order.

        Raises:
            BenchError: if the data set has no such sample.
        """
        prepare = self.task.preparation(self.model)
        for name in ids:
            if name not in self._places:
                raise BenchError(
                    f"dataset: it has no sample {name}, of which there are stored rows; "
                    "make the report with the data of the cells, or run them again with rerun=true"
                )
            yield prepare(self.dataset[self._places[name]])

    @cached_property
    def _places(self) -> dict[str, int]:
        """The index of each sample, by its id."""
        whole, places = self.dataset, range(len(self.dataset))
        if hasattr(whole, "indices"):  # a Subset hides the ids of the data set it is of
            whole, places = whole.dataset, whole.indices
        return {whole.ids[place]: index for index, place in enumerate(places)}

    @property
    def of_text(self) -> bool:
        """Whether the samples are texts."""
        return isinstance(self.task, TokenF1)

    def knows_classes(self, label: str) -> bool:
        """Whether a method's maps depend on the class."""
        return getattr(self.methods[label], "class_specific", True)

    @torch.inference_mode()
    def see(self, sample) -> Seen:
        """Show a prepared sample to the model."""
        if self.of_text:
            encoding = self.model.encode([sample.words], self.task.max_length)
            logits, inputs = self.model(encoding.inputs)[:, self.model.class_indices], encoding.inputs
            words = encoding.words
        else:
            inputs = self.model.normalise(sample.image[None].to(self.model.device))
            logits, words = self.model.module(inputs), None
        top = logits[0].double().softmax(dim=0).topk(min(2, logits.shape[1]))
        return Seen(sample, inputs, top.indices.tolist(), top.values.tolist(), words)

    def relevance(self, label: str, seen: Seen, number: int, maps: Callable = pixel_maps) -> np.ndarray:
        """A method's map for a class: (height, width), or (visible words,), scaled to at most 1.

        Args:
            maps: scales those of images: as they are scored, or :func:`bench.images.signed_maps`.
        """
        text = self.of_text
        index = self.model.class_indices[number] if text else number
        target = torch.tensor([index], device=self.model.device)
        forward = self.model if text else self.model.module
        found = explain(self.methods[label], forward, seen.inputs, target, [seen.sample.id], annotation=None)
        if not text:
            return maps(found, self.model, seen.sample.image.shape[-2:])[0].cpu().numpy()
        scores, visible = word_relevance(found, seen.words, self.task.word_score)
        scores = scores[visible].double().cpu().numpy()
        return scores / scores.max() if scores.any() else scores
