"""How long the board takes to make, from files of made-up numbers."""

import time
from collections.abc import Iterator
from pathlib import Path

from bench.board.make import make
from tests.board.synthetic import FLOOR, METRICS, write_board
from tests.speed.timing import Line

METHODS, MODELS, SAMPLES = 35, 4, 200
SECONDS = 60.0


def board(
    repetitions: int, folder: Path, methods: int = METHODS, models: int = MODELS, samples: int = SAMPLES
) -> Iterator[Line]:
    """Seconds for tables and page: one data set, 20 metrics."""
    quality = {f"m{i:02d}": 0.05 * i for i in range(methods - 1)} | {FLOOR: -1.0}
    write_board(folder, quality, [f"model_{i}" for i in range(models)], samples)
    values = []
    for _ in range(repetitions):
        started = time.perf_counter()
        page = make([f"folder={folder}"])
        values.append(time.perf_counter() - started)
    metrics = sum(len(own) for _, own in METRICS.values())
    what = f"board of {methods} methods, {models} models, {metrics} metrics, {samples} samples"
    note = f"page of {page.stat().st_size / 1e6:.1f} MB"
    yield Line(what, values, "s", bound=SECONDS, note=note)
