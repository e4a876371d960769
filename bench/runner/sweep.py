"""Sweeps and signals: what the jobs of a sweep share, and what ends a run.

The jobs share the sweep's id, in an environment variable which the jobs of every launcher inherit, and a folder
below the one it was started in, where a job that failed leaves a message for the process that started it.
"""

import os
import secrets
import shutil
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

VARIABLE = "BENCH_SWEEP"
FOLDER = Path("outputs") / "failed"


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
    messages = [file.read_text() for file in sorted(folder.glob("*.txt"))]
    shutil.rmtree(folder, ignore_errors=True)
    return messages


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
