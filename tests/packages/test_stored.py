"""What make compare-packages found is what the documentation says; the packages themselves are not needed here."""

from pathlib import Path

ROOT = Path(__file__).parents[2]
STORED = ROOT / "results" / "packages.md"
WRONG = "## Where they are wrong"


def rows(text: str) -> list[str]:
    """The lines of the first table of a text, without its head."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return lines[2:]


def test_every_fault_in_the_documentation_was_seen_with_its_input():
    seen = rows(STORED.read_text(encoding="utf-8").partition(WRONG)[2])
    text = (
        (ROOT / "REPRODUCING.md")
        .read_text(encoding="utf-8")
        .partition("## Where other packages are wrong")[2]
    )
    assert rows(text.partition("\nRead, not run")[0]) == seen
    assert len(seen) >= 15


def test_no_number_differs_where_the_packages_are_right():
    right = STORED.read_text(encoding="utf-8").partition(WRONG)[0]
    assert len(rows(right)) >= 14
    assert "**differs**" not in right
