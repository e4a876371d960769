"""Figures from the result store: ``python -m bench.figures suite=embedded [figure=token_f1]``.

Draws what the metrics of a task sum up, such as accuracy over the share of pixels masked or token F1 over k,
each with 95 % intervals, and beside it the published curve where there is one. Takes the same overrides as
``python -m bench``. The files are ``results/<suite>/figures/<protocol>/<figure>.svg`` and ``.pdf``, or with
``--output FOLDER`` lie below that folder. A figure under other conditions than the suite's own, such as
``limit=8``, says so and has a name of its own, as a table does.
"""

from collections.abc import Sequence

from bench.cli import command_line


def main(arguments: Sequence[str]) -> None:
    """Draw all figures that have finished cells, or the one chosen with ``figure=`` (``task=`` is the same).

    Raises:
        BenchError: for everything the user can mend.
    """
    from bench.figures.program import main as program  # --help needs nothing of it

    program(arguments)


if __name__ == "__main__":
    command_line(main)
