"""Models that are refused, each with a reason that says what to do; what is left behind is nothing."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from methods import GradCAM, NoAttentionError, RawAttention, RefusedError, TransformerAttribution
from methods.relevance import Tape
from tests.support.small_models import TOKENS, WIDTH, Model, make_vit

ALL = [TransformerAttribution(start_layer=0), GradCAM(), RawAttention()]
methods = pytest.mark.parametrize("method", ALL, ids=lambda m: type(m).__name__)
pytestmark = [
    pytest.mark.numerical,
    pytest.mark.filterwarnings("ignore:Using .torch.compile:UserWarning"),
    pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:.*quantiz:UserWarning"),
    pytest.mark.filterwarnings("ignore:torch.ao.quantization is deprecated:DeprecationWarning"),
]


@methods
def test_train_mode(method, images):
    with pytest.raises(RefusedError, match=r"VisionTransformer is in train mode: call model\.eval\(\)"):
        method(make_vit().train(), images)


@methods
def test_one_part_in_train_mode(method, images):
    vit = make_vit()
    vit.blocks[1].mlp.train()
    with pytest.raises(RefusedError, match=r"Mlp is in train mode"):
        method(lambda x: vit(x), images)


def test_a_part_without_state_may_be_in_any_mode(images):
    vit = make_vit()
    expected = RawAttention()(vit, images)
    vit.blocks[1].mlp.act.train()  # as an activation that was put in afterwards
    torch.testing.assert_close(RawAttention()(vit, images), expected)


@methods
def test_quantised(method, images):
    quantised = torch.ao.quantization.quantize_dynamic(make_vit(), {nn.Linear}, dtype=torch.qint8)
    with pytest.raises(RefusedError, match=r"Linear \(torch\.ao\.nn\.quantized.*floating point"):
        method(quantised, images)


@methods
@pytest.mark.parametrize("whole", [True, False], ids=["model", "block"])
def test_compiled(method, whole, images):
    vit = make_vit()
    if whole:
        vit = torch.compile(vit)
    else:
        vit.blocks[1] = torch.compile(vit.blocks[1])
    with pytest.raises(RefusedError, match=r"compiled: explain the model that torch\.compile was given"):
        method(vit, images)


@methods
def test_compiled_in_place(method, images):
    vit = make_vit()
    vit.blocks[1].compile()
    with pytest.raises(RefusedError, match="compiled"):
        method(vit, images)


@methods
def test_scripted(method, images):
    vit = make_vit()
    vit.blocks[1].mlp = torch.jit.trace(vit.blocks[1].mlp, torch.randn(1, 17, 24))
    with pytest.raises(RefusedError, match="scripted, which hides its operations"):
        method(vit, images)


def attention(query, keys, values):
    return (query @ keys.mT).softmax(dim=-1) @ values


@methods
def test_windowed_attention(method):
    def windowed(m, x):
        windows = x.reshape(2 * 2, 1, 2, WIDTH)  # two windows of two tokens in each sample
        return attention(windows, windows, windows).reshape(2, 4, WIDTH)

    with pytest.raises(RefusedError, match=r"shape \(4, 1, 2, 2\) for a batch of 2.*windowed"):
        method(Model(windowed).eval(), TOKENS)


@methods
def test_talking_heads(method):
    def talking(m, x):
        heads = x[:, None].expand(-1, 2, -1, -1)
        mixed = (heads @ heads.mT).softmax(dim=-1).flip(1) * 2
        return (mixed @ heads)[:, 0]

    with pytest.raises(RefusedError, match=r"attention of Model is changed.*talking heads"):
        method(Model(talking).eval(), TOKENS)


class Linear(nn.Module):
    """Attention whose keys and values are multiplied first, so that nothing says who attends to whom."""

    def __init__(self):
        super().__init__()
        self.head = nn.Linear(WIDTH, 3)

    def forward(self, x):
        return self.head((x.relu() @ (x.relu().mT @ x))[:, 0])


@methods
def test_linear_attention(method):
    with pytest.raises(NoAttentionError, match=r"Linear: it never multiplies a softmax.*linear attention"):
        method(Linear().eval(), TOKENS)


@methods
@pytest.mark.parametrize(
    ("wrap", "shape"),
    [
        (lambda y: y[..., None], r"\(2, 3, 1\)"),
        (lambda y: y[:, 0], r"\(2,\)"),
        (lambda y: {"logits": y}, "dict"),
    ],
)
def test_no_logits(method, wrap, shape):
    model = Model().eval()
    with pytest.raises(ValueError, match=rf"must return \(batch, classes\) logits, not .*{shape}"):
        method(lambda x: wrap(model(x)), TOKENS)


def test_a_refusal_leaves_the_model_and_torch_as_they_were(images):
    vit = make_vit()
    expected = vit(images)
    vit.blocks[1].mlp.train()
    with pytest.raises(RefusedError):
        RawAttention()(vit, images)
    vit.eval()
    assert torch.equal(vit(images), expected)
    vit.train()(images)  # the watch over all modules has ended
    assert torch.backends.mha.get_fastpath_enabled()
    assert F.has_torch_function is torch.overrides.has_torch_function


def test_the_fast_path_is_found_again_as_it_was(images):
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        Tape.record(make_vit(), images)
        assert not torch.backends.mha.get_fastpath_enabled()
    finally:
        torch.backends.mha.set_fastpath_enabled(True)
