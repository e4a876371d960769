"""How figures are drawn: a method looks the same in all of them, on paper and on light and dark pages."""

import textwrap
from collections.abc import Iterable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bench.catalogue import Catalogue, base_name
from bench.store.files import replace_file
from bench.tables.format import readable

# One for each family of methods: safe for colour-blind readers (Okabe & Ito); the light ones are darkened, as lines
# need a contrast of 3:1. Within a family markers and dashes differ.
FAMILIES = {
    "attention": "#0072B2",
    "attention and gradient": "#D55E00",
    "gradient": "#009E73",
    "relevance": "#7B4FB5",
    "activation map": "#C0669A",
    "perturbation": "#8A6D1B",
    "other": "#2E8BC0",
}
DASHES = ["-", "--", "-.", (0, (1, 1))]
FOREGROUND = "#000000"  # of text and axes, too; what shows figures on another ground replaces it
STAR = "transformer_attribution"  # drawn in the colour of the text, with a star
LINES = {"floor": ":", "ceiling": "--"}
MARKERS = "osv^DPX<"


# The small axes with the ceiling, in shares of those that they stand in, and what their labels take around them.
WIDTH, HEIGHT, LABELS = 0.34, 0.28, 0.07
TITLE = 52  # characters of a line of a panel's title
MARGIN = 0.05  # of the y-axis, above and below all curves
MANY = 12  # methods, from which on a legend has a column for each family


@dataclass(frozen=True)
class Panel:
    """One pair of axes.

    Attributes:
        title, x_label, y_label: in words.
        data: columns method, x and value, and low and high where values have an interval.
        curves: whether a method's values are joined; else each is a point with a bar.
    """

    title: str
    x_label: str
    y_label: str
    data: pd.DataFrame
    curves: bool = True


