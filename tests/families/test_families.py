"""Every family of the table, at a tiny size: right on all, or refused with a reason."""

import re
from dataclasses import replace

import pytest
import torch

import bench  # noqa: F401
from methods.relevance import PROPOSED, Tape
from tests.families.__main__ import METHODS, difference, double, logits_error, refusal, table
from tests.families.families import CLASSES, FAMILIES, TINY
from tests.support.conservation import conservation

pytestmark = pytest.mark.numerical

ROLLED_UP = ("transformer attribution", "rollout")
REFUSED = {  # by which methods, and why
    "timm cait_xxs24_224": (METHODS, "talking heads"),
    "timm swin_tiny_patch4_window7_224": (METHODS, "windowed attention"),
    "timm pvt_v2_b0": (ROLLED_UP, r"hierarchical models\) cannot be rolled up.*\(256, 4\)"),
    "timm xcit_nano_12_p16_224": (ROLLED_UP, "cannot be rolled up"),
    "timm efficientvit_b0": (METHODS, "no attention was seen in EfficientVit.*linear attention"),
}
# LRP amplifies rounding most (methods.rules.DTYPE).
TOLERANCE = {name: 1e-4 if name == "LRP" else 1e-6 for name in METHODS}


def ids(family):
    return f"{family.example}-{family.name}".replace(" ", "_")


WORKING = [f for f in FAMILIES if f.example not in REFUSED]


@pytest.mark.parametrize("family", WORKING, ids=ids)
def test_maps_of_a_family(family):
    """Maps follow the class, agree between variants, and a batch gives what its samples give alone."""
    first, *others = (double(family.build(TINY, variant)) for variant in family.variants)
    batch = len(first.inputs if torch.is_tensor(first.inputs) else first.inputs["input_ids"])
    targets = torch.arange(batch) % CLASSES
    assert logits_error(first) < 1e-6  # models round parts of themselves to float32, the tape does not
    for name, method in METHODS.items():
        if (reason := refusal(method, first)) is not None:
            assert (name, "conv2d" in reason) == ("LRP", True)  # a ResNet below the tokens
            continue
        relevance = method(first.forward, first.inputs, targets)
        assert relevance.isfinite().all()
        for other in others:
            assert difference(method(other.forward, other.inputs, targets), relevance) < TOLERANCE[name], name
        another = method(first.forward, first.inputs, (targets + 1) % CLASSES)
        assert (difference(another, relevance) > 1e-6) == getattr(method, "class_specific", True), name
        for index in range(batch):
            alone = method(first.forward, one_of(first.inputs, index), targets[index : index + 1])
            together = relevance[index : index + 1, ..., : alone.shape[-1]]
            assert difference(together, alone) < TOLERANCE[name], name


def one_of(inputs, index):
    """One sample, without its padding."""
    if torch.is_tensor(inputs):
        return inputs[index : index + 1]
    length = int(inputs["attention_mask"][index].sum())
    return {key: value[index : index + 1, :length] for key, value in inputs.items()}


@pytest.mark.parametrize("family", WORKING, ids=ids)
def test_relevance_is_kept(family):
    """But for what constants take that are added on the way."""
    example = double(family.build(TINY, family.variants[0]))
    lost, _ = conservation(Tape.record(example.forward, example.inputs, dtype="float64"), None, PROPOSED)
    # SigLIP's learned query is a layer of 8 inputs here: where none of them contributes positively, α = 1 has
    # nobody to give an output's relevance to.
    assert lost < (1e-3 if "SigLIP" in family.name else 1e-6)


@pytest.mark.parametrize("family", [f for f in FAMILIES if f.example in REFUSED], ids=ids)
def test_families_that_are_refused(family):
    methods, reason = REFUSED[family.example]
    example = double(family.build(TINY, family.variants[0]))
    for name in methods:
        assert re.search(reason, refusal(METHODS[name], example))


@pytest.mark.parametrize(("dtype", "least", "most"), [("float32", 1e-9, 1e-4), ("bfloat16", 1e-6, 0.1)])
@pytest.mark.parametrize("family", WORKING, ids=ids)
def test_smaller_types_give_about_the_same_maps(family, dtype, least, most):
    """Not the same: that would mean that they are not used."""
    example = double(family.build(TINY, family.variants[0]))
    method = METHODS["transformer attribution"]
    exact = method(example.forward, example.inputs)
    assert least < difference(replace(method, dtype=dtype)(example.forward, example.inputs), exact) < most


def test_the_table_says_what_works_and_why_not():
    vit, swin = FAMILIES[0], next(f for f in FAMILIES if "swin" in f.example)
    vit_row, swin_row, reason = (
        line for line in table([vit, swin]).splitlines() if line.startswith(("| ViT", "| win", "1."))
    )
    assert vit_row.count(" yes ") == len(METHODS)
    assert swin_row.count(" no (1) ") == len(METHODS)
    assert "windowed" in reason
