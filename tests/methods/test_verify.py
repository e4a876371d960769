"""The self-check of a method: it passes what is right, and every check finds the fault that it is for."""

import bench  # noqa: F401  isort: skip  (lets timm and transformers be imported)

from dataclasses import dataclass, replace
from typing import ClassVar

import pytest
import torch
import torch.nn.functional as F

from methods import (
    LRP,
    PROPOSED,
    GradCAM,
    PartialLRP,
    RandomMap,
    RawAttention,
    RefusedError,
    Rollout,
    Tape,
    TransformerAttribution,
    verify,
)
from methods.common import drawing
from tests.support.small_models import TOKENS, Model, make_bert, make_vit, texts

torch.set_num_threads(1)
NONE = "not applicable"

METHODS = [
    TransformerAttribution(start_layer=0),
    TransformerAttribution(start_layer=0, dtype="float32"),
    LRP(),
    LRP(rules=PROPOSED, dtype="bfloat16"),
    PartialLRP(),
    GradCAM(weights="matrix"),
    Rollout(start_layer=0),
    RawAttention(),
    RandomMap(),
]


def name(method):
    return f"{type(method).__name__}-{getattr(method, 'dtype', '')}"


@pytest.mark.parametrize("method", METHODS, ids=name)
@pytest.mark.parametrize("modality", ["image", "text"])
def test_what_is_right_passes_in_float64_whatever_type_it_is_used_in(modality, method, images):
    if modality == "image":
        model = make_vit()
        found = verify(method, model, images)
    else:
        model = make_bert()
        found = verify(method, lambda x: model(**x).logits, texts())
    assert found.dtype == "float64"
    figures = found.figures
    assert figures["logits"] < 1e-12
    assert figures["alone"] < 1e-8
    reads_gradient = isinstance(method, (TransformerAttribution, GradCAM))
    assert figures["gradient"] < 1e-6 if reads_gradient else figures["gradient"] == NONE
    conserves = getattr(getattr(method, "rules", None), "conserves", False)
    assert figures["conserved"] < 1e-4 if conserves else figures["conserved"] == NONE
    if getattr(method, "class_specific", True):
        assert figures["classes"] > 1e-6
    else:
        assert figures["classes"] == 0
    assert found.warnings == ()
    assert all(p.dtype == torch.float32 for p in model.parameters())
    assert torch.get_default_dtype() == torch.float32


def missed(check, method, forward, inputs=TOKENS):
    with pytest.raises(
        RefusedError, match=rf"{type(method).__name__} misses the check '{check}' on this model"
    ):
        verify(method, forward, inputs)


METHODS_OF_ONE_BLOCK = [TransformerAttribution(start_layer=0), GradCAM(), RawAttention()]


@pytest.mark.parametrize("method", METHODS_OF_ONE_BLOCK, ids=name)
def test_another_function_on_the_tape_is_found(method):
    missed("logits", method, Model(lambda m, x: 1.001 * x if torch.is_grad_enabled() else x).eval())


@pytest.mark.parametrize("method", [GradCAM(), RawAttention(), Rollout(start_layer=0)], ids=name)
def test_a_map_that_depends_on_the_batch_is_found(method, images):
    vit = make_vit()
    missed("alone", method, lambda x: vit(x + 0.1 * x.mean(dim=0, keepdim=True)), images)


class Doubled(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, incoming):
        return 1.01 * incoming


def test_a_wrong_gradient_of_attention_is_found():
    missed("gradient", GradCAM(), Model(lambda m, x: x + Doubled.apply(m.branch(x))).eval())


def test_it_is_found_in_any_block():
    def again(m, x):
        x = Doubled.apply(x)  # the first attention's alone is wrong
        return x + ((m.query(x)[:, None] @ x[:, None].mT).softmax(-1) @ x[:, None])[:, 0]

    missed("gradient", Gradients(), Model(again).eval())


class Gradients:
    """The gradient of every block's attention."""

    def __call__(self, forward, inputs, target):
        tape = Tape.record(forward, inputs)
        return torch.stack(tape.gradient(target, tape.attentions)).mean(dim=(0, 2, 3))


def test_rules_that_do_not_keep_what_they_say_are_found(images):
    def lossy(R, z, x, weight, *_):
        return (0.9 * PROPOSED.linear(R, z, x, weight, *_)[0],)

    rules = replace(PROPOSED, name="lossy", linear=lossy)
    for method in (
        TransformerAttribution(start_layer=0, rules=rules),
        LRP(rules=rules),
        PartialLRP(rules=rules),
    ):
        missed("conserved", method, make_vit(), images)
    honest = replace(rules, conserves=False)
    assert verify(LRP(rules=honest), make_vit(), images).figures["conserved"] == NONE


def test_a_path_that_relevance_cannot_take_is_found():
    def cut(m, x):
        return m.branch(x) * 0.1 + x.detach().flip(1) * torch.linspace(1, 2, 16)

    found = Tape.record(Model(cut).double(), TOKENS, dtype="float64").totals(None, PROPOSED)
    assert abs(found["dropped"]) > 0.1  # a constant that is added, as far as the tape can tell


