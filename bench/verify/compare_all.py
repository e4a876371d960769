"""Everything in a folder of goldens, compared."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

from bench.errors import BenchError
from bench.verify.lines import Line
from bench.verify.maps import compare_maps
from bench.verify.metrics_files import compare_metrics
from bench.verify.stems import Stem, find_stems

Progress = Callable[[str, int, str], AbstractContextManager[Callable[[int], None]]]


def compare_all(folder: Path, data: Path | None, progress: Progress) -> list[Line]:
    """A line for each key of each file of a folder.

    Args:
        folder: with the files.
        data: where weights and data sets lie that the files name, or None.
        progress: shows how far it is; as :func:`bench.cli.progress`.
    """
    stems, problems = find_stems(folder, data)
    lines = [Line(str(e).partition(":")[0], "–", "unknown", note=str(e)) for e in problems]
    keys = sum(len(golden.arrays) for stem in stems for golden in stem.goldens)
    with progress("keys", keys, "key") as done:
        for stem in stems:
            lines += _of_stem(stem, done)
    return lines


def _of_stem(stem: Stem, done: Callable[[int], None]) -> list[Line]:
    try:
        model = stem.build()
    except BenchError as e:
        return [Line(stem.name, "weights", "missed", note=str(e))]
    lines = [line for golden in stem.goldens for line in compare_maps(stem, golden, model, done)]
    return lines + (compare_metrics(stem, model) if stem.scores else [])
