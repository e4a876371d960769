"""What all programs have in common: their command line and what they print.

At a terminal there are bars and drawn tables; in a file or a pipe there is plain text.
"""

import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta

from bench._own_packages import working_directory_last
from bench.errors import BenchError, did_you_mean

EVERY = 30.0  # seconds between lines that tell how far something is
USER_MISTAKE, INTERRUPTED = 2, 130  # exit codes: of a mistake that the user can mend, and of Ctrl-C


def say(message: str) -> None:
    """Print a message about how things go, on standard error: standard output is for results."""
    with suppress(BrokenPipeError):
        print(message, file=sys.stderr, flush=True)


def tell(result: str) -> None:
    """Print a result on standard output. A reader that has seen enough, such as ``head``, makes nothing fail."""
    try:
        print(result, flush=True)
    except BrokenPipeError:
        # Python would complain once more when it flushes standard output at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def show(markdown: str) -> None:
    """Print a result in markdown: drawn at a terminal, as it is elsewhere."""
    if not sys.stdout.isatty():
        tell(markdown)
        return
    from rich.console import Console

    from bench.terminal import draw  # rich takes its time to import

    draw(markdown, Console())


@contextmanager
def progress(
    what: str, total: int, unit: str, every: float = EVERY, bar: bool = True
) -> Iterator[Callable[[float], None]]:
    """How far something is, with the pace and the time left; gives what to call when units are done.

    At a terminal it is a bar. Elsewhere, as under nohup or on a cluster, it is a line now and then.

    Args:
        what: is going on.
        total: how many units there are.
        unit: what one is called.
        every: seconds between lines.
        bar: False where something within has a bar of its own: there can be one at a time.
    """
    if not (bar and sys.stderr.isatty()):
        yield _lines(what, total, unit, every)
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
    from rich.table import Column

    whole = Column(no_wrap=True)
    columns = (  # what does not fit is cut from the description alone
        TextColumn("{task.description}", table_column=Column(ratio=1, no_wrap=True, overflow="ellipsis")),
        BarColumn(bar_width=12, table_column=whole),
        MofNCompleteColumn(table_column=whole),
        TextColumn("{task.fields[pace]}", table_column=whole),
        TimeRemainingColumn(table_column=whole),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True, expand=True) as shown:
        task = shown.add_task(what, total=total, pace="")

        def advance(done: float = 1) -> None:
            shown.advance(task, done)
            if (speed := shown.tasks[0].speed) is not None:
                shown.update(task, pace=f"{speed:.3g} {unit}s/s")

        yield advance


def _lines(what: str, total: int, unit: str, every: float) -> Callable[[float], None]:
    """What to call when units are done; says so in a line every so many seconds."""
    done, started = 0.0, time.monotonic()
    last = started

    def advance(count: float = 1) -> None:
        nonlocal done, last
        done, now = done + count, time.monotonic()
        if now - last < every or done >= total:
            return
        last, pace = now, done / max(now - started, 1e-9)
        left = timedelta(seconds=round((total - done) / pace)) if pace else "?"
        say(f"{what}: {done:.0f} of {total} {unit}s, {pace:.3g} per second, {left} left")

    return advance


def choices(kind: str, known: Iterable[str], arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """What to make (all that is known, if nothing is chosen) and the arguments it is made under.

    Raises:
        BenchError: for a choice that is not known, or several protocols.
    """
    names = [a.partition("=")[2] for a in arguments if a.startswith((f"{kind}=", "task="))] or list(known)
    if unknown := [name for name in names if name not in known]:
        raise BenchError(f"{kind}={unknown[0]}: {did_you_mean(unknown[0], known)}")
    # All methods are shown together, so a choice among these means nothing here.
    others = [a for a in arguments if not a.startswith((f"{kind}=", "task=", "method", "+method"))]
    if any(a.startswith("protocol=") and "," in a for a in others):
        raise BenchError(f"a {kind} is of one protocol; make one for each, e.g. with protocol=clean")
    return names, others


def several(arguments: Sequence[str], *keys: str) -> tuple[list[list[str]], list[str]]:
    """The values of overrides that may name several, as ``model=A,B``, for each of some keys; the other arguments."""
    values: dict[str, list[str]] = {key: [] for key in keys}
    others = []
    for argument in arguments:
        key, equals, value = argument.partition("=")
        if equals and key in values:
            values[key] += [one.strip() for one in value.split(",")]
        else:
            others.append(argument)
    return list(values.values()), others


def option(name: str, arguments: Sequence[str]) -> tuple[str | None, list[str]]:
    """The value of ``--name VALUE`` or ``--name=VALUE``, None if it is not given, and the other arguments."""
    value, others, taken = None, [], False
    for place, argument in enumerate(arguments):
        if taken:
            taken = False
        elif argument == f"--{name}":
            if place + 1 == len(arguments):
                raise BenchError(f"--{name}: expected a value after it")
            value, taken = arguments[place + 1], True
        elif argument.startswith(f"--{name}="):
            value = argument.partition("=")[2]
        else:
            others.append(argument)
    return value, others


def command_line(program: Callable[[Sequence[str]], None]) -> None:
    """Run a program on its arguments; a user's mistake ends it with a message and exit code 2."""
    working_directory_last()
    if {"-h", "--help"} & set(sys.argv[1:]):
        tell(sys.modules["__main__"].__doc__)
        return
    with exit_codes():
        program(sys.argv[1:])


@contextmanager
def exit_codes() -> Iterator[None]:
    """End the process with a message instead of a traceback, where the user made a mistake or pressed Ctrl-C."""
    try:
        yield
    except BenchError as e:
        say(f"error: {e}")
        sys.exit(USER_MISTAKE)
    except KeyboardInterrupt:
        say("interrupted")
        sys.exit(INTERRUPTED)
