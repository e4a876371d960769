"""What maps are measured by: measurements make columns of them, and a task bundles metrics of these columns."""

from bench.tasks.base import (
    AnotherClass,
    Explanations,
    MeanAnnotation,
    Measurement,
    Oracle,
    ReversedOracle,
    Task,
    Variant,
)
from bench.tasks.class_sensitivity import ClassSensitivity
from bench.tasks.ferret import FerretScores
from bench.tasks.group_order import AopcBounds, GroupCurve
from bench.tasks.group_removal import GroupRemoval
from bench.tasks.leave_one_out import LeaveOneOutDrops, UnitScores
from bench.tasks.localisation import Localisation
from bench.tasks.map_shape import Conservation, MapShape
from bench.tasks.masking import Masking
from bench.tasks.overlap import MaskOverlap
from bench.tasks.plausibility import Plausibility
from bench.tasks.predictions import Predictions
from bench.tasks.random_subsets import SubsetDrops, SubsetSums
from bench.tasks.randomisation import ParameterRandomisation, RandomisedModel
from bench.tasks.rationale import RationaleOverlap
from bench.tasks.removal import RemovalCurves
from bench.tasks.robustness import MaxSensitivity, NoisyImage
from bench.tasks.similarity import ClassComparison

__all__ = [
    "AnotherClass",
    "AopcBounds",
    "ClassComparison",
    "ClassSensitivity",
    "Conservation",
    "Explanations",
    "FerretScores",
    "GroupCurve",
    "GroupRemoval",
    "LeaveOneOutDrops",
    "Localisation",
    "MapShape",
    "MaskOverlap",
    "Masking",
    "MaxSensitivity",
    "MeanAnnotation",
    "Measurement",
    "NoisyImage",
    "Oracle",
    "ParameterRandomisation",
    "Plausibility",
    "Predictions",
    "RandomisedModel",
    "RationaleOverlap",
    "RemovalCurves",
    "ReversedOracle",
    "SubsetDrops",
    "SubsetSums",
    "Task",
    "UnitScores",
    "Variant",
]
