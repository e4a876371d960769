"""What scoring costs: against scikit-learn, one call per image or document; and in forward passes."""

import time
from collections.abc import Callable, Iterator

import numpy as np
import torch

import metrics
from metrics import average_precision, foreground, minmax, segmentation_counts, token_f1, upsample
from tests.speed.explaining import UNIT_BATCH, Plain, create, pixels
from tests.speed.timing import Line, ratios

IMAGES, SIZE = 8, 224
DOCUMENTS, WORDS, KS = 8, 600, list(range(10, 81, 10))
FASTER = 20.0
STEPS, BINS = [i / 10 for i in range(11)], [0.01, 0.05, 0.1, 0.2, 0.5]  # those of the protocols


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

    def ours_localisation():
        _localise(maps.double(), masks)

    for model, unit in unit_seconds.items():
        for task, calls in (
            ("segmentation", (ours_precision, ours_counts)),
            ("localisation", (ours_localisation,)),
        ):
            scored = [sum(_seconds(call, 5) for call in calls) / IMAGES for _ in range(repetitions)]
            # The cheapest cell: one forward pass to predict, one to see the attention.
            shares = [100 * s / (s + 2 * unit) for s in scored]
            what = f"scoring of a {task} cell"
            yield Line(what, shares, "% of it", model, "float32", IMAGES, bound=5.0)


def _localise(maps: torch.Tensor, masks: torch.Tensor) -> None:
    """All that is measured of maps against masks."""
    metrics.pointing_game(maps, masks)
    metrics.pointing_game(maps, masks, 15)
    metrics.mass_accuracy(maps, masks)
    metrics.mass_over_chance(maps, masks)
    metrics.rank_accuracy(maps, masks)
    metrics.roc_auc(maps, masks)
    metrics.top_k_intersection(maps, masks)


def imputation(repetitions: int, device: torch.device) -> Line:
    """Seconds for an image with 90 % of its pixels imputed, most of them in one area, as a map leaves them."""
    generator = torch.Generator().manual_seed(0)
    pixels_ = torch.rand(1, 3, SIZE, SIZE, dtype=torch.float64, generator=generator).to(device)
    scores = upsample(torch.rand(1, 14, 14, dtype=torch.float64, generator=generator), (SIZE, SIZE))
    missing = (metrics.rank(scores) < 0.9 * SIZE * SIZE).to(device)

    def impute():
        metrics.inpaint(pixels_, missing).sum().item()

    impute()
    values = [_seconds(impute, 3) for _ in range(repetitions)]
    return Line("imputation of 90 % of an image (ROAD)", values, "s", type="float64", batch=1, bound=0.2)


def removal(architecture: str, repetitions: int, device: torch.device) -> Line:
    """Curves while patches are removed, both directions and the bins, in the plain forward passes they must make."""
    model = create(architecture, device)
    images = pixels(model, UNIT_BATCH, device)
    grid = model.patch_embed.grid_size
    units = grid[0] * grid[1]
    scores = torch.rand(UNIT_BATCH, units, generator=torch.Generator().manual_seed(0)).to(device)
    steps, bins = metrics.unit_counts(units, STEPS), metrics.bin_counts(units, BINS)
    most, least = [*steps, *bins], [*steps, *(units - b for b in bins)]
    target = torch.zeros(UNIT_BATCH, dtype=torch.long, device=device)
    masked = metrics.MaskedImages(model, images, images.new_zeros(1, 3, 1, 1), grid)
    must = len(set(most)) + len(set(least) - {0, units})  # of nothing and of everything there is one

    def curves():
        ranks = metrics.unit_ranks(scores.double())
        metrics.removal_curves(masked, ranks, torch.tensor(most), torch.tensor(least), target)

    values, _ = ratios(curves, Plain(model, images), repetitions, device)
    shares = [value / must for value in values]
    what = "curves of removed patches"
    return Line(what, shares, "of their passes", architecture, "float32", UNIT_BATCH, bound=1.10)


def _seconds(call: Callable[[], object], times: int) -> float:
    started = time.perf_counter()
    for _ in range(times):
        call()
    return (time.perf_counter() - started) / times
