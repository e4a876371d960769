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


def latex(tables: Sequence[tuple[str, pd.DataFrame]], caption: str, label: str) -> str:
    """One float of tables one below the other; needs the packages booktabs and graphicx.

    Args:
        tables: each with a heading, which may be empty. Its texts are as in markdown: ``**0.5** [0.4, 0.6] ≈``.
        caption: with ``**`` around what is bold elsewhere.
        label: to refer to.
    """
    lines = [
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{escaped(caption.replace('**', ''))}}}",
        rf"\label{{{label}}}",
    ]
    for heading, table in tables:
        for start in range(0, table.shape[1], COLUMNS):
            if heading:
                lines += [rf"\par\medskip {escaped(heading)}\par"]
            lines += _fitted(table.iloc[:, start : start + COLUMNS])
    return "\n".join([*lines, r"\end{table}"]) + "\n"


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
