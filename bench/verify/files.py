"""Reading the files of a folder of goldens: arrays, JSON, weights."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from bench.errors import BenchError, first_line


class UnreadableError(BenchError):
    """A file that is there and cannot be read; the message says why."""


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file.

    Raises:
        UnreadableError: if there is anything else in it.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as e:
        raise UnreadableError(f"{path}: no JSON ({first_line(e)}); copy the file again") from e
    if not isinstance(content, dict):
        raise UnreadableError(f"{path}: expected a JSON object, got {type(content).__name__}")
    return content


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """All arrays of an npz file by name; nothing is unpickled.

    Raises:
        UnreadableError: if the file is damaged or holds Python objects.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except Exception as e:  # zip, zlib and numpy meet damage with errors of their own
        raise UnreadableError(
            f"{path}: no readable npz ({first_line(e)}); copy the file again, and store plain arrays in it"
        ) from e
