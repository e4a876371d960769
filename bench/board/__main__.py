"""The board of methods: ``python -m bench.board [--check | --known]``.

  python -m bench.board                                 tables and one page of the entries in results/board
  python -m bench.board --check                         is every entry right? exit code 1 if not
  python -m bench.board --check FILE.json …             are these?
  python -m bench.board --check --recompute FILE.json   make some of its maps again: this runs the method's code
  python -m bench.board --known suite=real              add what a suite chooses to what entries may be of

``folder=`` is another board, ``out=`` where tables and page are put; ``dataset=``, ``model=`` and ``protocol=`` (names
with commas between them) choose a part of it.

``--check`` looks at names, samples, digests, versions, numbers and intervals. Where data and model are at hand it
makes the scores that need no forward pass from the raw maps again (``--files-only`` does not); ``--write`` keeps what
was recomputed in ``recomputed.json``. Overrides such as ``paths.data=FOLDER`` say where data are. ``--known`` takes
overrides too: the finished cells of what they choose tell data sets, samples and weights.
"""

from collections.abc import Sequence
from pathlib import Path

from bench.cli import command_line, tell


def main(arguments: Sequence[str]) -> None:
    """Make the board, check it, or add to the list of what is known.

    Raises:
        BenchError: for everything the user can mend.
    """
    # --help needs nothing of these.
    if not {"--check", "--known"} & set(arguments):
        from bench.board.make import make

        make(arguments)
        return
    from bench.board.entry import FOLDER

    folder = next((a.partition("=")[2] for a in arguments if a.startswith("folder=")), None)
    root = Path(folder) if folder else FOLDER
    others = [a for a in arguments if a not in ("--check", "--known") and not a.startswith("folder=")]
    if "--check" in arguments:
        from bench.board.check import program

        program(others, root)
    else:
        from bench.board.known import add

        known = add(root, others)
        tell(f"{known.save(root)}: {len(known.datasets)} data sets, {len(known.models)} models")


if __name__ == "__main__":
    command_line(main)
