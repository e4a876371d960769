"""What scoring costs against scikit-learn, one call per image or document."""

import time
from collections.abc import Callable, Iterator

import numpy as np
import torch

from metrics import average_precision, foreground, minmax, segmentation_counts, token_f1, upsample
from tests.speed.timing import Line

IMAGES, SIZE = 8, 224
DOCUMENTS, WORDS, KS = 8, 600, list(range(10, 81, 10))
FASTER = 20.0


def scoring(repetitions: int, unit_seconds: dict[str, float]) -> Iterator[Line]:
    """How many times faster than scikit-learn; and the share of a segmentation cell.

    Args:
        unit_seconds: of one plain forward pass per image, by model.
    """
    from sklearn.metrics import average_precision_score, confusion_matrix, f1_score

    generator = torch.Generator().manual_seed(0)
    patches = torch.rand(IMAGES, 14, 14, dtype=torch.float64, generator=generator)
    maps = minmax(upsample(patches, (SIZE, SIZE))).float()
    masks = torch.rand(maps.shape, generator=generator) > 0.6
    scores = torch.rand(DOCUMENTS, WORDS, dtype=torch.float64, generator=generator)
    rationales = torch.rand(scores.shape, generator=generator) > 0.7

    def theirs_precision():
        for m, mask in zip(maps.flatten(1).double().numpy(), masks.flatten(1).numpy(), strict=True):
            joined = np.stack([~mask, mask], axis=1), np.stack([1 - m, m], axis=1)
            average_precision_score(*joined, average="micro")

    def ours_counts():
        segmentation_counts(foreground(maps), masks)

    def theirs_counts():
        for m, mask in zip(maps.flatten(1).numpy(), masks.flatten(1).numpy(), strict=True):
            confusion_matrix(mask, m > m.mean())

    def theirs_f1():
        for document, rationale in zip(scores.numpy(), rationales.numpy(), strict=True):
            order = np.argsort(-document)
            for k in KS:
                chosen = np.zeros(WORDS, dtype=bool)
                chosen[order[:k]] = True
                f1_score(rationale, chosen)

    def ours_precision():
        average_precision(maps, masks)

    for what, ours, theirs in (
        ("average precision", ours_precision, theirs_precision),
        ("counts of pixels", ours_counts, theirs_counts),
        ("token F1", lambda: token_f1(scores, rationales, KS), theirs_f1),
    ):
        ours(), theirs()
        values, mine = [], []
        for _ in range(repetitions):
            mine.append(_seconds(ours, 5))
            values.append(_seconds(theirs, 1) / mine[-1])
        note = f"{1000 * min(mine) / IMAGES:.2f} ms each"
        yield Line(what, values, "× scikit-learn", batch=IMAGES, bound=FASTER, at_least=True, note=note)
    for model, unit in unit_seconds.items():
        scored = [
            (_seconds(ours_precision, 5) + _seconds(ours_counts, 5)) / IMAGES for _ in range(repetitions)
        ]
        # The cheapest cell: one forward pass to predict, one to see the attention.
        shares = [100 * s / (s + 2 * unit) for s in scored]
        yield Line("scoring of a segmentation cell", shares, "% of it", model, "float32", IMAGES, bound=5.0)


def _seconds(call: Callable[[], object], times: int) -> float:
    started = time.perf_counter()
    for _ in range(times):
        call()
    return (time.perf_counter() - started) / times
