"""What ``make models`` is made of, and families of each kind at a tiny size: right, or refused with a reason.

``make test-slow`` has all families; ``make models`` has all families and all methods.
"""

import re
import sys
from dataclasses import dataclass, replace

import pytest
import torch

import bench  # noqa: F401
from methods import LeaveOneOut, Patches, RawAttention, RefusedError, TransformerAttribution, ViTCX
from tests.families import __main__ as program
from tests.families import checks
from tests.families.checks import (
    EXPLAINED,
    EXPLAINED_IN_FLOAT64,
    FAILED,
    REFUSED,
    WRONG,
    Answer,
    difference,
    in_double,
    judge,
)
from tests.families.families import FAMILIES
from tests.families.family import CLASSES, LENGTHS, own
from tests.families.modules import Attention

pytestmark = pytest.mark.numerical

BY_NAME = {family.name: family for family in FAMILIES}
ROLLED_UP = ("transformer attribution", "rollout")
DOWN_TO_THE_INPUT = ("LRP",)
RELEVANCE = ("transformer attribution", "LRP", "partial LRP")
METHODS = checks.methods(
    {"transformer_attribution", "raw_attention", "rollout", "gradcam", "lrp", "partial_lrp"}
)
ALL = tuple(METHODS)
REFUSALS = {  # by which methods, and why
    "parallel blocks": {ROLLED_UP: "parallel branches"},
    "hybrid patch embedding (ResNet)": {
        ("LRP", "transformer attribution"): "conv2d .* no pixels of the input"
    },
    "class attention with talking heads (CaiT)": {ALL: "talking heads"},
    "gated positional attention (ConViT)": {ALL: "changed between its softmax and the values"},
    "two streams of patches (CrossViT)": {ROLLED_UP: "cannot be rolled up", ("LRP",): "conv2d"},
    "pixels within patches (TNT)": {ALL: "not between all tokens"},
    "windowed attention (Swin)": {ALL: "windowed attention"},
    "windowed attention with relative positions (SAM)": {ALL: "windowed attention"},
    "hierarchical attention, fewer keys than queries (PVT v2)": {
        ROLLED_UP: r"hierarchical models\) cannot be rolled up.*\(256, 4\)",
        ("LRP", "partial LRP"): "conv2d",
    },
    "linear attention (EfficientViT)": {ALL: "no attention was seen in EfficientVit.*linear attention"},
    "cross-covariance attention (XCiT)": {ROLLED_UP: "cannot be rolled up", ("LRP",): "conv2d"},
    "OpenAI's CLIP, cosines as logits": {RELEVANCE: r"div \(called by OpenAIClip\)"},
    "Longformer (windows)": {ALL: "windowed attention"},
    "XLNet": {RELEVANCE: "einsum"},
    "FNet (no attention)": {ALL: "no attention was seen in FNet"},
    "Mixtral (experts)": {RELEVANCE: r"div \(called by MixtralTopKRouter\)"},
    "gpt-oss (sinks, experts)": {ALL: "not between all tokens"},
    "BART (encoder–decoder)": {ROLLED_UP: "encoder–decoder", DOWN_TO_THE_INPUT: "2 places"},
    "T5 (encoder–decoder)": {ROLLED_UP: "encoder–decoder", DOWN_TO_THE_INPUT: "2 places"},
}
QUICK = (
    "ViT",
    "grid that is not square",
    "windowed attention (Swin)",
    "OpenAI's CLIP (tokens before the batch)",
    "BERT",
    "Llama",
    "T5 (encoder–decoder)",
)


def named(names, mark=()):
    return [pytest.param(BY_NAME[name], id=name.replace(" ", "_"), marks=mark) for name in names]


@pytest.mark.parametrize(
    "family", named(QUICK) + named([n for n in BY_NAME if n not in QUICK], pytest.mark.slow)
)
def test_a_family_is_explained_rightly_or_refused(family):
    found = judge(family, METHODS)
    assert not found.faults
    reasons = {m: text for names, text in REFUSALS.get(family.name, {}).items() for m in names}
    for title, answer in found.answers.items():
        assert answer.kind == (REFUSED if title in reasons else EXPLAINED), (title, answer)
        assert re.search(reasons.get(title, ""), answer.reason)


