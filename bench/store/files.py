"""Files that are whole or not there, what goes wrong with them, and locks on the work that they are of."""

import errno
import hashlib
import json
import os
import platform
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from bench.cli import say
from bench.errors import BenchError

PATIENCE = 2.0  # seconds
READ_ONLY = (errno.EACCES, errno.EPERM, errno.EROFS)


class BusyError(Exception):
    """Another process has it; the message says which."""


def replace_file(path: Path, write: Callable[[Path], None]) -> None:
    """Write aside, then rename, so that nobody ever sees half a file, even after a power failure."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(
        f".{secrets.token_hex(8)}.tmp"
    )  # short: the file's own name may be as long as names are
    try:
        write(aside)
        with aside.open("rb") as written:
            os.fsync(written.fileno())
        os.replace(aside, path)
        _sync_folder(path.parent)
    finally:
        aside.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    """Let a rename outlive a power failure, where the system can."""
    with suppress(OSError):  # not on Windows, not on some network file systems
        opened = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(opened)
        finally:
            os.close(opened)


def write_text(path: Path, text: str, key: str = "paths.results") -> None:
    """Write a text file whole.

    Args:
        key: the setting that chooses the folder, for messages.

    Raises:
        BenchError: if it cannot be written.
    """
    with writing(path.parent, key):
        replace_file(path, lambda aside: aside.write_text(text, encoding="utf-8"))


@contextmanager
def writing(folder: Path, key: str = "paths.results") -> Iterator[None]:
    """Raises BenchError for what goes wrong while files are written to a folder; ``key`` chooses another one."""
    try:
        yield
    except OSError as e:
        raise BenchError(
            f"{key}: {folder} cannot be written to ({e.strerror or e}); "
            f"free some space or choose another folder with {key}=..."
        ) from e


def or_say(write: Callable[[], None]) -> None:
    """Write what is already on the screen; where the user may only read the results, say so and go on.

    Raises:
        BenchError: for anything else that goes wrong, such as a full disk.
    """
    try:
        write()
    except BenchError as e:
        if not isinstance(e.__cause__, OSError) or e.__cause__.errno not in READ_ONLY:
            raise
        say(f"not written: {e} (--output FOLDER writes elsewhere)")


def read_json(path: Path, remedy: str) -> dict[str, Any]:
    """The object in a JSON file.

    Raises:
        BenchError: if the file is damaged.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(content, dict):
            raise ValueError(f"it holds a {type(content).__name__}")
    except (ValueError, OSError) as e:
        raise BenchError(f"{path} is damaged ({e}); {remedy}") from e
    return content


def sha256(file: Path) -> str:
    """The SHA-256 of a file's content, in hexadecimal digits."""
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


@contextmanager
def claimed(path: Path, wait: bool) -> Iterator[None]:
    """Hold a lock, on this machine or any that shares the folder; the system releases it when the process ends.

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
        with suppress(OSError):
            path.with_suffix(".holder").unlink()
        lock.release()


def is_claimed(path: Path) -> bool:
    """Whether some process holds the lock now. Writes nothing, so that it can be asked of read-only results."""
    try:
        opened = os.open(path, os.O_RDONLY)
    except OSError:  # there is no lock file, so nobody holds it
        return False
    try:
        return not _try_lock(opened)
    finally:
        os.close(opened)


def _try_lock(opened: int) -> bool:
    """Whether an open file can be locked, shared with other readers, as nobody holds it alone."""
    import fcntl

    try:
        fcntl.flock(opened, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks: filelock falls back to marker files there
        return True
    fcntl.flock(opened, fcntl.LOCK_UN)
    return True


def _holder(path: Path) -> str:
    try:
        return path.with_suffix(".holder").read_text()
    except OSError:
        return f"another process ({path})"
