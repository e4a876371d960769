"""What an explanation consists of, and how it is shown: as a figure, as a page, in a notebook."""

import html
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image

from bench.figures.style import save as save_figure
from bench.heatmaps import Scale, data_uri, legend, mixed, overlay, scale_of, words_html
from bench.models import Batch, Maps
from bench.models.classes import Class
from bench.store.files import replace_file
from bench.tasks import Task
from bench.tasks.rationale import relevant_words

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TOP = 5  # classes shown
LONGEST = 640  # pixels of an image in a picture
# The scales of maps of images, and what they say.
PIXELS, SIGNED = Scale(0, 1), Scale(-1, 1)
SCALED = {
    PIXELS: "relevance, each map scaled to 0–1",
    SIGNED: "relevance of both signs, each map divided by the 99th percentile of its magnitudes",
}
PERCENTILE = 0.99
PANEL = 2.6  # inches
PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark }}
body {{ font: 1rem/1.4 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem }}
h1 {{ font-size: 1.5rem }}
h2 {{ font-size: 1.2rem }}
</style>
<main>
<h1>{title}</h1>
{body}
</main>
</html>
"""


@dataclass(frozen=True)
class Explanation:
    """Why a model gives a sample to a class.

    Attributes:
        model: for readers.
        explained: the class that is explained.
        probabilities: of all classes.
        classes: all classes of the model, in the order of ``probabilities``.
        titles: of the methods, by name.
        maps: relevance by method: of pixels (H, W) in 0..1, or if it has both signs in -1..1 (:func:`picture`);
            or of words (n,), at least 0.
        relevance: by method, as a program wants it: of an image with sign and scale on the method's own grid
            (rows, columns), of a text what ``maps`` has.
    """

    model: str
    explained: Class
    probabilities: Sequence[float]
    classes: Sequence[Class]
    titles: Mapping[str, str]
    maps: dict[str, np.ndarray]
    relevance: dict[str, np.ndarray]

    @property
    def top(self) -> list[tuple[Class, float]]:
        """The most probable classes with their probabilities, the most probable first."""
        ranked = sorted(zip(self.classes, self.probabilities, strict=True), key=lambda pair: -pair[1])
        return ranked[:TOP]

    @property
    def probability(self) -> float:
        """Probability of the explained class."""
        return self.probabilities[self.explained.index]


@dataclass(frozen=True)
class ImageExplanation(Explanation):
    """Why a model gives an image to a class; notebooks show it as a picture.

    Attributes:
        image: what the model saw of the image, in its stored resolution and aspect.
    """

    image: Image.Image

    def figure(self) -> "Figure":
        """The image, one overlay per method and the most probable classes."""
        return figure(self)

    def _repr_html_(self) -> str:
        return image_html(self)


@dataclass(frozen=True)
class TextExplanation(Explanation):
    """Why a model gives a text to a class; notebooks show it as shaded words.

    Attributes:
        words: of the whole text. The model saw the first of them, as many as ``maps`` have numbers.
    """

    words: list[str]

    @property
    def seen(self) -> int:
        """How many words the model saw; the others are beyond the length that it takes."""
        return len(next(iter(self.maps.values())))

    def _repr_html_(self) -> str:
        return text_html(self)


def picture(maps: Maps, size: tuple[int, int]) -> np.ndarray:
    """Maps of images to look at, (batch, *size): as they are scored, in 0..1.

    Those with values below 0 are in -1..1 instead, and 0 stays 0: they are divided by the 99th percentile of their
    magnitudes, and the hundredth of the pixels beyond it has the colour of the ends. A few pixels of LRP are so far
    above all others that these would look grey.
    """
    signed = maps.upsampled(size)
    magnitudes = signed.abs().flatten(1).double()
    greatest = magnitudes.quantile(PERCENTILE, dim=1)
    greatest = torch.where(greatest > 0, greatest, magnitudes.amax(dim=1))[:, None, None]
    negative = signed.amin(dim=(1, 2), keepdim=True) < 0
    scaled = (signed / greatest).clamp(-1, 1).float()
    return torch.where(negative, scaled, maps.pixels(size)).cpu().numpy()


def words_of(maps: Maps, batch: Batch, task: Task) -> list[np.ndarray]:
    """The relevance of the words that a model saw of each text, (n,), at least 0, as a task scores them."""
    settings = (getattr(measurement, "word_score", None) for _, measurement in task.measurements())
    scores, visible = relevant_words(maps, batch.words, next(filter(None, settings), "max"))
    return [own[seen].cpu().numpy() for own, seen in zip(scores, visible, strict=True)]


def figure(explanation: ImageExplanation) -> "Figure":
    """The image, one overlay per method and the most probable classes, as a matplotlib figure."""
    from matplotlib import pyplot as plt
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import ListedColormap, Normalize

    image = _small(explanation.image)
    pictures = {"image": image} | {
        explanation.titles[name]: overlay(image, relevance, scale_of_pixels(relevance))
        for name, relevance in explanation.maps.items()
    }
    panels = len(pictures) + 1
    columns = panels if panels < 5 else min((4, 5), key=lambda columns: -panels % columns)  # few empty ones
    rows = -(-panels // columns)
    height = PANEL * image.height / image.width
    figure, axes = plt.subplots(
        rows,
        columns,
        figsize=(PANEL * columns, (height + 0.3) * rows + 0.9),
        layout="constrained",
        squeeze=False,
    )
    plt.close(figure)  # or a notebook would show it twice
    for axis in axes.flat:
        axis.set_axis_off()
    for axis, (title, picture) in zip(axes.flat, pictures.items(), strict=False):
        axis.imshow(picture)
        axis.set_title(title, fontsize=9)
    _bars(axes.flat[len(pictures)], explanation)
    for scale in scales(explanation):
        shades = ListedColormap(mixed(np.linspace(*scale, 256), scale))
        ends = ScalarMappable(Normalize(*scale), shades)
        bar = figure.colorbar(ends, ax=axes, location="bottom", aspect=60, shrink=0.5)
        bar.set_label(SCALED[scale], fontsize=8)
        bar.ax.tick_params(labelsize=8)
    figure.suptitle(_title(explanation), fontsize=11)
    return figure


def scale_of_pixels(relevance: np.ndarray) -> Scale:
    """The scale on which a map of an image is shown."""
    return SIGNED if (relevance < 0).any() else PIXELS


def scales(explanation: ImageExplanation) -> list[Scale]:
    """The scales of an explanation's maps, each once."""
    return sorted({scale_of_pixels(relevance) for relevance in explanation.maps.values()}, reverse=True)


