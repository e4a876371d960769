"""Every rule against its formula, entry by entry in Python, and what the rules keep of the total."""

import bench  # noqa: F401  isort: skip  (lets timm and transformers be imported)

import itertools
import math

import pytest
import timm
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import BertConfig, BertForSequenceClassification

from methods import rules
from methods.rules import OLDER, PROPOSED, safe_divide
from methods.tape import Tape

torch.set_num_threads(1)

EPS = 1e-9
SHAPES = [(3,), (2, 3), (2, 2, 3)]  # one sample of tokens, a batch, a batch with heads


def rand(*shape, seed=0, zeros=True):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(shape, generator=generator, dtype=torch.float64)
    # Exact zeros are common in practice (ReLU, padding), so every draw has some.
    return x * (torch.rand(shape, generator=generator) > 0.2) if zeros else x


def divide(a: float, b: float) -> float:
    return 0.0 if b == 0 else a / (b + EPS)


def indices(t):
    return itertools.product(*map(range, t.shape))


def slow_linear(R, x, w, together: bool):
    """R_x[j] = Σ_i R_i · c_ij / Σ_k c_ik over the contributions c_ij = x_j w_ij of equal signs.

    ``together``: both signs (x, w > 0 and x, w < 0) share one denominator; else each has its own.
    """
    out = torch.zeros_like(x)
    for lead in itertools.product(*map(range, x.shape[:-1])):
        for i in range(w.shape[0]):
            c = [x[lead][j].item() * w[i, j].item() for j in range(w.shape[1])]
            positive = [j for j in range(len(c)) if x[lead][j] > 0 and w[i, j] > 0]
            negative = [j for j in range(len(c)) if x[lead][j] < 0 and w[i, j] < 0]
            for group in [positive + negative] if together else [positive, negative]:
                total = math.fsum(c[k] for k in group)
                for j in group:
                    out[lead][j] += c[j] * divide(R[lead][i].item(), total)
    return out


