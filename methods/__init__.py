"""Explanation methods for Transformers: callables ``method(forward, inputs, target) -> relevance``.

``forward(inputs) -> logits (batch, classes)`` is any callable around an unmodified model in eval mode,
``inputs`` a tensor or a mapping of tensors, ``target`` the explained classes (batch,) or None for the
predicted ones. The answer is (batch, tokens), prefix tokens included, or (batch, height, width) from
methods that reach pixels. Several classes of each sample, ``target`` (batch, classes), share one forward
pass, and the answer has the classes as its second dimension. A method whose map does not depend on the
target says ``class_specific = False``, so that one run serves every target. Each has a ``version``, which
rises when its maps change by more than rounding.
"""

from methods.agcam import AGCAM
from methods.alti import ALTI
from methods.attcat import AttCAT
from methods.attn_lrp import AttnLRP
from methods.beyond_intuition import BeyondIntuition, TransitionAttention
from methods.centre_gaussian import CentreGaussian
from methods.decompx import DecompX
from methods.fullgrad import FullGradPlus
from methods.gae import GAE
from methods.globenc import GlobEnc
from methods.grad_sam import GradSAM
from methods.gradcam import GradCAM
from methods.gradients import Gradient, InputXGradient
from methods.iia import IIA
from methods.image_edges import ImageEdges
from methods.integrated_gradients import DifferenceXGradient, ExpectedGradients, IntegratedGradients
from methods.kernel_shap import KernelSHAP
from methods.leave_one_out import LeaveOneOut
from methods.legrad import LeGrad
from methods.libragrad import LibraGrad
from methods.lime import LIME
from methods.lrp import LRP
from methods.occlusion import Occlusion
from methods.pa_lrp import PALRP
from methods.partial_lrp import PartialLRP
from methods.partition_shap import PartitionSHAP
from methods.players import Patches, Segments, Words
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
from methods.rise import RISE
from methods.rollout import Rollout
from methods.smoothgrad import SmoothGrad
from methods.text_floors import ContentWords, DocumentFrequencies, FirstWords, InverseFrequency
from methods.token_cam import TokenCAM
from methods.token_tm import TokenTM
from methods.transformer_attribution import TransformerAttribution
from methods.value_zeroing import ValueZeroing
from methods.verify import Verification, verify
from methods.vit_cx import ViTCX

__all__ = [
    "AGCAM",
    "ALTI",
    "GAE",
    "IIA",
    "LIME",
    "LRP",
    "OLDER",
    "PALRP",
    "PROPOSED",
    "RISE",
    "AttCAT",
    "AttnLRP",
    "BeyondIntuition",
    "CentreGaussian",
    "ContentWords",
    "DecompX",
    "DifferenceXGradient",
    "DocumentFrequencies",
    "ExpectedGradients",
    "FirstWords",
    "FullGradPlus",
    "GlobEnc",
    "GradCAM",
    "GradSAM",
    "Gradient",
    "ImageEdges",
    "InputXGradient",
    "IntegratedGradients",
    "InverseFrequency",
    "KernelSHAP",
    "LeGrad",
    "LeaveOneOut",
    "LibraGrad",
    "NoAttentionError",
    "NoRuleError",
    "Occlusion",
    "PartialLRP",
    "PartitionSHAP",
    "Patches",
    "RandomMap",
    "RawAttention",
    "RefusedError",
    "Rollout",
    "RuleSet",
    "Segments",
    "SmoothGrad",
    "Tape",
    "TokenCAM",
    "TokenTM",
    "TransformerAttribution",
    "TransitionAttention",
    "ValueZeroing",
    "Verification",
    "ViTCX",
    "Words",
    "register_rule",
    "verify",
]
