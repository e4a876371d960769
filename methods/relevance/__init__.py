"""The engine: the relevance and the true gradients of an unmodified model, from one forward pass.

:class:`Tape` records the pass and is read backwards under a :class:`RuleSet`, or for the gradient. All that a
method needs of the engine is imported from here.
"""

from methods.relevance.functions import NoRuleError
from methods.relevance.gradients import (
    ATTENTION_ONLY,
    GATE_CONSTANT,
    GRADIENT,
    HALF,
    Gamma,
    Gradient,
    Proportional,
    Stabilised,
    norm_scale_constant,
    ratio,
    stop,
)
from methods.relevance.modules import RefusedError
from methods.relevance.recorder import Inputs
from methods.relevance.rules import DTYPE, OLDER, PROPOSED, RuleSet, register_rule
from methods.relevance.sets import AG_CAM, ATTN_LRP, CP_LRP, GRADIENTS, LIBRA, PA_LRP, relevance_form
from methods.relevance.tape import Forward, NoAttentionError, Tape, modified_gradients

VERSION = 1
"""Rises when relevance or gradients change by more than rounding."""

__all__ = [
    "AG_CAM",
    "ATTENTION_ONLY",
    "ATTN_LRP",
    "CP_LRP",
    "DTYPE",
    "GATE_CONSTANT",
    "GRADIENT",
    "GRADIENTS",
    "HALF",
    "LIBRA",
    "OLDER",
    "PA_LRP",
    "PROPOSED",
    "VERSION",
    "Forward",
    "Gamma",
    "Gradient",
    "Inputs",
    "NoAttentionError",
    "NoRuleError",
    "Proportional",
    "RefusedError",
    "RuleSet",
    "Stabilised",
    "Tape",
    "modified_gradients",
    "norm_scale_constant",
    "ratio",
    "register_rule",
    "relevance_form",
    "stop",
]