@pytest.mark.parametrize("lead", SHAPES)
@pytest.mark.parametrize(
    ("rule", "together"), [(rules.linear_positive, True), (rules.linear_parts, False)], ids=["α1β0", "older"]
)
def test_linear(rule, together, lead):
    x, w, R = rand(*lead, 5), rand(4, 5, seed=1), rand(*lead, 4, seed=2)
    bias = rand(4, seed=3)
    (ours,) = rule(R, F.linear(x, w, bias), x, w, bias)
    torch.testing.assert_close(ours, slow_linear(R, x, w, together), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("lead", [(), (2,), (2, 2)])
def test_matmul(lead):
    u, v = rand(*lead, 3, 5, seed=1), rand(*lead, 5, 4, seed=2)
    z = u @ v
    R = rand(*z.shape, seed=4)
    R_u, R_v = torch.zeros_like(u), torch.zeros_like(v)
    for *b, i, k in indices(z):
        b = tuple(b)
        S = divide(R[b][i, k].item(), z[b][i, k].item())
        for j in range(u.shape[-1]):
            share = 0.5 * u[b][i, j].item() * v[b][j, k].item() * S
            R_u[b][i, j] += share
            R_v[b][j, k] += share
    ours = PROPOSED.matmul(R, z, u, v)
    torch.testing.assert_close(ours, (R_u, R_v), rtol=1e-10, atol=1e-12)


def slow_add(R, u, v):
    """u ⊙ R / z and v ⊙ R / z, the relevance of z first passing through z ⊙ R / z as the reference's does."""
    R_u, R_v = torch.zeros_like(R), torch.zeros_like(R)
    for i in indices(R):
        z = u[i].item() + v[i].item()
        arriving = z * divide(R[i].item(), z)
        R_u[i], R_v[i] = u[i].item() * divide(arriving, z), v[i].item() * divide(arriving, z)
    return R_u, R_v


def test_add_of_the_older_rules():
    u, v, R = rand(2, 3, 4), rand(2, 3, 4, seed=1), rand(2, 3, 4, seed=2)
    torch.testing.assert_close(OLDER.add(R, u + v, u, v), slow_add(R, u, v), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("shape", [(3, 4), (3, 2, 4), (3, 2, 2, 2)])
def test_add_rescales_each_sample_by_its_own_sums(shape):
    u, v, R = rand(*shape), rand(*shape, seed=1), rand(*shape, seed=2)
    expected_u, expected_v = slow_add(R, u, v)
    for n in range(shape[0]):
        total = math.fsum(R[n].flatten().tolist())
        a = math.fsum(expected_u[n].flatten().tolist())
        b = math.fsum(expected_v[n].flatten().tolist())
        expected_u[n] *= abs(a) / (abs(a) + abs(b)) * total / a
        expected_v[n] *= abs(b) / (abs(a) + abs(b)) * total / b
    ours = PROPOSED.add(R, u + v, u, v)
    torch.testing.assert_close(ours, (expected_u, expected_v), rtol=1e-7, atol=1e-9)


def test_add_of_a_broadcast_summand_adds_up_its_shares():
    u, v, R = rand(2, 3, 4), rand(2, 1, 4, seed=1), rand(2, 3, 4, seed=2)
    R_u, R_v = OLDER.add(R, u + v, u, v)
    expected_u, expected_v = slow_add(R, u, v.expand_as(u))
    torch.testing.assert_close(R_u, expected_u, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(R_v, expected_v.sum(1, keepdim=True), rtol=1e-10, atol=1e-12)


def test_shift_drops_the_share_of_the_constant():
    x, constant, R = rand(2, 3, 4), rand(3, 4, seed=1), rand(2, 3, 4, seed=2)
    (ours,) = PROPOSED.shift(R, x + constant, x, constant)
    torch.testing.assert_close(ours, slow_add(R, x, constant.expand_as(x))[0], rtol=1e-10, atol=1e-12)


def test_shift_by_minus_infinity_as_masks_do():
    x, mask = rand(1, 4, zeros=False), torch.tensor([0.0, 0.0, -math.inf, -math.inf])
    R = torch.tensor([[0.25, 0.75, 0.0, 0.0]], dtype=torch.float64)
    (ours,) = PROPOSED.shift(R, x + mask, x, mask)
    torch.testing.assert_close(ours, R, rtol=1e-7, atol=0)


def test_identity_passes_relevance_and_adds_up_over_broadcasting():
    x, R = rand(2, 1, 4), rand(2, 3, 4, seed=1)
    (ours,) = PROPOSED.identity(R, x.expand_as(R), x)
    torch.testing.assert_close(ours[:, 0], R[:, 0] + R[:, 1] + R[:, 2])


@pytest.mark.parametrize(("stride", "padding"), [(2, 0), (1, 1)])
def test_pixels(stride, padding):
    x, w = rand(2, 2, 4, 4), rand(3, 2, 2, 2, seed=1)
    z = F.conv2d(x, w, stride=stride, padding=padding)
    R = rand(*z.shape, seed=2)
    expected = torch.zeros_like(x)
    for n, o, row, column in indices(z):
        low, high = x[n].min().item(), x[n].max().item()
        contributions = {}
        for c, dy, dx in itertools.product(range(2), range(2), range(2)):
            y, at = row * stride + dy - padding, column * stride + dx - padding
            if 0 <= y < 4 and 0 <= at < 4:
                weight = w[o, c, dy, dx].item()
                bound = low * max(weight, 0) + high * min(weight, 0)
                contributions[c, y, at] = x[n, c, y, at].item() * weight - bound
        S = R[n, o, row, column].item() / (math.fsum(contributions.values()) + EPS)
        for (c, y, at), contribution in contributions.items():
            expected[n, c, y, at] += contribution * S
    (ours,) = PROPOSED.pixels(R, z, x, w, None, stride, padding)
    torch.testing.assert_close(ours, expected, rtol=1e-10, atol=1e-12)


@given(a=st.floats(-1e6, 1e6), b=st.floats(-1e6, 1e6).filter(lambda b: b != -EPS))
def test_safe_divide(a, b):
    a, b = torch.tensor(a, dtype=torch.float64), torch.tensor(b, dtype=torch.float64)
    assert safe_divide(a, b).item() == divide(a.item(), b.item())


@pytest.mark.parametrize("zero", ["x", "w", "R"])
def test_nothing_is_divided_by_zero(zero):
    x, w, R = rand(2, 5), rand(4, 5, seed=1), rand(2, 4, seed=2)
    x, w, R = (t * 0 if name == zero else t for name, t in (("x", x), ("w", w), ("R", R)))
    for rule in (rules.linear_positive, rules.linear_parts):
        assert (rule(R, x @ w.T, x, w)[0] == 0).all()
    for share in PROPOSED.matmul(R, x @ w.T, x, w.T):
        assert (share == 0).all()
    nothing = torch.zeros(2, 4, dtype=torch.float64)
    for rule in (rules.add_normalised, rules.add_proportional):
        assert all((share == 0).all() for share in rule(R, nothing, nothing, nothing))
    u = rand(2, 4, seed=3, zeros=False)
    for rule in (rules.add_normalised, rules.add_proportional):  # u + (−u) = 0 has nothing to share by
        assert all((share == 0).all() for share in rule(R, u - u, u, -u))


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**30))
def test_linear_keeps_the_total_but_for_outputs_without_positive_contribution(seed):
    x, w, R = rand(3, 5, seed=seed), rand(4, 5, seed=seed + 1), rand(3, 4, seed=seed + 2)
    has_share = (x[:, None] * w > 0).any(-1)
    (ours,) = rules.linear_positive(R, x @ w.T, x, w)
    torch.testing.assert_close(ours.sum(1), (R * has_share).sum(1), rtol=1e-4, atol=1e-6)


def test_the_older_linear_rule_gives_twice_where_both_parts_are_present():
    x, w = rand(3, 20, zeros=False), rand(4, 20, seed=1, zeros=False)
    R = rand(3, 4, seed=2)
    (ours,) = rules.linear_parts(R, x @ w.T, x, w)
    torch.testing.assert_close(ours.sum(1), 2 * R.sum(1), rtol=1e-7, atol=1e-7)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**30))
