"""A few numbers of everything that has a version, on tiny inputs that are written out by formulas here.

Nothing is drawn and little is computed in less than double precision, so that the numbers are those of every
machine to far below 1e-6.
"""

import inspect
import json
import tempfile
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import bench  # noqa: F401  isort: skip  (lets timm and transformers be imported)

import h5py
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor, nn

import methods
import metrics
from bench import data, embedded, models, tasks
from bench.catalogue import Catalogue
from bench.config import target_of
from bench.data import ImageSample, TextSample
from bench.models import Batch, Maps
from bench.store.code import code_of
from bench.tasks import Explanations, Variant
from methods import relevance

ENGINE = "methods.relevance"
EMBEDDED = "bench.embedded"


def wave(*shape: int, pace: float = 1.7) -> Tensor:
    """Numbers in −1..1, float64; of nine digits, as processors differ in the last bit of a sine."""
    return (
        torch.sin(pace * torch.arange(1, 1 + int(np.prod(shape)), dtype=torch.float64))
        .round(decimals=9)
        .view(shape)
    )


def filled(module: nn.Module) -> nn.Module:
    """The module in eval mode with weights that are written out by a formula."""
    for place, parameter in enumerate(module.parameters()):
        parameter.data = (0.4 * wave(*parameter.shape, pace=1.3 + 0.1 * place)).to(parameter.dtype)
    return module.eval()


class Small(nn.Module):
    """Two layers of attention with two heads between five tokens of width 8, and three classes."""

    def __init__(self):
        super().__init__()
        layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, activation="gelu", batch_first=True)
        self.layers = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.layers(x)[:, 0])


@cache
def small() -> nn.Module:
    return filled(Small().double())


TOKENS = wave(2, 5, 8, pace=2.3)
TARGET = torch.tensor([1, 2])


def of_method(cls: type) -> Iterator[Tensor]:
    """Maps of two samples of five tokens, under the method's own settings."""
    yield cls()(small(), TOKENS, TARGET)


def of_engine() -> Iterator[Tensor]:
    """Gradient and relevance of the attention of the first layer and of the tokens."""
    tape = relevance.Tape.record(small(), TOKENS)
    for rules in (relevance.PROPOSED, relevance.OLDER):
        attention, entry = tape.relevance(TARGET, [tape.attentions[0], tape.entry], rules)
        yield attention.sum(dim=(1, 2))
        yield entry.sum(dim=-1)
    yield tape.gradient(TARGET, [tape.entry])[0].sum(dim=-1)
    yield tape.logits


IMAGES = [
    ImageSample(str(i), (wave(3, 8, 8, pace=0.3 + i).float() + 1) / 2, i, wave(8, 8, pace=0.7 + i) > 0)
    for i in range(2)
]
TEXTS = [
    TextSample("a", ["one", "two", "three"], 0, np.array([True, False, False])),
    TextSample("b", ["one", "two"], 1, np.array([False, True])),
]


def _bright(x: Tensor) -> Tensor:
    """Logits of three classes from images (batch, 3, 8, 8)."""
    return torch.stack(
        [x[:, :, :4].mean((1, 2, 3)), x[:, :, 4:].mean((1, 2, 3)), x[:, 0].mean((1, 2))], dim=1
    )


BRIGHT = SimpleNamespace(forward=_bright, normalise=lambda pixels: pixels * 2 - 1, mean=(0.5, 0.4, 0.3))


def of_images() -> Explanations:
    """Two images of 8 × 8 pixels with maps of 4 × 4 patches."""
    batch = Batch(IMAGES, torch.stack([2 * sample.image - 1 for sample in IMAGES]))
    maps = [Maps(wave(2, 4, 4, pace=pace).float(), torch.zeros(2, 1), TARGET) for pace in (1.1, 1.9)]
    predicted = torch.tensor([0, 1])
    return Explanations(BRIGHT, batch, range(3), predicted, maps[0], {tasks.AnotherClass(): maps[1]})


def of_texts() -> Explanations:
    """Two texts of three and two words, of which the second is of two pieces."""
    words = torch.tensor([[-1, 0, 1, 1, 2, -1], [-1, 0, 1, 1, -1, -1]])
    maps = Maps(wave(2, 6, pace=1.1).float(), torch.zeros(2, 0), TARGET)
    return Explanations(
        BRIGHT, Batch(TEXTS, {"input_ids": words}, words), range(2), torch.tensor([0, 1]), maps
    )


