import base64
import re
from html.parser import HTMLParser
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from bench.heatmaps import (
    Scale,
    colours,
    data_uri,
    hexadecimal,
    legend,
    outline,
    overlay,
    readable_on,
    scale_of,
    words_html,
)

pytestmark = pytest.mark.numerical

EVERYBODY = np.eye(3)
STEPS = np.linspace(0, 1, 101)
SIGNED = Scale(-1, 1)
# Machado, Oliveira & Fernandes 2009, table 1, severity 1.0: what is left of linear red, green and blue.
COLOUR_BLIND = {
    "protanopia": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deuteranopia": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
}


def linear(colour: np.ndarray) -> np.ndarray:
    return np.where(colour <= 0.04045, colour / 12.92, ((colour + 0.055) / 1.055) ** 2.4)


def lab(colour: np.ndarray, seen_as=EVERYBODY) -> np.ndarray:
    """CIELAB of sRGB in 0..1, as a colour-blind reader sees it."""
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    white = to_xyz.sum(axis=1)
    t = np.clip(linear(colour) @ np.transpose(seen_as), 0, 1) @ to_xyz.T / white
    f = np.where(t > (6 / 29) ** 3, np.cbrt(t), t / (3 * (6 / 29) ** 2) + 4 / 29)
    x, y, z = np.moveaxis(f, -1, 0)
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1)


def lightness(colour: np.ndarray, seen_as=EVERYBODY) -> np.ndarray:
    return lab(colour, seen_as)[..., 0]


def contrast(a: np.ndarray, b: np.ndarray) -> float:
    low, high = sorted(linear(c) @ (0.2126, 0.7152, 0.0722) for c in (a, b))
    return (high + 0.05) / (low + 0.05)


def channels(colour: str) -> np.ndarray:
    return np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])


class Balanced(HTMLParser):
    """Raises AssertionError for a tag that is not closed in its turn; keeps the text."""

    def __init__(self, text: str):
        super().__init__()
        self.open, self.text = [], ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


@pytest.mark.parametrize("reader", [None, *COLOUR_BLIND])
@pytest.mark.parametrize(("ground", "direction"), [("image", 1), ("words", -1)])
def test_more_relevance_is_always_lighter_over_images_and_darker_behind_words(ground, direction, reader):
    steps = np.diff(lightness(colours(STEPS, Scale(0, 1), ground), COLOUR_BLIND.get(reader, EVERYBODY)))
    assert (direction * steps > 0).all()
    assert abs(steps.sum()) > 50


@pytest.mark.parametrize("ground", ["image", "words"])
def test_signed_colours_are_neutral_at_0_and_equally_dark_on_both_sides(ground):
    below, above = (lab(colours(sign * STEPS, SIGNED, ground)) for sign in (-1, 1))
    assert np.abs(above[0, 1:]).max() < 3  # no hue
    np.testing.assert_allclose(below[:, 0], above[:, 0], atol=6)
    assert (np.diff(below[:, 0]) < 0).all()
    assert (np.diff(above[:, 0]) < 0).all()


@pytest.mark.parametrize("reader", COLOUR_BLIND)
def test_colour_blind_readers_tell_the_signs_apart(reader):
    below, above = (lab(colours(sign * STEPS[20:], SIGNED), COLOUR_BLIND[reader]) for sign in (-1, 1))
    assert np.linalg.norm(below - above, axis=-1).min() > 15  # about 2 can just be seen


def test_the_scale_starts_at_0_or_is_symmetric_around_it():
    assert scale_of(np.array([[0.2, 0.5]])) == (0, 0.5)
    assert scale_of(np.array([-0.2, 0.1])) == (-0.2, 0.2)
    assert scale_of(np.array([-0.2, 0.1]), signed=False) == (0, 0.1)
    assert scale_of(np.array([0.3]), signed=True) == (-0.3, 0.3)
    assert scale_of(np.zeros(3)) == (0, 1)


@pytest.mark.parametrize("bad", [[np.nan, 1], [np.inf], []])
def test_a_scale_of_nothing_finite_is_refused(bad):
    with pytest.raises(ValueError, match="finite"):
        scale_of(np.array(bad))


def test_values_beyond_the_scale_get_the_colours_of_its_ends():
    low, below, high, above = colours(np.array([0, -3, 2, 9]), Scale(0, 2))
    np.testing.assert_array_equal(low, below)
    np.testing.assert_array_equal(high, above)


