"""One process at a time on one piece of work, on this machine or on any that shares the folder."""

import os
import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from bench.console import say
from bench.files import writing

PATIENCE = 2.0  # seconds: a status command holds a lock for an instant to see whether it is free


class BusyError(Exception):
    """Another process has it; the message says which."""


@contextmanager
def claimed(path: Path, wait: bool) -> Iterator[None]:
    """Hold a lock, which the operating system releases when the process ends, however it ends.

    Args:
        path: of the lock file; it stays, because removing it would let two processes in.
        wait: wait for as long as another process has it, with a message.

    Raises:
        BusyError: if another process has it and ``wait`` is false.
        BenchError: if its folder cannot be written to.
    """
    lock = FileLock(path)
    with writing(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(timeout=PATIENCE)
        except Timeout:
            if not wait:
                raise BusyError(_holder(path)) from None
            say(f"waiting for {_holder(path)}")
            lock.acquire()
    who = f"process {os.getpid()} on {platform.node()}, which began at {time.strftime('%Y-%m-%d %H:%M')}"
    try:
        with suppress(OSError):  # only messages need it
            path.with_suffix(".holder").write_text(who)
        yield
    finally:
        lock.release()


def is_claimed(path: Path) -> bool:
    """Whether some process holds the lock now."""
    if not path.exists():
        return False
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return True
    lock.release()
    return False


def _holder(path: Path) -> str:
    try:
        return path.with_suffix(".holder").read_text()
    except OSError:
        return f"another process ({path})"
