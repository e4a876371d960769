"""Pictures on the board's page: the maps of a method as they were submitted, and cost beside quality."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from bench.board.columns import Board, Column, Row
from bench.board.entry import Entry
from bench.board.facts import OfMethod, Part
from bench.board.statistics import headline_columns
from bench.board.written import Statistics
from bench.figures.style import FAMILIES
from bench.heatmaps import colours, data_uri, scale_of

MAPS = 4  # of each method on a data set and model: the first ids, which were not chosen
SIDE = 32  # pixels of a picture at most: maps of pixels are reduced to their means
WIDE = 32  # tokens in a line of a map of a text
WIDTH, HEIGHT = 640, 400  # of a chart, in pixels, and of what surrounds its axes
LEFT, RIGHT, BOTTOM, TOP = 62, 24, 46, 12
FLOOR = "#7A7A7A"  # the colour of floors


@dataclass(frozen=True)
class Picture:
    """A map.

    Attributes:
        dataset, model: names.
        id: of the sample.
        explained: the class that is explained: predicted or target.
        uri: of the picture.
        ends: the relevance at both ends of the colours, in words.
    """

    dataset: str
    model: str
    id: str
    explained: str
    uri: str
    ends: str


def pictures(board: Board) -> dict[str, list[Picture]]:
    """The maps of the first samples of each entry that has maps on the board, by the label of its method."""
    found: dict[str, list[Picture]] = defaultdict(list)
    for entry in board.entries:
        if (part := next((part for part in entry.parts if part.maps is not None), None)) is not None:
            found[entry.method.label] += _pictures(entry, part)
    return dict(found)


def _pictures(entry: Entry, part: Part) -> list[Picture]:
    rows = entry.maps(part).sort_values("id").head(MAPS)
    names = entry.dataset.name, entry.model.name
    made = []
    for row in rows.itertuples(index=False):
        relevance = np.asarray(row.map, dtype=float).reshape([int(n) for n in row.shape])
        if not np.isfinite(relevance).all() or not relevance.size:
            continue
        scale = scale_of(relevance)
        picture = Image.fromarray(np.round(255 * colours(_in_lines(relevance), scale)).astype(np.uint8))
        picture.thumbnail((SIDE, SIDE), Image.Resampling.BOX)
        ends = f"{scale.low:.3g} to {scale.high:.3g}"
        made.append(Picture(*names, str(row.id), entry.explained, data_uri(picture, "png"), ends))
    return made


def _in_lines(relevance: np.ndarray) -> np.ndarray:
    """A map of two dimensions: that of a text in lines of tokens, the last one filled up with 0."""
    if relevance.ndim == 2:
        return relevance
    flat = relevance.ravel()
    filled = np.zeros(-(-len(flat) // WIDE) * WIDE)
    filled[: len(flat)] = flat
    return filled.reshape(-1, WIDE)


@dataclass(frozen=True)
class Point:
    """A method in a chart of cost and quality, in pixels of the chart.

    Attributes:
        number: beside the point and in the legend.
        method: which.
        x, y, top, bottom: of the point and of its interval.
        colour: of its family.
        said: the numbers in words.
    """

    number: int
    method: OfMethod
    x: float
    y: float
    top: float
    bottom: float
    colour: str
    said: str


@dataclass(frozen=True)
class Chart:
    """Quality over cost: the seconds of a map on a logarithmic axis.

    Attributes:
        column: the headline column that is drawn.
        points: the methods and floors whose costs are recorded, the cheapest first.
        x_ticks, y_ticks: where, in pixels, and what they say.
        caption: what is seen.
    """

    column: Column
    points: Sequence[Point]
    x_ticks: Sequence[tuple[float, str]]
    y_ticks: Sequence[tuple[float, str]]
    caption: str

    width, height, left, right, bottom, top = WIDTH, HEIGHT, LEFT, RIGHT, BOTTOM, TOP

    @property
    def families(self) -> dict[str, str]:
        """The colour of each family."""
        return {point.method.family: point.colour for point in self.points}


def charts(made: Statistics) -> list[Chart]:
    """A chart for each headline column in which two methods or more have a record of their costs."""
    found = []
    for column in headline_columns(made.board):
        rows = [
            row
            for row in column.rows
            if row.seconds and row.value == row.value and row.method.kind in ("method", "floor")
        ]
        if len(rows) > 1:
            found.append(_chart(column, sorted(rows, key=lambda row: (row.seconds, row.method.label))))
    return found


def _chart(column: Column, rows: Sequence[Row]) -> Chart:
    seconds = np.log10([row.seconds for row in rows])
    ends = np.array([[min(row.low, row.value), max(row.high, row.value)] for row in rows])
    xs, x_ticks = _axis(seconds.min(), seconds.max(), LEFT, WIDTH - RIGHT)
    ys, y_ticks = _axis(np.nanmin(ends), np.nanmax(ends), HEIGHT - BOTTOM, TOP)
    points = [
        Point(
            number,
            row.method,
            xs(x),
            ys(row.value),
            ys(high),
            ys(low),
            FLOOR if row.method.kind == "floor" else FAMILIES.get(row.method.family, FAMILIES["other"]),
            f"{row.method.title}: {row.value:.{column.decimals}f} at {row.seconds:.3g} s",
        )
        for number, (row, x, (low, high)) in enumerate(zip(rows, seconds, ends, strict=True), start=1)
    ]
    in_seconds = [(xs(tick), f"{10**tick:.2g}") for tick in x_ticks]
    values = [(ys(tick), f"{tick:.3g}") for tick in y_ticks]
    return Chart(column, points, in_seconds, values, _caption([row.device for row in rows]))


def _axis(low: float, high: float, start: float, end: float) -> tuple[Callable[[float], float], list[float]]:
    """From values to pixels, the ends of the values a little inside; and round values in even steps."""
    margin = 0.05 * (high - low) or 0.5
    low, high = float(low - margin), float(high + margin)
    rough = (high - low) / 5
    power = 10.0 ** np.floor(np.log10(rough))
    step = next(power * nice for nice in (1, 2, 5, 10) if power * nice >= rough)
    ticks = [
        round(float(tick), 12) + 0.0
        for tick in np.arange(np.ceil(low / step), np.floor(high / step) + 1) * step
    ]
    return lambda value: round(start + (value - low) / (high - low) * (end - start), 1), ticks


def _caption(devices: Sequence[str | None]) -> str:
    known = sorted({device or "a device that was not recorded" for device in devices})
    warning = " Times of different devices cannot be compared." if len(known) > 1 else ""
    where = ", ".join(known)
    return f"What a map costs, on {where}, against how good it is, with 95 % intervals over samples.{warning}"
