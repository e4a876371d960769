"""What is printed. At a terminal there are bars and drawn tables; in a file or a pipe there is plain text."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager


def say(message: str) -> None:
    """A message about how things go, on standard error: standard output is for results."""
    print(message, file=sys.stderr, flush=True)


def show(markdown: str) -> None:
    """A result on standard output."""
    if not sys.stdout.isatty():
        print(markdown)
        return
    from rich.console import Console
    from rich.markdown import Markdown

    Console().print(Markdown(markdown))


@contextmanager
def progress(what: str, total: int, unit: str) -> Iterator[Callable[[int], None]]:
    """A bar with the pace and the time left, at a terminal; gives what to call when units are done."""
    if not sys.stderr.isatty():
        yield lambda done=1: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[pace]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=total, pace="")

        def advance(done: int = 1) -> None:
            bar.advance(task, done)
            if (speed := bar.tasks[0].speed) is not None:
                bar.update(task, pace=f"{speed:.3g} {unit}s per second")

        yield advance
