"""Rows of finished cells, for tests of what is made from the store alone."""

from pathlib import Path

import numpy as np
import pandas as pd

STEPS = 10
SAMPLES = 40
COLUMN_OF = {"perturbation": "negative_predictions", "segmentation": "intersection", "token_f1": "token_f1"}


def kept(results: Path) -> list[Path]:
    """The files of a results folder; locks, which stay, are none."""
    return [path for path in results.rglob("*") if path.is_file() and ".locks" not in path.parts]


def perturbation(negative=0.5, positive=0.2, seed=0):
    """Rows of images of class 1 that are classified correctly with these probabilities at every step."""
    rng = np.random.default_rng(seed)
    rows = {"id": [f"i{i}" for i in range(SAMPLES)], "label": 1, "predicted": [1] * 30 + [0] * 10}
    for direction, share in (("negative", negative), ("positive", positive)):
        rows[f"{direction}_predictions"] = list((rng.random((SAMPLES, STEPS)) < share).astype(int))
    return pd.DataFrame(rows)


def segmentation(right=0.8, average_precision=0.7, seed=0):
    """Rows of images with this share of pixels right, on average."""
    rng = np.random.default_rng(seed)
    correct = (1000 * np.clip(rng.normal(right, 0.05, SAMPLES), 0, 1)).astype(int)
    wrong = 1000 - correct
    foreground = correct // 4
    background = correct - foreground
    return pd.DataFrame(
        {
            "id": [f"i{i}" for i in range(SAMPLES)],
            "correct": correct,
            "labelled": 1000,
            "intersection": list(np.stack([background, foreground], 1)),
            "union": list(np.stack([background + wrong, foreground + wrong], 1)),
            "average_precision": np.clip(rng.normal(average_precision, 0.05, SAMPLES), 0, 1),
        }
    )


def token_f1(slope=0.002, seed=0):
    """Rows of documents whose F1 grows with k."""
    ks = np.arange(5, 81, 5)
    noise = np.random.default_rng(seed).random((SAMPLES, 1))
    scores = list(slope * ks * (0.5 + noise))
    ids = [f"d{i}" for i in range(SAMPLES)]
    visible = {"visible_token_f1": [2 * s for s in scores], "visible_recall": [3 * s for s in scores]}
    return pd.DataFrame({"id": ids, "label": 1, "predicted": 1, "token_f1": scores, **visible})
