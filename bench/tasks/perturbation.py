"""Perturbation test: accuracy while pixels are masked in the order of their relevance."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from bench.data import ImageSample
from bench.errors import BenchError
from bench.images import ImageSettings, pixel_maps
from bench.models import ImageModel
from bench.tasks.task import (
    Explained,
    check_only_correct,
    check_some,
    expect,
    explain,
    explained_classes,
    is_number,
    is_rising,
    only_correct,
)
from metrics import (
    NEGATIVE_AUC,
    NEGATIVE_AUC_PREDICTION,
    POSITIVE_AUC,
    POSITIVE_AUC_PREDICTION,
    Statistic,
    auc,
    rank,
    removed,
)

FILLS = ("black", "mean", "blur")
# What a prediction is compared with: the annotated class, or the model's own prediction of the clean image.
# The names are those of columns of the rows.
HITS = {
    "label": (NEGATIVE_AUC, POSITIVE_AUC),
    "predicted": (NEGATIVE_AUC_PREDICTION, POSITIVE_AUC_PREDICTION),
}


class Perturbation:
    """Mask 0 to 90 % of an image, most relevant pixels first (positive) or last (negative).

    Args:
        settings: ``protocol.perturbation``: ``steps``, the fractions masked, from 0 up; ``fill``, what masked
            pixels become before normalisation: ``black``, the ``mean`` that the model subtracts, or ``blur``,
            the image under a Gaussian of ``blur_sigma`` pixels; ``scores``: ``hits``, what a prediction has
            to be, the ``label`` or what was ``predicted`` for the clean image, whichever class is explained;
            and ``only_correct``, to leave out images that the model does not classify correctly.
        images: ``protocol.images``.

    Raises:
        BenchError: for settings out of range.
    """

    name = "perturbation"
    metrics = tuple(metric for pair in HITS.values() for metric in pair)

    def __init__(self, settings: Mapping, images: Mapping):
        self.steps = settings["steps"]
        self.fill = settings["fill"]
        self.blur_sigma = settings["blur_sigma"]
        self.hits = check_some("protocol.perturbation.scores.hits", settings["scores"]["hits"], HITS)
        self.only_correct = check_only_correct(settings["scores"]["only_correct"], self.name)
        self.images = ImageSettings(**images)
        if not is_rising(self.steps) or len(self.steps) < 2 or self.steps[0] != 0 or self.steps[-1] > 1:
            raise BenchError(
                f"protocol.perturbation.steps={self.steps}: "
                "expected fractions that start at 0 and rise to at most 1"
            )
        if self.fill not in FILLS:
            raise BenchError(f"protocol.perturbation.fill={self.fill!r}: expected one of {', '.join(FILLS)}")
        if self.fill == "blur" and not (
            is_number(self.blur_sigma) and 0 < self.blur_sigma <= self.images.size
        ):
            raise BenchError(
                f"protocol.perturbation.blur_sigma={self.blur_sigma}: fill=blur needs pixels, e.g. 10, "
                f"at most the {self.images.size} of the image"
            )

    def check(self, model: ImageModel, dataset, sample) -> None:
        """Raises BenchError for a text model, or one with other classes or another size of images."""
        expect(ImageModel, "model", model, "choose model=timm or a suite's image model")
        expect(ImageSample, "dataset", sample, "choose a data set of images")
        self.images.check(model)
        # A Subset hides the attributes of the data set it is of.
        classes = getattr(getattr(dataset, "dataset", dataset), "classes", None)
        if classes is not None and len(classes) != model.classes:
            raise BenchError(
                f"model: it has {model.classes} classes, but the data set has {len(classes)}; "
                "choose a model that was trained on these classes"
            )

    def preparation(self, model: ImageModel) -> Callable:
        """What brings samples to the model's size."""
        return self.images.preparation(model)

    def rows(
        self, model: ImageModel, method: Callable, samples: Sequence[ImageSample], explained: Explained
    ) -> pd.DataFrame:
        """Per image: its classes and, for both directions, the class predicted at each step."""
        pixels = torch.stack([s.image for s in samples]).to(model.device)
        labels = self._labels(samples, model)
        images = model.normalise(pixels)
        predicted = model.predict(images)
        target = explained_classes(explained, predicted, labels)
        ids = [s.id for s in samples]
        relevance = explain(method, model.module, images, target, ids, annotation=None)
        ranks = rank(pixel_maps(relevance, model, pixels.shape[-2:]))
        fill = model.normalise(self._filled(pixels, model))

        def predictions(most_relevant_first: bool) -> list[list[int]]:
            steps = [predicted]
            for fraction in self.steps[1:]:
                masked = removed(ranks, fraction, most_relevant_first)[:, None]
                steps.append(model.predict(torch.where(masked, fill, images)))
            return torch.stack(steps, dim=1).tolist()

        return pd.DataFrame(
            {
                "id": ids,
                "label": labels,
                "predicted": predicted.tolist(),
                "explained_class": target.tolist(),
                "positive_predictions": predictions(most_relevant_first=True),
                "negative_predictions": predictions(most_relevant_first=False),
            }
        )

    def _filled(self, pixels: Tensor, model: ImageModel) -> Tensor:
        """What masked pixels become, in a shape that broadcasts to the pixels (batch, 3, height, width)."""
        if self.fill == "blur":
            from scipy.ndimage import gaussian_filter  # scipy takes its time to import

            sigma = (0, 0, self.blur_sigma, self.blur_sigma)
            blurred = gaussian_filter(pixels.cpu().numpy(), sigma, mode="nearest")
            return torch.from_numpy(blurred).to(pixels)
        colour = torch.zeros(3) if self.fill == "black" else torch.tensor(model.mean)
        return colour.to(pixels).view(1, 3, 1, 1)

    def _labels(self, samples: Sequence[ImageSample], model: ImageModel) -> list[int]:
        for s in samples:
            if s.label is None or s.label >= model.classes:
                raise BenchError(
                    f"dataset: {s.id} has the label {s.label}, but the model has {model.classes} classes; "
                    "choose a model that was trained on this data set's classes"
                )
        return [s.label for s in samples]

    def statistics(self, rows: pd.DataFrame) -> dict[str, Statistic]:
        """Both AUCs × 100 for each kind of hits, and the clean accuracy of all samples in per cent.

        The AUC of the mean curve is the mean of the areas under each image's own hits.
        """
        statistics = {"accuracy": Statistic.mean(rows["label"] == rows["predicted"], scale=100)}
        scored = only_correct(rows, self.only_correct)
        for kind in self.hits:
            expected = scored[kind].to_numpy()[:, None]
            for metric, direction in zip(HITS[kind], ("negative", "positive"), strict=True):
                predictions = np.array(scored[f"{direction}_predictions"].tolist()).reshape(
                    -1, len(self.steps)
                )
                statistics[metric.name] = Statistic.mean(auc(predictions == expected, self.steps))
        return statistics