MEASUREMENTS: dict[str, Callable[[], list[dict[str, Any]]]] = {
    "Masking": lambda: [
        tasks.Masking([0, 0.2, 0.5, 0.7], fill, sigma).measure(of_images())
        for fill, sigma in (("black", None), ("mean", None), ("blur", 1.5))
    ],
    "MaskOverlap": lambda: [tasks.MaskOverlap(threshold).measure(of_images()) for threshold in ("mean", 0.6)],
    "RationaleOverlap": lambda: [
        tasks.RationaleOverlap([1, 2], score).measure(of_texts()) for score in ("max", "mean")
    ],
    "Predictions": lambda: [tasks.Predictions().measure(of_images())],
    "ClassComparison": lambda: [tasks.ClassComparison().measure(of_images())],
}

COLUMNS = {
    "label": np.array([0, 1, 1]),
    "predicted": np.array([0, 1, 0]),
    "positive_predictions": [[0, 0, 1], [1, 0, 0], [0, 1, 1]],
    "negative_predictions": [[0, 0, 0], [1, 1, 0], [0, 0, 0]],
    "correct": np.array([5, 7, 9]),
    "labelled": np.array([10, 20, 30]),
    "intersection": [[1, 2], [3, 0], [5, 4]],
    "union": [[4, 3], [6, 0], [8, 5]],
    "average_precision": np.array([0.25, 0.5, 0.9]),
    "group_probability": [[0.9, 0.6, 0.1], [0.8, 0.7, 0.2], [0.5, 0.4, 0.3]],
    "aopc_lower": np.array([-0.2, 0.1, 0.0]),
    "aopc_upper": np.array([0.6, 0.5, 0.2]),
    "token_f1": [[0.1, 0.2], [0.3, 0.5], [0.6, 0.7]],
    "visible_token_f1": [[0.2, 0.2], [0.4, 0.5], [0.7, 0.7]],
    "visible_recall": [[0.3, 0.2], [0.5, 0.5], [0.8, 0.7]],
    "class_similarity": np.array([0.5, None, -0.75], dtype=object),
    "positive_probability": [[0.9, 0.5, 0.2], [0.8, 0.7, 0.1], [0.6, 0.3, 0.25]],
    "negative_probability": [[0.9, 0.85, 0.6], [0.8, 0.75, 0.5], [0.6, 0.55, 0.3]],
    "positive_logit": [[2.0, 0.5, -1.5], [1.5, 1.0, -2.0], [0.5, -0.5, -0.75]],
    "log_probability": np.array([-0.1, -0.2, -0.5]),
    "without_top_log_probability": [[-0.5, -1.5], [-0.3, -2.0], [-1.0, -1.25]],
    "only_top_probability": [[0.4, 0.7], [0.3, 0.6], [0.2, 0.5]],
    "subset_sums": [[0.1, 0.4, -0.2, 0.9], [0.3, 0.1, 0.7, 0.2], [0.0, 0.5, 0.6, 0.4]],
    "drop_probability": [[0.2, 0.3, 0.05, 0.5], [0.1, 0.15, 0.4, 0.3], [0.05, 0.2, 0.1, 0.3]],
    "drop_logit": [[0.4, 0.6, -0.1, 1.5], [0.2, 0.3, 0.9, 0.8], [-0.05, 0.5, 0.2, 0.7]],
    "span_hits": [[1, 1], [0, 1], [1, 2]],
    "span_predicted": [[1, 3], [2, 2], [1, 3]],
    "span_annotated": np.array([2, 1, 3]),
    "unit_scores": [[0.3, 0.1, 0.7], [0.5, 0.5, -0.2, 0.1], [0.2, 0.9]],
    "drops": [[0.1, 0.2, 0.4], [0.3, 0.1, 0.0, 0.1], [0.5, 0.2]],
}
AREA, SCORE, BINS = {"steps": [0, 0.1, 0.4]}, {"ks": [5, 10]}, {"bins": [0.2, 0.5]}
SUBSETS = {"sizes": [1, 2], "subsets": [2, 2]}
SETTINGS: dict[str, list[dict[str, Any]]] = {
    "PerturbationAUC": [
        AREA | {"direction": direction, "hits": hits, "only_correct": only}
        for direction in ("positive", "negative")
        for hits in ("label", "predicted")
        for only in (False, True)
    ],
    "RationaleScore": [
        SCORE | {"score": score, "only_correct": only}
        for score in ("token_f1", "visible_token_f1", "visible_recall")
        for only in (False, True)
    ],
    "RemovalArea": [AREA | {"direction": direction} for direction in ("positive", "negative")],
    "AOPC": [AREA | {"quantity": quantity} for quantity in ("probability", "logit")],
    "SpanF1": [SCORE | {"average": average} for average in ("micro", "macro")],
    "ColumnMean": [{"column": "average_precision"}],
    **{name: [AREA] for name in ("SymmetricRelevanceGain", "Road", "DecisionFlip")},
    **{name: [BINS] for name in ("Comprehensiveness", "Sufficiency", "LogOdds")},
    "SubsetCorrelation": [SUBSETS | {"ranks": ranks} for ranks in (False, True)],
    "Infidelity": [SUBSETS | {"quantity": quantity} for quantity in ("probability", "logit")],
}