def test_matmul_gives_half_of_the_total_to_each_factor(seed):
    u, v = rand(3, 4, 5, seed=seed, zeros=False), rand(3, 5, 2, seed=seed + 1, zeros=False)
    z = u @ v
    R = rand(3, 4, 2, seed=seed + 2) * (z.abs() > 1e-3)  # a z near the stabiliser loses part of its relevance
    for share in PROPOSED.matmul(R, z, u, v):
        torch.testing.assert_close(share.sum((1, 2)), R.sum((1, 2)) / 2, rtol=1e-5, atol=1e-5)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**30))
def test_add_keeps_the_total_of_each_sample_and_the_ratio_of_the_shares(seed):
    u, v = rand(3, 2, 4, seed=seed, zeros=False), rand(3, 2, 4, seed=seed + 1, zeros=False)
    R = rand(3, 2, 4, seed=seed + 2)
    R_u, R_v = rules.add_normalised(R, u + v, u, v)
    torch.testing.assert_close(R_u.sum((1, 2)) + R_v.sum((1, 2)), R.sum((1, 2)), rtol=1e-6, atol=1e-8)
    a, b = rules.add_proportional(R, u + v, u, v)
    ratio = a.sum((1, 2)).abs() / b.sum((1, 2)).abs()
    torch.testing.assert_close(R_u.sum((1, 2)).abs(), ratio * R_v.sum((1, 2)).abs(), rtol=1e-6, atol=1e-8)


