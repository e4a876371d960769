"""How far a suite is: ``python -m bench.status suite=small_real [protocol=clean task=segmentation --json]``.

Lists the cells of the suite's published tables and its ablation, or of ``experiment=NAME``, and all others that are
there: whether each is done, running, failed, stopped or missing, how fast it goes and how long it will take, in all and
for each model. Takes the same overrides as ``python -m bench``, several models as ``model=A,B``; nothing is run, and
neither data nor weights are looked at.
"""

from collections.abc import Sequence

from bench.cli import command_line


def main(arguments: Sequence[str]) -> None:
    """Print how far the cells of a suite are, as a table or as JSON.

    Raises:
        BenchError: for everything the user can mend.
    """
    from bench.status.program import main as program  # --help needs nothing of it

    program(arguments)


if __name__ == "__main__":
    command_line(main)
