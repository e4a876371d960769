"""Rule sets in gradient form, against autograd on networks in which what is constant is detached."""

import bench  # noqa: F401  isort: skip  (lets timm and transformers be imported)

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from transformers import LlamaConfig, LlamaForSequenceClassification

from methods.relevance import (
    AG_CAM,
    ATTN_LRP,
    CP_LRP,
    GATE_CONSTANT,
    GRADIENT,
    GRADIENTS,
    LIBRA,
    PA_LRP,
    PROPOSED,
    Gamma,
    NoRuleError,
    RuleSet,
    Tape,
    relevance_form,
)
from tests.support.small_models import (
    IMAGES,
    TOKENS,
    WIDTH,
    Model,
    enlarged,
    make_bert,
    make_vit,
    rand,
    texts,
)

pytestmark = pytest.mark.numerical


def close(ours, expected, tolerance=1e-9):
    scale = expected.abs().max().item()
    torch.testing.assert_close(ours, expected, rtol=0, atol=tolerance * scale)


def make_llama():
    size = {"hidden_size": 24, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
    config = LlamaConfig(**size, vocab_size=50, num_key_value_heads=2, pad_token_id=0, num_labels=3)
    return enlarged(LlamaForSequenceClassification(config))


# --- a network with the rules written into it


class SpelledNorm(nn.Module):
    """An RMSNorm under a name of its own."""

    def __init__(self):
        super().__init__()
        self.gain = nn.Parameter(rand(WIDTH, seed=8, zeros=False))

    def forward(self, x):
        return self.gain * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6))


class MyRMSNorm(SpelledNorm):
    """The same under a name that tells what it is."""


def half(x):
    return 0.5 * x + 0.5 * x.detach()


def with_rules(model, x, norm, constant: bool, gate_constant: bool):
    """The model below as a function whose true gradient is the modified one."""
    x = model.embed(x)
    q, keys = model.query(x)[:, None], x[:, None]
    scores = half(q) @ half(keys.mT)
    A = scores.softmax(-1)
    A, values = (A.detach(), x[:, None]) if constant else (half(A), half(x[:, None]))
    x = x + (A @ values)[:, 0]
    n = F.layer_norm(x, (WIDTH,))
    n = (x - x.mean(-1, keepdim=True)) * (n.detach() / (x - x.mean(-1, keepdim=True)).detach())
    up = model.branch(n)
    gate = F.silu(up).detach() / up.detach() * up
    gated = gate.detach() * up if gate_constant else half(gate) * half(up)
    x = x + gated
    x = norm.gain * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6).detach())
    return model.head(x[:, 0])


@pytest.mark.parametrize("norm", [SpelledNorm, MyRMSNorm])
@pytest.mark.parametrize(
    ("rules", "constant", "gate_constant"),
    [
        (ATTN_LRP, False, False),
        (replace(ATTN_LRP, gate=GATE_CONSTANT), False, True),
        (CP_LRP, True, True),
        (LIBRA, True, True),
    ],
    ids=["attn_lrp", "gate constant", "cp_lrp", "libra"],
)
def test_a_rule_set_is_the_gradient_with_its_constants_detached(rules, constant, gate_constant, norm):
    norm = norm().double().eval()

    def op(model, x):
        up = model.branch(F.layer_norm(x, (WIDTH,)))
        return norm(x + F.silu(up) * up)

    model = Model(op).double().eval()
    tokens = TOKENS.double().requires_grad_()
    target = torch.tensor([2, 0])
    tape = Tape.record(model, TOKENS, dtype="float64")
    logits = with_rules(model, tokens, norm, constant, gate_constant)
    y = logits.gather(1, target[:, None])
    (expected,) = torch.autograd.grad(y.sum(), tokens)
    (g,), (R,) = (f(target, [tape.entry], rules) for f in (tape.gradient, tape.relevance))
    close(g, expected)
    close(R, tokens.detach() * expected)
    (one,) = tape.relevance(target, [tape.entry], replace(rules, start="one"))
    close(one * y.detach()[:, :, None], R)
    (ours,) = tape.relevance(target, [tape.entry], relevance_form(rules))
    close(ours, R, 1e-7)
    (ours,) = tape.relevance(target, [tape.entry], replace(relevance_form(rules), start="one"))
    close(ours, one, 1e-7)


# --- on models of libraries


MODELS = {"vit": make_vit, "bert": make_bert, "llama": make_llama}


def recorded(name, dtype="float64"):
    model = MODELS[name]()
    if name == "vit":
        return Tape.record(model, IMAGES, dtype=dtype)
    return Tape.record(lambda x: model(**x).logits, texts(), dtype=dtype)


@pytest.mark.parametrize("name", MODELS)
def test_both_forms_and_both_types_give_one_map(name):
    tape, float32, mixed = (recorded(name, dtype) for dtype in ("float64", "float32", "mixed"))
    for rules in (ATTN_LRP, CP_LRP):
        (R,) = tape.relevance(None, [tape.entry_at("word")], rules)
        close(tape.relevance(None, [tape.entry_at("word")], relevance_form(rules))[0], R, 1e-7)
        for other in (float32, mixed):
            (ours,) = other.relevance(None, [other.entry_at("word")], rules)
            close(ours.double(), R, 1e-4)


def test_without_biases_cp_lrp_keeps_the_logit():
    tape = recorded("llama")
    for target in (torch.tensor([0, 0, 0]), torch.tensor([2, 1, 0])):
        (R,) = tape.relevance(target, [tape.entry_at("word")], CP_LRP)
        torch.testing.assert_close(R.sum((1, 2)), tape.logits.gather(1, target[:, None])[:, 0].detach())


