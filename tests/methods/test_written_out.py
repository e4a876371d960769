"""Norms, gates and complex numbers that models spell out in calls of their own."""

import bench  # noqa: F401  isort: skip  (lets timm and transformers be imported)

import pytest
import torch
import torch.nn.functional as F

from methods.relevance import PROPOSED, NoRuleError, Tape
from methods.relevance.sets import CP_LRP, LIBRA
from tests.support.small_models import TOKENS, WIDTH, Model

torch.set_num_threads(1)
EPS = 1e-6


def recorded(op, dtype="float64"):
    return Tape.record(Model(op).double(), TOKENS.double(), dtype=dtype)


def relevance(op, rules):
    """Of ``x + op(branch)``, at the tokens."""
    tape = recorded(lambda m, x: x + op(m.branch(x)))
    return tape.relevance(None, [tape.entry], rules)[0]


def squares(x):
    return x.pow(2).mean(dim=-1, keepdim=True)


def in_place(x):
    return x * (x * x).mean(dim=-1, keepdim=True).add_(EPS).rsqrt_()


RMS = {
    "rsqrt": lambda x: x * torch.rsqrt(squares(x) + EPS),
    "in place": in_place,
    "power": lambda x: x * (squares(x) + EPS) ** -0.5,
    "root": lambda x: x / (squares(x) + EPS).pow(0.5),
    "clamped": lambda x: x / squares(x).clamp(min=EPS).sqrt(),
    "norm, scaled": lambda x: x / (x.norm(dim=-1, keepdim=True) * WIDTH**-0.5),
    "normalize": lambda x: F.normalize(x, dim=-1) * WIDTH**0.5,
}


@pytest.mark.parametrize("spelled", RMS.values(), ids=RMS)
def test_a_norm_is_one_however_it_is_spelled(spelled):
    expected = relevance(lambda x: F.rms_norm(x, (WIDTH,), None, EPS), LIBRA)
    torch.testing.assert_close(relevance(spelled, LIBRA), expected, rtol=1e-4, atol=1e-6)


def test_group_norm_of_one_group_is_a_layer_norm():
    def grouped(x):
        return F.group_norm(x.reshape(-1, WIDTH, 1), 1).view_as(x)

    expected = relevance(lambda x: F.layer_norm(x, (WIDTH,)), LIBRA)
    torch.testing.assert_close(relevance(grouped, LIBRA), expected)


GATED = {
    "erf": (lambda x: x * 0.5 * (1 + torch.erf(x / 2**0.5)), F.gelu),
    "tanh": (
        lambda x: 0.5 * x * (1 + torch.tanh((2 / torch.pi) ** 0.5 * (x + 0.044715 * x.pow(3)))),
        lambda x: F.gelu(x, approximate="tanh"),
    ),
    "sigmoid": (lambda x: x * x.sigmoid(), F.silu),
    "glu": (lambda x: F.glu(x.repeat(1, 1, 2)), F.silu),
}


@pytest.mark.parametrize("rules", [LIBRA, CP_LRP], ids=str)
@pytest.mark.parametrize(("spelled", "known"), GATED.values(), ids=GATED)
def test_the_gate_of_an_activation_is_a_constant_however_it_is_spelled(spelled, known, rules):
    torch.testing.assert_close(relevance(spelled, rules), relevance(known, rules))


def test_what_was_an_activation_and_was_multiplied_in_place_is_none():
    def written(m, x):
        y = F.gelu(m.branch(x))
        y *= x
        return x + y * m.branch(x)

    tapes = [recorded(op) for op in (written, lambda m, x: x + (F.gelu(m.branch(x)) * x) * m.branch(x))]
    ours, expected = (t.relevance(None, [t.entry], LIBRA)[0] for t in tapes)
    torch.testing.assert_close(ours, expected)


def rotated(m, x):
    """Positions by rotation of complex numbers, as Llama's first code has them."""
    pairs = torch.view_as_complex(m.branch(x).reshape(2, 4, -1, 2))
    angles = torch.arange(4.0)[:, None] * torch.arange(WIDTH / 2)
    turned = pairs * torch.polar(torch.ones_like(angles), angles)
    return x + torch.view_as_real(turned).flatten(2)


def mixed_by_fourier(m, x):
    return x + F.gelu(torch.fft.fft(torch.fft.fft(m.branch(x), dim=-1), dim=-2).real)


@pytest.mark.parametrize("dtype", ["float64", "mixed"])
@pytest.mark.parametrize("op", [rotated, mixed_by_fourier])
def test_complex_numbers_stay_what_they_are(op, dtype):
    model, tokens = Model(op).double(), TOKENS.double().requires_grad_()
    logits = model(tokens)
    (expected,) = torch.autograd.grad(logits.amax(dim=1).sum(), tokens)
    tape = recorded(op, dtype)
    torch.testing.assert_close(tape.logits.double(), logits, rtol=1e-4, atol=1e-5)
    (ours,) = tape.gradient(None, [tape.entry])
    torch.testing.assert_close(ours.double(), expected, rtol=1e-4, atol=1e-4)
    with pytest.raises(NoRuleError, match=r"(view_as_)?real \(called by Model"):
        tape.relevance(None, [tape.entry], PROPOSED)


def test_a_path_that_is_detached_runs_in_the_type_of_the_tape():
    """The layer of a model in float32 meets numbers in float64 that depend on no input any more."""
    tape = Tape.record(Model(lambda m, x: x * m.branch(x.detach())), TOKENS, dtype="float64")
    model, tokens = Model(lambda m, x: x * m.branch(x.detach())).double(), TOKENS.double().requires_grad_()
    (expected,) = torch.autograd.grad(model(tokens).amax(dim=1).sum(), tokens)
    torch.testing.assert_close(tape.gradient(None, [tape.entry])[0], expected)
