"""The gradients that methods use, against finite differences and against autograd."""

import bench  # noqa: F401  isort: skip  (lets timm and transformers be imported)

import pytest
import torch
import torch.nn.functional as F
from torch.overrides import TorchFunctionMode

from methods.relevance import PROPOSED, Tape
from tests.support.small_models import IMAGES, make_bert, make_vit, texts

pytestmark = pytest.mark.numerical

BLOCKS, STEP = 3, 1e-4


class Nudged(TorchFunctionMode):
    """Adds a change to the attention probabilities of one block, between the softmax and its use."""

    def __init__(self, block: int, change: torch.Tensor):
        super().__init__()
        self.block, self.change, self.seen = block, change, 0

    def __torch_function__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if function is F.scaled_dot_product_attention:
            query, key, value = args
            scores = query @ key.mT / query.shape[-1] ** 0.5
            if (mask := kwargs.get("attn_mask")) is not None:
                scores = scores.masked_fill(~mask, -torch.inf) if mask.dtype == torch.bool else scores + mask
            return self.nudged(torch.softmax(scores, dim=-1)) @ value
        result = function(*args, **kwargs)
        return self.nudged(result) if getattr(function, "__name__", "") == "softmax" else result

    def nudged(self, attention):
        self.seen += 1
        return attention + self.change if self.seen == self.block + 1 else attention


def vit_case(fused):
    model = make_vit().double()
    for block in model.blocks:
        block.attn.fused_attn = fused
    return model, IMAGES.double(), torch.tensor([3, 0, 1])


def bert_case(attention):
    model = make_bert(attention).double()
    return lambda batch: model(**batch).logits, texts(), torch.tensor([0, 1, 1])


CASES = {
    "vit, fused": lambda: vit_case(True),
    "vit, eager": lambda: vit_case(False),
    "bert, fused": lambda: bert_case("sdpa"),
    "bert, eager": lambda: bert_case("eager"),
}


@pytest.mark.parametrize("block", range(BLOCKS))
@pytest.mark.parametrize("case", CASES)
def test_attention_gradient_against_finite_differences(case, block):
    """⟨∇A, D⟩ for a random change D of all entries, sample by sample: a wrong entry anywhere shows."""
    forward, inputs, target = CASES[case]()
    tape = Tape.record(forward, inputs)
    gradient = tape.gradient(target, tape.attentions)[block]
    generator = torch.Generator().manual_seed(block)
    direction = torch.randn(gradient.shape, generator=generator, dtype=torch.float64)

    def logit(step):
        with torch.no_grad(), Nudged(block, step * direction) as mode:
            logits = forward(inputs)
        assert mode.seen == BLOCKS
        return logits[torch.arange(len(target)), target]

    numeric = (logit(STEP) - logit(-STEP)) / (2 * STEP)
    torch.testing.assert_close((gradient * direction).sum((1, 2, 3)), numeric, rtol=1e-6, atol=1e-7)


def test_gradients_and_attentions_are_those_of_autograd_on_an_eager_model(bert):
    bert.double()
    inputs, target = texts(), torch.tensor([0, 1, 1])
    tape = Tape.record(lambda batch: bert(**batch).logits, inputs)
    eager = make_bert("eager").double()
    output = eager(**inputs, output_attentions=True)
    one_hot = F.one_hot(target, 2).double()
    torch.testing.assert_close(tape.logits, output.logits)
    torch.testing.assert_close(tape.attentions, list(output.attentions))
    expected = torch.autograd.grad(output.logits, output.attentions, one_hot)
    torch.testing.assert_close(tape.gradient(target, tape.attentions), list(expected))


def test_gradient_of_the_pixels_is_that_of_autograd(vit, images):
    tape = Tape.record(vit.double(), images.double())
    (ours,) = tape.gradient(None, [tape.entry])
    pixels = images.double().requires_grad_()
    (expected,) = torch.autograd.grad(vit(pixels).amax(dim=1).sum(), pixels)
    torch.testing.assert_close(ours, expected)


def test_gradient_and_relevance_do_not_disturb_each_other(vit, images):
    tape = Tape.record(vit, images, dtype="float64")
    before = tape.gradient(None, tape.attentions)
    tape.relevance(None, tape.attentions, PROPOSED)
    torch.testing.assert_close(tape.gradient(None, tape.attentions), before, rtol=0, atol=0)
