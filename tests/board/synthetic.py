"""A board of made-up numbers, written as the files of a real one."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pandas as pd

from bench.board.columns import Ranking
from bench.board.entry import Entry
from bench.board.facts import MetricFacts, Number, OfMethod, Part, Said
from bench.board.tables import ids_digest, save_table
from bench.catalogue import Catalogue

# By task: its family, and its metrics with whether more is better. 20 metrics.
METRICS: Mapping[str, tuple[str, Mapping[str, bool]]] = {
    "faithfulness": (
        "faithfulness",
        {
            "srg": True,
            "deletion": False,
            "insertion": True,
            "comprehensiveness": True,
            "sufficiency": False,
            "log_odds": False,
            "saco": True,
            "faithfulness_correlation": True,
        },
    ),
    "localisation": (
        "localisation",
        {
            "roc_auc": True,
            "energy": True,
            "pointing_game": True,
            "rank_accuracy": True,
            "top_k_intersection": True,
        },
    ),
    "sanity": (
        "sanity",
        {"parameter_randomisation": False, "parameter_randomisation_all": False, "class_similarity": False},
    ),
    "robustness": (
        "robustness",
        {"max_sensitivity": False, "average_sensitivity": False, "gini": True, "entropy": True},
    ),
}
FLOOR = "random"
FAMILIES = ("attention", "gradient", "relevance", "perturbation")


def ids_of(count: int) -> list[str]:
    """Sorted."""
    return [f"sample_{i:05d}" for i in range(count)]


def scores_of(
    quality: Sequence[float], samples: int, rng: np.random.Generator, noise: float = 1.0, shared: float = 1.0
) -> np.ndarray:
    """(methods, samples): of a method its quality, what all methods share on a sample, and its own noise."""
    quality = np.asarray(quality, dtype=float)[:, None]
    own = noise * rng.normal(size=(len(quality), samples))
    return quality + shared * rng.normal(size=samples) + own


def write_board(
    root: Path,
    quality: Mapping[str, float],
    models: Sequence[str] = ("model_a", "model_b"),
    samples: int = 60,
    metrics: Mapping[str, tuple[str, Mapping[str, bool]]] = METRICS,
    noise: float = 1.0,
    seed: int = 0,
    maps: int = 2,
    explained: str = "predicted",
    protocol: str = "clean",
) -> list[Entry]:
    """Write entries of methods, by name with their quality, on one data set; ``random`` is a floor.

    Args:
        maps: how many maps each entry has.
    """
    rng = np.random.default_rng(seed)
    entries = []
    for model in models:
        scores = {
            (task, metric): (1 if higher else -1) * scores_of(list(quality.values()), samples, rng, noise)
            for task, (_, own) in metrics.items()
            for metric, higher in own.items()
        }
        for i, name in enumerate(quality):
            parts = {
                task: {metric: scores[task, metric][i] for metric in own}
                for task, (_, own) in metrics.items()
            }
            entries.append(
                write_entry(root, model, method_of(name, i), parts, metrics, explained, protocol, maps, rng)
            )
    return entries


def method_of(name: str, number: int = 0, label: str | None = None) -> OfMethod:
    """A method of the benchmark, or a made-up one; ``random`` is a floor."""
    kind = "floor" if name == FLOOR else "method"
    family = FAMILIES[number % len(FAMILIES)] if kind == "method" else "other"
    made_of = {"target": f"made.up.{name}", "settings": {"number": number}, "code": {}, "content": {}}
    return OfMethod(name, label or name, f"Method {label or name}", kind, family, made_of)


def write_entry(
    root: Path,
    model: str,
    method: OfMethod,
    parts: Mapping[str, Mapping[str, np.ndarray]],
    metrics: Mapping[str, tuple[str, Mapping[str, bool]]] = METRICS,
    explained: str = "predicted",
    protocol: str = "clean",
    maps: int = 0,
    rng: np.random.Generator | None = None,
    ids: Sequence[str] | None = None,
    on: str = "all",
    dataset: str = "made_up_images",
    seconds: float = 0.1,
) -> Entry:
    """Write one entry: by task and metric, its scores (samples,), NaN where they are undefined."""
    said = {"target": "made.up", "settings": {}, "code": {}}
    entry = Entry(
        Said(dataset, dataset.replace("_", " ").capitalize(), said),
        Said(model, model.replace("_", " ").capitalize(), said | {"content": {"weights": model}}),
        method,
        explained,
        [],
    )
    folder, written = entry.where(root).parent, []
    folder.mkdir(parents=True, exist_ok=True)
    kept = _maps(folder, entry.stem, list(ids or ids_of(maps))[:maps], rng) if maps else None
    for task, own in parts.items():
        family, directions = metrics[task]
        count = len(next(iter(own.values())))
        names = list(ids or ids_of(count))
        rows = save_table(
            folder, f"{entry.stem}.{task}.{protocol}.parquet", pd.DataFrame({"id": names, **own})
        )
        written.append(
            Part(
                task=task,
                protocol=protocol,
                version=1,
                protocol_label=f"{protocol} v1",
                suite="made_up",
                choices={},
                on=on,
                seed=0,
                samples=count,
                ids_sha256=ids_digest(names),
                content="made up",
                inputs={},
                measurements={},
                metrics={
                    name: MetricFacts(
                        name.replace("_", " "), "", directions[name], family, 1, {"_target_": "made.up"}
                    )
                    for name in own
                },
                numbers={(name, 0): _number(name, values) for name, values in own.items()},
                cost={"seconds": seconds, "device": "cpu", "batch_size": 8, "peak_memory_bytes": None},
                versions={},
                rows=rows,
                maps=kept,
            )
        )
    return Entry(entry.dataset, entry.model, method, explained, written).save(root)


def _number(name: str, values: np.ndarray) -> Number:
    known = values[np.isfinite(values)]
    if not len(known):
        return Number(name, 0, None, None, None, "bootstrap", 0, 1.0)
    mean, error = float(known.mean()), float(1.96 * known.std(ddof=1) / np.sqrt(len(known)))
    return Number(name, 0, mean, mean - error, mean + error, "bootstrap", len(known), 1.0)


def _maps(folder: Path, stem: str, ids: Sequence[str], rng: np.random.Generator) -> tuple[str, str]:
    maps = [rng.normal(size=49).astype(np.float32) for _ in ids]
    rows = pd.DataFrame(
        {"id": ids, "explained_class": 0, "prefix": 1, "map": maps, "shape": [[7, 7] for _ in ids]}
    )
    return save_table(folder, f"{stem}.maps.parquet", rows)


@contextmanager
def few_resamples() -> Iterator[None]:
    """For what does not depend on how many there are."""
    ranking = replace(Ranking.of(Catalogue()), resamples=400, times=100, splits=20)
    with patch.object(Ranking, "of", classmethod(lambda cls, facts: ranking)):
        yield
