"""What the jobs of a sweep share, in whichever process and on whichever machine they run.

That is the sweep's id, in an environment variable which the jobs of every launcher inherit, and a folder
below the one it was started in, where a job that failed leaves a message for the process that started it.
"""

import os
import secrets
import shutil
import signal
import time
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