def test_every_family_has_a_name_of_its_own():
    assert len(BY_NAME) == len(FAMILIES)
    assert set(REFUSALS) | set(QUICK) <= set(BY_NAME)


@pytest.mark.parametrize(("dtype", "least", "most"), [("float32", 1e-9, 1e-4), ("bfloat16", 1e-6, 0.1)])
@pytest.mark.parametrize("family", named(["ViT", "BERT", "Llama"]))
def test_smaller_types_give_about_the_same_maps(family, dtype, least, most):
    """Not the same: that would mean that they are not used."""
    method = TransformerAttribution(start_layer=0, dtype="float64")
    with in_double(family.build()) as example:
        exact = method(example.forward, example.inputs)
        smaller = replace(method, dtype=dtype)(example.forward, example.inputs).double()
    assert least < difference(smaller, exact) < most


def test_weights_are_what_they_were_after_a_look_in_double():
    example = BY_NAME["ViT"].build()
    before = [p.clone() for p in example.module.parameters()]
    with in_double(example) as double:
        assert all(p.dtype == torch.float64 for p in double.module.parameters())
    assert all(torch.equal(p, was) for p, was in zip(example.module.parameters(), before, strict=True))


def test_methods_are_those_of_the_folder_of_configurations():
    assert {"transformer attribution", "LRP", "rollout", "GradCAM"} <= set(checks.methods())
    assert "random" not in checks.methods()  # a floor
    assert METHODS["rollout"].start_layer == 0
    assert METHODS["GradCAM"].weights == "matrix"


# --- faults


SMALL = own("small", "torch nn.MultiheadAttention", Attention)


@dataclass(frozen=True)
class OfTheBatch:
    """Wrong: the map of a sample depends on what else is in the batch."""

    def __call__(self, forward, inputs, target=None):
        maps = RawAttention()(forward, inputs, target)
        return maps - maps.mean(dim=0)


@dataclass(frozen=True)
class MixedIsWrong:
    dtype: str = "float64"

    def __call__(self, forward, inputs, target=None):
        maps = TransformerAttribution(start_layer=0, dtype=self.dtype)(forward, inputs, target)
        return maps * (1.01 if self.dtype == "mixed" else 1)


class Broken:
    def __call__(self, forward, inputs, target=None):
        raise KeyError("block 7")


class Raw:
    """An error of torch's own, whatever it is wrapped in, is no decision of ours."""

    def __call__(self, forward, inputs, target=None):
        raise RefusedError("reading the tape backwards failed") from RuntimeError("no such schema")


def unbuildable():
    raise OSError("no such class here")


def test_wrong_maps_and_errors_are_faults_and_end_nothing():
    chosen = {
        "batch": OfTheBatch(),
        "broken": Broken(),
        "raw": Raw(),
        "mixed": MixedIsWrong(),
        "right": RawAttention(),
    }
    answers = judge(SMALL, chosen).answers
    assert {title: answer.kind for title, answer in answers.items()} == {
        "batch": WRONG,
        "broken": FAILED,
        "raw": FAILED,
        "mixed": EXPLAINED_IN_FLOAT64,
        "right": EXPLAINED,
    }
    assert "misses the check 'alone'" in answers["batch"].reason
    assert answers["broken"].reason == "KeyError: 'block 7'"
    assert "mixed precision differs from that in float64 by 1.0e-02" in answers["mixed"].reason


def test_variants_that_disagree_are_a_fault():
    def make(variant):
        model = Attention()
        model.blocks = model.blocks[: 1 if variant == "other" else 2]
        return model

    family = replace(SMALL, make=make, variants=("one", "other"))
    assert judge(family, {"raw attention": RawAttention()}).answers["raw attention"].kind == WRONG


