"""What a pull request of a stranger's method is checked with: ``python -m bench.board --check``."""

import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench.board import badge, recompute
from bench.board.badge import Badge
from bench.board.entry import Entry
from bench.board.facts import Part
from bench.board.faults import Fault, of_entry, of_files, text_of
from bench.board.follow import Followed, of_intervals, of_numbers
from bench.board.known import Known
from bench.board.origin import is_own
from bench.cli import progress, say, tell
from bench.config import target_of
from bench.errors import BenchError, first_line
from bench.store.code import code_of
from bench.store.identity import differences

REMEDY = "write it with tebench submit, not by hand"
ODD = (KeyError, TypeError, ValueError, AttributeError, IndexError)  # what content of a wrong kind raises


@dataclass
class Checked:
    """What was found of an entry.

    Attributes:
        path: of its JSON file.
        faults: why it is refused.
        notes: what is not refused, and a reader is told.
        scores, maps: what was recomputed (:class:`bench.board.badge.Badge`).
    """

    path: Path
    faults: list[Fault] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    scores: dict[str, list[str]] = field(default_factory=dict)
    maps: dict[str, str] = field(default_factory=dict)


def check(
    root: Path,
    paths: Sequence[Path] | None = None,
    overrides: Sequence[str] = (),
    data: bool = True,
    maps: bool = False,
) -> list[Checked]:
    """Check a board, or some of its entries.

    Args:
        root: of the board.
        paths: of the JSON files to check; None for all.
        overrides: say where data and weights are, as on any command line.
        data: recompute scores from raw maps where data and model are at hand.
        maps: make some maps again, which runs the code of the methods.

    Raises:
        BenchError: if the list of what is known is damaged.
    """
    known, found, followed = Known.load(root), {}, []
    for path in sorted(root.glob("*/*/*.json")) if paths is None else paths:
        found[path] = one = Checked(path)
        try:
            entry = Entry.load(path)
            one.faults += of_entry(entry, root, known)
            if not one.faults:
                followed += _numbers(entry, one)
        except BenchError as e:
            one.faults.append(Fault(path, "file", text_of(e, path), REMEDY))
        except ODD as e:
            one.faults.append(Fault(path, "file", f"it holds what no entry holds ({e!r})", REMEDY))
    for fault in of_intervals(followed):
        found[fault.file].faults.append(fault)
    for fault in of_files(root) if paths is None else ():
        found.setdefault(fault.file, Checked(fault.file)).faults.append(fault)
    right = {path: one for path, one in found.items() if not one.faults and path.suffix == ".json"}
    with progress("board", len(right), "file") as done:
        for path, one in right.items():
            _recompute(Entry.load(path), one, overrides, data, maps)
            done(1)
    return list(found.values())


def _numbers(entry: Entry, one: Checked) -> list[Followed]:
    followed = []
    for part in entry.parts:
        faults, right = of_numbers(entry, part)
        one.faults += faults
        followed += right
    return followed


def _recompute(entry: Entry, one: Checked, overrides: Sequence[str], data: bool, maps: bool) -> None:
    """Look at the raw maps of an entry that is right as far as its files tell."""
    one.notes += _of_other_code(entry)
    made: dict[str, str] = {}
    for part in entry.parts:
        where = f"{part.task} ({part.protocol_label})"
        if part.maps is None:
            one.notes.append(f"{where}: {badge.NOT}: {part.note}")
            continue
        if not data or not (maps or recompute.free(part)):
            continue  # of what needs forward passes no score follows from maps alone
        try:
            hand = recompute.at_hand(entry, part, overrides)
            faults, names = recompute.scores(entry, part, hand)
            one.faults += faults
            if names and not faults:
                one.scores[where] = names
            if maps:
                _make_again(entry, part, hand, one, where, made)
        except BenchError as e:
            one.notes.append(f"{where}: {badge.NOT}: {e}")
        except ODD as e:
            one.faults.append(
                Fault(entry.path, where, f"its raw maps cannot be read ({first_line(e)})", REMEDY)
            )


def _make_again(
    entry: Entry, part: Part, hand: recompute.AtHand, one: Checked, where: str, made: dict[str, str]
) -> None:
    """Make some maps of a part again, those that several parts share once."""
    name = part.maps[0]
    if name not in made:
        faults, made[name] = recompute.maps(entry, part, hand)
        one.faults += faults
        if faults:
            made[name] = "maps are not those of the method"
    one.maps[where] = made[name]


def _of_other_code(entry: Entry) -> list[str]:
    """A note where the project's own method is not the version any more that the entry was made with."""
    made_of = entry.method.made_of
    if not is_own(made_of["target"]):
        return []
    try:
        now = code_of(target_of("method", {"_target_": made_of["target"]}), "method")
    except BenchError as e:
        return [str(e)]
    lines = differences(made_of["code"], now, "code")
    return [f"{entry.method.name} has changed since its maps were made ({lines[0]})"] if lines else []


def program(arguments: Sequence[str], root: Path) -> None:
    """Print what is wrong with a board, and end the process with 1 if anything is.

    Args:
        arguments: ``--recompute``, ``--files-only``, ``--write``, JSON files, and overrides.
    """
    options = {"--recompute", "--files-only", "--write"}
    paths = [Path(a) for a in arguments if a.endswith(".json") and "=" not in a]
    overrides = [a for a in arguments if a not in options and Path(a) not in paths]
    if unknown := [a for a in overrides if re.match(r"--(?!config-dir)", a)]:
        raise BenchError(f"board --check {unknown[0]}: expected one of {', '.join(sorted(options))}")
    if lost := [
        path for path in paths if not path.exists() or not path.resolve().is_relative_to(root.resolve())
    ]:
        raise BenchError(
            f"{lost[0]}: there is no such file on the board {root}; folder=FOLDER names another board"
        )
    given = [root / path.resolve().relative_to(root.resolve()) for path in paths]
    found = check(root, given or None, overrides, "--files-only" not in arguments, "--recompute" in arguments)
    faults = [fault for one in found for fault in one.faults]
    for fault in faults:
        tell(f"refused: {fault}")
    done: dict[str, Badge] = {}
    for one in (one for one in found if not one.faults):
        entry, name = Entry.load(one.path), one.path.relative_to(root).as_posix()
        done[name] = Badge(entry.digest, one.scores, one.maps)
        tell(f"ok: {name}: {done[name]}")
        for note in one.notes:
            tell(f"    {note}")
    if "--write" in arguments:
        badge.write(root, {name: one for name, one in done.items() if one.scores or one.maps})
    refused = len({fault.file for fault in faults})
    say(f"{len(found) - refused} of {len(found)} files of {root} are right, {refused} are refused")
    if faults:
        sys.exit(1)
