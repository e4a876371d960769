"""What a relevance map is worth: arrays in, numbers out; no model, no file.

Per-sample numbers are computed in torch, batched, on the device of the map. A :class:`Metric` is a formula on
columns of those per-sample numbers, so that it can be recomputed from stored rows and resampled by a bootstrap.
"""

from metrics.bootstrap import Statistic, bootstrap, interval
from metrics.comparisons import Comparisons, compare
from metrics.maps import minmax, upsample
from metrics.metric import Columns, Curve, Metric
from metrics.perturbation import PerturbationAUC, accuracy_curve, auc, removed
from metrics.ranking import rank
from metrics.segmentation import (
    MeanAveragePrecision,
    MeanIoU,
    PixelAccuracy,
    SegmentationCounts,
    average_precision,
    foreground,
    mean_average_precision,
    miou,
    pixel_accuracy,
    precision_at,
    segmentation_counts,
)
from metrics.similarity import ClassSimilarity, spearman
from metrics.token_f1 import (
    RationaleScore,
    TokenCounts,
    TokenF1,
    precision_recall_f1,
    token_counts,
    token_f1,
    top_k,
)

__all__ = [
    "ClassSimilarity",
    "Columns",
    "Comparisons",
    "Curve",
    "MeanAveragePrecision",
    "MeanIoU",
    "Metric",
    "PerturbationAUC",
    "PixelAccuracy",
    "RationaleScore",
    "SegmentationCounts",
    "Statistic",
    "TokenCounts",
    "TokenF1",
    "accuracy_curve",
    "auc",
    "average_precision",
    "bootstrap",
    "compare",
    "foreground",
    "interval",
    "mean_average_precision",
    "minmax",
    "miou",
    "pixel_accuracy",
    "precision_at",
    "precision_recall_f1",
    "rank",
    "removed",
    "segmentation_counts",
    "spearman",
    "token_counts",
    "token_f1",
    "top_k",
    "upsample",
]
