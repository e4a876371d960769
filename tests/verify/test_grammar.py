"""What the names of stored arrays ask for."""

import pytest

from bench.verify import keys_2021, keys_images, keys_texts
from bench.verify.grammar import Entry, read_key

IMAGES = [*keys_2021.keys(True), *keys_images.KEYS]
TEXTS = [*keys_2021.keys(False), *keys_texts.KEYS]

CASES = [
    (IMAGES, "tam.start11.target", "TransitionAttention", {"start_layer": 11}, "target"),
    (
        IMAGES,
        "beyond_intuition_token.first6.class37",
        "BeyondIntuition",
        {"by": "token", "start_layer": 6},
        "class37",
    ),
    (
        IMAGES,
        "legrad.cosine.last5.tokens.predicted",
        "LeGrad",
        {"similarity": "cosine", "start_layer": -5},
        "predicted",
    ),
    (
        IMAGES,
        "rise.seed3_N32_s7_p0.25.pixels.class1",
        "RISE",
        {"seed": 3, "count": 32, "cells": 7, "probability": 0.25},
        "class1",
    ),
    (
        IMAGES,
        "attnlrp_torchvision.conv100_lin0.1.tokens.target",
        "AttnLRP",
        {
            "gamma_conv": 100.0,
            "gamma": 0.1,
            "linear": "outside_attention",
            "readout": "tokens",
            "attention": "constant",
        },
        "target",
    ),
    (
        IMAGES,
        "integrated_gradients.gausslegendre9.pixels",
        "IntegratedGradients",
        {"points": 9, "rule": "gauss"},
        None,
    ),
    (IMAGES, "transformer_attribution.start7.class2", "TransformerAttribution", {"start_layer": 7}, "class2"),
    (
        TEXTS,
        "smoothgrad_sq.input_x_gradient.std0.1.n6.l2.class0",
        "SmoothGrad",
        {
            "of": "input_x_gradient",
            "std": 0.1,
            "samples": 6,
            "reduce": "l2",
            "statistic": "mean_square",
            "absolute": True,
        },
        "class0",
    ),
    (
        TEXTS,
        "integrated_gradients.embeddings.mask.trapezoid33.sum.class4",
        "IntegratedGradients",
        {"entry": "embeddings", "points": 33, "rule": "captum_trapezoid", "reduce": "sum"},
        "class4",
    ),
    (
        TEXTS,
        "occlusion.pad.window5.probability",
        "Occlusion",
        {"fill": "pad", "window": 5, "quantity": "probability"},
        None,
    ),
    (TEXTS, "decompx.noffn.pooler_norm", "DecompX", {"feed_forward": False, "readout": "pooler"}, None),
    (
        TEXTS,
        "derived.leave_one_out.attention_mask.logit.class1",
        "LeaveOneOut",
        {"fill": "attention", "quantity": "logit"},
        "class1",
    ),
]


@pytest.mark.parametrize(
    ("entries", "key", "method", "settings", "explained"), CASES, ids=[c[1] for c in CASES]
)
def test_any_number_is_understood(entries, key, method, settings, explained):
    asked = read_key(key, entries)
    assert (asked.entry.method, asked.settings, asked.explained) == (method, settings, explained)


@pytest.mark.parametrize(
    "key", ["tam.start.target", "tam.start1.5", "gae.class", "gae.other", "legrad.dot.first0.tokens", ""]
)
def test_other_forms_are_not(key):
    assert read_key(key, IMAGES) is None


def test_numbers_that_a_view_needs_are_no_settings():
    asked = read_key("lime.mask.groups6.n40.probability.class1", TEXTS)
    assert asked.values["_groups"] == 6
    assert set(asked.settings) == {"fill", "quantity"}


def test_a_pattern_reads_what_stands_in_its_braces():
    entry = Entry("a{n:int}.b{x:num}.{kind:one|two}", "")
    assert entry.read("a3.b0.5.two") == {"n": 3, "x": 0.5, "kind": "two"}
    assert entry.read("a3.b0.5.three") is None
