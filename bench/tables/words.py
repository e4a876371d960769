"""What a caption says of the settings of a protocol, in English."""

from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any

from bench.config import flatten
from bench.tables.statistics import protocol_of

HITS = {"label": "the annotated class", "predicted": "the class predicted for the whole image"}
RATIONALES = {"document": "all annotated words", "visible": "those that the model saw"}
FILLS = {"black": "black", "mean": "of the model's mean colour"}

Settings = Mapping[str, Any]  # under dotted names


def _size(value: Any, settings: Settings) -> str:
    squashed = settings.get("images.resize") == "squash"
    how = "squashed" if squashed else "resized and cropped as the model was trained,"
    return f"images {how} to {value} × {value} pixels"


def _steps(value: Any, settings: Settings) -> str:
    return f"pixels masked, in %: {numbers([100 * step for step in value])}"


def _fill(value: Any, settings: Settings) -> str:
    if value == "blur":
        return f"masked pixels are those of the image blurred (σ = {settings.get('perturbation.blur_sigma')} pixels)"
    return f"masked pixels are {FILLS.get(value, value)}"


def _threshold(value: Any, settings: Settings) -> str:
    return f"foreground lies above {'the mean of the map' if value == 'mean' else value}"


def _word_score(value: Any, settings: Settings) -> str:
    return f"a word scores the {dict(max='maximum', mean='mean').get(value, value)} of its pieces"


def _only_correct(what: str) -> Callable[[Any, Settings], str | None]:
    return lambda value, settings: f"only {what} that are classified correctly" if value else None


# By the dotted name of a setting: from its value and all settings to words; None where there is nothing to say.
# A setting that is not here is given by its name and value.
WORDS: dict[str, Callable[[Any, Settings], str | None]] = {
    "images.size": _size,
    "images.resize": lambda value, settings: None,  # stands with the size
    "images.interpolation": lambda value, settings: f"{value} interpolation",
    "perturbation.steps": _steps,
    "perturbation.fill": _fill,
    "perturbation.blur_sigma": lambda value, settings: None,  # stands with the fill
    "perturbation.scores.hits": lambda value, settings: f"a hit is {joined([HITS.get(v, v) for v in value])}",
    "perturbation.scores.only_correct": _only_correct("images"),
    "segmentation.threshold": _threshold,
    "token_f1.k": lambda value, settings: f"the k most relevant words, k = {numbers(value)}",
    "token_f1.max_length": lambda value, settings: f"documents cut at {value} word pieces",
    "token_f1.word_score": _word_score,
    "token_f1.scores.rationale": lambda value, settings: (
        f"against {joined([RATIONALES.get(v, v) for v in value])}"
    ),
    "token_f1.scores.only_correct": _only_correct("documents"),
}


def settings_in_words(config: Mapping[str, Any]) -> str:
    """The settings of the protocol that concern the task of a configuration."""
    settings = flatten(protocol_of(config))
    said = []
    for key, value in settings.items():
        if value is None:
            continue
        try:
            text = WORDS[key](value, settings) if key in WORDS else plainly(key, value)
        except TypeError:  # of another type than it is described for; the task itself says what it expects
            text = plainly(key, value)
        if text:
            said.append(text)
    return "; ".join(said)


def plainly(key: str, value: Any) -> str:
    """A setting by its name and value: ``word score max``."""
    shown = joined(value) if isinstance(value, list) else value
    return f"{key.rpartition('.')[2].replace('_', ' ')} {shown}"


def joined(words: list[Any]) -> str:
    """Several words: ``a``, ``a and b``, ``a, b and c``."""
    *first, last = map(str, words)
    return f"{', '.join(first)} and {last}" if first else last


def numbers(values: list[float]) -> str:
    """Rising numbers: ``0 to 90 in steps of 10`` where they are evenly spaced, else all of them."""
    steps = {round(b - a, 6) for a, b in pairwise(values)}
    if len(values) > 3 and len(steps) == 1:
        return f"{values[0]:g} to {values[-1]:g} in steps of {steps.pop():g}"
    return joined([f"{value:g}" for value in values])
