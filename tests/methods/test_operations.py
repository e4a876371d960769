"""Calls in every form, operations without a rule, and what the methods refuse."""

import functools

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from methods import LRP, GradCAM, PartialLRP, RawAttention, Rollout, TransformerAttribution
from methods.relevance import OLDER, PROPOSED, NoAttentionError, NoRuleError, Tape
from methods.relevance.calls import scaled_dot_product_attention
from tests.support.small_models import TOKENS, WIDTH, Model, make_vit, rand

pytestmark = [
    pytest.mark.numerical,
    pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:DeprecationWarning"),
]


# --- calls in all their forms


def relevance_after(op, rules=PROPOSED):
    tape = Tape.record(Model(op).double(), TOKENS, dtype="float64")
    return tape.relevance(None, [tape.entry], rules)[0]


def augmented(m, x):
    x = x.clone()
    x += m.branch(x)
    return x


CONSTANT = torch.randn(4, WIDTH, generator=torch.Generator().manual_seed(4)).double()


@pytest.mark.parametrize(
    ("unusual", "usual"),
    [
        # Views of a parameter are constants like the parameter itself.
        (lambda m, x: F.linear(x, m.weight.t()), lambda m, x: F.linear(x, m.weight.t().detach())),
        (lambda m, x: x + m.weight[:4], lambda m, x: x + m.weight[:4].detach()),
        (lambda m, x: x * m.weight[0], lambda m, x: x * m.weight[0].detach()),
        (lambda m, x: x + m.weight.chunk(4)[1], lambda m, x: x + m.weight[4:8].detach()),
        (lambda m, x: 2 * x, lambda m, x: x * 2),
        (lambda m, x: CONSTANT + x, lambda m, x: x + CONSTANT),
        (lambda m, x: torch.add(CONSTANT, x), lambda m, x: x + CONSTANT),
        (lambda m, x: torch.add(input=x, other=m.branch(x)), lambda m, x: x + m.branch(x)),
        (lambda m, x: x.add(m.branch(x)), lambda m, x: x + m.branch(x)),
        (augmented, lambda m, x: x + m.branch(x)),
        (lambda m, x: F.linear(input=x, weight=m.weight), lambda m, x: F.linear(x, m.weight)),
        (lambda m, x: F.linear(x, bias=None, weight=m.weight), lambda m, x: F.linear(x, m.weight)),
        (lambda m, x: F.linear(weight=m.weight, input=x), lambda m, x: F.linear(x, m.weight)),
        (lambda m, x: torch.matmul(input=x, other=x.mT), lambda m, x: x @ x.transpose(1, 2)),
        (lambda m, x: torch.div(input=x, other=2.0), lambda m, x: x / 2),
        (lambda m, x: x - m.branch(x), lambda m, x: x + -m.branch(x)),
        (lambda m, x: 1 - x, lambda m, x: -x + 1),
        (lambda m, x: torch.add(x, m.branch(x), alpha=2), lambda m, x: x + m.branch(x) * 2),
        (lambda m, x: torch.sub(x, m.branch(x), alpha=2), lambda m, x: x + m.branch(x) * -2),
        (lambda m, x: torch.rsub(x, m.branch(x)), lambda m, x: m.branch(x) + -x),
        (lambda m, x: torch.addcmul(x, x, m.branch(x), value=2), lambda m, x: x + x * m.branch(x) * 2),
        (lambda m, x: torch.lerp(x, m.branch(x), 0.25), lambda m, x: x * 0.75 + m.branch(x) * 0.25),
        (lambda m, x: F.glu(torch.cat([x, m.branch(x)], -1)), lambda m, x: x * m.branch(x).sigmoid()),
        (
            lambda m, x: torch.mm(x.flatten(0, 1), m.weight).view_as(x),
            lambda m, x: F.linear(x, m.weight.t()),
        ),
        (
            lambda m, x: F.group_norm(x.mT, 1, m.weight[0]).mT,
            lambda m, x: F.layer_norm(x, x.shape[1:]) * m.weight[0],
        ),
        (lambda m, x: x @ m.weight, lambda m, x: F.linear(x, m.weight.t())),
        (lambda m, x: m.weight[:4, :4] @ x, lambda m, x: (x.mT @ m.weight[:4, :4].mT).mT),
        (
            lambda m, x: torch.addmm(m.weight[0], x.flatten(0, 1), m.weight).view_as(x),
            lambda m, x: F.linear(x, m.weight.t(), m.weight[0]),
        ),
        (lambda m, x: torch.baddbmm(x, x @ x.mT, x), lambda m, x: (x @ x.mT) @ x + x),
        (lambda m, x: torch.einsum("bij,bkj->bik", x, m.branch(x)), lambda m, x: x @ m.branch(x).mT),
        (
            lambda m, x: F.layer_norm(input=x, normalized_shape=(WIDTH,)),
            lambda m, x: F.layer_norm(x, (WIDTH,)),
        ),
        (lambda m, x: x.float().to(torch.float32), lambda m, x: x),
        (lambda m, x: torch.cat([x[:, :1], x[:, 1:]], dim=1), lambda m, x: x),
        (lambda m, x: F.dropout(x, 0.5, training=False), lambda m, x: x),
    ],
)
def test_a_call_in_another_form_is_the_same_call(unusual, usual):
    def squared(op):  # so that shapes fit the head whatever the operation returns
        return lambda m, x: op(m, x) if op(m, x).shape == x.shape else op(m, x) @ x

    torch.testing.assert_close(relevance_after(squared(unusual)), relevance_after(squared(usual)))


