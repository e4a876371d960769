"""How figures are drawn: a method looks the same in all of them, on paper and on light and dark pages."""

from collections.abc import Iterable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import pandas as pd

from bench.catalogue import Catalogue, base_name
from bench.store.files import replace_file
from bench.tables.format import readable

# Safe for colour-blind readers (Okabe & Ito); the light ones are darkened, as lines need a contrast of 3:1.
PALETTE = ["#0072B2", "#C77700", "#009E73", "#C0669A", "#2E8BC0", "#D55E00", "#7B4FB5", "#8A6D1B"]
FOREGROUND = "#000000"  # of text and axes, too; what shows figures on another ground replaces it
STAR = "transformer_attribution"  # drawn in the colour of the text, with a star
LINES = {"floor": ":", "ceiling": "--"}
MARKERS = "osv^DPX"


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


def look(method: str, facts: Catalogue, others: Iterable[str] = ()) -> dict[str, str]:
    """Colour, line style and marker of a method, by its label.

    Args:
        facts: which methods are known.
        others: the labels beside it; those that are not known share out what colours are left.
    """
    if (kind := facts.method(base_name(method)).kind) in LINES:
        return {"color": "#7A7A7A", "linestyle": LINES[kind], "marker": ""}
    if method == STAR:
        return {"color": FOREGROUND, "linestyle": "-", "marker": "*"}
    known = _methods(facts)
    strangers = {name for name in others if facts.method(base_name(name)).competes} - {*known, STAR}
    names = [*known, *sorted(strangers)]
    index = names.index(method) if method in names else len(known)
    return {
        "color": PALETTE[index % len(PALETTE)],
        "linestyle": "-",
        "marker": MARKERS[index % len(MARKERS)],
    }


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


def draw(axes, panel: Panel, methods: Sequence[str], facts: Catalogue) -> None:
    """Draw a panel on matplotlib's axes, beside others in which there are these methods, too."""
    from matplotlib.ticker import LogLocator  # takes its time to import

    for method in methods_of([panel]):
        rows = panel.data[panel.data["method"] == method].sort_values("x")
        style = look(method, facts, methods) | {"markersize": 4, "label": readable(method, facts)}
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
    axes.set_title(panel.title, fontsize=9)
    axes.set_xlabel(panel.x_label)
    axes.set_ylabel(panel.y_label)
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)


def figure_of(panels: Sequence[Panel], title: str, facts: Catalogue):
    """A matplotlib figure of panels side by side, with one legend."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.6 * len(panels), 4.2), layout="constrained")
    entries = {}
    for axes, panel in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        draw(axes, panel, methods_of(panels), facts)
        handles, labels = axes.get_legend_handles_labels()
        entries |= dict(zip(labels, handles, strict=True))
    columns = 2 * len(panels)
    figure.legend(entries.values(), entries, loc="outside lower center", ncols=columns, fontsize=8)
    figure.suptitle(title, fontsize=9)
    return figure


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
