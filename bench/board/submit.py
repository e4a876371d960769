"""Finished cells as entries of the board: ``python -m bench.board.submit suite=real task=faithfulness method=gae``.

Takes the same overrides as ``python -m bench``; without ``task=`` it takes all tasks, without ``method=`` all methods
that have finished cells under these conditions. What several tasks and protocols say of one method on one data set
and model goes into one file, ``results/board/<data set>/<model>/<method>--<explained>.json``, and replaces what stood
there of the same task and protocol. Nothing is run, and neither data nor weights are looked at.

``folder=`` is another board. ``--source URL@COMMIT`` says where the code of a method of your own is; without
it, it is the remote ``origin`` and the last commit of the repository in which its file lies. ``--anew`` begins a file
anew that is of other code, settings or weights, and lets fewer samples take the place of more.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from bench.board.entry import Entry
from bench.board.origin import source_of
from bench.board.parts import Submission, submissions
from bench.catalogue import Catalogue
from bench.cli import command_line, option, say, tell
from bench.config import composed, config_dirs, configuration
from bench.errors import BenchError
from bench.store.identity import differences

SHOWN = 4  # differences in a message


def main(arguments: Sequence[str]) -> None:
    """Write the entries of all finished cells that the arguments choose.

    Raises:
        BenchError: if there is none, or one cannot be written.
    """
    board = next((a.partition("=")[2] for a in arguments if a.startswith("folder=")), None)
    arguments = [a for a in arguments if not a.startswith("folder=")]
    source, arguments = option("source", arguments)
    anew, arguments = "--anew" in arguments, [a for a in arguments if a != "--anew"]
    known = list(Catalogue(config_dirs(arguments)).tables())
    tasks = [name for a in arguments if a.startswith("task=") for name in a.partition("=")[2].split(",")]
    written, problems = [], []
    for task in tasks or known:
        try:
            config = configuration([f"task={task}", *_conditions(arguments)])
            root = board_of(config, board)
            for one in submissions(config, methods_of(arguments), _explained(arguments)):
                written.append(add(root, one, source, anew))
        except BenchError as e:
            problems.append(f"{task}: {e}")
    if not written:
        raise BenchError(f"nothing to submit: {problems[0] if problems else 'no task is chosen'}")
    for path in dict.fromkeys(entry.path for entry in written):
        tell(str(path))
    for problem in problems:
        say(f"not submitted: {problem}")
    if tasks and problems:
        raise BenchError(f"{len(problems)} of {len(tasks)} tasks could not be submitted")


def add(root: Path, submission: Submission, source: str | None = None, anew: bool = False) -> Entry:
    """Put what one task says of a method into its file on a board; returns the entry as it is then.

    Args:
        root: of the board.
        source: ``URL@COMMIT`` of a method that is not the project's own; None looks for its repository.
        anew: begin a file anew that is of other code, settings or weights, and let fewer samples replace more.

    Raises:
        BenchError: if the file is of another method, model or data set or has the same of more samples, the source of
            a method is not known, or the per-sample rows are too many.
    """
    fresh = submission.entry(source_of(submission.made_of, source))
    path = fresh.where(root)
    known = Entry.load(path) if path.exists() else None
    if known is not None and (lines := _other(known, fresh)):
        if not anew:
            raise BenchError(
                f"{path} is of another {lines[0]}{''.join(f'; {line}' for line in lines[1:SHOWN])}: submit all its "
                "tasks from the same cells, the first with --anew, which begins the file anew"
            )
        known = None
    if not anew:
        _no_fewer(known, submission)
    part = submission.written(path.parent, fresh.stem)
    kept = [] if known is None else [one for one in known.parts if one.key != part.key]
    entry = Entry(fresh.dataset, fresh.model, fresh.method, fresh.explained, [*kept, part]).save(root)
    _remove_unused(entry)
    return entry


def _other(known: Entry, fresh: Entry) -> list[str]:
    """In what an entry differs from another of its name; the titles may change."""
    pairs = {
        "data set": (known.dataset.made_of, fresh.dataset.made_of),
        "model": (known.model.made_of, fresh.model.made_of),
        "method": (known.method.made_of, fresh.method.made_of),
        "label": (known.method.label, fresh.method.label),
    }
    return [
        line
        for name, (one, other) in pairs.items()
        for line in differences(_mapped(one), _mapped(other), name)
    ]


def _no_fewer(known: Entry | None, submission: Submission) -> None:
    """Raise BenchError if what an entry says of the same task is of more samples, which would be lost."""
    config = submission.selection.config
    key = config["task"]["name"], config["protocol"]["name"]
    for part in known.parts if known else ():
        if part.key == key and part.samples > len(submission.ids):
            raise BenchError(
                f"{known.path} has {key[0]} (protocol {key[1]}) of {part.samples} samples, and these cells are of "
                f"{len(submission.ids)}: submit those of all samples, or replace them with --anew"
            )


def _mapped(value: object) -> Mapping:
    return value if isinstance(value, Mapping) else {"name": value}


def _remove_unused(entry: Entry) -> None:
    """Remove files of the entry that none of its parts names any more."""
    named = {file[0] for part in entry.parts for file in (part.rows, part.maps) if file}
    for path in entry.path.parent.glob(f"{entry.stem}.*.parquet"):
        if path.name not in named:
            path.unlink()


def board_of(config: Mapping, given: str | None) -> Path:
    """The folder of the board."""
    return Path(given) if given else Path(config["paths"]["results"]) / "board"


def methods_of(arguments: Sequence[str]) -> list[str] | None:
    """The names of the methods that a command line chooses; None for all.

    ``method=gae,rollout`` names them; one of the user's own, ``method._target_=mine.Method``, has the name that a run
    gives it.
    """
    chosen = [a.partition("=")[2] for a in arguments if a.startswith("method=")]
    if any(a.startswith("method._target_=") for a in arguments):
        method = composed([a for a in arguments if not a.startswith("task=")]).method
        return [str(method.get("name") or method["_target_"].rpartition(".")[2])]
    return [name.strip() for value in chosen for name in value.split(",")] or None


def _conditions(arguments: Sequence[str]) -> list[str]:
    """The arguments but for those that choose a task or a method, as all methods lie side by side in the store."""
    return [
        a for a in arguments if not a.startswith(("task=", "method=", "method.", "+method.", "explained="))
    ]


def _explained(arguments: Sequence[str]) -> str | None:
    return next((a.partition("=")[2] for a in arguments if a.startswith("explained=")), None)


if __name__ == "__main__":
    command_line(main)
