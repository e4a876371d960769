"""``dtype="mixed"``: the sums of the forward pass in float64, all that is read backwards in float32."""

import bench  # noqa: F401  isort: skip  (lets timm and transformers be imported)

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from methods import LRP, PROPOSED, PartialLRP, Tape, TransformerAttribution
from tests.methods.test_layouts import Encoder
from tests.methods.test_writes import ALIASED, INTO_ZEROS, into
from tests.support.small_models import IMAGES, TOKENS, Model, make_bert, make_vit, texts

torch.set_num_threads(1)
METHODS = [TransformerAttribution(start_layer=0), LRP(), LRP(rules=PROPOSED)]


def distance(ours, expected):
    expected = expected.flatten(1)
    return ((ours.double().flatten(1) - expected).norm(dim=1) / expected.norm(dim=1)).max().item()


def deviations(method, forward, inputs):
    """Those of maps in mixed precision and in float32, from maps in float64."""
    maps = [replace(method, dtype=d)(forward, inputs) for d in ("mixed", "float32", "float64")]
    return [distance(m, maps[-1]) for m in maps[:2]]


@pytest.mark.parametrize("method", METHODS, ids=lambda m: f"{type(m).__name__}-{m.rules}")
@pytest.mark.parametrize("modality", ["image", "text"])
def test_maps_are_those_of_float64(modality, method):
    model = make_vit() if modality == "image" else make_bert()
    forward = model if modality == "image" else lambda x: model(**x).logits
    mixed, float32 = deviations(method, forward, IMAGES if modality == "image" else texts())
    assert mixed < 1e-5
    if isinstance(method, LRP):  # whose divisions by small sums show what rounding the sums does
        assert 10 * mixed < float32


@pytest.mark.parametrize("layout", ["tokens first", "flat", "grid"])
def test_in_any_layout(layout):
    assert deviations(METHODS[0], Encoder(layout).eval(), torch.randn(3, 6, 16))[0] < 1e-4


def readings(op, dtype):
    tape = Tape.record(Model(op), TOKENS, dtype=dtype)
    of = [*tape.attentions, tape.entry]
    return tape, [*tape.gradient(None, of), *tape.relevance(None, of, PROPOSED)]


@pytest.mark.parametrize("name", INTO_ZEROS)
def test_what_is_written_has_its_value_in_float64_too(name):
    (mixed, ours), (exact, expected) = (readings(into(INTO_ZEROS[name]), d) for d in ("mixed", "float64"))
    assert mixed.logits.dtype == torch.float32
    torch.testing.assert_close(mixed.logits.double(), exact.logits, rtol=1e-6, atol=1e-6)
    for a, b in zip(ours, expected, strict=True):
        assert a.dtype == torch.float32
        assert distance(a, b) < 1e-3  # into a view of zeros it is rounded


@pytest.mark.parametrize("name", ALIASED)
def test_what_shares_memory_sees_it_too(name):
    (mixed, ours), (exact, expected) = (readings(ALIASED[name][0], d) for d in ("mixed", "float64"))
    torch.testing.assert_close(mixed.logits.double(), exact.logits, rtol=1e-6, atol=1e-6)
    for a, b in zip(ours, expected, strict=True):
        assert distance(a, b) < 1e-4


def test_gradients_of_all_kinds_of_operations_are_autograds():
    def many(m, x):
        y = F.gelu(F.layer_norm(m.branch(x), (16,))).softmax(-1) + x.tanh() * F.silu(x)
        y = torch.cat([y[:, :2], (y @ m.weight)[:, 2:] / 3], dim=1) - y.mean(1, keepdim=True)
        return torch.einsum("bij,bkj->bik", y, x) @ F.celu(y)

    tape = Tape.record(Model(many), TOKENS, dtype="mixed")
    tokens = TOKENS.double().requires_grad_()
    (expected,) = torch.autograd.grad(Model(many).double()(tokens).amax(dim=1).sum(), tokens)
    assert distance(tape.gradient(None, [tape.entry])[0], expected) < 1e-5


def test_the_model_and_its_weights_stay_in_their_type():
    model = make_vit()
    PartialLRP(dtype="mixed")(model, IMAGES)
    assert all(p.dtype == torch.float32 and p.grad is None for p in model.parameters())
    assert model(IMAGES).dtype == torch.float32