@pytest.mark.parametrize("name", MODELS)
def test_the_true_gradient_is_a_rule_set(name):
    tape = recorded(name)
    of = [tape.entry_at("word"), *tape.attentions]
    for ours, expected in zip(tape.gradient(None, of, GRADIENTS), tape.gradient(None, of), strict=True):
        close(ours, expected)


def test_ag_cam_is_the_gradient_past_detached_attention():
    vit, seen = make_vit().double(), []
    tape = Tape.record(vit, IMAGES, dtype="float64")
    ours = tape.gradient(None, tape.attentions, AG_CAM)
    for block in vit.blocks:
        block.attn.fused_attn = False
        block.attn.register_forward_pre_hook(lambda _, arguments: (arguments[0].detach(),))
        block.attn.attn_drop.register_forward_hook(lambda _, __, attention: seen.append(attention))
    y = vit(IMAGES.double()).amax(dim=1).sum()
    for g, expected in zip(ours, torch.autograd.grad(y, seen), strict=True):
        close(g, expected)
    assert not torch.allclose(ours[0], tape.gradient(None, tape.attentions[:1])[0])


def test_gamma_of_zero_is_the_gradient_and_the_place_matters():
    tape = recorded("vit")

    def relevance(rules):
        return tape.relevance(None, [tape.entry], rules)[0]

    plain = relevance(CP_LRP)
    close(relevance(replace(CP_LRP, linear=Gamma(0.0), pixels=Gamma(0.0))), plain, 1e-3)
    outside = relevance(replace(CP_LRP, linear=Gamma(0.1), attention_linear=GRADIENT))
    everywhere = relevance(replace(CP_LRP, linear=Gamma(0.1)))
    inside = relevance(replace(CP_LRP, attention_linear=Gamma(0.1)))
    for other in (plain, everywhere, inside):
        assert (outside - other).norm() > 1e-2 * other.norm()
    close(relevance(replace(CP_LRP, linear=Gamma(0.1), attention_linear=Gamma(0.1))), everywhere)


def slow_gamma(R, z, x, weight, bias, gamma):
    """The γ rule, entry by entry: contributions of the sign of z count 1 + γ times."""
    out = torch.zeros_like(x)
    for i, j in ((i, j) for i in range(len(x)) for j in range(len(weight))):
        parts = [x[i, k] * weight[j, k] for k in range(x.shape[1])] + [bias[j]]
        signed = [p * (1 + gamma) if p * z[i, j] > 0 else p for p in parts]
        total = sum(signed)
        for k in range(x.shape[1]):
            out[i, k] += signed[k] * R[i, j] / (total + (1e-6 if total >= 0 else -1e-6))
    return out


def test_gamma_is_its_formula():
    x, weight, bias, g = rand(3, 5), rand(4, 5, seed=1, zeros=False), rand(4, seed=2), rand(3, 4, seed=3)
    z = F.linear(x, weight, bias)
    (ours,) = Gamma(0.3)(g, z, x, weight, bias)
    close(x * ours, slow_gamma(g * z, z, x, weight, bias, 0.3))
    image, kernel = rand(2, 3, 4, 4, seed=4), rand(5, 3, 2, 2, seed=5, zeros=False)
    z = F.conv2d(image, kernel, bias[:1].expand(5), 2)
    g = rand(*z.shape, seed=6)
    (ours,) = Gamma(0.3)(g, z, image, kernel, bias[:1].expand(5), 2)
    patches = F.unfold(image, 2, stride=2).mT.reshape(8, 12)
    rows = (t.flatten(2).mT.reshape(8, 5) for t in (g * z, z))
    expected = slow_gamma(*rows, patches, kernel.flatten(1), bias[:1].expand(5), 0.3)
    expected = F.fold(expected.view(2, 4, 12).mT, (4, 4), 2, stride=2)
    close(image * ours, expected)


# --- what is refused


def test_what_has_no_rule_stops_relevance_but_not_the_gradient():
    model = Model(lambda m, x: torch.celu(x)).eval()
    tape = Tape.record(model, TOKENS, dtype="float64")
    for rules in (ATTN_LRP, relevance_form(CP_LRP), PA_LRP):
        with pytest.raises(NoRuleError, match="celu"):
            tape.relevance(None, [tape.entry], rules)
    (ours,) = tape.gradient(None, [tape.entry], GRADIENTS)
    close(ours, tape.gradient(None, [tape.entry])[0])


def test_squares_of_a_norm_are_no_way_for_relevance_elsewhere():
    model = Model(lambda m, x: x * x.pow(2).mean(-1, keepdim=True).sqrt().exp()).eval()
    tape = Tape.record(model, TOKENS, dtype="float64")
    with pytest.raises(NoRuleError):
        tape.relevance(None, [tape.entry], ATTN_LRP)


@pytest.mark.parametrize("setting", ["start", "form"])
def test_settings_of_a_rule_set_are_checked(setting):
    with pytest.raises(ValueError, match=f"{setting}='other'"):
        replace(PROPOSED, **{setting: "other"})
    assert setting not in RuleSet.kinds()


def test_a_rule_set_of_relevance_has_no_modified_gradient():
    tape = Tape.record(Model().eval(), TOKENS)
    with pytest.raises(ValueError, match="defines no modified gradient"):
        tape.gradient(None, [tape.entry], PROPOSED)
    with pytest.raises(ValueError, match="same tape"):
        tape.relevance(None, [Tape.record(Model().eval(), TOKENS).attentions[0]], ATTN_LRP)
