"""Files that are whole or not there, and what goes wrong with them."""

import hashlib
import json
import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench.errors import BenchError


def replace_file(path: Path, write: Callable[[Path], None]) -> None:
    """Write aside, then rename, so that nobody ever sees half a file, even after a power failure."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")  # machines may share process ids
    try:
        write(aside)
        with aside.open("rb") as written:
            os.fsync(written.fileno())
        os.replace(aside, path)
    finally:
        aside.unlink(missing_ok=True)


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Raises BenchError for what goes wrong while files are written to a folder."""
    try:
        yield
    except OSError as e:
        raise BenchError(
            f"paths.results: {folder} cannot be written to ({e.strerror or e}); "
            "free some space or choose another folder with paths.results=..."
        ) from e


def read_json(path: Path, remedy: str) -> dict[str, Any]:
    """The object in a JSON file.

    Raises:
        BenchError: if the file is damaged.
    """
    try:
        content = json.loads(path.read_text())
        if not isinstance(content, dict):
            raise ValueError(f"it holds a {type(content).__name__}")
    except (ValueError, OSError) as e:
        raise BenchError(f"{path} is damaged ({e}); {remedy}") from e
    return content


def sha256(file: Path) -> str:
    """Of a file's content, in hexadecimal digits."""
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
