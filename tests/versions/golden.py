"""The numbers that a version stands for, kept in ``golden.json`` by the name of the class and its version."""

import json
from pathlib import Path

import numpy as np

from tests.versions.numbers import names, numbers_of, version_of

FILE = Path(__file__).with_name("golden.json")
TOLERANCE = 1e-6  # relative, of each number; rounding stays far below
LEAST = 1e-3  # smaller numbers are compared as if they were as large
AGAIN = "python -m tests.versions"


def golden() -> dict[str, dict[str, list[float]]]:
    """Numbers by name and version."""
    return json.loads(FILE.read_text()) if FILE.exists() else {}


def complaint(name: str, known: dict[str, dict[str, list[float]]]) -> str | None:
    """What is wrong with the numbers of what has a version; None if they are those of its version."""
    version, found = version_of(name), np.array(numbers_of(name))
    if (kept := known.get(name, {}).get(version)) is None:
        return f"there are no numbers of {name} at version {version} yet; write them down with {AGAIN}"
    expected = np.array(kept)
    if found.shape == expected.shape:
        moved = (np.abs(found - expected) / np.maximum(np.abs(expected), LEAST)).max(initial=0)
        if moved <= TOLERANCE:
            return None
        how = f"by {moved:.1g} of their size"
    else:
        how = f"from {len(expected)} to {len(found)} in number"
    return (
        f"the numbers of {name} moved {how}, and its version is still {version}: stored results would be mixed"
        f" with others. If that is meant, raise the version and write the new numbers down with {AGAIN}"
    )


def write() -> list[str]:
    """Add the numbers of versions that are new; returns the complaints about those that are not."""
    known = golden()
    for name in names():
        known.setdefault(name, {}).setdefault(version_of(name), numbers_of(name))
    known = {name: known[name] for name in names()}  # what is gone is forgotten
    lines = [f' "{name}": {json.dumps(versions)}' for name, versions in sorted(known.items())]
    FILE.write_text("{\n" + ",\n".join(lines) + "\n}\n")
    return [text for name in names() if (text := complaint(name, known)) is not None]
