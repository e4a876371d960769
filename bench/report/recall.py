"""Precision over recall of the segmentation task, from maps made anew: the store keeps counts, no curves."""

from typing import Any

import numpy as np
import torch

from bench import curves
from bench.console import progress
from bench.drawing import Panel
from bench.layout import ordered
from bench.report.explainer import Explainer
from bench.store import Result
from metrics import precision_at

RECALLS = np.arange(1, 51) / 50


def precision_recall(
    config: dict[str, Any], explainer: Explainer, cells: dict[str, Result], count: int
) -> tuple[Panel, int]:
    """A panel of the mean curves of ``count`` images drawn with the seed, for their predicted class.

    Precision is that of foreground and background together, as average precision has it, so the area under a
    mean curve is the mAP of these images.

    Returns:
        The panel, and how many images there were.
    """
    ids = next(iter(cells.values())).rows["id"]
    drawn = np.random.default_rng(config["seed"]).permutation(len(ids))[:count]
    by_method: dict[tuple[str, str], list[np.ndarray]] = {(label, "precision"): [] for label in cells}
    samples = explainer.samples([ids[i] for i in sorted(drawn)])
    with progress("precision over recall", len(drawn), "image") as advance:
        for sample in samples:
            seen = explainer.see(sample)
            for label in cells:
                relevance = torch.from_numpy(explainer.relevance(label, seen, seen.classes[0]))
                precision = precision_at(torch.from_numpy(RECALLS), relevance[None], sample.mask[None])
                by_method[label, "precision"].append(100 * precision[0].numpy())
            advance()
    stacked = {key: np.stack(precisions) for key, precisions in by_method.items()}
    data = ordered(curves.with_bands(stacked, 100 * RECALLS, config["seed"]))
    title = f"{config['model']['title']}\n{config['dataset']['title']}"
    return Panel(title, "recall, %", "precision, %", data), len(drawn)