def of_metric(cls: type) -> Iterator[float]:
    """The metric of three samples, at every k, under every kind of settings."""
    for settings in SETTINGS.get(cls.__name__, [{}]):
        statistics = cls(name="x", title="x", **settings).statistics(COLUMNS)
        yield from (statistic.value for statistic in statistics.values())


def of_data(make: Callable[[Path], Any]) -> Iterator[float]:
    """What a data set says of three samples."""
    with tempfile.TemporaryDirectory() as folder:
        dataset = make(Path(folder))
        for index, name in enumerate(dataset.ids):
            sample = dataset[index]
            yield float(sum(name.encode()))
            yield -1.0 if sample.label is None else float(sample.label)
            if isinstance(sample, TextSample):
                yield from (
                    float(len(sample.words)),
                    float(sample.rationale @ np.arange(1, 1 + len(sample.words))),
                )
            else:
                yield from np.asarray(sample.image, dtype=float).mean((0, 1)).tolist()
                yield -1.0 if sample.mask is None else float(np.asarray(sample.mask).sum())


WNIDS = ("n00000001", "n00000002")
COLOURS = ((200, 40, 80), (10, 160, 90), (30, 30, 250))


def _imagenet(folder: Path) -> Any:
    for i, colour in enumerate(COLOURS):
        file = folder / "val" / WNIDS[i % 2] / f"image_{i}.JPEG"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (16, 16), colour).save(file, "PNG")  # which any decoder reads alike
    _classes(folder)
    return data.ImageNet(folder)


def _classes(folder: Path) -> None:
    known = {str(label): [wnid, str(label)] for label, wnid in enumerate(WNIDS)}
    (folder / "class_index.json").write_text(json.dumps(known))


def _table(folder: Path) -> Any:
    rows = []
    for i, colour in enumerate(COLOURS):
        Image.new("RGB", (16, 16), colour).save(folder / "image.png")
        rows.append({"bytes": (folder / "image.png").read_bytes(), "path": f"image_{i}.png"})
    (folder / "image.png").unlink()
    _classes(folder)
    fields = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    pq.write_table(
        pa.table({"image": pa.array(rows, fields), "label": [0, 1, 0]}), folder / "validation.parquet"
    )
    return data.HuggingFaceImages(folder / "validation.parquet")


def _segmentation(folder: Path) -> Any:
    with h5py.File(folder / "a.mat", "w") as file:
        images, masks = [], []
        for i, colour in enumerate(COLOURS):
            pixels = np.broadcast_to(np.array(colour, dtype=np.uint8)[:, None, None], (3, 6, 8))
            images.append(file.create_dataset(f"r/i{i}", data=pixels).ref)
            mask = file.create_dataset(f"r/m{i}", data=(wave(6, 8, pace=1 + i) > 0).numpy().astype(np.uint8))
            masks.append(file.create_dataset(f"r/c{i}", data=np.array([[mask.ref]], h5py.ref_dtype)).ref)
        file["value/img"] = np.array(images, h5py.ref_dtype)[:, None]
        file["value/gt"] = np.array(masks, h5py.ref_dtype)[:, None]
    return data.ImageNetSegmentation(folder / "a.mat")


def _reviews(folder: Path) -> Path:
    lines = []
    (folder / "docs").mkdir()
    for i, (label, text) in enumerate((("NEG", "a bad film it was"), ("POS", "a good one"), ("NEG", "no"))):
        (folder / "docs" / f"d{i}").write_text(text)
        evidence = {"docid": f"d{i}", "start_token": 1, "end_token": 2, "text": ""}
        evidences = [[evidence]] if len(text.split()) > 1 else []
        lines.append(
            {"annotation_id": f"d{i}", "classification": label, "evidences": evidences, "query": "is it ?"}
        )
    (folder / "test.jsonl").write_text("\n".join(map(json.dumps, lines)))
    return folder


