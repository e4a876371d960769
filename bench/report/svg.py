"""Figures as a part of a page: SVG in the page's own colours, with text that stays text."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from io import StringIO

from markupsafe import Markup, escape

from bench.drawing import FOREGROUND, Panel, draw, look, methods_of, reproducible
from bench.layout import readable


@dataclass(frozen=True)
class Figure:
    """Panels on a page.

    Attributes:
        panels: as SVG.
        legend: the label of each method and how it is drawn, as SVG.
        caption: what they show.
    """

    panels: Sequence[Markup]
    legend: Sequence[tuple[str, Markup]]
    caption: str


def figure_of(name: str, panels: Sequence[Panel], caption: str) -> Figure:
    """Panels as SVG that takes the colours of text and axes from the page.

    Args:
        name: unique on the page.
    """
    from matplotlib.figure import Figure as Drawing  # takes its time to import

    drawn, methods = [], methods_of(panels)
    with reproducible(**{"svg.fonttype": "none", "font.size": 9}):
        for number, panel in enumerate(panels):
            drawing = Drawing(figsize=(4.2, 3.2), layout="constrained")
            draw(drawing.subplots(), panel, methods)
            drawn.append(_svg(drawing, f"{name}-{number}", _description(panel)))
        legend = [
            (readable(method), _swatch(f"{name}-{number}-look", look(method, methods)))
            for number, method in enumerate(methods)
        ]
    return Figure(drawn, legend, caption)


def _description(panel: Panel) -> str:
    title = panel.title.replace("\n", ", ")
    ends = panel.data.sort_values("x").groupby("method", sort=False).last()
    values = "; ".join(f"{readable(method)} {row['value']:.3g}" for method, row in ends.iterrows())
    where = "at the right end" if panel.curves else "at its cost"
    return f"{title}: {panel.y_label} over {panel.x_label}; {where}: {values}"


def _swatch(name: str, style: dict[str, str]) -> Markup:
    from matplotlib.figure import Figure as Drawing
    from matplotlib.lines import Line2D

    drawing = Drawing(figsize=(0.4, 0.16))
    drawing.add_artist(Line2D([0.05, 0.5, 0.95], [0.5, 0.5, 0.5], markersize=4, markevery=[1], **style))
    return _svg(drawing, name, None)


def _svg(drawing, name: str, description: str | None) -> Markup:
    """A matplotlib figure as an element of a page; without a description it is decoration."""
    file = StringIO()
    drawing.savefig(file, format="svg", transparent=True, metadata={"Date": None})
    svg = file.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<(metadata|style).*?</\1>", "", svg, flags=re.DOTALL)
    svg = re.sub(r' xmlns(:xlink)?="[^"]*"', "", svg)
    # Ids are unique on the page, not only in the figure.
    svg = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{name}-", svg)
    svg = svg.replace(FOREGROUND, "currentColor")
    role = f'role="img" aria-label="{escape(description)}"' if description else 'aria-hidden="true"'
    return Markup(svg.replace("<svg", f"<svg {role}", 1))