def look(method: str, facts: Catalogue, others: Iterable[str] = ()) -> dict[str, Any]:
    """Colour, line style and marker of a method, by its label: the colour is that of its family.

    Args:
        facts: which methods are known.
        others: the labels beside it; those that are not known share out the looks that are left.
    """
    if (kind := facts.method(base_name(method)).kind) in LINES:
        alike = [name for name in facts.names("method") if facts.method(name).kind == kind]
        alike.sort(key=lambda name: (facts.method(name).order, name))
        place = alike.index(base_name(method)) if base_name(method) in alike else len(alike)
        return {"color": "#7A7A7A", "linestyle": LINES[kind], "marker": ("", *MARKERS)[place % len(MARKERS)]}
    if method == STAR:
        return {"color": FOREGROUND, "linestyle": "-", "marker": "*"}
    family = family_of(method, facts)
    known = [name for name in _methods(facts) if family_of(name, facts) == family]
    strangers = {name for name in others if facts.method(base_name(name)).competes} - {*known, STAR}
    names = [*known, *sorted(name for name in strangers if family_of(name, facts) == family)]
    index = names.index(method) if method in names else len(known)
    return {
        "color": FAMILIES[family],
        # Each marker comes again with other dashes: 8 markers and 4 dashes tell 32 methods of a family apart.
        "linestyle": DASHES[(index + index // len(MARKERS)) % len(DASHES)],
        "marker": MARKERS[index % len(MARKERS)],
    }


def family_of(method: str, facts: Catalogue) -> str:
    """The family of a method, by its label; that of others for one that is not known."""
    family = facts.method(base_name(method)).family
    return family if family in FAMILIES else "other"


@lru_cache
def _methods(facts: Catalogue) -> list[str]:
    """The names of the methods that have a file, but for parts of others and the one with the star."""
    found = [facts.method(name) for name in facts.names("method")]
    named = [m for m in found if facts.read("method", m.name).get("_target_") != "???"]
    ordered = sorted(named, key=lambda m: (m.order, m.name))
    return [m.name for m in ordered if m.kind == "method" and m.name != STAR]


def methods_of(panels: Sequence[Panel]) -> list[str]:
    """The labels of all methods in panels."""
    return list(dict.fromkeys(method for panel in panels for method in panel.data["method"]))


def limits_of(panels: Sequence[Panel], facts: Catalogue) -> list[tuple[float, float] | None]:
    """The ends of the y-axis of each panel: one scale for all with the same label, without the ceiling.

    None for a panel whose values are no curves.
    """
    ends: dict[str, tuple[float, float]] = {}
    for panel in panels:
        rows = panel.data[panel.data["method"].map(lambda m: facts.method(base_name(m)).kind != "ceiling")]
        rows = rows if len(rows) else panel.data
        values = rows[[c for c in ("value", "low", "high") if c in rows]]
        low, high = float(values.min(axis=None)), float(values.max(axis=None))
        if panel.curves and low < high:
            before = ends.get(panel.y_label, (low, high))
            ends[panel.y_label] = min(low, before[0]), max(high, before[1])
    margins = {label: MARGIN * (high - low) for label, (low, high) in ends.items()}
    return [
        (ends[p.y_label][0] - margins[p.y_label], ends[p.y_label][1] + margins[p.y_label])
        if p.curves and p.y_label in ends
        else None
        for p in panels
    ]


def draw(
    axes,
    panel: Panel,
    methods: Sequence[str],
    facts: Catalogue,
    limits: tuple[float, float] | None = None,
) -> None:
    """Draw a panel on matplotlib's axes, beside others in which there are these methods, too.

    Args:
        limits: of the y-axis. If the ceiling lies beyond, all curves are drawn once more in a corner, with it.
    """
    _plot(axes, panel, methods, facts)
    if limits is not None:
        axes.set_ylim(limits)
        ceilings = panel.data["method"].map(lambda m: facts.method(base_name(m)).kind == "ceiling")
        if (panel.data.loc[ceilings, "value"] > limits[1]).any():
            inset = axes.inset_axes((*_free_corner(panel, limits), WIDTH, HEIGHT))
            _plot(inset, panel, methods, facts, markers=False)
            inset.set_title("with the ceiling", fontsize=7, pad=2)
            inset.tick_params(labelsize=6)
            inset.grid(alpha=0.25)
            inset.set_in_layout(False)
    lines = [part for line in panel.title.split("\n") for part in textwrap.wrap(line, TITLE)]
    axes.set_title("\n".join(lines), fontsize=9)
    axes.set_xlabel(panel.x_label)
    axes.set_ylabel(panel.y_label)
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)


def _free_corner(panel: Panel, limits: tuple[float, float]) -> tuple[float, float]:
    """Where the small axes of the ceiling hide the least of the curves: their left and lower edge in 0..1."""
    xs = np.linspace(0, 1, 101)
    left, right = panel.data["x"].min(), panel.data["x"].max()
    ends = MARGIN / (1 + 2 * MARGIN)  # matplotlib leaves as much beside the curves
    curves = [
        np.interp(left + xs * (right - left), rows["x"], rows["value"])
        for _, rows in panel.data.sort_values("x").groupby("method", sort=False)
    ]
    places = ends + xs * (1 - 2 * ends)
    heights = (np.stack(curves) - limits[0]) / (limits[1] - limits[0])

    def hidden(corner: tuple[float, float]) -> int:
        x, y = corner
        beside = (places > x - LABELS) & (places < x + WIDTH)
        return int((beside & (heights > y - LABELS) & (heights < y + HEIGHT + LABELS)).sum())

    high, far = 0.99 - HEIGHT - LABELS, 0.99 - WIDTH
    near, low = 2 * LABELS, 2 * LABELS
    return min(((near, high), (far, low), (far, high), (near, low)), key=hidden)


def _plot(axes, panel: Panel, methods: Sequence[str], facts: Catalogue, markers: bool = True) -> None:
    """The curves or points of a panel."""
    from matplotlib.ticker import LogLocator  # takes its time to import

    for method in methods_of([panel]):
        rows = panel.data[panel.data["method"] == method].sort_values("x")
        style = look(method, facts, methods) | {"markersize": 4, "label": readable(method, facts)}
        style |= {} if markers else {"marker": "", "linewidth": 0.8}
        if panel.curves:
            every = max(1, len(rows) // 12)  # a marker at each point of a dense curve hides the others
            axes.plot(rows["x"], rows["value"], markevery=every, **style)
            if "low" in rows:
                band = {"color": style["color"], "alpha": 0.1, "linewidth": 0}
                axes.fill_between(rows["x"], rows["low"], rows["high"], **band)
        else:
            style |= {"linestyle": "", "marker": style["marker"] or "_", "markersize": 7}
            bars = [rows["value"] - rows["low"], rows["high"] - rows["value"]]
            axes.errorbar(rows["x"], rows["value"], yerr=bars, linewidth=1, **style)
    if not panel.curves:
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter("{x:g}")
        axes.minorticks_off()


def figure_of(panels: Sequence[Panel], title: str, facts: Catalogue):
    """A matplotlib figure of panels side by side, with one legend; of many methods a column for each family."""
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    figure = Figure(figsize=(4.6 * len(panels), 4.2), layout="constrained")
    methods, entries = methods_of(panels), {}
    limits = limits_of(panels, facts)
    for axes, panel, ends in zip(
        figure.subplots(1, len(panels), squeeze=False)[0], panels, limits, strict=True
    ):
        draw(axes, panel, methods, facts, ends)
        handles, labels = axes.get_legend_handles_labels()
        entries |= dict(zip(labels, handles, strict=True))
    columns = 2 * len(panels)
    groups = _by_family(methods, facts)
    if len(methods) > MANY:
        longest, columns = 1 + max(map(len, groups.values())), len(groups)
        empty, listed = Line2D([], [], linestyle=""), []
        for family, members in groups.items():
            named = [(family, empty), *((label, entries[label]) for label in members)]
            listed += named + [("", empty)] * (longest - len(named))
        figure.set_size_inches(max(4.6 * len(panels), 2.1 * columns), 4.6 + 0.18 * longest)
    else:
        listed = [(label, entries[label]) for members in groups.values() for label in members]
    labels, handles = zip(*listed, strict=True)
    figure.legend(handles, labels, loc="outside lower center", ncols=columns, fontsize=8)
    figure.suptitle(title, fontsize=9)
    return figure


def _by_family(methods: Sequence[str], facts: Catalogue) -> dict[str, list[str]]:
    """The titles of methods by their family, floor and ceiling last."""
    groups: dict[str, list[str]] = {family: [] for family in (*FAMILIES, "to compare with")}
    for method in methods:
        competes = facts.method(base_name(method)).competes
        groups[family_of(method, facts) if competes else "to compare with"].append(readable(method, facts))
    return {family: members for family, members in groups.items() if members}


def save(figure, path: Path, **settings) -> None:
    """Write a figure in the format of the file's suffix, whole, to the same bytes every time."""
    suffix = path.suffix.lower().removeprefix(".")
    undated = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}.get(suffix)
    with reproducible():
        replace_file(path, lambda aside: figure.savefig(aside, format=suffix, metadata=undated, **settings))


@contextmanager
def reproducible(**settings):
    """matplotlib's settings under which the same figure has the same bytes, and any others."""
    from matplotlib import rc_context

    with rc_context({"svg.hashsalt": "bench", "pdf.fonttype": 42, **settings}):
        yield
