"""Numbers of what removes parts of inputs, compares maps, explains images alone or reads a user's own files.

As :mod:`tests.versions.numbers` has it: tiny inputs, written out by formulas, in double precision.
"""

import json
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import datasets
import numpy as np
import torch
from PIL import Image
from torch import Tensor

from bench import data, tasks
from bench.models import Batch, Maps
from bench.tasks import Explanations, randomisation, robustness
from methods import DocumentFrequencies, Words
from methods.players import Patches
from tests.versions import numbers
from tests.versions.numbers import BRIGHT, COLOURS, TARGET, TEXTS, filled, wave

UNDEFINED = -9.0  # in the place of None


def plain(value: Any) -> Iterator[float]:
    """The numbers of a column whose rows may differ in length."""
    if value is None or isinstance(value, int | float):
        yield UNDEFINED if value is None or value != value else float(value)
    else:
        for each in value.tolist() if isinstance(value, np.ndarray | np.generic) else value:
            yield from plain(each)


def squares() -> Explanations:
    """Two images of 8 × 8 pixels in double precision, with masks, and maps of 4 × 4 patches."""
    samples = []
    for i in range(2):
        image, mask = (wave(3, 8, 8, pace=0.3 + i) + 1) / 2, wave(8, 8, pace=0.7 + i) > 0
        sample = SimpleNamespace(
            id=str(i), image=image, label=i + 1, mask=mask, other_mask=~mask, other_label=0, boxes=None
        )
        samples.append(sample)
    model = SimpleNamespace(**vars(BRIGHT) | {"grid": (4, 4), "input_size": (8, 8), "prefix_tokens": 0})
    batch = Batch(samples, torch.stack([2 * sample.image - 1 for sample in samples]))
    made = [
        Maps(wave(2, 4, 4, pace=pace), torch.zeros(2, 1), target)
        for pace, target in ((1.1, TARGET), (1.9, torch.zeros_like(TARGET)))
    ]
    others = {tasks.AnotherClass(): made[1]}
    for place, variant in enumerate((*randomisation.ParameterRandomisation((0,)).variants, *NOISY.variants)):
        others[variant] = Maps(wave(2, 4, 4, pace=1.2 + 0.1 * place), torch.zeros(2, 1), TARGET)
    return Explanations(model, batch, range(3), torch.tensor([0, 1]), made[0], others)


NOISY = robustness.MaxSensitivity(0.02, 2)


def _logits(inputs: dict[str, Tensor]) -> Tensor:
    """Logits of two classes that depend on which tokens stand where."""
    ids = inputs["input_ids"]
    seen = inputs["attention_mask"].double() * torch.sin(1.3 * ids.double())
    place = torch.cos(torch.arange(ids.shape[1], dtype=torch.float64))
    return torch.stack([(seen * place).sum(dim=1), (seen**2).sum(dim=1) / 3], dim=1)


def sentences() -> Explanations:
    """Two texts of three and two words, of which the second is of two pieces, and maps of their tokens."""
    words = torch.tensor([[-1, 0, 1, 1, 2, -1], [-1, 0, 1, 1, -1, -1]])
    ids = torch.tensor([[2, 5, 6, 7, 8, 3], [2, 5, 6, 7, 3, 0]])
    inputs = {"input_ids": ids, "attention_mask": (ids > 0).long()}
    model = SimpleNamespace(forward=_logits, mask_id=4, pad_id=0, prefix_tokens=0)
    maps = Maps(wave(2, 6, pace=1.1), torch.zeros(2, 0), torch.tensor([1, 0]))
    return Explanations(model, Batch(TEXTS, inputs, words), range(2), torch.tensor([0, 1]), maps)


STEPS, BINS, SUBSETS = (0, 0.25, 0.5), (0.2, 0.5), {"sizes": (1, 2), "subsets": (2, 2)}
PATCH, WORD = {"unit": "patch", "fill": "mean"}, {"unit": "word", "fill": "mask"}
MEASUREMENTS: dict[str, Callable[[], list[tuple[Any, Explanations]]]] = {
    "AopcBounds": lambda: [
        (tasks.AopcBounds(4, **PATCH), squares()),
        (tasks.AopcBounds(3, **WORD), sentences()),
    ],
    "ClassSensitivity": lambda: [(tasks.ClassSensitivity(), squares())],
    "FerretScores": lambda: [(tasks.FerretScores(), sentences())],
    "GroupCurve": lambda: [
        (tasks.GroupCurve(4, **PATCH), squares()),
        (tasks.GroupCurve(3, **WORD), sentences()),
    ],
    "GroupRemoval": lambda: [(tasks.GroupRemoval(3, **PATCH), squares())],
    "LeaveOneOutDrops": lambda: [(tasks.LeaveOneOutDrops(**WORD), sentences())],
    "UnitScores": lambda: [(tasks.UnitScores("word"), sentences())],
    "Localisation": lambda: [(tasks.Localisation(1, 5), squares())],
    "Conservation": lambda: [(tasks.Conservation(), squares())],
    "MapShape": lambda: [(tasks.MapShape(), squares())],
    "Plausibility": lambda: [(tasks.Plausibility((1, 2)), sentences())],
    "SubsetDrops": lambda: [(tasks.SubsetDrops(**SUBSETS, **WORD), sentences())],
    "SubsetSums": lambda: [(tasks.SubsetSums(**SUBSETS, **WORD), sentences())],
    "ParameterRandomisation": lambda: [(tasks.ParameterRandomisation((0,)), squares())],
    "RemovalCurves": lambda: [
        (tasks.RemovalCurves(STEPS, BINS, **PATCH), squares()),
        (tasks.RemovalCurves(STEPS, BINS, "token", "delete"), sentences()),
    ],
    "MaxSensitivity": lambda: [(NOISY, squares())],
}


