"""The engine: the relevance and the true gradients of an unmodified model, from one forward pass.

:class:`Tape` records the pass and is read backwards under a :class:`RuleSet`, or for the gradient. All that a
method needs of the engine is imported from here.
"""

from methods.relevance.functions import NoRuleError
from methods.relevance.modules import RefusedError
from methods.relevance.recorder import Inputs
from methods.relevance.rules import DTYPE, OLDER, PROPOSED, RuleSet, register_rule
from methods.relevance.tape import Forward, NoAttentionError, Tape

VERSION = 1
"""Rises when relevance or gradients change by more than rounding."""

__all__ = [
    "DTYPE",
    "OLDER",
    "PROPOSED",
    "VERSION",
    "Forward",
    "Inputs",
    "NoAttentionError",
    "NoRuleError",
    "RefusedError",
    "RuleSet",
    "Tape",
    "register_rule",
]
