"""The board of methods: ``python -m bench.board [--check | --known]``.

  python -m bench.board --check                       is every entry of results/board right? exit code 1 if not
  python -m bench.board --check FILE.json …           some of them
  python -m bench.board --check --recompute FILE.json make some of its maps again: this runs the method's code
  python -m bench.board --known suite=real            add what a suite chooses to the list of what entries may be of

``--check`` looks at names, samples, digests, versions, numbers and intervals. Where data and model are at hand it makes
the scores that need no forward pass from the raw maps again (``--files-only`` does not); ``--write`` keeps what was
recomputed in ``results/board/recomputed.json``. Overrides such as ``paths.data=FOLDER`` say where data are; ``--board
FOLDER`` names another board.
"""

from collections.abc import Sequence
from pathlib import Path

from bench.cli import command_line, option, tell
from bench.errors import BenchError


def main(arguments: Sequence[str]) -> None:
    """Check the board, or add to the list of what is known.

    Raises:
        BenchError: for everything the user can mend.
    """
    from bench.config import configuration  # --help needs nothing of it

    board, arguments = option("board", arguments)
    options = {a for a in arguments if a.startswith("--") and a != "--config-dir"}
    overrides = [a for a in arguments if "=" in a and not a.startswith("--")]
    root = Path(board) if board else Path(configuration(_where(overrides))["paths"]["results"]) / "board"
    if "--check" in options:
        from bench.board.check import program

        program([a for a in arguments if a != "--check"], root)
    elif "--known" in options:
        from bench.board.known import add

        known = add(root, [a for a in arguments if a != "--known"])
        tell(f"{known.save(root)}: {len(known.datasets)} data sets, {len(known.models)} models")
    else:
        raise BenchError("board: expected --check or --known")


def _where(overrides: Sequence[str]) -> list[str]:
    return [a for a in overrides if a.startswith("paths.")]


if __name__ == "__main__":
    command_line(main)
