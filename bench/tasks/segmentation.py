"""Segmentation test: agreement of a map's foreground with an annotated mask."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd
import torch

from bench.data import ImageSample
from bench.errors import BenchError
from bench.images import ImageSettings, pixel_maps
from bench.models import ImageModel
from bench.tasks.task import Explained, expect, explain, explained_classes, is_number
from metrics import (
    MAP,
    MIOU,
    PIXEL_ACCURACY,
    Statistic,
    average_precision,
    foreground,
    miou,
    pixel_accuracy,
    segmentation_counts,
)


class Segmentation:
    """Compare maps with masks.

    Args:
        settings: ``protocol.segmentation``: ``threshold``, above which a pixel of the min–max scaled map is
            foreground: ``mean``, the map's own, or a number from 0 to below 1.
        images: ``protocol.images``.

    Raises:
        BenchError: for settings out of range.
    """

    name = "segmentation"
    metrics = (PIXEL_ACCURACY, MAP, MIOU)

    def __init__(self, settings: Mapping, images: Mapping):
        self.threshold = settings["threshold"]
        self.images = ImageSettings(**images)
        if self.threshold != "mean" and not (is_number(self.threshold) and 0 <= self.threshold < 1):
            raise BenchError(
                f"protocol.segmentation.threshold={self.threshold!r}: expected mean or a number from 0 to "
                "below 1, as maps are scaled to 0..1"
            )

    def check(self, model: ImageModel, dataset, sample) -> None:
        """Raises BenchError for a text model, or one that takes images of another size."""
        expect(ImageModel, "model", model, "choose model=timm or a suite's image model")
        expect(ImageSample, "dataset", sample, "choose a data set of images")
        self.images.check(model)

    def preparation(self, model: ImageModel) -> Callable:
        """What brings samples to the model's size."""
        return self.images.preparation(model)

    def rows(
        self, model: ImageModel, method: Callable, samples: Sequence[ImageSample], explained: Explained
    ) -> pd.DataFrame:
        """Per image: the explained class, counts of pixels, and the average precision."""
        if any(s.mask is None for s in samples):
            raise BenchError(
                "dataset: segmentation needs masks; choose dataset=imagenet_segmentation or one like it"
            )
        pixels = torch.stack([s.image for s in samples]).to(model.device)
        masks = torch.stack([s.mask for s in samples]).to(model.device)
        images = model.normalise(pixels)
        target = explained_classes(explained, model.predict(images), [s.label for s in samples])
        ids = [s.id for s in samples]
        relevance = explain(method, model.module, images, target, ids, annotation=masks)
        maps = pixel_maps(relevance, model, pixels.shape[-2:])
        counts = segmentation_counts(foreground(maps, self.threshold), masks)
        return pd.DataFrame(
            {
                "id": ids,
                "explained_class": target.tolist(),
                "correct": counts.correct.tolist(),
                "labelled": counts.labelled.tolist(),
                "intersection": counts.intersection.tolist(),
                "union": counts.union.tolist(),
                "average_precision": average_precision(maps, masks).tolist(),
            }
        )

    def statistics(self, rows: pd.DataFrame) -> dict[str, Statistic]:
        """Pixel accuracy, mAP and mIoU in per cent."""
        overlaps = np.concatenate([np.stack(rows["intersection"]), np.stack(rows["union"])], axis=1)
        return {
            PIXEL_ACCURACY.name: Statistic(
                rows[["correct", "labelled"]].to_numpy(),
                lambda sums: pixel_accuracy(sums[..., :1], sums[..., 1:]),
            ),
            MAP.name: Statistic.mean(rows["average_precision"], scale=100),
            MIOU.name: Statistic(overlaps, lambda sums: miou(sums[..., None, :2], sums[..., None, 2:])),
        }
