"""Sweeps and signals: what the jobs of a sweep share, and what ends a run.

The jobs share the sweep's id, in an environment variable which the jobs of every launcher inherit, and folders
below the one it was started in, where a job that failed leaves a message for the process that started it, and one that
is done says how long it took.
"""

import json
import os
import secrets
import shutil
import signal
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any

VARIABLE = "BENCH_SWEEP"
FOLDER = Path("outputs") / "failed"
PROGRESS = Path("outputs") / "sweeps"
REFUSED = "refused"  # the name of the messages of cells that did not become jobs


def begin() -> None:
    """Give this process, and the jobs that it starts, the id of a new sweep."""
    os.environ[VARIABLE] = f"{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(3)}"


def current() -> str | None:
    """The id of the sweep that this process is part of, if it is part of one."""
    return os.environ.get(VARIABLE)


def leave() -> None:
    """Make this process part of no sweep, whatever it was started by."""
    os.environ.pop(VARIABLE, None)


@cache
def keep_signals() -> None:
    """Let processes that this one forks, such as those that load data, ignore what a cluster says to a job.

    It signals all processes of a job, and only the one that it started may have the job queued again.
    """
    os.register_at_fork(after_in_child=_ignore_signals)


def _ignore_signals() -> None:
    for number in (signal.SIGUSR1, signal.SIGUSR2):  # submitit can be told to take either
        signal.signal(number, signal.SIG_IGN)


def report(job: int, failure: str) -> None:
    """Leave the message of a job of the current sweep that failed, in the place of any other of this job."""
    folder = FOLDER / current()
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{job:06}.txt").write_text(failure)


def failures() -> list[str]:
    """Take the messages that the jobs of the current sweep left, in the order of the jobs."""
    folder = FOLDER / current()
    messages = [file.read_text() for file in sorted(folder.glob("[0-9]*.txt"))]
    for file in folder.glob("[0-9]*.txt"):
        file.unlink()
    _remove_empty(folder)
    return messages


def refuse(messages: Sequence[str]) -> None:
    """Leave the messages of cells of the current sweep that were refused before it started."""
    folder = FOLDER / current()
    folder.mkdir(parents=True, exist_ok=True)
    for number, message in enumerate(messages):
        (folder / f"{REFUSED}-{number:06}.txt").write_text(message)


def refusals() -> list[str]:
    """Take the messages of the cells that were refused."""
    folder = FOLDER / current()
    files = sorted(folder.glob(f"{REFUSED}-*.txt"))
    messages = [file.read_text() for file in files]
    for file in files:
        file.unlink()
    _remove_empty(folder)
    return messages


def _remove_empty(folder: Path) -> None:
    with suppress(OSError):
        folder.rmdir()


def begin_jobs(names: Sequence[str], costs: Sequence[float]) -> None:
    """Note the jobs of the current sweep, in their order, and what each costs, in any unit."""
    folder = PROGRESS / current()
    folder.mkdir(parents=True, exist_ok=True)
    jobs = {"started": time.time(), "names": list(names), "costs": list(costs)}
    (folder / "jobs.json").write_text(json.dumps(jobs))


def end_jobs() -> None:
    """Forget the jobs of the current sweep."""
    shutil.rmtree(PROGRESS / current(), ignore_errors=True)


def done(job: int, seconds: float) -> str | None:
    """Note that a job of the current sweep is done, whatever became of it.

    Returns:
        How far the sweep is, how long it will take if it goes on like this, and which cell took longest; None if
        nothing is known of its jobs.
    """
    folder = PROGRESS / current()
    try:
        jobs = json.loads((folder / "jobs.json").read_text())
        (folder / f"{job:06}.seconds").write_text(str(seconds))
        took = {int(file.stem): float(file.read_text() or 0) for file in folder.glob("*.seconds")}
        return _how_far(jobs, took)
    except (OSError, ValueError):  # not a sweep of ours, or its folder cannot be written to
        return None


def _how_far(jobs: Mapping[str, Any], took: Mapping[int, float]) -> str:
    names, costs = jobs["names"], jobs["costs"]
    spent = time.time() - jobs["started"]
    total, known = sum(costs), sum(costs[job] for job in took)
    slowest = max(took, key=took.__getitem__)
    left = spent * (total / known - 1) if known else None
    text = f"{len(took)} of the sweep's {len(names)} cells done after {_clock(spent)}"
    if len(took) < len(names):
        text += ", time left unknown" if left is None else f", about {_clock(left)} left"
    return f"{text}; the slowest so far: {names[slowest]} ({_clock(took[slowest])})"


def _clock(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))


# A time limit or a preemption on a cluster, a closed terminal. Ctrl-C raises KeyboardInterrupt already.
NAMES = ("SIGTERM", "SIGUSR1", "SIGUSR2", "SIGHUP")
SIGNALS = [getattr(signal, name) for name in NAMES if hasattr(signal, name)]


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """Let signals that would kill the process raise SystemExit instead.

    Those that something else handles already, such as submitit, are left to that.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    ours = [s for s in SIGNALS if signal.getsignal(s) is signal.SIG_DFL]
    for s in ours:
        signal.signal(s, _end)
    try:
        yield
    finally:
        for s in ours:
            signal.signal(s, signal.SIG_DFL)


@contextmanager
def held_signals() -> Iterator[None]:
    """Let signals that end a run wait for a moment; processes that are forked meanwhile do not take them."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def heed_parent_alone(_worker: int) -> None:
    """In a process that reads samples: let these signals end it only if they come from the run.

    Who ends a job may signal all its processes, and the run saves its rows before it ends those that read.
    """
    if hasattr(signal, "sigwaitinfo"):  # not on macOS
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    while signal.sigwaitinfo(SIGNALS).si_pid != os.getppid():
        pass
    os._exit(0)


def _end(number: int, _) -> None:
    for s in SIGNALS:
        if signal.getsignal(s) is _end:
            signal.signal(s, signal.SIG_IGN)  # one that comes again must not end the saving
    raise SystemExit(128 + number)