def test_a_model_that_cannot_be_built_is_a_row():
    answers = judge(replace(SMALL, make=lambda variant: unbuildable()), {"a": RawAttention()}).answers
    assert answers == {"a": Answer(FAILED, "the model cannot be built: OSError: no such class here")}


@pytest.fixture
def run(monkeypatch, tmp_path, capsys):
    """The program on a few families and methods; returns its exit code, what it wrote, and its complaints."""

    def run(families, chosen, *arguments):
        (tmp_path / "results").mkdir(exist_ok=True)
        monkeypatch.setattr(program, "PROJECT", tmp_path)
        monkeypatch.setattr(program, "FAMILIES", families)
        monkeypatch.setattr(checks, "methods", lambda: chosen)
        monkeypatch.setattr(sys, "argv", ["families", *arguments])
        with pytest.raises(SystemExit) as exit_:
            program.main()
        file = tmp_path / "results" / "models.md"
        return exit_.value.code, file.read_text() if file.exists() else None, capsys.readouterr()

    return run


def test_the_table_says_what_works_and_why_not(run):
    families = [SMALL, BY_NAME["windowed attention (Swin)"]]
    code, written, printed = run(
        families, {"raw": RawAttention(), "whole": TransformerAttribution(start_layer=0)}
    )
    assert code == 0
    figures, refused, small, swin, reason = (
        line for line in written.splitlines() if line.startswith(("| small", "| windowed", "1."))
    )
    assert figures.split(" | ")[2] == "2 of 2"
    assert figures.count("e-") + figures.count("0e+00") == 5  # it has no variants
    assert refused.split(" | ")[2] == "0 of 2"
    assert small == "| small | yes | yes |"
    assert swin == "| windowed attention (Swin) | no (1) | no (1) |"
    assert "windowed" in reason
    assert "2 families, 1 of which" in written
    assert f"torch {torch.__version__}" in written
    assert written in printed.out


def test_a_fault_is_in_the_table_and_in_the_exit_code(run):
    families = [replace(SMALL, name="gone", make=lambda variant: unbuildable()), SMALL]
    code, written, printed = run(families, {"right": RawAttention(), "wrong": OfTheBatch()})
    assert code == 1
    assert "| yes | **wrong** (2) |" in written
    assert written.count("**failed** (1)") == 2
    assert "fault: small, wrong: OfTheBatch misses the check 'alone'" in printed.err


def test_many_methods_are_in_tables_of_a_width_that_can_be_read(run):
    _, written, _ = run([SMALL], {f"raw {i}": RawAttention() for i in range(11)})
    heads = [line for line in written.splitlines() if line.startswith("| family | raw")]
    assert [line.count("raw") for line in heads] == [6, 5]
    assert "raw 10" in heads[1]


def test_methods_are_told_what_the_benchmark_tells_them():
    texts, images = BY_NAME["BERT"].build(), BY_NAME["ViT with registers (DINOv2)"].build()
    assert checks.told(LeaveOneOut(), texts).players.groups[1].tolist() == [0, 1, 2, 3, 4, -1, -1, -1, -1]
    assert checks.told(LeaveOneOut(), images).players == Patches((4, 4), images.module.num_prefix_tokens)
    assert checks.told(ViTCX(), images).prefix_tokens == images.module.num_prefix_tokens
    assert checks.told(ViTCX(), BY_NAME["SigLIP of transformers"].build()).prefix_tokens == 0


def test_some_families_are_looked_at_without_a_table(run):
    code, written, printed = run([SMALL, replace(SMALL, name="another")], {"raw": RawAttention()}, "other")
    assert (code, written) == (0, None)
    assert "| another |" in printed.out
    assert "| small |" not in printed.out


def test_examples_are_two_texts_of_unequal_length_that_end():
    inputs = BY_NAME["BERT"].build().inputs
    assert inputs["attention_mask"].sum(dim=1).tolist() == list(LENGTHS)
    assert [int((row == 2).sum()) for row in inputs["input_ids"]] == [1, 1]
    example = BY_NAME["ViT"].build()
    assert example.forward(example.inputs).shape == (len(LENGTHS), CLASSES)
