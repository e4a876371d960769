"""Samples and tokens are found in any layout of a residual stream, also where sizes do not tell."""

import bench  # noqa: F401  isort: skip  (lets timm and transformers be imported)

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from methods import LRP, GradCAM, PartialLRP, RawAttention, RefusedError, Rollout, TransformerAttribution
from methods.relevance import PROPOSED, Tape

torch.set_num_threads(1)
WIDTH, HEADS = 16, 2


class Encoder(nn.Module):
    """Tokens, torch's own layers and a head, with the residual stream in a layout of choice."""

    def __init__(self, layout: str, depth: int = 2):
        super().__init__()
        torch.manual_seed(0)
        self.layout = layout
        self.embed = nn.Linear(WIDTH, WIDTH)
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(
                WIDTH, HEADS, 32, batch_first=layout != "tokens first", norm_first=True, activation="gelu"
            )
            for _ in range(depth)
        )
        self.head = nn.Linear(WIDTH, 3)
        for p in self.parameters():
            p.data.add_(0.2 * torch.randn(p.shape))

    def forward(self, x):
        batch, tokens = x.shape[:2]
        x = self.embed(x)
        x = x.transpose(0, 1) if self.layout == "tokens first" else x
        for layer in self.layers:
            x = layer(x)
            if self.layout == "flat":  # as mixtures of experts have it
                rows = x.reshape(batch * tokens, WIDTH)
                x = (rows + F.gelu(self.embed(rows))).view(batch, tokens, WIDTH)
            elif self.layout == "flat, tokens first":
                rows = x.transpose(0, 1).flatten(0, 1)
                x = (rows + F.gelu(self.embed(rows))).unflatten(0, (tokens, batch)).transpose(0, 1)
            elif self.layout == "grid":
                grid = x.mT.unflatten(2, (2, tokens // 2))
                x = (grid + F.gelu(grid)).flatten(2).mT
        return self.head(x[0] if self.layout == "tokens first" else x[:, 0])


METHODS = [
    TransformerAttribution(start_layer=0),
    Rollout(start_layer=0),
    RawAttention(),
    GradCAM(),
    LRP(rules=PROPOSED),
    PartialLRP(),
]


def inputs(batch, tokens):
    return torch.randn(batch, tokens, WIDTH, generator=torch.Generator().manual_seed(5)).double()


@pytest.mark.parametrize("method", METHODS, ids=lambda m: type(m).__name__)
@pytest.mark.parametrize("batch", [1, 2, 6, WIDTH])
@pytest.mark.parametrize("layout", ["tokens first", "flat", "flat, tokens first", "grid"])
def test_a_layout_gives_the_maps_of_every_sample_alone(layout, batch, method):
    model, x = Encoder(layout).double().eval(), inputs(batch, tokens=6)
    target = torch.arange(batch) % 3
    together = method(model, x, target)
    assert together.shape == (batch, 6)
    for i in range(min(batch, 3)):
        alone = method(model, x[i : i + 1], target[i : i + 1])
        torch.testing.assert_close(together[i : i + 1], alone, rtol=1e-7, atol=1e-10)


@pytest.mark.parametrize("method", METHODS, ids=lambda m: type(m).__name__)
def test_tokens_first_gives_the_maps_of_samples_first(method):
    x = inputs(6, tokens=6)
    first, second = (Encoder(layout).double().eval() for layout in ("samples first", "tokens first"))
    torch.testing.assert_close(first(x), second(x))
    torch.testing.assert_close(method(first, x), method(second, x), rtol=1e-7, atol=1e-10)


class Heads(nn.Module):
    """One attention of two heads, which come in an order of choice, on a residual stream."""

    def __init__(self, order):
        super().__init__()
        torch.manual_seed(1)
        self.order = order
        self.qkv, self.out, self.head = (
            nn.Linear(WIDTH, 3 * WIDTH),
            nn.Linear(WIDTH, WIDTH),
            nn.Linear(WIDTH, 3),
        )

    def forward(self, x):
        batch, tokens, _ = x.shape
        each = (batch, tokens, HEADS, WIDTH // HEADS)
        q, k, v = (t.view(each).transpose(1, 2) for t in self.qkv(x).chunk(3, dim=-1))
        if self.order == "heads first":
            q, k, v = (t.transpose(0, 1) for t in (q, k, v))
        elif self.order == "flat, samples first":
            q, k, v = (t.flatten(0, 1) for t in (q, k, v))
        elif self.order == "flat, heads first":
            q, k, v = (t.transpose(0, 1).flatten(0, 1) for t in (q, k, v))
        if self.order == "einsum":
            a = torch.einsum("bhid,bhjd->bhij", q, k).softmax(-1)
            y = torch.einsum("bhij,bhjd->bhid", a, v)
        elif self.order == "values first":
            y = (v.mT @ (q @ k.mT).softmax(-1).mT).mT
        else:
            y = (q @ k.mT).softmax(-1) @ v
        if self.order == "heads first":
            y = y.transpose(0, 1)
        elif self.order == "flat, samples first":
            y = y.unflatten(0, (batch, HEADS))
        elif self.order == "flat, heads first":
            y = y.unflatten(0, (HEADS, batch)).transpose(0, 1)
        x = x + self.out(y.transpose(1, 2).flatten(2))
        return self.head(x[:, 0])


@pytest.mark.parametrize("batch", [1, 2, 3])
@pytest.mark.parametrize(
    "order", ["heads first", "flat, samples first", "flat, heads first", "einsum", "values first"]
)
def test_attention_is_found_in_any_order_of_heads_and_samples(order, batch):
    x = inputs(batch, tokens=4)
    usual, other = (Tape.record(Heads(o).double().eval(), x, dtype="float64") for o in ("usual", order))
    torch.testing.assert_close(usual.attentions[0], other.attentions[0])
    torch.testing.assert_close(usual.gradient(None, usual.attentions), other.gradient(None, other.attentions))


class Parts(Heads):
    """Attention between neighbours only, whose parts look like heads or like samples."""

    def forward(self, x):
        batch, tokens, _ = x.shape
        q, k, v = (t.reshape(batch, tokens // 2, 2, WIDTH) for t in self.qkv(x).chunk(3, dim=-1))
        if self.order == "flat":
            q, k, v = (t.flatten(0, 1) for t in (q, k, v))
        elif self.order == "5 dimensions":
            q, k, v = (t.unflatten(-1, (HEADS, -1)).transpose(2, 3) for t in (q, k, v))
        elif self.order == "some keys":
            q, k, v = (t[:, None] for t in self.qkv(x).chunk(3, dim=-1))
            a = (q @ k.mT).softmax(-1)
            return self.head((x + (a[..., :2] @ v[..., :2, :])[:, 0])[:, 0])
        y = (q @ k.mT).softmax(-1) @ v
        y = y.transpose(2, 3) if self.order == "5 dimensions" else y
        return self.head((x + y.reshape(batch, tokens, WIDTH))[:, 0])


@pytest.mark.parametrize("method", METHODS, ids=lambda m: type(m).__name__)
@pytest.mark.parametrize("batch", [1, 2, 4])
@pytest.mark.parametrize("order", ["parts", "flat", "5 dimensions", "some keys"])
def test_attention_between_some_tokens_is_refused(order, batch, method):
    with pytest.raises(RefusedError, match="windowed attention"):
        method(Parts(order).double().eval(), inputs(batch, tokens=8))


def test_samples_that_are_mixed_have_no_relevance_of_their_own():
    class Mixed(Heads):
        def forward(self, x):
            a = (x @ x.mT).softmax(-1)
            x = x + a @ x
            return self.head((x + self.out(x.mean(0)))[:, 0])

    model, x = Mixed("").double().eval(), inputs(3, tokens=4)
    with pytest.raises(RefusedError, match="mixes the samples of a batch"):
        LRP()(model, x)
    assert RawAttention()(model, x).isfinite().all()
