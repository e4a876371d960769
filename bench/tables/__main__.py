"""Tables from the result store: ``python -m bench.tables suite=embedded [protocol=clean table=ablation]``.

Takes the same overrides as ``python -m bench``. All finished cells under exactly these conditions (data set,
model, settings) become rows of one table; nothing is run, and neither data nor weights are needed. There is a
table for each task, and one named ablation; csv, md and tex go to ``results/<suite>/tables/<protocol>/``, or with
``--output FOLDER`` below that folder; the markdown is printed.

A table in which a cell is not finished is refused; ``--partial`` makes one of the samples that all cells have
so far, and labels it. ``--json`` prints the numbers as JSON instead.
"""

from collections.abc import Sequence

from bench.cli import command_line


def main(arguments: Sequence[str]) -> None:
    """Make all tables that have finished cells, or the one chosen with ``table=`` (``task=`` is the same).

    Raises:
        BenchError: for everything the user can mend.
    """
    from bench.tables.program import main as program  # --help needs nothing of it

    program(arguments)


if __name__ == "__main__":
    command_line(main)