DATA: dict[str, Callable[[Path], Any]] = {
    "ImageNet": _imagenet,
    "HuggingFaceImages": _table,
    "ImageNetSegmentation": _segmentation,
    "Movies": lambda folder: data.Movies(_reviews(folder)),
    "Eraser": lambda folder: data.Eraser(_reviews(folder), "test"),
}


def of_model(cls: type) -> Iterator[Tensor]:
    """Logits of two samples as the model prepares them, and what it makes of relevance."""
    with tempfile.TemporaryDirectory() as folder:
        model, samples, settings = MODELS[cls.__name__](Path(folder))
        prepare = model.preparation(settings)
        batch = model.batch([prepare(sample) for sample in samples], settings)
        model.module.double()  # so that the numbers are those of every processor
        texts = batch.words is not None
        inputs = batch.inputs if texts else batch.inputs.double()
        yield model.forward(inputs)
        tokens = batch.words.shape[1] if texts else model.prefix_tokens + model.grid[0] * model.grid[1]
        maps = model.maps(wave(len(samples), tokens), batch, TARGET)
        yield from (maps.values.flatten(1)[:, :4], maps.prefix)
        yield batch.words if texts else batch.inputs.mean((2, 3))


PHOTOGRAPHS = [
    ImageSample(
        str(i),
        Image.fromarray((127 * (wave(24, 20, 3, pace=0.01 + i) + 1)).numpy().astype(np.uint8)),
        i,
        None,
    )
    for i in range(2)
]
SIZE = {"size": 16, "resize": "squash", "interpolation": "bilinear"}
TIMM = {"embed_dim": 8, "depth": 2, "num_heads": 2, "num_classes": 3, "img_size": 16, "patch_size": 8}


def _timm(folder: Path) -> tuple:
    import timm

    save_file(
        filled(timm.create_model("vit_tiny_patch16_224", **TIMM)).state_dict(), folder / "a.safetensors"
    )
    model = models.ImageModel("vit_tiny_patch16_224", folder / "a.safetensors", TIMM)
    return model, PHOTOGRAPHS, {"size": 16, "resize": "model", "interpolation": None}


