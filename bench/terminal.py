"""Results at a terminal: markdown, in which tables keep every number and every name whatever the width."""

import re
from collections.abc import Iterator, Sequence

from rich import box
from rich.console import Console
from rich.markdown import Markdown
from rich.table import Table
from rich.text import Text

INTERVAL = re.compile(r"^(?P<number>.*?\S)(?P<rest> [\[(].*?[\])])(?P<mark> ≈)?$")
SENTENCE = 32  # columns of the terminal that sentences are given at least; what is longer is one
GAP = 2  # columns of the terminal between two of a table: a blank, and the line that this box does not draw


def draw(markdown: str, console: Console) -> None:
    """Print markdown. A table that is too wide goes on below, with its first column again."""
    for is_table, lines in _parts(markdown):
        if not is_table:
            console.print(Markdown("\n".join(lines)))
            continue
        for block in _blocks(_cells(lines), console.width):
            console.print(block)
            console.print()


def _parts(markdown: str) -> Iterator[tuple[bool, list[str]]]:
    """Runs of lines, and whether they are a table."""
    run: list[str] = []
    was_table = False
    for line in markdown.splitlines():
        is_table = line.startswith("|")
        if is_table != was_table and run:
            yield was_table, run
            run = []
        run, was_table = [*run, line], is_table
    if run:
        yield was_table, run


def _cells(lines: Sequence[str]) -> list[list[str]]:
    """The texts of a table, its headings first."""
    rows = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip().strip("|"))] for line in lines]
    return [rows[0], *rows[2:]]


def _blocks(rows: list[list[str]], width: int) -> list[Table]:
    """A table as one of rich's, or as many as are needed for the width.

    First with every cell in a line; if that does not fit, with intervals below their numbers and names in several
    lines.
    """
    columns = list(zip(*rows, strict=True))
    for in_lines in (False, True):
        texts = [[_in_lines(cell) if in_lines else _marked(cell) for cell in column] for column in columns]
        widths = [_least(column, number == 0, in_lines) for number, column in enumerate(texts)]
        groups = _fitted(widths, width)
        if len(groups) == 1 and sum(widths) + GAP * (len(widths) - 1) <= width:
            break
    return [
        _table(
            [texts[n] for n in (0, *group)], _spread([texts[n] for n in (0, *group)], widths, group, width)
        )
        for group in groups
    ]


def _fitted(widths: Sequence[int], width: int) -> list[list[int]]:
    """The numbers of the columns behind the first that stand side by side."""
    groups: list[list[int]] = [[]]
    used = widths[0]
    for number, own in enumerate(widths[1:], start=1):
        if groups[-1] and used + GAP + own > width:
            groups.append([])
            used = widths[0]
        groups[-1].append(number)
        used += GAP + own
    return groups


def _spread(
    columns: Sequence[Sequence[Text]], widths: Sequence[int], group: Sequence[int], width: int
) -> list[int]:
    """The widths of the columns of a block: what each needs, and what is left over for names and headings."""
    own = [widths[n] for n in (0, *group)]
    whole = [
        max(Text(line).cell_len for text in column for line in text.plain.split("\n")) for column in columns
    ]
    for _ in range(width - sum(own) - GAP * len(group)):
        narrow = [number for number in range(len(own)) if own[number] < whole[number]]
        if narrow:  # names first, then the narrowest
            own[min(narrow, key=lambda number: (number > 0, own[number]))] += 1
    return own


def _in_lines(cell: str) -> Text:
    """A cell with its interval, or how it was confirmed, below the number."""
    match = INTERVAL.match(cell)
    if match is None:
        return _marked(cell)
    return _marked(f"{match['number']}{match['mark'] or ''}\n{match['rest'].strip()}")


def _marked(cell: str) -> Text:
    """A cell in which ``**`` marks what is bold."""
    text = Text()
    for number, part in enumerate(cell.replace(r"\|", "|").split("**")):
        text.append(part, style="bold" if number % 2 else "")
    return text


def _least(column: Sequence[Text], is_first: bool, may_wrap: bool) -> int:
    """The columns of the terminal that a column needs.

    Its heading may wrap between words, and so may names in the first column and sentences in the others.
    """
    is_prose = _is_prose(column)
    wraps = may_wrap and (is_first or is_prose)
    parts = [
        part
        for place, text in enumerate(column)
        for part in (text.plain.split() if place == 0 or wraps else text.plain.splitlines())
    ]
    return max((Text(part).cell_len for part in parts), default=0) if not (wraps and is_prose) else SENTENCE


def _is_prose(column: Sequence[Text]) -> bool:
    """Whether a column has sentences, not names and numbers."""
    return any(" " in text.plain and max(map(len, text.plain.splitlines())) > SENTENCE for text in column[1:])


def _table(columns: Sequence[Sequence[Text]], widths: Sequence[int]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, GAP - 1, 0, 0), pad_edge=False, show_edge=False)
    several = any("\n" in cell.plain for column in columns for cell in column[1:])
    for number, (column, width) in enumerate(zip(columns, widths, strict=True)):
        numbers = any(character.isdigit() for text in column[1:] for character in text.plain[:2])
        side = "right" if number and numbers and not _is_prose(column) else "left"
        table.add_column(column[0], justify=side, width=width, overflow="fold")
    for place, row in enumerate(zip(*(column[1:] for column in columns), strict=True)):
        table.add_row(*row, end_section=several and place < len(columns[0]) - 2)
    return table