def total(relevance):
    return relevance.flatten(1).sum(1)


def randomised(model, scale=0.3):
    """Large random weights, biases too: the initial ones hardly make the tokens differ."""
    generator = torch.Generator().manual_seed(0)
    for p in model.parameters():
        p.data = torch.randn(p.shape, generator=generator) * scale
    return model.eval().double()


@pytest.fixture(scope="module")
def vit_relevance():
    """Relevance of what enters each block, of A·V, of A, of the patch embeddings and of the pixels."""
    model = timm.create_model(
        "vit_base_patch16_224", img_size=32, patch_size=8, embed_dim=24, depth=3, num_heads=3, num_classes=5
    )
    randomised(model)
    seen = {"inputs": [], "products": [], "patches": []}
    for block in model.blocks:
        block.register_forward_pre_hook(lambda _, args: seen["inputs"].append(args[0]))
        block.attn.proj.register_forward_pre_hook(lambda _, args: seen["products"].append(args[0]))
    model.patch_embed.register_forward_hook(lambda _, __, output: seen["patches"].append(output))
    tape = Tape.record(model, rand(4, 3, 32, 32, zeros=False))
    seen |= {"attentions": tape.attentions, "pixels": [tape.entry]}

    def relevance(rule_set):
        flat = [t for tensors in seen.values() for t in tensors]
        found = iter(tape.relevance(None, flat, rule_set))
        return {name: [next(found) for _ in tensors] for name, tensors in seen.items()}

    return relevance


def test_proposed_rules_keep_the_total_through_the_blocks(vit_relevance):
    # Biases take no share and LayerNorm passes relevance on, so nothing but the stabilisers can lose any.
    for at_block in vit_relevance(PROPOSED)["inputs"]:
        torch.testing.assert_close(total(at_block), torch.ones(4).double(), rtol=0, atol=1e-6)


def test_attention_gets_half_of_what_reaches_its_product_with_the_values(vit_relevance):
    # So the R^(b) of a block do not sum to 1: the values have the other half, the skip connection the rest.
    found = vit_relevance(PROPOSED)
    for attention, product in zip(found["attentions"], found["products"], strict=True):
        torch.testing.assert_close(total(attention), total(product) / 2, rtol=0, atol=1e-6)
        assert (total(attention).abs() < 0.5 + 1e-6).all()


def test_pixels_get_all_that_the_patch_embeddings_have(vit_relevance):
    # Not 1: the class token and the position embedding are no function of the image and keep their share.
    found = vit_relevance(PROPOSED)
    (pixels,), (patches,) = found["pixels"], found["patches"]
    torch.testing.assert_close(total(pixels), total(patches), rtol=1e-6, atol=0)
    assert ((total(pixels) - 1).abs() > 1e-3).all()


def test_older_rules_do_not_keep_the_total(vit_relevance):
    assert ((total(vit_relevance(OLDER)["inputs"][0]) - 1).abs() > 0.5).all()


def test_proposed_rules_keep_the_total_down_to_the_embeddings_of_a_padded_text():
    config = BertConfig(
        vocab_size=50,
        hidden_size=24,
        num_hidden_layers=3,
        num_attention_heads=3,
        intermediate_size=48,
        max_position_embeddings=12,
    )
    model = randomised(BertForSequenceClassification(config))
    ids = torch.randint(0, 50, (3, 12), generator=torch.Generator().manual_seed(0))
    mask = (torch.arange(12) < torch.tensor([12, 7, 9])[:, None]).long()
    tape = Tape.record(lambda inputs: model(**inputs).logits, {"input_ids": ids, "attention_mask": mask})
    (relevance,) = tape.relevance(None, [tape.entry], PROPOSED)
    torch.testing.assert_close(total(relevance), torch.ones(3).double(), rtol=0, atol=1e-6)
    assert (relevance[mask == 0] == 0).all()