def test_an_overlay_peaks_where_the_relevance_does():
    relevance = np.zeros((4, 6))
    relevance[1, 4] = 1
    picture = overlay(Image.new("RGB", (120, 80), (90, 120, 30)), relevance)
    assert (picture.size, picture.mode) == ((120, 80), "RGB")
    light = lightness(np.asarray(picture) / 255)
    y, x = np.unravel_index(light.argmax(), light.shape)
    assert (y // 20, x // 20) == (1, 4)
    assert light.max() - np.median(light) > 20


def test_an_overlay_keeps_the_image_visible():
    image = Image.fromarray(np.repeat(np.array([[0, 255]], dtype=np.uint8), 8, axis=1))
    for relevance in (np.zeros((1, 1)), np.ones((1, 1))):
        light = lightness(np.asarray(overlay(image, relevance)) / 255)
        assert light[0, -1] - light[0, 0] > 15


def test_an_overlay_of_both_signs_differs_from_one_of_amounts():
    image = Image.new("RGB", (8, 8), (128, 128, 128))
    relevance = np.array([[-1.0, 1.0]])
    red, _, blue = np.moveaxis(np.asarray(overlay(image, relevance), dtype=float), -1, 0)
    assert blue[0, 0] > red[0, 0]
    assert red[0, -1] > blue[0, -1]
    light = lightness(np.asarray(overlay(image, relevance, scale_of(relevance, signed=False))) / 255)
    assert light[0, 0] < 30 < light[0, -1]


def test_pictures_of_one_scale_can_be_compared():
    image, shared = Image.new("RGB", (4, 4)), Scale(0, 2)
    weak, strong = (np.asarray(overlay(image, np.full((2, 2), v), shared)) / 255 for v in (1.0, 2.0))
    assert lightness(strong).min() > lightness(weak).max() + 10


def test_an_outline_lies_on_the_border_of_the_mask_alone():
    mask = np.zeros((20, 20), dtype=bool)
    mask[5:15, 5:15] = True
    pixels = np.asarray(outline(Image.new("RGB", (20, 20), (200, 0, 0)), mask))[..., 1]
    ring, beyond = np.zeros_like(mask), np.zeros_like(mask)
    ring[5:15, 5:15], beyond[4:16, 4:16] = True, True
    inner = np.zeros_like(mask)
    inner[6:14, 6:14] = True
    assert (pixels[ring & ~inner] == 255).all()
    assert (pixels[~(ring & ~inner)] == 0).all()
    red = np.asarray(outline(Image.new("RGB", (20, 20), (200, 0, 0)), mask))[..., 0]
    assert (red[beyond & ~ring] == 0).all()
    assert (red[~beyond | inner] == 200).all()


def test_an_outline_takes_masks_of_another_size():
    mask = np.zeros((2, 2), dtype=bool)
    mask[:, 1] = True
    pixels = np.asarray(outline(Image.new("RGB", (40, 10), (200, 0, 0)), mask))
    assert (pixels[:, 20] == 255).all()
    assert (pixels[:, 19] == 0).all()


@pytest.mark.parametrize("scale", [Scale(0, 1), SIGNED])
def test_words_can_be_read_on_every_shade(scale):
    words, relevance = ["w"] * 101, np.linspace(scale.low, scale.high, 101)
    styles = re.findall(r"background:(#\w{6});color:(#\w{6})", words_html(words, relevance, scale=scale))
    assert len({ground for ground, _ in styles}) > 50
    assert min(contrast(channels(ground), channels(text)) for ground, text in styles) >= 4.5


def test_black_or_white_can_be_read_on_any_colour():
    grid = np.stack(np.meshgrid(*[np.linspace(0, 1, 9)] * 3), axis=-1).reshape(-1, 3)
    assert min(contrast(channels(hexadecimal(c)), channels(readable_on(c))) for c in grid) >= 4.5


def test_words_are_escaped_and_keep_their_order():
    words = ["<script>alert(1)</script>", "R&B", '"quoted"', "plain"]
    text = words_html(words, np.arange(4))
    assert "<script" not in text
    assert Balanced(text).text == " ".join(words)


def test_the_rationale_is_underlined_in_one_piece_and_unseen_words_have_no_shade():
    words = ["a", "very", "good", "film", "after", "all"]
    text = words_html(words, np.array([0, 0.2, 1, 0.1]), np.array([0, 1, 1, 0, 0, 1], dtype=bool))
    underlined = re.findall(r'<u class="rationale".*?>(.*?)</u>', text)
    assert [re.sub("<.*?>", "", part) for part in underlined] == ["very good", "all"]
    assert re.findall(r'class="unseen"[^>]*>(\w+)<', text) == ["after", "all"]
    assert text.count("background:#") == 1 + 4  # the paper and the words that were seen
    assert 'title="0.2"' in text
    Balanced(text)


def test_a_text_of_which_nothing_was_seen_is_shown():
    assert Balanced(words_html(["nothing"], np.zeros(0))).text == "nothing"


def test_more_relevance_than_words_is_refused():
    with pytest.raises(ValueError, match="3 for 2"):
        words_html(["two", "words"], np.zeros(3))


@pytest.mark.parametrize(
    ("scale", "numbers"), [(Scale(0, 0.25), ["0", "0.25"]), (Scale(-3, 3), ["-3", "0", "3"])]
)
def test_a_legend_says_what_its_ends_mean(scale, numbers):
    text = legend(scale)
    assert re.findall(r">(-?[\d.]+)<", text) == numbers
    assert f'aria-label="relevance from {numbers[0]} to {numbers[-1]}"' in text
    Balanced(text)


def test_the_legend_has_the_colours_of_an_image_of_middle_grey():
    stops = re.findall("#[0-9a-f]{6}", legend(Scale(0, 1)))
    for stop, value in ((stops[0], 0.0), (stops[-1], 1.0)):
        pixel = overlay(Image.new("L", (1, 1), 128), np.full((1, 1), value), Scale(0, 1)).getpixel((0, 0))
        np.testing.assert_allclose(channels(stop) * 255, pixel, atol=1)


@pytest.mark.parametrize("format", ["webp", "jpeg", "png"])
def test_a_data_uri_holds_the_image(format):
    image = Image.new("RGB", (5, 7), (10, 200, 30))
    head, _, content = data_uri(image, format=format).partition(",")
    assert head == f"data:image/{format};base64"
    back = Image.open(BytesIO(base64.b64decode(content)))
    assert (back.size, back.format) == ((5, 7), format.upper())
