"""What tables, captions and figures become in HTML."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import StringIO

from markupsafe import Markup, escape

from bench.catalogue import Catalogue, base_name
from bench.figures.style import FOREGROUND, Panel, draw, limits_of, look, methods_of, reproducible
from bench.tables.format import Column, readable

INLINE = ((r"\*\*(.+?)\*\*", "strong"), (r"\*(.+?)\*", "em"), (r"`(.+?)`", "code"))


@dataclass(frozen=True)
class Grid:
    """A table as a page needs it.

    Attributes:
        columns: those of the table.
        rows: what a row is called in the columns and for a reader, and whether it is of a floor or a ceiling.
    """

    columns: Sequence[Column]
    rows: Sequence[tuple[str, str, bool]]

    @property
    def groups(self) -> list[tuple[str, int]]:
        """Headings above the columns, each with the number of its columns."""
        names = [column.group or "measured" for column in self.columns]
        return [(name, names.count(name)) for name in dict.fromkeys(names)]


def grid_of(columns: Sequence[Column], labels: Sequence[str], facts: Catalogue) -> Grid:
    """A table of methods, given by their labels."""
    rows = [(m, readable(m, facts), not facts.method(base_name(m)).competes) for m in labels]
    return Grid(columns, rows)


def inline(text: str) -> Markup:
    """A sentence of a caption or a footnote, in which \\*\\*, \\* and backticks mark words, as HTML."""
    marked = str(escape(text))
    for pattern, tag in INLINE:
        marked = re.sub(pattern, rf"<{tag}>\1</{tag}>", marked, flags=re.DOTALL)
    return Markup(marked)


@dataclass(frozen=True)
class Figure:
    """Panels on a page.

    Attributes:
        panels: as SVG, in the page's own colours, with text that stays text.
        legend: the title of each method and how it is drawn, as SVG.
        caption: what they show.
    """

    panels: Sequence[Markup]
    legend: Sequence[tuple[str, Markup]]
    caption: str


def figure_of(name: str, panels: Sequence[Panel], caption: str, facts: Catalogue) -> Figure:
    """Panels as SVG that takes the colours of text and axes from the page.

    Args:
        name: unique on the page.
    """
    from matplotlib.figure import Figure as Drawing  # takes its time to import

    drawn, methods = [], methods_of(panels)
    with reproducible(**{"svg.fonttype": "none", "font.size": 9}):
        for number, (panel, ends) in enumerate(zip(panels, limits_of(panels, facts), strict=True)):
            drawing = Drawing(figsize=(4.2, 3.2), layout="constrained")
            draw(drawing.subplots(), panel, methods, facts, ends)
            drawn.append(_svg(drawing, f"{name}-{number}", _description(panel, facts)))
        legend = [
            (readable(method, facts), _swatch(f"{name}-{number}-look", look(method, facts, methods)))
            for number, method in enumerate(methods)
        ]
    return Figure(drawn, legend, caption)


def _description(panel: Panel, facts: Catalogue) -> str:
    title = panel.title.replace("\n", ", ")
    ends = panel.data.sort_values("x").groupby("method", sort=False).last()
    values = "; ".join(f"{readable(method, facts)} {row['value']:.3g}" for method, row in ends.iterrows())
    where = "at the right end" if panel.curves else "at its cost"
    return f"{title}: {panel.y_label} over {panel.x_label}; {where}: {values}"


def _swatch(name: str, style: Mapping[str, str]) -> Markup:
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
