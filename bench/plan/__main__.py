"""What a sweep needs, before it runs: ``python -m bench.plan suite=paper [experiment=compete_cheap task=sanity]``.

Prints for each model and task the cells, maps, passes of the model, hours and disk space, and the sums. Takes the same
overrides as ``python -m bench``; ``experiment=``, ``task=`` and ``model=`` may name several, and without an experiment
the cells of the tasks' tables are planned. What is stored already is counted, too (``python -m bench.status``).

  rate=1000       plain forward passes per second; without it they are measured here, for ten seconds of each model
  samples=50000   of the data set, where it is not at hand or another number is meant
  backward=2      plain forward passes that a backward pass counts for
  --measure       time a map by each method, too: without it passes count as what they are stated
  --methods       a line for each method, too
  --json          print the lines as JSON
"""

from collections.abc import Sequence

from bench.cli import command_line


def main(arguments: Sequence[str]) -> None:
    """Print what the cells of a sweep need.

    Raises:
        BenchError: for everything the user can mend.
    """
    from bench.plan.program import main as program  # --help needs nothing of it

    program(arguments)


if __name__ == "__main__":
    command_line(main)
