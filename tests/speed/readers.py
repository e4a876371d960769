"""Measure what tables, report and status of large stores cost: ``python -m tests.speed.readers``.

Made-up rows are put into a store through its public interface; then each program runs in a process of its own, and
its CPU seconds (of all threads) and peak memory are printed. Nothing is asserted. The sizes are those of the
paper's table of perturbation (14 cells of 50,000 images) and of a sweep over 500 variants of one method.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd

from bench.config import configuration, quoted
from tests.support.stored_rows import store

METHODS = ("transformer_attribution", "raw_attention", "rollout", "gradcam", "lrp", "partial_lrp", "random")
CLASSES = 1000


def masked(samples: int, rng: np.random.Generator) -> pd.DataFrame:
    """Made-up rows of the perturbation test: accuracy falls with the share of pixels that are masked."""
    label = rng.integers(0, CLASSES, samples)
    rows = {"id": [f"image_{i:08d}" for i in range(samples)], "label": label}
    for direction, least in (("positive", 0.1), ("negative", 0.5)):
        right = rng.random((samples, 10)) < np.linspace(0.8, least, 10)
        predictions = np.where(right, label[:, None], (label[:, None] + 1) % CLASSES)
        rows[f"{direction}_predictions"] = list(predictions)
        rows["predicted"] = predictions[:, 0]
    return pd.DataFrame(rows)


def overlapping(samples: int, rng: np.random.Generator) -> pd.DataFrame:
    """Made-up rows of the segmentation test."""
    intersection = rng.integers(0, 20_000, (samples, 2))
    return pd.DataFrame(
        {
            "id": [f"image_{i:08d}" for i in range(samples)],
            "correct": intersection.sum(1),
            "labelled": np.full(samples, 224 * 224),
            "intersection": list(intersection),
            "union": list(intersection + rng.integers(1, 5_000, (samples, 2))),
            "average_precision": rng.random(samples),
        }
    )


def measured(name: str, results: Path, module: str, *arguments: str) -> None:
    """Run a program on a store and print what it costs."""
    where = [f"paths.results={quoted(results)}", *arguments]
    started = subprocess.Popen(
        [sys.executable, "-m", module, *where], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    message = started.stderr.read().decode()
    _, code, used = os.wait4(started.pid, 0)
    if code:
        raise SystemExit(f"{name} failed: {message}")
    cpu, peak = used.ru_utime + used.ru_stime, used.ru_maxrss / 1024
    print(f"{name}: {cpu:.1f} s CPU, peak {peak:.0f} MB", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--samples", type=int, default=50_000)
    parser.add_argument("--variants", type=int, default=500)
    given = parser.parse_args()
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        results = Path(folder) / "large"
        for method in METHODS:
            for explained in ("predicted", "target"):
                chosen = ("task=perturbation", f"method={method}", f"explained={explained}")
                store(
                    configuration([*chosen, f"paths.results={quoted(results)}"]), masked(given.samples, rng)
                )
        size = f"14 cells of {given.samples:,} rows"
        measured(f"table of {size}", results, "bench.tables", "table=perturbation")
        measured(f"report of {size}", results, "bench.report", "samples=0", "curves=0")
        measured(f"status of {size}", results, "bench.status")

        results = Path(folder) / "many"
        base = configuration(["task=segmentation", "method=rollout", f"paths.results={quoted(results)}"])
        rows = [overlapping(100, rng) for _ in range(10)]
        for number in range(given.variants):
            variant = base | {"method": base["method"] | {"start_layer": number}}
            store(variant, rows[number % len(rows)])
        measured(f"table of {given.variants} variants", results, "bench.tables", "table=segmentation")


if __name__ == "__main__":
    main()
