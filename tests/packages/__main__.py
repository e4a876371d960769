"""``python -m tests.packages [--output FILE]``: exit code 1 if a number differs, or a fault is not seen any more."""

import argparse
import sys
import warnings
from importlib.metadata import version
from pathlib import Path

from tests.packages.equal import pairs
from tests.packages.wrong import faults

EQUAL = ["the package's metric", "largest difference from ours", "tolerance", ""]
WRONG = ["package", "what is wrong", "input that shows it", "the package says", "right"]


def main() -> None:
    """Compare, print, keep, and say whether all is as it is written down."""
    parser = argparse.ArgumentParser(prog="python -m tests.packages", description=__doc__)
    parser.add_argument("--output", type=Path, help="a markdown file, beside what is printed")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    compared, seen = list(pairs()), list(faults())
    used = ", ".join(f"{name} {version(name)}" for name in ("quantus", "captum", "numpy", "torch"))
    text = "\n\n".join(
        [
            f"# Our metrics beside Quantus and captum\n\nMade by `make compare-packages` with {used}.",
            "## Where they are right",
            _table(
                EQUAL,
                [
                    [p.what, f"{p.difference:.1e}", f"{p.tolerance:.0e}", "" if p.holds else "**differs**"]
                    for p in compared
                ],
            ),
            "## Where they are wrong",
            _table(WRONG, [[f.package, f.what, f.input, f.theirs, f.right] for f in seen if f.shows]),
        ]
    )
    print(text)
    if options.output:
        options.output.write_text(text + "\n", encoding="utf-8")
    complaints = [f"differs: {p.what} by {p.difference:.1e}" for p in compared if not p.holds]
    complaints += [f"not seen: {f.package}, {f.what}: {f.theirs}" for f in seen if not f.shows]
    print("\n".join(complaints), file=sys.stderr)
    sys.exit(1 if complaints else 0)


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, [":--"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in lines)


if __name__ == "__main__":
    main()