def mixed(z):
    return z @ z.mT @ z  # so that every token has relevance, not only the first, which the head reads


def relevance_before_and_after(op, rules):
    seen = []

    def observed(model, x):
        seen.append(model.branch(x))
        seen.append(op(seen[0]))
        return mixed(seen[1])

    tape = Tape.record(Model(observed).double(), TOKENS, dtype="float64")
    return tape.relevance(None, seen, rules)


LAYER_NORM = nn.LayerNorm(WIDTH, dtype=torch.float64).eval()
LAYER_NORM.weight.data, LAYER_NORM.bias.data = CONSTANT[0], CONSTANT[1]

UNCHANGED = {
    "gelu": F.gelu,
    "relu": F.relu,
    "tanh": torch.tanh,
    "silu": F.silu,
    "sigmoid": torch.sigmoid,
    "neg": lambda y: -y,
    "rms_norm": lambda y: F.rms_norm(y, (WIDTH,)),
    "softmax": lambda y: y.softmax(dim=-1),
    "layer_norm": LAYER_NORM,
    "dropout": lambda y: F.dropout(y, 0.5, training=False),
    "mul by a number": lambda y: y * -3,
    "mul by a constant": lambda y: y * CONSTANT,
    "div": lambda y: y / 8,
}


@pytest.mark.parametrize("rules", [PROPOSED, OLDER], ids=str)
@pytest.mark.parametrize("op", UNCHANGED.values(), ids=UNCHANGED)
def test_relevance_passes_unchanged(op, rules):
    before, after = relevance_before_and_after(op, rules)
    assert torch.equal(before, after)
    assert (after.flatten(1) != 0).any(dim=1).all()


MOVED = {
    "flip": (lambda y: y.flip(1), lambda r: r.flip(1)),
    "reorder": (lambda y: y.permute(1, 0, 2)[[2, 0, 1, 3]].transpose(0, 1), lambda r: r[:, [1, 2, 0, 3]]),
    "reshape": (lambda y: y.reshape(2, 2, 2, WIDTH).flatten(1, 2), lambda r: r),
    "index": (lambda y: y[:, 1:], lambda r: F.pad(r, (0, 0, 1, 0))),
    "cat with a constant": (
        lambda y: torch.cat([CONSTANT[:1].expand(2, 1, -1), y], dim=1),
        lambda r: r[:, 1:],
    ),
    "cat with itself": (lambda y: torch.cat([y, y], dim=1), lambda r: r[:, :4] + r[:, 4:]),
    "expand": (lambda y: y[:, None].expand(-1, 2, -1, -1).flatten(1, 2), lambda r: r[:, :4] + r[:, 4:]),
}


@pytest.mark.parametrize(("move", "back"), MOVED.values(), ids=MOVED)
def test_relevance_follows_the_data_and_adds_up_where_it_was_used_twice(move, back):
    before, after = relevance_before_and_after(move, PROPOSED)
    torch.testing.assert_close(before, back(after))


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"scale": 0.7},
        {"is_causal": True},
        {"attn_mask": (torch.arange(5) < 3).expand(4, 5)},
        {"attn_mask": CONSTANT[:, :5]},
        {"enable_gqa": True},
    ],
    ids=["plain", "scale", "causal", "boolean mask", "additive mask", "grouped"],
)
def test_attention_written_out_is_torchs_own(options):
    heads = 2 if options.get("enable_gqa") else 4
    query, key, value = rand(2, 4, 4, 6), rand(2, heads, 5, 6, seed=1), rand(2, heads, 5, 6, seed=2)
    expected = F.scaled_dot_product_attention(query, key, value, **options)
    torch.testing.assert_close(scaled_dot_product_attention(query, key, value, **options), expected)


