"""Every rule against its formula, entry by entry in Python, alone and in a network."""

import itertools
import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from methods.relevance import OLDER, PROPOSED, Tape, rules
from methods.relevance.rules import safe_divide
from tests.support.small_models import TOKENS, WIDTH, Model, rand

pytestmark = pytest.mark.numerical

EPS = 1e-9
SHAPES = [(3,), (2, 3), (2, 2, 3)]  # one sample of tokens, a batch, a batch with heads


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


def slow_matmul(R, u, v):
    """R_u[i, j] = ½ Σ_k u_ij v_jk R_ik / z_ik and R_v[j, k] = ½ Σ_i u_ij v_jk R_ik / z_ik."""
    z = u @ v
    R_u, R_v = torch.zeros_like(u), torch.zeros_like(v)
    for *b, i, k in indices(z):
        b = tuple(b)
        S = divide(R[b][i, k].item(), z[b][i, k].item())
        for j in range(u.shape[-1]):
            share = 0.5 * u[b][i, j].item() * v[b][j, k].item() * S
            R_u[b][i, j] += share
            R_v[b][j, k] += share
    return R_u, R_v


@pytest.mark.parametrize("lead", [(), (2,), (2, 2)])
def test_matmul(lead):
    u, v = rand(*lead, 3, 5, seed=1), rand(*lead, 5, 4, seed=2)
    R = rand(*lead, 3, 4, seed=4)
    torch.testing.assert_close(PROPOSED.matmul(R, u @ v, u, v), slow_matmul(R, u, v), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_an_output_without_positive_contribution_gives_nothing(dtype):
    """Though rounding leaves something where x W and |x| |W| should cancel."""
    x, w = rand(64, 48, zeros=False).to(dtype), rand(32, 48, seed=1, zeros=False).to(dtype)
    w[5] = -w[5].abs()
    R = torch.zeros(64, 32, dtype=dtype)
    R[:, 5] = 1
    (ours,) = PROPOSED.linear(R, F.linear(x.abs(), w), x.abs(), w)
    assert ours.abs().max() == 0


def test_only_rows_that_receive_relevance_are_computed():
    seen = []

    def observed(R, z, x, weight, *bias):
        seen.append(len(R) if R.ndim == 2 else R.shape)
        return PROPOSED.linear(R, z, x, weight, *bias)

    def relevance(rules):
        tape = Tape.record(Model(lambda m, x: m.branch(x)).double().eval(), TOKENS, dtype="float64")
        return tape.relevance(None, [tape.entry], rules)[0]

    ours = relevance(replace(PROPOSED, linear=observed))
    # The head of two samples, the branch of their first tokens of four, and all tokens below the attention.
    assert seen[:2] == [2, 2]
    assert seen[-1] == TOKENS[..., 0].numel()
    assert (ours.flatten(1) != 0).any(dim=1).all()


def test_linear_with_a_weight_for_each_head():
    x, w, R = rand(2, 3, 4, 5), rand(3, 6, 5, seed=1), rand(2, 3, 4, 6, seed=2)
    (ours,) = PROPOSED.linear(R, x @ w.mT, x, w)
    expected = torch.stack([slow_linear(R[:, h], x[:, h], w[h], together=True) for h in range(3)], dim=1)
    torch.testing.assert_close(ours, expected, rtol=1e-10, atol=1e-12)


def test_bilinear_is_matmul_whatever_the_indices():
    u, v, R = rand(2, 3, 5, seed=1), rand(2, 5, 4, seed=2), rand(2, 3, 4, seed=4)
    R_u, R_v = slow_matmul(R, u, v)
    v = v.permute(1, 2, 0).requires_grad_()  # (j, k, batch)
    u.requires_grad_()
    z = torch.einsum("bij,jkb->bik", u, v)
    ours = PROPOSED.bilinear(R, z, "bij,jkb->bik", u, v)
    torch.testing.assert_close(ours, (R_u, R_v.permute(1, 2, 0)), rtol=1e-10, atol=1e-12)


def test_product_gives_half_to_each_factor():
    gate, x, R = rand(2, 1, 4), rand(2, 3, 4, seed=1), rand(2, 3, 4, seed=2)
    R_gate, R_x = PROPOSED.product(R, gate * x, gate, x)
    torch.testing.assert_close(R_x, R / 2)
    torch.testing.assert_close(R_gate[:, 0], sum(R[:, token] for token in range(3)) / 2)


@pytest.mark.parametrize(
    ("dim", "keepdim"), [(1, False), (1, True), ((1, 2), False), (-1, False), (None, False)]
)
def test_mean_shares_by_the_positive_part(dim, keepdim):
    x = rand(2, 3, 4)
    x[0, :, 0] = -x[0, :, 0].abs()  # nothing positive over dimension 1
    z = x.mean() if dim is None else x.mean(dim, keepdim=keepdim)
    R = rand(*z.shape, seed=2) if z.ndim else torch.tensor(0.7, dtype=torch.float64)
    (ours,) = PROPOSED.mean(R, z, x, dim, keepdim)
    dims = {d % 3 for d in ((0, 1, 2) if dim is None else (dim,) if isinstance(dim, int) else dim)}
    whole = R if keepdim else R.reshape([1 if d in dims else size for d, size in enumerate(x.shape)])
    expected = torch.zeros_like(x)
    for i in indices(x):
        group = [j for j in indices(x) if all(d in dims or i[d] == j[d] for d in range(3))]
        values = [x[j].item() for j in group]
        parts = [max(value, 0.0) for value in values] if max(values) > 0 else values
        at = tuple(0 if d in dims else i[d] for d in range(3))
        expected[i] = parts[group.index(i)] * divide(whole[at].item(), math.fsum(parts))
    torch.testing.assert_close(ours, expected, rtol=1e-9, atol=1e-12)


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


def slow_normalised_add(R, u, v):
    """The shares of ``slow_add``, rescaled in each sample by |a| / (|a| + |b|) · ΣR / a, and so with b."""
    R_u, R_v = slow_add(R, u, v)
    for n in range(R.shape[0]):
        total, a, b = (math.fsum(t[n].flatten().tolist()) for t in (R, R_u, R_v))
        R_u[n] *= abs(a) / (abs(a) + abs(b)) * total / a
        R_v[n] *= abs(b) / (abs(a) + abs(b)) * total / b
    return R_u, R_v


@pytest.mark.parametrize("shape", [(3, 4), (3, 2, 4), (3, 2, 2, 2)])
def test_add_rescales_each_sample_by_its_own_sums(shape):
    u, v, R = rand(*shape), rand(*shape, seed=1), rand(*shape, seed=2)
    ours = PROPOSED.add(R, u + v, u, v)
    torch.testing.assert_close(ours, slow_normalised_add(R, u, v), rtol=1e-7, atol=1e-9)


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
    token = x[:, :1]  # broadcast over the tokens: its shares add up
    (ours,) = PROPOSED.shift(R, token + constant, token, constant)
    expected, _ = slow_add(R, token.expand_as(R), constant.expand_as(R))
    torch.testing.assert_close(ours, expected.sum(1, keepdim=True), rtol=1e-10, atol=1e-12)


def test_shift_by_minus_infinity_as_masks_do():
    x, mask = rand(1, 4, zeros=False), torch.tensor([0.0, 0.0, -math.inf, -math.inf])
    R = torch.tensor([[0.25, 0.75, 0.0, 0.0]], dtype=torch.float64)
    (ours,) = PROPOSED.shift(R, x + mask, x, mask)
    torch.testing.assert_close(ours, R, rtol=1e-7, atol=0)


def test_identity_passes_relevance_and_adds_up_over_broadcasting():
    x, R = rand(2, 1, 4), rand(2, 3, 4, seed=1)
    (ours,) = PROPOSED.identity(R, x.expand_as(R), x)
    torch.testing.assert_close(ours[:, 0], R[:, 0] + R[:, 1] + R[:, 2])


@pytest.mark.parametrize(("word", "number", "size"), [("valid", 0, 2), ("same", 1, 3)])
def test_padding_by_a_word_is_that_by_its_number(word, number, size):
    """As the patches of transformers' SigLIP are embedded."""
    x, w = rand(2, 3, 6, 6), rand(4, 3, size, size, seed=1)
    z = F.conv2d(x, w, padding=word)
    by_word = PROPOSED.pixels(z, z, x, w, None, padding=word)
    torch.testing.assert_close(by_word, PROPOSED.pixels(z, z, x, w, None, padding=number))


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
def test_padding_that_is_uneven():
    x, w = rand(1, 1, 4, 4), rand(1, 1, 2, 2, seed=1)
    z = F.conv2d(x, w, padding="same")  # torch pads at the end only
    low, high = x.amin(), x.amax()
    bounds = [
        F.conv2d(t.expand_as(x), p, padding="same")
        for t, p in ((low, w.clamp(min=0)), (high, w.clamp(max=0)))
    ]
    S = z / (z - sum(bounds) + EPS)
    expected = torch.zeros_like(x)
    for _, _, row, column in indices(z):
        for _, _, dy, dx in indices(w):
            y, at, weight = row + dy, column + dx, w[0, 0, dy, dx]
            if y < 4 and at < 4:
                bound = low * weight.clamp(min=0) + high * weight.clamp(max=0)
                expected[0, 0, y, at] += (x[0, 0, y, at] * weight - bound) * S[0, 0, row, column]
    (ours,) = PROPOSED.pixels(z, z, x, w, None, padding="same")
    torch.testing.assert_close(ours, expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(
    ("stride", "padding", "dilation", "groups"), [(2, 0, 1, 1), (1, 1, 1, 1), (1, 1, 2, 1), (2, 0, 1, 2)]
)
def test_pixels(stride, padding, dilation, groups):
    x, w = rand(2, 4, 4, 4), rand(4, 4 // groups, 2, 2, seed=1)
    geometry = (stride, padding, dilation, groups)
    z = F.conv2d(x, w, None, *geometry)
    R = rand(*z.shape, seed=2)
    expected = torch.zeros_like(x)
    for n, o, row, column in indices(z):
        low, high = x[n].min().item(), x[n].max().item()
        contributions = {}
        for k, dy, dx in indices(w[o]):
            c = o // (len(w) // groups) * w.shape[1] + k
            y, at = row * stride + dy * dilation - padding, column * stride + dx * dilation - padding
            if 0 <= y < 4 and 0 <= at < 4:
                weight = w[o, k, dy, dx].item()
                bound = low * max(weight, 0) + high * min(weight, 0)
                contributions[c, y, at] = x[n, c, y, at].item() * weight - bound
        S = R[n, o, row, column].item() / (math.fsum(contributions.values()) + EPS)
        for (c, y, at), contribution in contributions.items():
            expected[n, c, y, at] += contribution * S
    (ours,) = PROPOSED.pixels(R, z, x, w, None, *geometry)
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


POSITIONS = rand(4, WIDTH, seed=5)


def slow_network(model, target, linear, add):
    """Relevance of the attention and of the tokens of the network below, written out backwards."""
    layers = (model.embed, model.query, model.branch, model.head)
    embed, query, branch, head = (layer.weight.detach().double() for layer in layers)
    bias = [layer.bias.detach().double() for layer in layers]
    tokens = TOKENS.double()
    x = F.linear(tokens, embed, bias[0])
    q = F.linear(x, query, bias[1])
    A = (q @ x.mT).softmax(-1)
    attended = A @ x
    mixed = x + attended
    placed = mixed + POSITIONS
    active = 2 * F.gelu(placed)
    branched = F.linear(active, branch, bias[2])
    R = F.one_hot(target, len(head)).double()
    R_out = torch.zeros_like(x)
    R_out[:, 0] = linear(R, (placed + branched)[:, 0], head)  # indexing: the other tokens have none
    R_placed, R_branched = add(R_out, placed, branched)
    R_placed += linear(R_branched, active, branch)  # GELU and · 2 are identities; used twice: added up
    R_mixed, _ = slow_add(R_placed, mixed, POSITIONS.expand_as(mixed))  # the positions' share is dropped
    R_x, R_attended = add(R_mixed, x, attended)
    R_A, R_values = slow_matmul(R_attended, A, x)
    R_q, R_keys = slow_matmul(R_A, q, x.mT)  # softmax is an identity
    R_x += R_values + R_keys.mT + linear(R_q, x, query)
    return R_A, linear(R_x, tokens, embed)


@pytest.mark.parametrize(
    ("rule_set", "together", "add"),
    [(PROPOSED, True, slow_normalised_add), (OLDER, False, slow_add)],
    ids=["proposed", "older"],
)
def test_a_network_in_which_every_rule_meets(rule_set, together, add):
    def op(model, x):
        x = x + POSITIONS
        return x + model.branch(2 * F.gelu(x))

    model, target = Model(op), torch.tensor([2, 0])
    tape = Tape.record(model, TOKENS, dtype="float64")
    (A,), entry = tape.attentions, tape.entry
    R_A, R_tokens = tape.relevance(target, [A, entry], rule_set)
    expected = slow_network(model, target, lambda R, x, w: slow_linear(R, x, w, together), add)
    torch.testing.assert_close((R_A[:, 0], R_tokens), expected, rtol=1e-6, atol=1e-8)
