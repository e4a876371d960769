"""A table for a paper: numbers above their intervals, and never wider than the page."""

import re
import textwrap
from collections.abc import Iterator, Sequence

import pandas as pd

SIGNS = str.maketrans(
    {character: rf"\{character}" for character in "&%_#${}"}
    | {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    | {"↑": r"$\uparrow$", "↓": r"$\downarrow$", "≈": r"$\approx$", "·": r"$\cdot$", "×": r"$\times$"}
    | {"–": "--", "−": "$-$", "…": r"\dots{}", "σ": r"$\sigma$", "‡": r"$\ddagger$"}
)
HEADING = 16  # characters of a line of a heading
COLUMNS = 8  # more numbers side by side would be too small to read on a page
LINES = 34  # of tables on a page, below the caption; a number with an interval takes two
HEAD = 5  # lines of a table beside its numbers


def latex(tables: Sequence[tuple[str, pd.DataFrame]], caption: str, label: str) -> str:
    """Tables one below the other, in as many floats as they need pages; needs the packages booktabs and graphicx.

    Args:
        tables: each with a heading, which may be empty. Its texts are as in markdown: ``**0.5** [0.4, 0.6] ≈``.
        caption: with ``**`` around what is bold elsewhere.
        label: to refer to.
    """
    begin, end = [r"\begin{table}", r"\centering"], r"\end{table}"
    lines = [*begin, rf"\caption{{{escaped(caption.replace('**', ''))}}}", rf"\label{{{label}}}"]
    left = LINES
    for heading, table in _pieces(tables):
        needed = HEAD + sum(map(_height, table.values))
        if needed > left and left < LINES:
            lines += [end, *begin, r"\addtocounter{table}{-1}", r"\caption[]{(continued)}"]
            left = LINES
        left -= needed
        if heading:
            lines += [rf"\par\medskip {escaped(heading)}\par"]
        lines += _fitted(table)
    return "\n".join([*lines, end]) + "\n"


def _pieces(tables: Sequence[tuple[str, pd.DataFrame]]) -> Iterator[tuple[str, pd.DataFrame]]:
    """Tables that are neither wider nor longer than a page, with their headings."""
    for heading, table in tables:
        rows = (LINES - HEAD) // max(map(_height, table.values), default=1)
        for column in range(0, table.shape[1], COLUMNS):
            for row in range(0, len(table), rows):
                yield heading, table.iloc[row : row + rows, column : column + COLUMNS]


def _height(texts: Sequence[str]) -> int:
    """The lines of a row."""
    return 2 if any(_parts(str(text))[1] for text in texts) else 1


def _fitted(table: pd.DataFrame) -> Iterator[str]:
    """The lines of a table that is made smaller where it is wider than a line."""
    yield r"\sbox0{\begin{tabular}{l" + "r" * table.shape[1] + "}"
    yield r"\toprule"
    yield " & ".join([escaped(table.index.name or ""), *map(_heading, table.columns)]) + r" \\"
    yield r"\midrule"
    for name, texts in table.iterrows():
        parts = [_parts(str(text)) for text in texts]
        below = any(rest for _, rest in parts)
        yield " & ".join([escaped(str(name)), *(number for number, _ in parts)]) + (
            r" \\[-0.3ex]" if below else r" \\"
        )
        if below:
            yield (
                " & ".join(["", *(rf"{{\scriptsize {rest}}}" if rest else "" for _, rest in parts)]) + r" \\"
            )
    yield r"\bottomrule"
    yield r"\end{tabular}}%"
    yield r"\ifdim\wd0>\linewidth\resizebox{\linewidth}{!}{\usebox0}\else\usebox0\fi"


def _heading(text: str) -> str:
    lines = textwrap.wrap(str(text), HEADING) or [""]
    stacked = r"\\".join(map(escaped, lines))
    return rf"\shortstack[r]{{{stacked}}}" if len(lines) > 1 else stacked


def _parts(text: str) -> tuple[str, str]:
    """A number, bold where it is in markdown and with its mark, and what stands below it."""
    match = re.fullmatch(r"(\*\*)?(?P<number>.*?)(\*\*)?(?P<rest> [\[(].*?[\])])?(?P<mark> ≈)?", text)
    number = escaped(match["number"])
    number = rf"\textbf{{{number}}}" if text.startswith("**") else number
    return number + escaped(match["mark"] or ""), escaped((match["rest"] or "").strip())


def escaped(text: str) -> str:
    """Text without markup as LaTeX has it."""
    return text.translate(SIGNS)
