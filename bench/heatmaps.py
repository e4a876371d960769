"""Relevance as something to look at: over an image, behind the words of a text, and the legend of both.

Colour maps (matplotlib's names) are chosen for even steps of lightness, which colour-blind readers see and
printers in grey keep:

- relevance ≥ 0 over an image: ``inferno``, from black, where the image is only dimmed, to a bright yellow;
- relevance ≥ 0 behind words: ``Oranges``, from paper to ink, as a text is read on a light ground;
- relevance of both signs: ``RdBu_r``, neutral at 0, blue below and red above. Both arms darken at nearly
  the same pace, and blue and red stay apart for readers who confuse red with green.

Every map has a :class:`Scale` that says what its two ends mean in numbers.
"""

import base64
import html
from collections.abc import Sequence
from io import BytesIO
from itertools import groupby
from operator import itemgetter
from typing import Literal, NamedTuple

import numpy as np
from PIL import Image, ImageFilter

Ground = Literal["image", "words"]
SEQUENTIAL = {"image": "inferno", "words": "Oranges"}
DIVERGING = "RdBu_r"
OPACITY = 0.6  # of the colours over an image
WHITE, BLACK = "#ffffff", "#000000"


class Scale(NamedTuple):
    """The relevance at the two ends of a colour map: (0, high), or (−high, high) for both signs."""

    low: float
    high: float

    @property
    def signed(self) -> bool:
        """Whether the colours diverge from 0."""
        return self.low < 0


def scale_of(relevance: np.ndarray, signed: bool | None = None) -> Scale:
    """The scale that a map of any shape fills.

    Args:
        signed: whether to show both signs; None for yes if there is any negative value. Where it is False,
            negative values look like 0.

    Raises:
        ValueError: for an empty map, NaN or infinity.
    """
    relevance = np.asarray(relevance, dtype=float)
    if relevance.size == 0 or not np.isfinite(relevance).all():
        raise ValueError("relevance: expected finite numbers, at least one")
    if signed is None:
        signed = bool((relevance < 0).any())
    high = float(np.abs(relevance).max() if signed else relevance.max())
    high = high if high > 0 else 1.0  # a map of zeros
    return Scale(-high if signed else 0.0, high)


def colours(relevance: np.ndarray | float, scale: Scale, ground: Ground = "image") -> np.ndarray:
    """The colours of relevance of any shape (...), behind words or before they are laid over an image.

    Returns:
        (..., 3), red, green and blue in 0..1. Values outside the scale get the colours of its ends.
    """
    from matplotlib import colormaps  # takes its time to import

    colour_map = colormaps[DIVERGING if scale.signed else SEQUENTIAL[ground]]
    share = (np.asarray(relevance, dtype=float) - scale.low) / (scale.high - scale.low)
    return np.asarray(colour_map(share))[..., :3]


def mixed(relevance: np.ndarray, scale: Scale, grey: np.ndarray | float = 0.5) -> np.ndarray:
    """:func:`colours` laid over grey in 0..1, by default the middle one, for legends; (..., 3)."""
    return (1 - OPACITY) * grey + OPACITY * colours(relevance, scale)


def overlay(image: Image.Image, relevance: np.ndarray, scale: Scale | None = None) -> Image.Image:
    """Lay relevance (h, w) over the image in grey.

    Args:
        relevance: for the whole image; upsampled bilinearly to its size.
        scale: shared with other pictures, or with ``signed`` chosen; None takes :func:`scale_of` the map.

    Returns:
        RGB, of the size of ``image``.
    """
    scale = scale or scale_of(relevance)
    fitted = Image.fromarray(np.asarray(relevance, dtype=np.float32)).resize(
        image.size, Image.Resampling.BILINEAR
    )
    grey = np.asarray(image.convert("L"), dtype=float)[..., None] / 255
    return Image.fromarray(_bytes(mixed(np.asarray(fitted), scale, grey)))


def outline(image: Image.Image, mask: np.ndarray, width: int = 1) -> Image.Image:
    """Draw the border of a boolean mask (h, w): white inside and black outside, to be seen on any image.

    Args:
        mask: for the whole image; brought to its size.
        width: of each of the two lines in pixels.
    """
    filled = Image.fromarray(np.asarray(mask, dtype=bool).astype(np.uint8) * 255).resize(
        image.size, Image.Resampling.NEAREST
    )
    inside, reach = np.asarray(filled) > 0, 2 * width + 1
    shrunk = np.asarray(filled.filter(ImageFilter.MinFilter(reach))) > 0
    grown = np.asarray(filled.filter(ImageFilter.MaxFilter(reach))) > 0
    pixels = np.array(image.convert("RGB"))
    pixels[grown & ~inside] = 0
    pixels[inside & ~shrunk] = 255
    return Image.fromarray(pixels)


