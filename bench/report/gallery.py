"""Samples that are worth a look, with every method's map for the likeliest class and the runner-up."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from markupsafe import Markup
from PIL import Image

from bench.catalogue import catalogue_of
from bench.cli import progress
from bench.explain.explanation import PIXELS, SCALED, legends, percent, picture, scale_of_pixels, words_of
from bench.figures.style import STAR
from bench.heatmaps import colours, data_uri, legend, on, outline, overlay, unshaded_html
from bench.report.shown import Seen, Shown
from bench.tables.format import readable
from bench.tables.select import Scored, Selection
from bench.tables.statistics import ordered

QUALITY = 70  # of the pictures
# Shades behind words, from no relevance to the greatest, each written as one character.
SHADES = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-_"
MARKUP = 500  # bytes around a map on the page, at most


def compared(selection: Selection) -> list[Scored]:
    """The methods that are shown on single samples, that with the star first; no part, floor or ceiling."""
    facts, explained = catalogue_of(selection.config), selection.config["explained"]
    shown = [
        one
        for one in ordered(selection)
        if facts.method(one.name).kind == "method" and one.explained == explained
    ]
    return sorted(shown, key=lambda one: one.label != STAR)


def scores(selection: Selection, methods: Sequence[Scored]) -> tuple[pd.DataFrame, str]:
    """How well each method does on each sample that is scored, and what that number is.

    It is the mean of the sample's metrics, those with their sign turned of which less is better.

    Returns:
        A column for each label, a row for each sample by its id.
    """
    metrics, columns, what = selection.task.built_metrics(), {}, ""
    for one in methods:
        tables = one.tables()
        ids = sorted(next(iter(tables.values()))["id"])
        by_metric: dict[str, list[np.ndarray]] = {}
        for (name, _), statistic in selection.task.statistics(tables).items():
            metric = metrics[name]
            if metric.higher_is_better is not None and len(statistic.terms) == len(ids):
                title = metric.title if metric.higher_is_better else f"−{metric.title}"
                with np.errstate(invalid="ignore", divide="ignore"):
                    values = statistic.reduce(np.asarray(statistic.terms, dtype=float))
                if statistic.defined is not None:
                    values = np.where(statistic.defined, values, np.nan)
                by_metric.setdefault(title, []).append(values if metric.higher_is_better else -values)
        what = f"mean of {', '.join(by_metric)}" if len(by_metric) > 1 else "".join(by_metric)
        means = [np.mean(values, axis=0) for values in by_metric.values()] or [np.full(len(ids), np.nan)]
        columns[one.label] = pd.Series(np.mean(means, axis=0), index=ids)
    return pd.DataFrame(columns).dropna(), what


def chosen(scored: pd.DataFrame, count: int, seed: int) -> dict[str, list[str]]:
    """Ids of samples under what makes them worth a look, ``count`` for each reason.

    Drawn at random; then, of those not chosen yet, those on which the first method does best, those on which
    it does worst, and those on which the methods' scores are farthest apart.
    """
    drawn = np.random.default_rng(seed).permutation(len(scored))[:count]
    first = scored.columns[0]
    groups = {"Drawn at random": [scored.index[i] for i in sorted(drawn)]}
    orders = {
        f"Best for {first}": -scored[first],
        f"Worst for {first}": scored[first],
    }
    if scored.shape[1] > 1:
        orders["Methods disagree most"] = -scored.std(axis=1)
    for reason, order in orders.items():
        taken = {sample for samples in groups.values() for sample in samples}
        left = order[~order.index.isin(taken)].sort_values(kind="stable")
        groups[reason] = list(left.index[:count])
    return {reason: samples for reason, samples in groups.items() if samples}


@dataclass(frozen=True)
class View:
    """One map: of a method, for a class.

    Attributes:
        method: as a reader knows it.
        of_class: the class's name.
        of_any_class: whether the map is the same for every class.
        picture: as a data URI, for images.
        shades: one of :data:`SHADES` for each word that the model read, for texts.
        score: of this map on this sample, where it was scored.
    """

    method: str
    of_class: str
    of_any_class: bool
    picture: str | None
    shades: str | None
    score: str | None


@dataclass(frozen=True)
class Card:
    """One sample.

    Attributes:
        name: its id in the data set.
        facts: sentences about it.
        picture: the image itself as a data URI; None for texts.
        words: of a text, as HTML without shades; None for images.
        rows: the class that a row of views is of, what it is called, and the views that there are.
    """

    name: str
    facts: Sequence[str]
    picture: str | None
    words: Markup | None
    rows: Sequence[tuple[str, str, Sequence[View]]]

    @property
    def views(self) -> list[View]:
        """Those of all rows."""
        return [view for *_, views in self.rows for view in views]

    @property
    def size(self) -> int:
        """About how many bytes of the page it takes."""
        parts = [self.picture, self.words, *(v.picture or v.shades for v in self.views)]
        return sum(len(part.encode()) for part in parts if part) + MARKUP * (1 + len(self.views))


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

    @property
    def views(self) -> list[View]:
        """All maps."""
        return [view for cards in self.groups.values() for card in cards for view in card.views]

    @property
    def methods(self) -> list[str]:
        """The methods that have a map."""
        return list(dict.fromkeys(view.method for view in self.views))

    @property
    def classes(self) -> list[str]:
        """The classes that are explained."""
        return sorted({view.of_class for view in self.views})


def gallery(
    selection: Selection, methods: Sequence[Scored], shown: Shown, count: int, room: float = math.inf
) -> Gallery:
    """Explain ``count`` samples of each kind, or as many as there is room for.

    Args:
        methods: those of ``shown``, and those that are left out of it.
        room: bytes that all cards may take; the samples beyond it are left out, and the page says so.
    """
    config, facts = selection.config, catalogue_of(selection.config)
    scored, score = scores(selection, [one for one in methods if one.label in shown.labels])
    groups = chosen(scored, count, config["seed"])
    # In turns, so that each kind has its first sample before one has its second.
    turns = [(r, ids[turn]) for turn in range(count) for r, ids in groups.items() if turn < len(ids)]
    cards: dict[str, list[Card]] = {reason: [] for reason in groups}
    with progress(f"gallery of {config['task']['name']}", len(turns), "sample") as advance:
        for reason, name in turns:
            card = _card(shown, name, scored.loc[name])
            room -= card.size
            if room < 0:
                break
            cards[reason].append(card)
            advance()
    explanation, made = _explanation(shown, score), sum(map(len, cards.values()))
    if made < len(turns):
        explanation.append(f"Of {len(turns)} samples these {made} are shown: the page has no room for more.")
    return Gallery(
        groups={readable(reason, facts): own for reason, own in cards.items() if own},
        explanation=explanation,
        legend=Markup(legend(PIXELS, "words") if shown.of_text else legends(SCALED)),
        of_text=shown.of_text,
    )


def _explanation(shown: Shown, score: str) -> list[str]:
    facts = catalogue_of(shown.config)
    if shown.of_text:
        sentences = [
            "Each map is scaled by its own greatest value.",
            "Annotated words are underlined; what the model did not read is left out.",
        ]
    else:
        sentences = [
            "Each map has a scale of its own: scores depend on no map's scale.",
            "The line, where there is one, is the border of the annotated object.",
        ]
    sentences.append(f"Score: {score}, of this sample alone.")
    same = [readable(label, facts) for label in shown.labels if not shown.knows_classes(label)]
    if same:
        sentences.append(f"The same for every class, so shown once: {', '.join(same)}.")
    for label, why in shown.left_out.items():
        what = "shown for the scored class alone" if label in shown.labels else "left out"
        sentences.append(f"{readable(label, facts)} is {what}: {why}.")
    return sentences


def _card(shown: Shown, name: str, scored: pd.Series) -> Card:
    seen = shown.see(name)
    scored_class = seen.sample.label if shown.config["explained"] == "target" else seen.classes[0]
    rows, words = [], None
    for rank, number in enumerate(seen.classes):
        labels = [label for label in shown.labels if rank == 0 or shown.knows_classes(label)]
        of_class = shown.classes[number].name
        views = [
            _view(shown, label, seen, number, f"{scored[label]:.3g}" if number == scored_class else None)
            for label in labels
        ]
        heading = f"for {of_class}, {'the predicted class' if rank == 0 else 'the runner-up'}"
        rows.append((of_class, heading, [view for view in views if view is not None]))
    if shown.of_text:
        visible = _visible(seen)
        words = Markup(unshaded_html(seen.sample.words[:visible], seen.sample.rationale[:visible]))
    image = None if shown.of_text else _uri(_image(seen.batch.pixels[0]))
    return Card(str(name), _facts(shown, seen), image, words, rows)


def _visible(seen: Seen) -> int:
    """How many words of a text the model read."""
    return int(seen.batch.words.max()) + 1


def _facts(shown: Shown, seen: Seen) -> list[str]:
    sample, classes = seen.sample, shown.classes
    likely = [
        f"{classes[number].name} {percent(probability)}"
        for number, probability in zip(seen.classes, seen.probabilities, strict=True)
    ]
    facts = [f"Model: {', '.join(likely)}"]
    if sample.label is not None:
        facts.insert(0, f"Annotated: {classes[sample.label].name}")
    if shown.of_text:
        visible = _visible(seen)
        marked = int(np.asarray(sample.rationale)[:visible].sum())
        facts.append(f"the model read {visible} of {len(sample.words)} words, {marked} of them annotated")
    return facts


def _view(shown: Shown, label: str, seen: Seen, number: int, score: str | None) -> View | None:
    if (maps := shown.maps(label, seen, number)) is None:
        return None
    sample, uri, shades = seen.sample, None, None
    if shown.of_text:
        (relevance,) = words_of(maps, seen.batch, shown.task)
        shades = shades_of(relevance)
    else:
        (relevance,) = picture(maps, tuple(seen.batch.inputs.shape[-2:]))
        overlaid = overlay(_image(seen.batch.pixels[0]), relevance, scale_of_pixels(relevance))
        uri = _uri(overlaid if sample.mask is None else outline(overlaid, sample.mask.numpy()))
    method = readable(label, catalogue_of(shown.config))
    return View(method, shown.classes[number].name, not shown.knows_classes(label), uri, shades, score)


def shades_of(relevance: np.ndarray) -> str:
    """The shade of each word by its share of the greatest relevance, one of :data:`SHADES` for each.

    Args:
        relevance: (words,), at least 0.
    """
    share = relevance / relevance.max() if relevance.any() else relevance
    return "".join(SHADES[round(float(value) * (len(SHADES) - 1))] for value in share)


def palette() -> list[str]:
    """The style of a word for each of :data:`SHADES`."""
    return [on(colour) for colour in colours(np.linspace(0, 1, len(SHADES)), PIXELS, "words")]


def _image(pixels: torch.Tensor) -> Image.Image:
    return Image.fromarray((255 * pixels).round().byte().permute(1, 2, 0).cpu().numpy())


def _uri(image: Image.Image) -> str:
    return data_uri(image, quality=QUALITY)
