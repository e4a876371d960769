"""What makes the board's tables and page: ``tebench board``."""

from collections.abc import Sequence
from pathlib import Path

from bench.board.badge import badge, badges
from bench.board.columns import gather
from bench.board.entry import FOLDER, entries
from bench.board.page import write_page
from bench.board.written import Statistics, write_tables
from bench.catalogue import Catalogue
from bench.cli import say, tell
from bench.config import config_dirs
from bench.errors import BenchError

MADE = "made"  # the folder beside the data sets in which tables and page are put
OPTIONS = ("folder", "out", "dataset", "model", "protocol")


def make(arguments: Sequence[str]) -> Path:
    """Make tables and page of the files of a board; returns the page.

    Args:
        arguments: ``folder=`` of the files, ``out=`` for what is made, and ``dataset=``, ``model=``, ``protocol=``
            (names, separated by commas) for a part of the board.

    Raises:
        BenchError: for other arguments, if there is nothing to show, or a file is missing or damaged.
    """
    facts = Catalogue(config_dirs(arguments))
    own = [a for a in arguments if not a.startswith("--config-dir")]
    given = dict(argument.partition("=")[::2] for argument in own)
    if unknown := [name for name in given if name not in OPTIONS]:
        raise BenchError(f"{unknown[0]}: expected {', '.join(f'{name}=' for name in OPTIONS)}")
    folder = Path(given.get("folder") or FOLDER)
    out = Path(given.get("out") or folder / MADE)
    if not folder.is_dir():
        raise BenchError(f"folder={folder}: there is no such folder; tebench submit writes the first entry")
    chosen = {name: given[name].split(",") for name in ("dataset", "model") if name in given}
    found = [
        entry
        for entry in entries(folder)
        if all(getattr(entry, n).name in names for n, names in chosen.items())
    ]
    if not found:
        raise BenchError(f"folder={folder}: there is no entry of such a data set and model on this board")
    board = gather(found, facts, protocols=given["protocol"].split(",") if "protocol" in given else None)
    if not board.columns:
        raise BenchError(f"protocol={given['protocol']}: no entry is of it")
    known = badges(folder)
    checked = {str(entry.path): badge(folder, entry, known) for entry in found}
    made = Statistics(board)
    write_tables(made, out / "tables")
    page = write_page(made, facts, checked, out / "index.html", " ".join(["tebench board", *arguments]))
    say(f"{len(found)} entries, {len(board.columns)} columns; tables in {out / 'tables'}")
    tell(f"{page} ({page.stat().st_size / 1e6:.1f} MB)")
    return page