def words_html(
    words: Sequence[str],
    relevance: np.ndarray,
    rationale: np.ndarray | None = None,
    scale: Scale | None = None,
) -> str:
    """The words of a text, shaded by their relevance: a paragraph of HTML that needs no style sheet.

    It brings its own ground, the colour of 0, so that it reads the same on light and dark pages. Words of the
    human rationale are underlined (class ``rationale``); words that the model did not see are in italics,
    without a shade (class ``unseen``).

    Args:
        relevance: (n,), of the first n words; the model did not see the others.
        rationale: (len(words),), boolean.
        scale: shared with other texts, or with ``signed`` chosen; None takes :func:`scale_of` the relevance.
    """
    relevance = np.asarray(relevance, dtype=float)
    if len(relevance) > len(words):
        raise ValueError(f"relevance: expected one number per word, got {len(relevance)} for {len(words)}")
    marked = np.zeros(len(words), dtype=bool) if rationale is None else np.asarray(rationale, dtype=bool)
    scale = scale or scale_of(relevance if len(relevance) else np.zeros(1))
    looks = [
        f'style="{on(shade)}" title="{value:.3g}"'
        for shade, value in zip(colours(relevance, scale, "words"), relevance, strict=True)
    ]
    looks += ['class="unseen" style="font-style:italic"'] * (len(words) - len(relevance))
    return _paragraph(words, looks, marked, colours(0, scale, "words"))


def unshaded_html(words: Sequence[str], rationale: np.ndarray) -> str:
    """The paragraph of :func:`words_html` before any map is laid behind its words, each of which is one ``span``.

    Args:
        rationale: (len(words),), boolean.
    """
    return _paragraph(words, [""] * len(words), rationale, colours(0, Scale(0, 1), "words"))


def _paragraph(words: Sequence[str], looks: Sequence[str], marked: np.ndarray, ground: np.ndarray) -> str:
    """Words with the attributes of each, on a ground of their own; the marked ones are underlined."""
    spans = [
        f"<span{look and ' '}{look}>{html.escape(word)}</span>"
        for word, look in zip(words, looks, strict=True)
    ]
    parts = []
    for in_rationale, group in groupby(zip(spans, marked, strict=True), key=itemgetter(1)):
        run = " ".join(span for span, _ in group)
        # A border, as a line through the shade could not be told from a dark one.
        line = '<u class="rationale" style="text-decoration:none;border-bottom:2px solid">'
        parts.append(f"{line}{run}</u>" if in_rationale else run)
    style = f"{on(ground)};padding:.6em;line-height:1.8;overflow-wrap:anywhere"
    return f'<p class="words" style="{style}">{" ".join(parts)}</p>'


def legend(scale: Scale, ground: Ground = "image") -> str:
    """The colours of a scale with the numbers at its ends and at 0: HTML that needs no style sheet."""
    values = np.linspace(scale.low, scale.high, 17)
    shades = mixed(values, scale) if ground == "image" else colours(values, scale, ground)
    stops = ",".join(map(hexadecimal, shades))
    numbers = [f"{value:.3g}" for value in ((scale.low, 0, scale.high) if scale.signed else scale)]
    bar = f'<span style="display:block;height:.8em;background:linear-gradient(to right,{stops})"></span>'
    labels = "".join(f"<span>{number}</span>" for number in numbers)
    return (
        f'<span class="legend" role="img" aria-label="relevance from {numbers[0]} to {numbers[-1]}" '
        f'style="display:inline-block;width:14em;max-width:100%">{bar}'
        f'<span style="display:flex;justify-content:space-between;font-size:.8em">{labels}</span></span>'
    )


def data_uri(image: Image.Image, format: str = "webp", quality: int = 80) -> str:
    """The image itself in the place of its address, for HTML files that stand alone."""
    content = BytesIO()
    image.save(content, format=format, quality=quality)
    return f"data:image/{format.lower()};base64,{base64.b64encode(content.getvalue()).decode()}"


def hexadecimal(colour: np.ndarray) -> str:
    """``#rrggbb`` of red, green and blue in 0..1."""
    return "#" + _bytes(colour).tobytes().hex()


def readable_on(colour: np.ndarray) -> str:
    """Black or white, whichever contrasts more with a colour: at least 4.58, whatever the colour."""
    channels = np.asarray(_bytes(colour), dtype=float) / 255
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    luminance = linear @ (0.2126, 0.7152, 0.0722)
    # Contrast by WCAG 2: (lighter + 0.05) / (darker + 0.05), with a luminance of 1 for white and 0 for black.
    return WHITE if 1.05 / (luminance + 0.05) > (luminance + 0.05) / 0.05 else BLACK


def on(colour: np.ndarray) -> str:
    """The style of text on a ground of red, green and blue in 0..1."""
    return f"background:{hexadecimal(colour)};color:{readable_on(colour)}"


def _bytes(colour: np.ndarray) -> np.ndarray:
    return np.round(np.asarray(colour) * 255).astype(np.uint8)