def silu(x):
    return x * torch.sigmoid(x)


@functools.cache
def scripted(function):
    return torch.jit.script(function)


class SeventhGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, incoming):
        return incoming / 7


WITHOUT_RULE = {
    "celu": lambda m, x: F.celu(x),
    "cumsum": lambda m, x: m.branch(x).cumsum(1),
    "div": lambda m, x: x / m.branch(x),
    # The rule for pixels holds where values lie in a box, not in the middle of a network.
    "conv2d": lambda m, x: F.conv2d(m.branch(x)[:, None], m.weight[None, None, :1, :1])[:, 0],
    "einsum": lambda m, x: torch.einsum("bij,kj->bik", x, m.weight),
    # Results with named fields are tuples of a type of their own.
    "max": lambda m, x: x.max(dim=1, keepdim=True).values,
    # These change the graph unseen: relevance must not pass them as the plain gradient.
    r"\w+Backward\d?": lambda m, x: scripted(silu)(x),
    "SeventhGradientBackward": lambda m, x: SeventhGradient.apply(x),
}


@pytest.mark.parametrize(("name", "op"), WITHOUT_RULE.items(), ids=WITHOUT_RULE)
@pytest.mark.parametrize("rules", [PROPOSED, OLDER], ids=str)
def test_an_operation_without_a_rule_is_named(name, op, rules):
    with pytest.raises(NoRuleError, match=rf"^{name} \(.*(Model|Linear).*'{rules}'"):
        relevance_after(op, rules)


@pytest.mark.parametrize("op", WITHOUT_RULE.values(), ids=WITHOUT_RULE)
def test_its_gradient_is_still_that_of_autograd(op):
    model = Model(op).double().requires_grad_(False)
    tape = Tape.record(model, TOKENS.double())
    (ours,) = tape.gradient(None, [tape.entry])
    tokens = TOKENS.double().requires_grad_()
    (expected,) = torch.autograd.grad(model(tokens).amax(dim=1).sum(), tokens)
    torch.testing.assert_close(ours, expected)


STATISTICS = [
    torch.linspace(a, b, WIDTH, dtype=torch.float64) for a, b in ((-1, 1), (0.5, 2), (1, 3), (0, 1))
]


def standardised(x, mean, variance):
    _, _, weight, bias = (s.view(-1, 1, 1) for s in STATISTICS)
    return (x - mean) / (variance + 1e-5).sqrt() * weight + bias


@pytest.mark.parametrize("samples", [1, 2])
@pytest.mark.parametrize(
    ("norm", "written_out"),
    [
        (
            lambda x: F.batch_norm(x, *STATISTICS),
            lambda x: standardised(x, *(s.view(-1, 1, 1) for s in STATISTICS[:2])),
        ),
        (
            lambda x: F.instance_norm(x, weight=STATISTICS[2], bias=STATISTICS[3]),
            lambda x: standardised(x, x.mean((2, 3), True), x.var((2, 3), unbiased=False, keepdim=True)),
        ),
    ],
    ids=["batch norm", "instance norm"],
)
def test_the_gradient_of_channels_that_become_tokens(norm, written_out, samples):
    """Torch's own is wrong on CPUs for one sample."""

    def gradient(norm):
        def op(model, x):
            return mixed(norm(x.mT.reshape(-1, WIDTH, 2, 2)).flatten(2).transpose(1, 2))

        tape = Tape.record(Model(op).double(), TOKENS[:samples], dtype="float64")
        return tape.gradient(None, [tape.entry])[0]

    torch.testing.assert_close(gradient(norm), gradient(written_out))


def test_unknown_activation_in_a_real_model(vit, images):
    vit.blocks[2].mlp.act = nn.CELU().eval()
    for method in (TransformerAttribution(), LRP(), PartialLRP()):
        with pytest.raises(NoRuleError, match=r"celu \(called by CELU\).*Rules of your own"):
            method(vit, images)
    for method in (GradCAM(), RawAttention(), Rollout()):
        assert torch.isfinite(method(vit, images)).all()


