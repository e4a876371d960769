"""What a column of a table measures."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Metric:
    """A metric as tables need it: ``name`` heads the column of a file, ``title`` that of a printed table.

    ``unit`` is "%" for numbers in 0..100, "AUC × 100" for an area, "" for a fraction in 0..1.
    """

    name: str
    title: str
    unit: str
    higher_is_better: bool


NEGATIVE_AUC = Metric("negative_auc", "Negative AUC", "AUC × 100", higher_is_better=True)
POSITIVE_AUC = Metric("positive_auc", "Positive AUC", "AUC × 100", higher_is_better=False)
PIXEL_ACCURACY = Metric("pixel_accuracy", "Pixel accuracy", "%", higher_is_better=True)
NEGATIVE_AUC_PREDICTION = Metric(
    "negative_auc_prediction", "Negative AUC (own prediction)", "AUC × 100", higher_is_better=True
)
POSITIVE_AUC_PREDICTION = Metric(
    "positive_auc_prediction", "Positive AUC (own prediction)", "AUC × 100", higher_is_better=False
)
MAP = Metric("map", "mAP", "%", higher_is_better=True)
MIOU = Metric("miou", "mIoU", "%", higher_is_better=True)
TOKEN_F1 = Metric("token_f1", "Token F1 (macro)", "", higher_is_better=True)
TOKEN_F1_VISIBLE = Metric("token_f1_visible", "Token F1 (macro, visible)", "", higher_is_better=True)
RECALL_VISIBLE = Metric("recall_visible", "Recall (macro, visible)", "", higher_is_better=True)