def of_measurement(name: str) -> Iterator[float]:
    """All columns of a measurement."""
    for measurement, explanations in MEASUREMENTS[name]():
        columns = measurement.measure(explanations)
        for column in sorted(columns):
            yield from plain(columns[column])


@cache
def pictured() -> torch.nn.Module:
    """A ViT of two blocks on images of 16 × 16 pixels, four patches and a class token."""
    import timm

    return filled(timm.create_model("vit_tiny_patch16_224", **numbers.TIMM)).double()


SQUARES = {"players": Patches((2, 2), 1)}
OF_IMAGES: dict[str, dict[str, Any]] = {
    "BeyondIntuition": {"start_layer": 0, "points": 3},
    "TransitionAttention": {"start_layer": 0, "points": 3},
    "CentreGaussian": {},
    "IIA": {"points": 2},
    "ImageEdges": {},
    "KernelSHAP": {},
    "LeaveOneOut": {},
    "LIME": {"samples": 12},
    "Occlusion": {"window": 1},
    "PALRP": {"dtype": "float64"},
    "PartitionSHAP": {},
    "RISE": {"count": 8, "cells": 2},
    "TokenCAM": {},
    "ViTCX": {},
}


def of_image_method(cls: type) -> Iterator[Tensor]:
    """Maps of two images: the sums over rows where they are of pixels."""
    own = SQUARES if "players" in getattr(cls, "__dataclass_fields__", {}) else {}
    maps = cls(**own, **OF_IMAGES[cls.__name__])(pictured(), wave(2, 3, 16, 16, pace=0.3), TARGET)
    yield maps if maps.ndim == 2 else maps.double().mean(dim=-1)[:, ::4]


OF_TEXTS: dict[str, dict[str, Any]] = {
    "FirstWords": {},
    "ContentWords": {},
    "InverseFrequency": {"frequencies": DocumentFrequencies.of([["one", "Two"], ["one"], ["four"]])},
}


def of_text_method(cls: type) -> Iterator[Tensor]:
    """Maps of two texts of words, which look at no model."""
    batch = sentences().batch
    players = Words(batch.words, texts=[sample.words for sample in batch.samples])
    yield cls(players, **OF_TEXTS[cls.__name__])(None, batch.inputs, TARGET)


def of_random_variant(cls: type) -> Iterator[Tensor]:
    """What a variant that draws makes of inputs or of the model."""
    if cls is robustness.NoisyImage:
        yield cls(0.5, 1).inputs(torch.zeros(1, 3, 2, 2, dtype=torch.float64), ["a"])
        return
    model = SimpleNamespace(module=pictured())
    with cls("all", 0).model(model), torch.inference_mode():
        yield model.module(wave(1, 3, 16, 16, pace=0.3))


def _folder(folder: Path) -> Any:
    for i, colour in enumerate(COLOURS):
        file = folder / f"class_{i % 2}" / f"image_{i}.png"
        file.parent.mkdir(exist_ok=True)
        Image.new("RGB", (16, 16), colour).save(file)
    rows = [f"class_{i % 2}/image_{i}.png,1,2,{5 + i},6" for i in range(3)]
    (folder / "boxes.csv").write_text("\n".join(["image,x0,y0,x1,y1", *rows]))
    return data.ImageFolder(folder, boxes=folder / "boxes.csv")


def _boxed(folder: Path) -> Any:
    numbers.DATA["ImageNet"](folder)
    rows = [f"image_{i}.JPEG,1,2,{5 + i},6" for i in range(2)]
    (folder / "val_boxes.csv").write_text("\n".join(["image,x0,y0,x1,y1", *rows]))
    return data.BoxedImages(folder)


ROWS = [
    {"text": "a bad film", "label": "NEG", "rationale": [0, 1, 0]},
    {"text": "good", "label": "POS", "rationale": [1]},
]


def _lines(folder: Path) -> Any:
    (folder / "a.jsonl").write_text("\n".join(map(json.dumps, ROWS)))
    return data.TextFile(folder / "a.jsonl")


def _texts(folder: Path) -> Any:
    datasets.Dataset.from_list(ROWS).to_parquet(folder / "a.parquet")
    return data.TextTable(folder / "a.parquet", rationale="rationale")


def _images(folder: Path) -> Any:
    images = [Image.new("RGB", (16, 16), colour) for colour in COLOURS]
    columns = {"image": images, "label": ["a", "b", "a"], "boxes": [[[1, 2, 5 + i, 6]] for i in range(3)]}
    table = datasets.Dataset.from_dict(columns).cast_column("image", datasets.Image())
    table.to_parquet(folder / "a.parquet")
    return data.ImageTable(folder / "a.parquet", boxes="boxes")


DATA: dict[str, Callable[[Path], Any]] = {
    "ImageFolder": _folder,
    "BoxedImages": _boxed,
    "TextFile": _lines,
    "TextTable": _texts,
    "ImageTable": _images,
}
