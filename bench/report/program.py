"""The program ``python -m bench.report``."""

from collections.abc import Sequence

from bench.cli import choices, option, tell
from bench.errors import BenchError
from bench.report.page import write

DEFAULTS = {"samples": 4, "curves": 24}


def main(arguments: Sequence[str]) -> None:
    """Make the page of a suite.

    Raises:
        BenchError: if there is nothing to show, or the page cannot be written.
    """
    output, arguments = option("output", arguments)
    own = {key: value for key, _, value in (a.partition("=") for a in arguments) if key in DEFAULTS}
    if bad := [f"{key}={value}" for key, value in own.items() if not value.isdecimal()]:
        raise BenchError(f"{bad[0]}: expected a whole number, 0 or more")
    counts = DEFAULTS | {key: int(value) for key, value in own.items()}
    named = {a.partition("=")[2].strip("'\"") for a in arguments if a.startswith("method._target_=")}
    _, overrides = choices("report", (), [a for a in arguments if a.partition("=")[0] not in DEFAULTS])
    file = write(overrides, counts["samples"], counts["curves"], named, output)
    tell(f"{file} ({file.stat().st_size / 1e6:.1f} MB)")