def legends(scales: Iterable[Scale]) -> str:
    """The legends of maps of images, with what they say, as HTML."""
    return "".join(f"<div>{legend(scale)}<br>{SCALED[scale]}</div>" for scale in scales)


def save(explanation: Explanation, path: Path) -> None:
    """Write a picture, or a page if the file's suffix is .html; the same explanation, the same bytes."""
    if path.suffix.lower() == ".html":
        title = html.escape(_title(explanation))
        page = PAGE.format(title=title, body=explanation._repr_html_())
        replace_file(path, lambda aside: aside.write_text(page, encoding="utf-8"))
    else:
        save_figure(explanation.figure(), path, dpi=150)


def image_html(explanation: ImageExplanation) -> str:
    """The image, one overlay per method, their legend and the most probable classes."""
    image = _small(explanation.image)
    explained = html.escape(explanation.explained.name)
    figures = [_figure_html(image, "image", "the image that is explained")] + [
        _figure_html(
            overlay(image, relevance, scale_of_pixels(relevance)),
            explanation.titles[name],
            f"relevance for {explained} by {explanation.titles[name]}",
        )
        for name, relevance in explanation.maps.items()
    ]
    grid = "display:grid;gap:1em;grid-template-columns:repeat(auto-fill,minmax(14em,1fr))"
    return (
        f'<div style="{grid}">{"".join(figures)}</div>'
        f"{legends(scales(explanation))}{_classes_html(explanation)}"
    )


def text_html(explanation: TextExplanation) -> str:
    """The words shaded by each method, each with its legend, and the most probable classes."""
    note = cut(explanation)
    parts = [f"<p>{note}</p>"] if note else []
    for name, relevance in explanation.maps.items():
        scale = scale_of(relevance)
        parts += [
            f"<h2>{html.escape(explanation.titles[name])}</h2>",
            words_html(explanation.words, relevance, scale=scale),
            f"<p>{legend(scale, 'words')}</p>",
        ]
    return "".join(parts) + _classes_html(explanation)


def cut(explanation: TextExplanation) -> str | None:
    """What to say of a text that is longer than what the model takes; None of others."""
    if explanation.seen == len(explanation.words):
        return None
    return (
        f"The text was cut: the model saw the first {explanation.seen} of its {len(explanation.words)} words."
    )


def listed(explanation: Explanation) -> list[tuple[Class, float]]:
    """The most probable classes with their probabilities, and the explained one if it is none of them."""
    explained = (explanation.explained, explanation.probability)
    return explanation.top + [explained] * (explained not in explanation.top)


def percent(probability: float) -> str:
    """A probability for readers."""
    return f"{100 * probability:.1f} %" if probability >= 0.0005 else "< 0.1 %"


def _title(explanation: Explanation) -> str:
    explained = f"{explanation.explained.name} ({percent(explanation.probability)})"
    return f"Relevance for {explained}, {explanation.model}"


def _small(image: Image.Image) -> Image.Image:
    image = image.copy()
    image.thumbnail((LONGEST, LONGEST))
    return image


def _bars(axis, explanation: ImageExplanation) -> None:
    """The most probable classes, the explained one in a colour of its own."""
    axis.set_axis_on()
    axis.set_box_aspect(explanation.image.height / explanation.image.width)  # of the panels beside it
    top = listed(explanation)
    names = [f"{c.name} {percent(probability)}" for c, probability in top]
    explained = [c == explanation.explained for c, _ in top]
    shades = ["#D55E00" if it else "#999999" for it in explained]
    axis.barh(range(len(top)), [probability for _, probability in top], color=shades, height=0.35)
    for place, (name, it) in enumerate(zip(names, explained, strict=True)):
        axis.text(0, place - 0.25, name, fontsize=8, va="bottom", weight="bold" if it else "normal")
    axis.set(xlim=(0, 1), ylim=(len(top) - 0.5, -0.9), yticks=[], xticks=[])
    axis.spines[:].set_visible(False)
    axis.set_title("most probable classes", fontsize=9)


def _figure_html(image: Image.Image, caption: str, description: str) -> str:
    return (
        f'<figure style="margin:0"><img src="{data_uri(image)}" alt="{html.escape(description)}" '
        f'style="width:100%"><figcaption>{html.escape(caption)}</figcaption></figure>'
    )


def _classes_html(explanation: Explanation) -> str:
    rows = "".join(
        f"<tr><td>{percent(probability)}</td><td>{_bold(c, explanation)}</td></tr>"
        for c, probability in listed(explanation)
    )
    return f'<table style="text-align:left"><tr><th>probability</th><th>class</th></tr>{rows}</table>'


def _bold(shown: Class, explanation: Explanation) -> str:
    text = html.escape(str(shown))
    return f"<strong>{text}</strong> (explained)" if shown == explanation.explained else text
