"""What a comparison found, a line for each key, and how it is printed."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Status = Literal["ok", "missed", "derived", "informative", "not offered", "unknown"]
BAD = ("missed", "unknown")
COMPARED = ("ok", "missed")


@dataclass(frozen=True)
class Line:
    """One key.

    Attributes:
        stem: the model, or the file of a golden without a model.
        key: the name of the stored array or number.
        status: ``ok`` or ``missed``; ``derived`` for a method without any key; ``informative`` where the stored
            numbers are no aim; ``not offered`` where there is no such class, or a part of the data is not
            given; ``unknown`` for what cannot be read.
        method, settings: what was asked for it.
        error: of the worst sample; None where nothing was computed.
        tolerance: the largest error allowed.
        note: what else is to be said, in one line.
    """

    stem: str
    key: str
    status: Status
    method: str = ""
    settings: str = ""
    error: float | None = None
    tolerance: float | None = None
    note: str = ""


def judged(error: float, tolerance: float) -> Status:
    """Whether an error is within its tolerance; NaN is not."""
    return "ok" if error <= tolerance else "missed"


def table(lines: Sequence[Line]) -> str:
    """All lines as a table in markdown."""
    rows = [
        "| stem | key | method | settings | error | tolerance | status |",
        "|---|---|---|---|---|---|---|",
    ]
    for line in lines:
        status = f"{line.status}: {line.note}" if line.note else line.status
        numbers = (f"{n:.1e}" if n is not None else "–" for n in (line.error, line.tolerance))
        cells = (line.stem, line.key, line.method, line.settings, *numbers, status)
        rows.append("| " + " | ".join(cell.replace("|", "\\|") or "–" for cell in cells) + " |")
    return "\n".join(rows)


def summary(lines: Sequence[Line]) -> str:
    """How many keys have which status, in one line."""
    counts = Counter(line.status for line in lines)
    order = ("ok", "missed", "unknown", "not offered", "informative", "derived")
    return ", ".join(f"{counts[status]} {status}" for status in order if counts[status]) or "no key at all"


def passed(lines: Sequence[Line]) -> bool:
    """Whether something was compared, nothing missed and everything understood."""
    statuses = {line.status for line in lines}
    return bool(statuses & set(COMPARED)) and not statuses & set(BAD)