def test_an_operation_below_what_is_asked_for_needs_no_rule(vit, images):
    vit.blocks[0].mlp.act = nn.CELU().eval()
    assert torch.isfinite(TransformerAttribution(start_layer=1)(vit, images)).all()


# --- refusals


class ConvNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 8, 8)
        self.head = nn.Linear(4, 5)

    def forward(self, x):
        return self.head(self.conv(x).flatten(2).softmax(dim=-1)[..., 0])


@pytest.mark.parametrize("method", [TransformerAttribution, RawAttention, Rollout, GradCAM, LRP, PartialLRP])
def test_a_model_without_attention_is_named(method, images):
    with pytest.raises(NoAttentionError, match="ConvNet"):
        method()(ConvNet().eval(), images)


@pytest.mark.parametrize("method", [Rollout, TransformerAttribution])
def test_attention_between_different_tokens_cannot_be_rolled_up(method):
    def reduced(m, x):
        few = x[:, None, :2]
        return F.scaled_dot_product_attention(m.query(x)[:, None], few, few)[:, 0]

    with pytest.raises(ValueError, match="different tokens"):
        method(start_layer=0)(Model(reduced).eval(), TOKENS)


@pytest.mark.parametrize("drop", ["proj_drop_rate", "attn_drop_rate"])
@pytest.mark.parametrize("fused", [True, False])
def test_train_mode_with_dropout_is_refused(drop, fused, images):
    vit = make_vit(**{drop: 0.1}).train()
    for block in vit.blocks:
        block.attn.fused_attn = fused
    with pytest.raises(ValueError, match=r"model\.eval\(\)"):
        RawAttention()(vit, images)


@pytest.mark.parametrize(
    "wrap", [lambda y: y[:, :, None], lambda y: y[:, 0], lambda y: (y,)], ids=["3d", "1d", "tuple"]
)
def test_logits_of_another_shape_are_refused(wrap, vit, images):
    with pytest.raises(ValueError, match=r"\(batch, classes\)"):
        GradCAM()(lambda x: wrap(vit(x)), images)


def test_inputs_that_nothing_can_be_traced_back_to_are_refused(vit, images):
    with pytest.raises(ValueError, match="token ids"):
        GradCAM()(lambda batch: vit(batch["pixel_values"]), {"pixel_values": images})


@pytest.mark.parametrize("method", [Rollout, TransformerAttribution])
@pytest.mark.parametrize("layer", [3, -4])
def test_a_start_layer_out_of_range_is_refused(method, layer, vit, images):
    with pytest.raises(ValueError, match=rf"start_layer={layer}.*between -3 and 2"):
        method(start_layer=layer)(vit, images)


def test_unknown_weights_of_gradcam_are_refused():
    with pytest.raises(ValueError, match="'row' or 'matrix'"):
        GradCAM(weights="column")


def test_a_target_that_is_no_class_is_refused(vit, images):
    with pytest.raises(ValueError, match="5 classes, counted from 0"):
        GradCAM()(vit, images, torch.full((3,), 5))


@pytest.mark.parametrize("as_numbers", [False, True])
def test_a_query_that_no_key_is_left_to_attends_to_nothing(as_numbers):
    """As padding in front of a text under a causal mask: torch's own attention gives it zeros."""
    mask = torch.tensor([[0, 0, 0, 0], [0, 1, 0, 0], [0, 1, 1, 0], [0, 1, 1, 1]]).bool()
    mask = torch.zeros(4, 4, dtype=torch.float64).masked_fill(~mask, -torch.inf) if as_numbers else mask

    def padded(m, x):
        q, k, v = (t[:, None] for t in (m.query(x), x, m.branch(x)))
        return (x + F.scaled_dot_product_attention(q, k, v, mask)[:, 0])[:, 1:].mean(dim=1, keepdim=True)

    model, tokens = Model(padded).double(), TOKENS.double().requires_grad_()
    logits = model(tokens)
    (expected,) = torch.autograd.grad(logits.amax(dim=1).sum(), tokens)
    tape = Tape.record(model, TOKENS.double(), dtype="float64")
    torch.testing.assert_close(tape.logits, logits)
    torch.testing.assert_close(tape.gradient(None, [tape.entry])[0], expected)
    assert (tape.attentions[1][:, :, 0] == 0).all()
    assert sum(tape.totals(None, PROPOSED).values()) == pytest.approx(1, abs=1e-6)
