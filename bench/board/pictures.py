"""Pictures on the board's page: the maps of a method as they were submitted, and cost beside quality."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from PIL import Image

from bench.board.columns import Board, Column
from bench.board.entry import Entry
from bench.board.facts import Part
from bench.board.statistics import headline_columns
from bench.board.written import Statistics
from bench.figures.style import Panel
from bench.heatmaps import colours, data_uri, scale_of

MAPS = 4  # of each method on a data set and model: the first ids, which were not chosen
WIDE = 32  # tokens in a line of a map of a text


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


def cost_panels(made: Statistics) -> list[tuple[Column, Panel, str]]:
    """For each headline column whose costs are recorded, its values over the seconds per map, and a caption."""
    panels = []
    for column in headline_columns(made.board):
        rows = [
            row
            for row in column.rows
            if row.seconds and row.value == row.value and _is_drawn(row.method.kind)
        ]
        if len(rows) < 2:
            continue
        data = pd.DataFrame(
            {
                "method": [row.method.label for row in rows],
                "x": [row.seconds for row in rows],
                "value": [row.value for row in rows],
                "low": [min(row.low, row.value) for row in rows],
                "high": [max(row.high, row.value) for row in rows],
            }
        )
        title = f"{_title(made.board, column.dataset)}\n{_title(made.board, column.model)}"
        panel = Panel(title, "seconds per map (left is cheaper)", column.title, data, curves=False)
        panels.append((column, panel, _caption([row.device for row in rows])))
    return panels


def _is_drawn(kind: str) -> bool:
    return kind in ("method", "floor")


def _title(board: Board, name: str) -> str:
    return board.titles.get(name, name)


def _caption(devices: Sequence[str | None]) -> str:
    known = sorted({device or "a device that was not recorded" for device in devices})
    warning = " Times of different devices cannot be compared." if len(known) > 1 else ""
    where = ", ".join(known)
    return f"What a map costs, on {where}, against how good it is, with 95 % intervals over samples.{warning}"
