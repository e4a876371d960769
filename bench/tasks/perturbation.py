"""Perturbation test: accuracy while pixels are masked in the order of their relevance."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd
import torch

from bench.data import ImageSample
from bench.errors import BenchError
from bench.images import ImageSettings, pixel_maps
from bench.models import ImageModel
from bench.tasks.task import Explained, expect, explain, explained_classes
from metrics import NEGATIVE_AUC, POSITIVE_AUC, Statistic, auc, rank, removed

FILLS = ("black", "mean")


class Perturbation:
    """Mask 0 to 90 % of an image, most relevant pixels first (positive) or last (negative).

    A hit is a prediction of the annotated class, whichever class was explained.

    Args:
        settings: ``protocol.perturbation``: ``steps``, the fractions masked, from 0 up; ``fill``, what masked
            pixels become before normalisation: ``black``, or the ``mean`` that the model subtracts.
        images: ``protocol.images``.
    """

    name = "perturbation"
    metrics = (NEGATIVE_AUC, POSITIVE_AUC)

    def __init__(self, settings: Mapping, images: Mapping):
        self.steps = list(settings["steps"])
        self.fill = settings["fill"]
        self.images = ImageSettings(**images)
        increasing = all(a < b for a, b in zip(self.steps, self.steps[1:], strict=False))
        if len(self.steps) < 2 or self.steps[0] != 0 or self.steps[-1] > 1 or not increasing:
            raise BenchError(
                f"protocol.perturbation.steps={self.steps}: "
                "expected fractions that start at 0 and rise to at most 1"
            )
        if self.fill not in FILLS:
            raise BenchError(f"protocol.perturbation.fill={self.fill!r}: expected one of {', '.join(FILLS)}")

    def check(self, model: ImageModel, dataset) -> None:
        """Raises BenchError for a text model, or one with other classes or another size of images."""
        expect(ImageModel, "model", model, "choose model=timm or a suite's image model")
        expect(ImageSample, "dataset", dataset[0], "choose a data set of images")
        self.images.check(model)
        # A Subset hides the attributes of the data set it is of.
        classes = getattr(getattr(dataset, "dataset", dataset), "classes", None)
        if classes is not None and len(classes) != model.classes:
            raise BenchError(
                f"model: it has {model.classes} classes, but the data set has {len(classes)}; "
                "choose a model that was trained on these classes"
            )

    def rows(
        self, model: ImageModel, method: Callable, samples: Sequence[ImageSample], explained: Explained
    ) -> pd.DataFrame:
        """Per image: its classes and, for both directions, whether each step was a hit."""
        pixels = torch.stack([self.images.pixels(s.image, model) for s in samples]).to(model.device)
        labels = self._labels(samples, model)
        predicted = model.predict(pixels)
        target = explained_classes(explained, predicted, labels.tolist())
        relevance = explain(method, model.module, model.normalise(pixels), target, [s.id for s in samples])
        ranks = rank(pixel_maps(relevance, model, pixels.shape[-2:]))
        fill = torch.zeros(3) if self.fill == "black" else torch.tensor(model.mean)
        fill = fill.to(pixels).view(1, 3, 1, 1)

        def hits(most_relevant_first: bool) -> list[list[bool]]:
            curve = [predicted == labels]
            for fraction in self.steps[1:]:
                masked = removed(ranks, fraction, most_relevant_first)[:, None]
                curve.append(model.predict(torch.where(masked, fill, pixels)) == labels)
            return torch.stack(curve, dim=1).tolist()

        return pd.DataFrame(
            {
                "id": [s.id for s in samples],
                "label": labels.tolist(),
                "predicted": predicted.tolist(),
                "explained_class": target.tolist(),
                "positive_hits": hits(most_relevant_first=True),
                "negative_hits": hits(most_relevant_first=False),
            }
        )

    def _labels(self, samples: Sequence[ImageSample], model: ImageModel) -> torch.Tensor:
        for s in samples:
            if s.label is None or s.label >= model.classes:
                raise BenchError(
                    f"dataset: {s.id} has the label {s.label}, but the model has {model.classes} classes; "
                    "choose a model that was trained on this data set's classes"
                )
        return torch.tensor([s.label for s in samples], device=model.device)

    def statistics(self, rows: pd.DataFrame) -> dict[str, Statistic]:
        """Both AUCs × 100 and the clean accuracy in per cent.

        The AUC of the mean curve is the mean of the areas under each image's own hits.
        """
        return {
            NEGATIVE_AUC.name: Statistic.mean(auc(np.stack(rows["negative_hits"]), self.steps)),
            POSITIVE_AUC.name: Statistic.mean(auc(np.stack(rows["positive_hits"]), self.steps)),
            "accuracy": Statistic.mean(rows["label"] == rows["predicted"], scale=100),
        }