def _transformers_image(folder: Path) -> tuple:
    from transformers import ViTConfig, ViTForImageClassification, ViTImageProcessor

    sizes = {"hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16}
    config = ViTConfig(**sizes, image_size=16, patch_size=8, id2label={0: "a", 1: "b", 2: "c"})
    filled(ViTForImageClassification(config)).save_pretrained(folder)
    ViTImageProcessor(size={"height": 16, "width": 16}).save_pretrained(folder)
    return models.TransformersImageModel(folder), PHOTOGRAPHS, SIZE


class Patches(nn.Module):
    """A classifier of images of 16 × 16 pixels with one layer of attention between four patches."""

    def __init__(self):
        super().__init__()
        self.cut, self.small = nn.Conv2d(3, 8, 8, 8), Small()

    def forward(self, x: Tensor) -> Tensor:
        return self.small(self.cut(x).flatten(2).mT)


def _torch(folder: Path) -> tuple:
    return models.TorchImageModel(filled(Patches()), input_size=16), PHOTOGRAPHS, SIZE


def _text(folder: Path) -> tuple:
    from transformers import BertConfig, BertForSequenceClassification, BertTokenizerFast

    pieces = [
        "[PAD]",
        "[UNK]",
        "[CLS]",
        "[SEP]",
        "[MASK]",
        "one",
        "tw",
        "##o",
        *(f"w{i}" for i in range(100)),
    ]
    BertTokenizerFast(vocab={piece: i for i, piece in enumerate(pieces)}).save_pretrained(folder)
    sizes = {"hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16}
    config = BertConfig(**sizes, vocab_size=len(pieces), max_position_embeddings=12)
    filled(BertForSequenceClassification(config)).save_pretrained(folder)
    return models.TextModel(folder), TEXTS, {"max_length": 10}


MODELS: dict[str, Callable[[Path], tuple]] = {
    "ImageModel": _timm,
    "TransformersImageModel": _transformers_image,
    "TorchImageModel": _torch,
    "TextModel": _text,
}


def of_variant(cls: type) -> Iterator[Tensor]:
    """The class and the inputs that a variant explains."""
    yield cls().target(wave(2, 3), TARGET)
    yield cls().inputs(TOKENS, ["a", "b"])[:, 0]


def of_embedded() -> Iterator[float]:
    """What the first samples of the embedded data hold."""
    from bench.embedded.images import heldout
    from bench.embedded.reviews import reviews

    for picture in heldout(101, 2):
        yield from (float(picture.label), float(picture.pixels.mean()), float(picture.mask.sum()))
    for review in reviews(105, 2):
        yield from (
            float(review.label),
            float(len(review.words)),
            float(sum(len(word) for word in review.words)),
        )


def of_oracle(cls: type) -> Iterator[Tensor]:
    """The annotation of images and of texts as a map."""
    for explanations in (of_images(), of_texts()):
        yield cls().map(explanations.batch.annotation()).flatten(1)[:, :6]


def of_mean_annotation(cls: type) -> Iterator[Tensor]:
    """The mean mask of three images of which two are at hand, and the third has no object."""
    masks = of_images().batch.annotation()
    yield cls(masks.double().sum(0), 3).map(masks).flatten(1)[:, :6]


@cache
def classes() -> dict[str, type]:
    """Every class of the project with a version that a configuration can name, by its name."""
    found: dict[str, type] = {}
    facts = Catalogue()
    for group in ("dataset", "model", "method", "measurement", "metric"):
        for choice in facts.names(group):
            target = facts.read(group, choice).get("_target_", "???")
            if target != "???":
                cls = target_of(group, {"_target_": target})
                found[f"{cls.__module__}.{cls.__qualname__}"] = cls
    exported = [
        vars(package)[name] for package in (data, models, methods, metrics, tasks) for name in package.__all__
    ]
    for cls in exported:
        if inspect.isclass(cls) and isinstance(getattr(cls, "version", None), int) and not is_a_kind(cls):
            found[f"{cls.__module__}.{cls.__qualname__}"] = cls
    return dict(sorted(found.items()))


def is_a_kind(cls: type) -> bool:
    """Whether a class only says what others of its kind have."""
    return (
        inspect.isabstract(cls)
        or getattr(cls, "_is_protocol", False)
        or cls in (Variant, models.ImageClassifier)
    )


def version_of(name: str) -> str:
    """The versions of a class and of those it derives from, as far as they state one."""
    if name == ENGINE:
        return str(relevance.VERSION)
    if name == EMBEDDED:
        return str(embedded.VERSION)
    return ", ".join(str(version) for version in code_of(classes()[name], name).values())


def names() -> list[str]:
    """Everything that has a version."""
    return [ENGINE, EMBEDDED, *classes()]


def numbers_of(name: str) -> list[float]:
    """The numbers of what has a version, of at most nine digits."""
    return [float(f"{number:.9g}") for value in _made(name) for number in _flat(value)]


def _made(name: str) -> Iterator[Any]:
    if name == ENGINE:
        return of_engine()
    if name == EMBEDDED:
        return of_embedded()
    from tests.versions import recipes  # which takes its inputs from here

    cls = classes()[name]
    if cls is tasks.MeanAnnotation:
        return of_mean_annotation(cls)
    if issubclass(cls, tasks.Oracle):
        return of_oracle(cls)
    if issubclass(cls, metrics.Metric):
        return of_metric(cls)
    if issubclass(cls, Variant):
        return of_variant(cls) if cls is tasks.AnotherClass else recipes.of_random_variant(cls)
    if cls.__name__ in recipes.MEASUREMENTS:
        return recipes.of_measurement(cls.__name__)
    if cls.__name__ in recipes.DATA:
        return of_data(recipes.DATA[cls.__name__])
    if cls.__name__ in recipes.OF_IMAGES:
        return recipes.of_image_method(cls)
    if cls.__name__ in recipes.OF_TEXTS:
        return recipes.of_text_method(cls)
    if cls.__name__ in MEASUREMENTS:
        return (
            pd.DataFrame(columns)[name]
            for columns in MEASUREMENTS[cls.__name__]()
            for name in sorted(columns)
        )
    if cls.__name__ in DATA:
        return of_data(DATA[cls.__name__])
    if cls.__name__ in MODELS:
        return of_model(cls)
    if cls.__module__.startswith("methods."):
        return of_method(cls)
    raise KeyError(
        f"{name} has a version; write down in tests/versions/numbers.py how to make a few numbers of it"
    )


def _flat(value: Any) -> list[float]:
    if isinstance(value, Tensor):
        return value.detach().double().flatten().tolist()
    if isinstance(value, float | int):
        return [value]
    return np.array([np.ravel(each) for each in value], dtype=float).ravel().tolist()
