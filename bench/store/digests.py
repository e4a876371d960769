"""What data and weights are made of, in numbers that do not depend on where they lie, and a cache of them."""

import hashlib
import json
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor

from bench.errors import BenchError
from bench.store.files import replace_file, sha256

SETTLED = 2 * 10**9  # nanoseconds: no file system keeps times in coarser steps
NAME = "transformer-explanation-bench"
# Path, size, times of modification and of change in nanoseconds, inode. The time of change betrays content
# that was written in place under an earlier time of modification, as some programs for copying do.
State = tuple[str, int, int, int, int]


def content_digest(dataset: Any, progress: Callable[[int, int], None] | None = None) -> str:
    """The SHA-256, in hexadecimal digits, of a data set's ids, labels and content.

    It is taken over JSON of ``ids``, ``labels`` (where they are known without decoding) and ``files``, the
    SHA-256 of each file in the order in which the data set states them; folders, names and times of files
    are no part of it. A data set without files is read sample by sample instead: ``samples`` then has the id,
    the label and the SHA-256 of the decoded content of each.

    Where the same files were read before, a cache of the user's knows the digest (:func:`cached_digest`).

    Args:
        dataset: as in :mod:`bench.data.samples`.
        progress: called with how many files (or samples) are read, and of how many, after each.

    Raises:
        BenchError: a file cannot be read, or a sample without files is of an unknown kind.
    """
    files = _files(dataset)
    tell = progress or (lambda done, total: None)
    if not files:
        return _digest(dataset, samples=_contents(dataset, tell))

    def read() -> str:
        digests = []
        for file in files:
            digests.append(_of_file(file))
            tell(len(digests), len(files))
        return _digest(dataset, files=digests)

    return remembered(files, lambda states: _key(dataset, states), read)


def remembered(
    files: Sequence[str | Path], key_of: Callable[[list[State]], str], make: Callable[[], str]
) -> str:
    """What ``make`` returns of the content of files: from the cache where they have not changed, else made.

    Args:
        key_of: from the states of the files to what the cache knows the result by.

    Raises:
        BenchError: a file cannot be read.
    """
    started = time.time_ns()
    states = _states([os.path.abspath(file) for file in files])
    key = key_of(states)
    if (known := _recall(key)) is not None:
        return known
    made = make()
    # A file that was changed a moment ago may change again without a later time, or has changed meanwhile.
    if all(modified < started - SETTLED for _, _, modified, *_ in states) and states == _states(
        [os.path.abspath(file) for file in files]
    ):
        _remember(key, made)
    return made


def cached_digest(dataset: Any) -> str | None:
    """The data set's :func:`content_digest`, if it is in the cache; no content is read.

    The cache knows files by path, size, times of modification and change, and inode. It lies in the folder
    ``digests`` of BENCH_CACHE, else of ``transformer-explanation-bench`` in XDG_CACHE_HOME or ``~/.cache``.
    It may be deleted at any time, and one that cannot be read or written is as good as empty.
    """
    files = _files(dataset)
    if not files:
        return None
    try:
        return _recall(_key(dataset, _states(files)))
    except BenchError:
        return None


def _files(dataset: Any) -> list[str]:
    return [os.path.abspath(file) for file in getattr(dataset, "files", None) or ()]


def _states(files: list[str]) -> list[State]:
    states = []
    for file in files:
        try:
            stat = os.stat(file)
        except OSError as error:
            raise _unreadable(file, error) from error
        states.append((file, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino))
    return states


def _of_file(file: str) -> str:
    try:
        return sha256(Path(file))
    except OSError as error:
        raise _unreadable(file, error) from error


def _unreadable(file: str, error: OSError) -> BenchError:
    return BenchError(
        f"{file}: cannot be read ({error.strerror or error}); expected a file of the data set. Put it back."
    )


def _contents(dataset: Any, tell: Callable[[int, int], None]) -> list[tuple[str, int | None, str]]:
    contents = []
    for index in range(len(dataset)):
        sample = dataset[index]
        contents.append((sample.id, _labels([sample.label])[0], _of_sample(sample)))
        tell(len(contents), len(dataset))
    return contents


def _of_sample(sample: Any) -> str:
    """The SHA-256 of what a sample shows a model, and of what annotators marked in it."""
    whole = hashlib.sha256()
    image, words = getattr(sample, "image", None), getattr(sample, "words", None)
    if image is None and words is None:
        raise BenchError(
            f"dataset: sample {sample.id} has neither image nor words, so its content cannot be compared; "
            "let the data set state its files"
        )
    if words is not None:
        whole.update(json.dumps([list(words), getattr(sample, "query_words", 0)]).encode())
    for name in ("image", "mask", "rationale", "boxes", "other_label", "other_mask", "alternatives"):
        value = getattr(sample, name, None)
        if value is None:
            continue
        if isinstance(value, Tensor):
            value = value.detach().cpu().numpy()
        mode = value.mode if isinstance(value, Image.Image) else None
        array = np.ascontiguousarray(value)
        whole.update(json.dumps([name, mode, array.dtype.str, array.shape]).encode())
        whole.update(array.tobytes())
    return whole.hexdigest()


def _labels(labels: Sequence[Any]) -> list[int | None]:
    return [None if label is None else int(label) for label in labels]


def _named(dataset: Any) -> dict[str, Any]:
    labels = getattr(dataset, "labels", None)
    return {"ids": list(dataset.ids)} | ({} if labels is None else {"labels": _labels(labels)})


def _digest(dataset: Any, **content: Any) -> str:
    return hashlib.sha256(json.dumps(_named(dataset) | content, sort_keys=True).encode()).hexdigest()


def _key(dataset: Any, states: list[State]) -> str:
    return _digest(dataset, states=states)


def _entry(key: str) -> Path | None:
    """The cache's file for a key; None where the user has no folder for it."""
    try:
        named = os.environ.get("BENCH_CACHE")
        home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        return Path(named or Path(home) / NAME).expanduser() / "digests" / key
    except RuntimeError:
        return None


def _line(key: str, digest: str) -> str:
    """An entry vouches for itself: a damaged one would give the data set another identity."""
    return f"{digest} {hashlib.sha256(f'{key} {digest}'.encode()).hexdigest()}\n"


def _recall(key: str) -> str | None:
    entry = _entry(key)
    try:
        line = "" if entry is None else entry.read_text()
    except (OSError, ValueError):
        return None
    digest = line.rstrip("\n").rpartition(" ")[0]
    return digest if line == _line(key, digest) else None


def _remember(key: str, digest: str) -> None:
    entry = _entry(key)
    try:
        if entry is not None:
            replace_file(entry, lambda aside: aside.write_text(_line(key, digest)))
    except OSError:
        pass  # the next run reads the files again
