"""Rules of one's own: for a torch function by its name, for a module by its class."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import methods.relevance.rules
from bench.config import PROJECT
from methods import LRP, NoRuleError, TransformerAttribution, register_rule
from methods.relevance import OLDER, PROPOSED, Tape
from methods.relevance.rules import safe_divide
from tests.support.conservation import conservation
from tests.support.small_models import TOKENS, WIDTH, Model, make_vit, rand

pytestmark = pytest.mark.numerical


@pytest.fixture(autouse=True)
def _no_rules_left_behind(monkeypatch):
    monkeypatch.setattr(methods.relevance.rules, "_added", {})


def relevance(op, rules=PROPOSED):
    tape = Tape.record(Model(op).double().eval(), TOKENS, dtype="float64")
    return tape.relevance(None, [tape.entry], rules)[0]


def to_the_largest(R, z, x, dim, **_):
    """All to the tokens that a maximum was taken from."""
    return ((x == z.unsqueeze(dim)) * R.unsqueeze(dim),)


def test_a_function_gets_the_rule_that_was_registered():
    def pooled(m, x):
        return x.amax(dim=1)[:, None].expand_as(x)

    with pytest.raises(NoRuleError, match=r"^amax \(called by Model\).*register_rule"):
        relevance(pooled)
    register_rule("amax", to_the_largest)
    picked = relevance(lambda m, x: x.gather(1, x.argmax(dim=1, keepdim=True)).expand_as(x))
    torch.testing.assert_close(relevance(pooled), picked)


@pytest.mark.parametrize("rules", [PROPOSED, OLDER], ids=str)
def test_a_function_gets_a_kind_by_its_name(rules):
    register_rule("celu", "identity")
    same = relevance(lambda m, x: F.elu(m.branch(x)), rules)  # CELU is ELU for α = 1
    torch.testing.assert_close(relevance(lambda m, x: F.celu(m.branch(x)), rules), same)


def test_the_kind_of_a_function_says_nothing_about_its_gradient():
    register_rule("matmul", "linear")
    model = Model(lambda m, x: torch.matmul(x, m.weight)).double().eval().requires_grad_(False)
    tape = Tape.record(model, TOKENS, dtype="float64")
    (ours,) = tape.gradient(None, [tape.entry])
    tokens = TOKENS.double().requires_grad_()
    (expected,) = torch.autograd.grad(model(tokens).amax(dim=1).sum(), tokens)
    torch.testing.assert_close(ours, expected)


def test_a_rule_that_answers_for_another_number_of_inputs_is_named():
    register_rule("celu", lambda R, z, x, **_: (R, R))
    with pytest.raises(
        ValueError, match=r"the rule <lambda> must .* one for each input .*; it returned \[.*, .*\]"
    ):
        relevance(lambda m, x: F.celu(x))
    register_rule("celu", lambda R, z, x, **_: R)
    with pytest.raises(ValueError, match="must return a tuple of relevances"):
        relevance(lambda m, x: F.celu(x))


class Twice(nn.Module):
    """Spelled out in an operation that has no rule."""

    def forward(self, x):
        return x + torch.clamp(x, min=-1e9)


def test_a_module_gets_a_rule_as_a_whole():
    twice = Twice().eval()
    with pytest.raises(NoRuleError, match="clamp"):
        relevance(lambda m, x: twice(x))
    register_rule("Twice", lambda R, z, x: (R,))
    torch.testing.assert_close(relevance(lambda m, x: twice(x)), relevance(lambda m, x: x * 2))


def test_the_gradient_through_such_a_module_is_its_own():
    register_rule("Twice", "identity")
    twice = Twice().eval()
    model = Model(lambda m, x: twice(m.branch(x))).double().eval()
    tape = Tape.record(model, TOKENS, dtype="float64")
    (ours,) = tape.gradient(None, [tape.entry])
    tokens = TOKENS.double().requires_grad_()
    (expected,) = torch.autograd.grad(model(tokens).amax(dim=1).sum(), tokens)
    torch.testing.assert_close(ours, expected)


class RMSNorm(nn.Module):
    """As models write it: from operations of which a square root has no rule."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(rand(WIDTH))

    def forward(self, x):
        return self.weight * x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6)


def test_normalisations_and_activations_of_a_models_own_are_identities():
    norm = RMSNorm().double().eval()
    expected = F.rms_norm(TOKENS.double(), (WIDTH,), norm.weight, 1e-6)
    torch.testing.assert_close(norm(TOKENS.double()), expected)
    ours = relevance(lambda m, x: norm(m.branch(x)))
    torch.testing.assert_close(
        ours, relevance(lambda m, x: F.rms_norm(m.branch(x), (WIDTH,), norm.weight, 1e-6))
    )


def test_the_example_of_the_guide(images):
    guide = (PROJECT / "docs" / "explaining.md").read_text().partition("### Rules of your own")[2]
    vit = make_vit(global_pool="max")
    with pytest.raises(NoRuleError) as error:
        TransformerAttribution()(vit, images)
    quoted = guide.partition("> ")[2].partition("\n")[0]
    assert str(error.value).startswith(quoted)
    exec(guide.partition("```python")[2].partition("```")[0], {})
    assert TransformerAttribution()(vit, images).std() > 0
    lost, _ = conservation(Tape.record(vit.double(), images, dtype="float64"), None, PROPOSED)
    assert lost < 1e-6


def test_a_kind_that_does_not_exist_is_refused():
    with pytest.raises(ValueError, match="rule='linaer': expected a function or one of linear, matmul"):
        register_rule("einsum", "linaer")


def test_a_rule_of_ones_own_works_in_a_method():
    register_rule("amax", to_the_largest)
    model = Model(lambda m, x: x.amax(dim=1)[:, None].expand_as(x)).eval()
    assert LRP()(lambda images: model(images.flatten(2)), TOKENS.unflatten(2, (4, 4))).isfinite().all()


def test_safe_divide_is_for_rules_of_ones_own_too():
    assert safe_divide(torch.ones(2), torch.tensor([0.0, 2.0])).tolist() == [0, pytest.approx(0.5)]