def test_outputs_that_nothing_contributes_to_are_found():
    def starved(m, x):
        return F.linear(x.relu(), -m.weight.abs())  # α = 1 finds nobody to give the relevance to

    missed("conserved", LRP(rules=PROPOSED), Model(starved).eval())


@dataclass(frozen=True)
class Strange:
    """The raw attention, with a declaration and a fault of choice."""

    fault: str = ""
    reproducible: bool = True
    distinguishes_classes: bool = False
    class_specific: bool = True
    version: ClassVar[int] = 1

    def __call__(self, forward, inputs, target):
        maps = RawAttention()(forward, inputs)
        if self.fault == "draws":
            maps = maps + torch.rand(maps.shape)
        if self.fault == "knows the class":
            maps = maps * (1 + target[:, None])
        if self.fault == "draws by content":
            maps = maps + torch.stack(
                [torch.rand(maps.shape[1], generator=drawing(0, inputs, i)) for i in range(len(maps))]
            )
        return maps


def test_draws_without_a_seed_are_found_unless_they_are_declared():
    missed("alone", Strange("draws"), Model().eval())
    figures = verify(Strange("draws", reproducible=False), Model().eval(), TOKENS).figures
    assert figures["alone"] == figures["classes"] == NONE
    assert verify(Strange("draws by content"), Model().eval(), TOKENS).figures["alone"] < 1e-12


def test_maps_of_two_classes_are_what_the_method_says():
    missed("classes", Strange("knows the class", class_specific=False), Model().eval())
    assert verify(Strange(class_specific=False), Model().eval(), TOKENS).figures["classes"] == 0
    found = verify(Strange(), Model().eval(), TOKENS)
    assert "maps of two classes are the same" in found.warnings[0]
    missed("classes", Strange(distinguishes_classes=True), Model().eval())
    assert (
        verify(Strange("knows the class", distinguishes_classes=True), Model().eval(), TOKENS).warnings == ()
    )


def test_one_class_and_one_sample_can_be_verified():
    model = Model().eval()
    found = verify(GradCAM(), lambda x: model(x)[:, :1], TOKENS[:1])
    assert found.figures["classes"] == NONE
    assert found.warnings == ()


def test_a_method_may_offer_fewer_draws_for_the_check():
    @dataclass(frozen=True)
    class Many:
        draws: int = 1000

        def for_check(self):
            return replace(self, draws=1)

        def __call__(self, forward, inputs, target):
            assert self.draws == 1
            return RawAttention()(forward, inputs)

    assert verify(Many(), Model().eval(), TOKENS).figures["alone"] < 1e-12


def test_a_model_that_cannot_be_cast_is_checked_in_its_own_type():
    model = Model().eval()
    weight = model.head.weight.detach()

    def forward(x):  # with weights that belong to no module
        return F.linear(model.op(model, model.embed(x) + attended(x)), weight)[:, 0]

    def attended(x):
        return ((x[:, None] @ x[:, None].mT).softmax(-1) @ x[:, None])[:, 0]

    found = verify(TransformerAttribution(start_layer=0), forward, TOKENS)
    assert found.dtype == "float32"
    assert 1e-9 < found.figures["logits"] < 1e-3
    missed("logits", RawAttention(), lambda x: forward(x) * (1 + 0.01 * torch.is_grad_enabled()))


def test_texts_are_of_unequal_length():
    seen = []

    def forward(batch):
        seen.append(tuple(batch["input_ids"].shape))
        return bert(**batch).logits

    bert = make_bert()
    same = {key: value[[0, 0, 1]] for key, value in texts().items()}
    verify(RawAttention(), forward, same)
    assert {shape for shape in seen if shape[0] == 1} == {(1, 9), (1, 5)}


def test_the_model_is_as_it_was_after_a_refusal():
    model = Model(lambda m, x: 1.01 * x if torch.is_grad_enabled() else x).eval()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    missed("logits", GradCAM(), model)
    for key, value in model.state_dict().items():
        assert value.dtype == torch.float32
        assert torch.equal(value, before[key])
    assert torch.get_default_dtype() == torch.float32
    assert Tape.record(model, TOKENS).logits.dtype == torch.float32


def test_weights_that_two_modules_share_stay_shared():
    model = Model().eval()
    model.branch.weight = model.query.weight
    verify(GradCAM(), model, TOKENS)
    assert model.branch.weight is model.query.weight


@pytest.mark.parametrize("seed", [0, 1])
def test_draws_depend_on_the_seed_and_the_content_alone(seed):
    other = TOKENS.flip(0)
    first = torch.rand(4, generator=drawing(seed, TOKENS, 0))
    assert torch.equal(first, torch.rand(4, generator=drawing(seed, other, 1)))
    assert not torch.equal(first, torch.rand(4, generator=drawing(seed, TOKENS, 1)))
    assert not torch.equal(first, torch.rand(4, generator=drawing(seed + 1, TOKENS, 0)))
