"""What a relevance map is worth: arrays in, numbers out; no model, no file.

Per-sample numbers are computed in torch, batched, on the device of the map. A :class:`Metric` is a formula on
columns of those per-sample numbers, so that it can be recomputed from stored rows and resampled by a bootstrap.
"""

from metrics.agreement import (
    kendall,
    top_share_iou,
)
from metrics.bootstrap import (
    Statistic,
    bootstrap,
    interval,
)
from metrics.bounds import (
    aopc_bounds,
)
from metrics.comparisons import Comparisons, compare
from metrics.curves import (
    aopc,
    area,
    bin_counts,
    comprehensiveness,
    decision_flip,
    log_odds,
    normalised_aopc,
    srg,
    sufficiency,
    unit_counts,
)
from metrics.faithfulness import (
    AOPC,
    ColumnMean,
    Comprehensiveness,
    DecisionFlip,
    LogOdds,
    NormalisedAOPC,
    PerSample,
    RemovalArea,
    Road,
    Sufficiency,
    SymmetricRelevanceGain,
)
from metrics.ferret import (
    FerretScores,
    ferret_aopc,
    leave_one_out,
    positive_bins,
    tau_to_leave_one_out,
)
from metrics.fills import (
    fill_pixels,
    gaussian_blur,
    inpaint,
    rise_blur,
)
from metrics.intervals import intervals, wilson
from metrics.localisation import (
    box_mask,
    mask_share,
    mass_accuracy,
    mass_over_chance,
    pointing_game,
    rank_accuracy,
    roc_auc,
    top_k_intersection,
)
from metrics.maps import (
    minmax,
    upsample,
)
from metrics.masked import (
    TEXT_FILLS,
    InpaintedImages,
    Masked,
    MaskedImages,
    MaskedTexts,
    Outputs,
    evaluated,
    pixels_of,
    removal_curves,
    unit_ranks,
)
from metrics.metric import (
    Columns,
    Curve,
    Metric,
)
from metrics.on_subsets import (
    Infidelity,
    SubsetCorrelation,
)
from metrics.perturbation import (
    PerturbationAUC,
    accuracy_curve,
    auc,
    removed,
)
from metrics.planted import (
    orders_planted_maps,
)
from metrics.plausibility import (
    PrecisionRecallF1,
    SpanCounts,
    auprc,
    average_precision_of_words,
    matching_spans,
    roc_auc_of_words,
    span_f1,
    spans_of,
)
from metrics.ranking import (
    rank,
)
from metrics.rationales import (
    SpanF1,
    TauToLeaveOneOut,
)
from metrics.robustness import (
    completeness,
    efficient_mprt,
    histogram_entropy,
    max_sensitivity,
    relative_distance,
    uniform_noise,
)
from metrics.saco import (
    group_salience,
    rank_groups,
    saco,
)
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
from metrics.sensitivity import (
    class_sensitivity,
)
from metrics.shape import (
    effective_complexity,
    entropy,
    gini,
    tied_share,
)
from metrics.similarity import (
    ClassSimilarity,
    spearman,
)
from metrics.subsets import (
    draw_subsets,
    faithfulness_correlation,
    infidelity,
    mean_ranks,
    pearson,
    rank_correlation,
    relative_infidelity,
    subset_masks,
    subset_sums,
)
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
    "AOPC",
    "TEXT_FILLS",
    "ClassSimilarity",
    "ColumnMean",
    "Columns",
    "Comparisons",
    "Comprehensiveness",
    "Curve",
    "DecisionFlip",
    "FerretScores",
    "Infidelity",
    "InpaintedImages",
    "LogOdds",
    "Masked",
    "MaskedImages",
    "MaskedTexts",
    "MeanAveragePrecision",
    "MeanIoU",
    "Metric",
    "NormalisedAOPC",
    "Outputs",
    "PerSample",
    "PerturbationAUC",
    "PixelAccuracy",
    "PrecisionRecallF1",
    "RationaleScore",
    "RemovalArea",
    "Road",
    "SegmentationCounts",
    "SpanCounts",
    "SpanF1",
    "Statistic",
    "SubsetCorrelation",
    "Sufficiency",
    "SymmetricRelevanceGain",
    "TauToLeaveOneOut",
    "TokenCounts",
    "TokenF1",
    "accuracy_curve",
    "aopc",
    "aopc_bounds",
    "area",
    "auc",
    "auprc",
    "average_precision",
    "average_precision_of_words",
    "bin_counts",
    "bootstrap",
    "box_mask",
    "class_sensitivity",
    "compare",
    "completeness",
    "comprehensiveness",
    "decision_flip",
    "draw_subsets",
    "effective_complexity",
    "efficient_mprt",
    "entropy",
    "evaluated",
    "faithfulness_correlation",
    "ferret_aopc",
    "fill_pixels",
    "foreground",
    "gaussian_blur",
    "gini",
    "group_salience",
    "histogram_entropy",
    "infidelity",
    "inpaint",
    "interval",
    "intervals",
    "kendall",
    "leave_one_out",
    "log_odds",
    "mask_share",
    "mass_accuracy",
    "mass_over_chance",
    "matching_spans",
    "max_sensitivity",
    "mean_average_precision",
    "mean_ranks",
    "minmax",
    "miou",
    "normalised_aopc",
    "orders_planted_maps",
    "pearson",
    "pixel_accuracy",
    "pixels_of",
    "pointing_game",
    "positive_bins",
    "precision_at",
    "precision_recall_f1",
    "rank",
    "rank_accuracy",
    "rank_correlation",
    "rank_groups",
    "relative_distance",
    "relative_infidelity",
    "removal_curves",
    "removed",
    "rise_blur",
    "roc_auc",
    "roc_auc_of_words",
    "saco",
    "segmentation_counts",
    "span_f1",
    "spans_of",
    "spearman",
    "srg",
    "subset_masks",
    "subset_sums",
    "sufficiency",
    "tau_to_leave_one_out",
    "tied_share",
    "token_counts",
    "token_f1",
    "top_k",
    "top_k_intersection",
    "top_share_iou",
    "uniform_noise",
    "unit_counts",
    "unit_ranks",
    "upsample",
    "wilson",
]
