"""One page to look at: ``python -m bench.report suite=embedded [protocol=clean samples=4 curves=24]``.

Takes the same overrides as ``python -m bench``. Tables, curves, costs and cells come from the result store,
and so do the maps that it keeps; others are made anew for a few samples: ``samples`` of each kind in the
gallery, and ``curves`` images for precision over recall; 0 leaves either out. The page has at most 15 MB;
where the samples do not all fit, it shows fewer and says so. Of the methods that results name only those are
run that have a file in ``conf/method`` or that the command line names with ``method._target_=``. The page is
``results/<suite>/report/index.html``, or with ``--output FILE`` another, one file that needs no network.
"""

from collections.abc import Sequence

from bench.cli import command_line


def main(arguments: Sequence[str]) -> None:
    """Make the page of a suite.

    Raises:
        BenchError: for everything the user can mend.
    """
    from bench.report.program import main as program  # --help needs nothing of it

    program(arguments)


if __name__ == "__main__":
    command_line(main)
