"""Maps of single samples, one beside the other: for the likeliest class and for the runner-up."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from markupsafe import Markup
from PIL import Image

from bench.console import progress
from bench.explain.show import PIXELS, SCALED, legends, percent, scale_of_pixels
from bench.images import signed_maps
from bench.layout import readable
from bench.pictures import data_uri, legend, outline, overlay, words_html
from bench.report.choosing import chosen, scores
from bench.report.explainer import Explainer, Seen
from bench.store import Result
from bench.tasks import Segmentation

QUALITY = 70  # of the pictures


@dataclass(frozen=True)
class View:
    """One map: of a method, for a class.

    Attributes:
        method: as a reader knows it.
        of_class: the class's name.
        picture: as a data URI, for images.
        words: as HTML, for texts.
        score: of this map on this sample, where it was scored.
    """

    method: str
    of_class: str
    picture: str | None
    words: Markup | None
    score: str | None


@dataclass(frozen=True)
class Card:
    """One sample.

    Attributes:
        name: its id in the data set.
        facts: sentences about it.
        picture: the image itself as a data URI; None for texts.
        rows: what a row of views is of, and the views; None where a view would repeat that of the first row.
    """

    name: str
    facts: Sequence[str]
    picture: str | None
    rows: Sequence[tuple[str, Sequence[View | None]]]


@dataclass(frozen=True)
class Gallery:
    """The samples of a task.

    Attributes:
        groups: why they were chosen, and their cards.
        explanation: sentences on what is shown.
        legend: of the colours, as HTML.
        of_text: whether the samples are texts.
    """

    groups: dict[str, Sequence[Card]]
    explanation: list[str]
    legend: Markup
    of_text: bool


def gallery(config: dict[str, Any], cells: dict[str, Result], explainer: Explainer, count: int) -> Gallery:
    """Explain ``count`` samples of each kind.

    Args:
        cells: finished ones by the label of their method; those of ``explainer``.
    """
    scored, score = scores(config, cells)
    groups = chosen(scored, count, config["seed"])
    cards: dict[str, Sequence[Card]] = {}
    total, name = sum(map(len, groups.values())), f"gallery of {config['task']['name']}"
    with progress(name, total, "sample") as advance:
        for reason, ids in groups.items():
            cards[readable(reason)] = made = []
            for sample in explainer.samples(ids):
                made.append(_card(explainer, sample, scored.loc[sample.id], config["explained"]))
                advance()
    return Gallery(
        groups=cards,
        explanation=_explanation(explainer, score),
        legend=Markup(legend(PIXELS, "words") if explainer.of_text else legends(SCALED)),
        of_text=explainer.of_text,
    )


def _explanation(explainer: Explainer, score: str) -> list[str]:
    if explainer.of_text:
        sentences = [
            "Each map is scaled by its own greatest value.",
            "Annotated words are underlined; what the model did not read is left out.",
        ]
    else:
        sentences = ["Each map has a scale of its own: scores depend on no map's scale."]
    if isinstance(explainer.task, Segmentation):
        sentences.append("The line is the border of the annotated object.")
    sentences.append(f"Score: {score}, of this sample alone.")
    same = [readable(label) for label in explainer.methods if not explainer.knows_classes(label)]
    if same:
        sentences.append(f"The same for every class, so shown once: {', '.join(same)}.")
    return sentences


def _card(explainer: Explainer, sample, scored: pd.Series, explained: str) -> Card:
    seen = explainer.see(sample)
    scored_class = sample.label if explained == "target" else seen.classes[0]
    rows = []
    for rank, number in enumerate(seen.classes):
        name = explainer.classes[number].name
        views = [
            _view(explainer, label, seen, number, f"{scored[label]:.3g}" if number == scored_class else None)
            if rank == 0 or explainer.knows_classes(label)
            else None
            for label in explainer.methods
        ]
        rows.append((f"for {name}, {'the predicted class' if rank == 0 else 'the runner-up'}", views))
    picture = None if explainer.of_text else _uri(_image(sample.image))
    return Card(str(sample.id), _facts(explainer, seen), picture, rows)


def _facts(explainer: Explainer, seen: Seen) -> list[str]:
    sample, classes = seen.sample, explainer.classes
    likely = [
        f"{classes[number].name} {percent(probability)}"
        for number, probability in zip(seen.classes, seen.probabilities, strict=True)
    ]
    facts = [f"Model: {', '.join(likely)}"]
    if sample.label is not None:
        facts.insert(0, f"Annotated: {classes[sample.label].name}")
    if explainer.of_text:
        visible = int(seen.words.max()) + 1
        marked = int(np.asarray(sample.rationale)[:visible].sum())
        facts.append(f"the model read {visible} of {len(sample.words)} words, {marked} of them annotated")
    return facts


def _view(explainer: Explainer, label: str, seen: Seen, number: int, score: str | None) -> View:
    relevance, sample = explainer.relevance(label, seen, number, signed_maps), seen.sample
    picture = words = None
    if explainer.of_text:
        shown = len(relevance)
        words = Markup(words_html(sample.words[:shown], relevance, sample.rationale[:shown], PIXELS))
    else:
        overlaid = overlay(_image(sample.image), relevance, scale_of_pixels(relevance))
        picture = _uri(overlaid if sample.mask is None else outline(overlaid, sample.mask.numpy()))
    return View(readable(label), explainer.classes[number].name, picture, words, score)


def _image(pixels: torch.Tensor) -> Image.Image:
    return Image.fromarray((255 * pixels).round().byte().permute(1, 2, 0).numpy())


def _uri(image: Image.Image) -> str:
    return data_uri(image, quality=QUALITY)
