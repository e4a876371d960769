"""What tables and captions become in HTML."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd
from markupsafe import Markup, escape

from bench.layout import readable
from bench.numbers import REFERENCES, base_name

NUMBER = re.compile(r"-?\d+(\.\d+)?")
INLINE = ((r"\*\*(.+?)\*\*", "strong"), (r"\*(.+?)\*", "em"), (r"`(.+?)`", "code"))


@dataclass(frozen=True)
class Entry:
    """A cell of a table.

    Attributes:
        value: the number; None where there is none.
        text: as it is shown.
        rest: what stands after it, such as its interval.
        best: whether it is marked as the best.
    """

    value: float | None
    text: str
    rest: str
    best: bool


@dataclass(frozen=True)
class Column:
    """A column of a table: its heading, and whether more is better (None for neither)."""

    heading: str
    more_is_better: bool | None


@dataclass(frozen=True)
class Grid:
    """A table as a page needs it.

    Attributes:
        groups: headings above the columns, each with the number of its columns.
        columns: without that of the methods.
        rows: the method, whether it is a floor or a ceiling, and its entries.
    """

    groups: Sequence[tuple[str, int]]
    columns: Sequence[Column]
    rows: Sequence[tuple[str, bool, Sequence[Entry]]]


def grid_of(shown: pd.DataFrame) -> Grid:
    """A formatted table (``Table.shown``), whose published columns are headed ``published…: metric``."""
    groups: list[tuple[str, int]] = []
    columns = []
    for heading in shown.columns:
        group, _, name = heading.rpartition(": ")
        if not groups or groups[-1][0] != (group or "measured"):
            groups.append((group or "measured", 0))
        groups[-1] = (groups[-1][0], groups[-1][1] + 1)
        columns.append(Column(name, {"↑": True, "↓": False}.get("".join(re.findall("[↑↓]", name)))))
    rows = [
        (readable(method), base_name(method) in REFERENCES, [_entry(text) for text in cells])
        for method, *cells in shown.itertuples(name=None)
    ]
    return Grid(groups, columns, rows)


def _entry(cell: str) -> Entry:
    plain = cell.replace("**", "")
    text, _, rest = plain.partition(" ")
    if not NUMBER.fullmatch(text):
        return Entry(None, plain, "", best=False)
    return Entry(float(text), text, rest, best=cell.startswith("**"))


def inline(text: str) -> Markup:
    """A sentence of a caption or a footnote, in which \\*\\*, \\* and backticks mark words, as HTML."""
    marked = str(escape(text))
    for pattern, tag in INLINE:
        marked = re.sub(pattern, rf"<{tag}>\1</{tag}>", marked, flags=re.DOTALL)
    return Markup(marked)
