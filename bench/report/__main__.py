"""One page to look at: ``python -m bench.report suite=embedded [protocol=clean samples=4 curves=24]``.

Takes the same overrides as ``python -m bench``. Tables, curves, costs and cells come from the result store,
and so do the maps that it keeps; others are made anew for a few samples: ``samples`` of each kind in the
gallery, and ``curves`` images for precision over recall; 0 leaves either out. Of the methods that results
name only those are run that have a file in ``conf/method`` or that the command line names with
``method._target_=``. The page is ``results/<suite>/report/index.html``, or with ``--output FILE`` another,
one file that needs no network.
"""

from collections.abc import Sequence

from bench.cli import choices, command_line, option, tell
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


if __name__ == "__main__":
    command_line(main)
