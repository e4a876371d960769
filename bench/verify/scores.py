"""Comparing stored values of metrics: nested numbers, a section of them computed at once."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from bench.errors import first_line
from bench.verify.compare import errors
from bench.verify.grammar import Entry
from bench.verify.lines import Line, judged
from bench.verify.offered import NotOfferedError

# Of a name that a section's function is registered under; the values are what its braces read.
Section = Callable[..., Mapping[str, Any]]

TOLERANCES = (
    ("road.imputed*", 5e-4),  # stored as float16
    ("road*", 1e-5),  # a float32 solution
    ("rise_*", 1e-7),  # a kernel that was rounded to float32
    ("saliency", 1e-6),  # stored as float32
    ("completeness_lrp*", 1e-4),  # of the reference's LRP, with its stabilisers
)
"""The first pattern that fits the name of a section gives its tolerance; all others have DEFAULT."""

DEFAULT = 1e-9


def leaves(nested: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """The numbers and lists of nested mappings, by their path with slashes; texts describe, and are left out."""
    found: dict[str, Any] = {}
    for name, value in nested.items():
        if isinstance(value, Mapping):
            found |= leaves(value, f"{prefix}{name}/")
        elif not isinstance(value, str):
            found[f"{prefix}{name}"] = value
    return found


def find(name: str, sections: Mapping[str, Section]) -> tuple[Section, dict[str, Any]] | None:
    """The function of the first pattern that a section's name fits, and what its braces read."""
    for pattern, function in sections.items():
        if (values := Entry(pattern, "").read(name)) is not None:
            return function, values
    return None


def compare_section(
    stem: str, name: str, stored: Mapping[str, Any], compute: Callable[[], Mapping[str, Any]], limit: float
) -> list[Line]:
    """A line for each number or list of numbers of a section.

    Args:
        name: of the section, with which the keys begin.
        stored: by path, as :func:`leaves` gives them.
        compute: gives ours, by the same paths; a path that it does not give is unknown, and a
            NotOfferedError in the place of a value says that there is no such metric.
        limit: the tolerance.
    """

    def line(path: str, status: str, note: str = "") -> Line:
        return Line(stem, "/".join(filter(None, (name, path))), status, "[metrics]", note=note)

    try:
        ours = compute()
    except NotOfferedError as e:
        return [line(path, "not offered", f"there is no {e}") for path in stored]
    except Exception as e:  # whatever a metric refuses or breaks on
        return [line(path, "missed", f"{type(e).__name__}: {first_line(e)}"[:200]) for path in stored]
    lines = []
    for path, value in stored.items():
        if path not in ours:
            lines.append(line(path, "unknown", "no metric is known by this key"))
        elif isinstance(ours[path], NotOfferedError):
            lines.append(line(path, "not offered", f"there is no {ours[path]}"))
        else:
            key = "/".join(filter(None, (name, path)))
            lines.append(compare_value(stem, key, ours[path], value, limit))
    return lines


def compare_value(stem: str, key: str, ours: Any, stored: Any, limit: float) -> Line:
    """One value, or one for each sample; whole numbers and truth values have to be equal."""
    golden, found = np.asarray(stored), np.asarray(ours)
    if golden.shape != found.shape:
        note = f"shape {found.shape} where {golden.shape} is stored"
        return Line(stem, key, "missed", "[metrics]", note=note)
    exact = golden.dtype.kind in "biu"
    golden, found = (torch.from_numpy(np.atleast_1d(each).astype(np.float64)) for each in (golden, found))
    error = float(errors(found, golden, absolute=exact).max()) if golden.numel() else 0.0
    limit = 0.0 if exact else limit
    return Line(stem, key, judged(error, limit), "[metrics]", error=error, tolerance=limit)


def unknown(stem: str, keys: Sequence[str]) -> list[Line]:
    """Lines of keys that no section reads."""
    return [Line(stem, key, "unknown", note="no metric is known by this key") for key in keys]
