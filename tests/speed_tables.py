"""Measure what the numbers of a large table cost: ``python -m tests.speed_tables``.

Prints CPU seconds of all threads and the peak of the process's memory, most of it that of libraries; nothing
is asserted. The size is that of the paper's table of perturbation, 14 cells of 50,000 images.
"""

import argparse
import resource
import time

import numpy as np

from metrics import Statistic, bootstrap, holm, interval, miou, paired_p_value, pixel_accuracy

AREA = 224 * 224  # pixels of an image


def statistics(samples: int, rng: np.random.Generator) -> dict[str, Statistic]:
    """Five metrics of a made-up cell: three means over samples and two ratios of sums."""
    intersection = rng.integers(0, AREA // 2, size=(samples, 2))
    union = intersection + rng.integers(1, AREA // 2, size=(samples, 2))
    correct = np.stack([intersection.sum(1), np.full(samples, AREA)], axis=1)
    return {
        "negative_auc": Statistic.mean(rng.integers(0, 19, size=samples) * 5),
        "positive_auc": Statistic.mean(rng.integers(0, 19, size=samples) * 5),
        "accuracy": Statistic.mean(rng.random(samples) < 0.8, scale=100),
        "pixel_accuracy": Statistic(correct, lambda sums: pixel_accuracy(sums[..., :1], sums[..., 1:])),
        "miou": Statistic(
            np.concatenate([intersection, union], axis=1),
            lambda sums: miou(sums[..., None, :2], sums[..., None, 2:]),
        ),
    }


def peak_megabytes() -> float:
    """The most memory that this process has held so far (Linux counts in KiB)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cells", type=int, default=14)
    parser.add_argument("--samples", type=int, default=50_000)
    parser.add_argument("--resamples", type=int, default=10_000)
    given = parser.parse_args()
    rng = np.random.default_rng(0)
    libraries = peak_megabytes()
    cells = [statistics(given.samples, rng) for _ in range(given.cells)]
    names = list(cells[0])
    started, cpu_started = time.perf_counter(), time.process_time()
    resampled = bootstrap([cell[name] for name in names for cell in cells], given.resamples)
    resampled = resampled.reshape(len(names), len(cells), -1)
    bootstrapped = time.process_time() - cpu_started
    interval(resampled)
    for of_metric in resampled:
        holm(paired_p_value(of_metric[0], of_metric[1:]))
    cpu, wall = time.process_time() - cpu_started, time.perf_counter() - started
    print(
        f"{given.cells} cells x {given.samples:,} samples x {len(names)} metrics, "
        f"{given.resamples:,} resamples: {cpu:.1f} s CPU ({bootstrapped:.1f} s of it the bootstrap, the rest "
        f"intervals and tests), {wall:.1f} s, peak {peak_megabytes():.0f} MB "
        f"({libraries:.0f} MB of it before any row was made)"
    )


if __name__ == "__main__":
    main()
