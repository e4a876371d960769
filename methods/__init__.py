"""Explanation methods for Transformers: callables ``method(forward, inputs, target) -> relevance``.

``forward(inputs) -> logits (batch, classes)`` is any callable around an unmodified model in eval mode,
``inputs`` a tensor or a mapping of tensors, ``target`` the explained classes (batch,) or None for the
predicted ones. The answer is (batch, tokens), prefix tokens included, or (batch, height, width) from
methods that reach pixels. Several classes of each sample, ``target`` (batch, classes), share one forward
pass, and the answer has the classes as its second dimension. A method whose map does not depend on the
target says ``class_specific = False``, so that one run serves every target. Each has a ``version``, which
rises when its maps change by more than rounding.
"""

from methods.centre_gaussian import CentreGaussian
from methods.gradcam import GradCAM
from methods.lrp import LRP
from methods.partial_lrp import PartialLRP
from methods.random_map import RandomMap
from methods.raw_attention import RawAttention
from methods.relevance import (
    OLDER,
    PROPOSED,
    NoAttentionError,
    NoRuleError,
    RefusedError,
    RuleSet,
    Tape,
    register_rule,
)
from methods.rollout import Rollout
from methods.transformer_attribution import TransformerAttribution
from methods.verify import Verification, verify

__all__ = [
    "LRP",
    "OLDER",
    "PROPOSED",
    "CentreGaussian",
    "GradCAM",
    "NoAttentionError",
    "NoRuleError",
    "PartialLRP",
    "RandomMap",
    "RawAttention",
    "RefusedError",
    "Rollout",
    "RuleSet",
    "Tape",
    "TransformerAttribution",
    "Verification",
    "register_rule",
    "verify",
]
