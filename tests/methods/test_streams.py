"""Where tokens enter, what counts as input, and streams of tokens that are not one sequence."""

import bench  # noqa: F401  isort: skip  (lets timm and transformers be imported)

import pytest
import timm
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint
from transformers import (
    LlamaConfig,
    LlamaForSequenceClassification,
)

from methods import LRP, GradCAM, PartialLRP, RandomMap, RawAttention, RefusedError, Rollout
from methods import TransformerAttribution as Attribution
from methods.relevance import OLDER, PROPOSED, Tape
from tests.support.small_models import TOKENS, WIDTH, Model, enlarged, make_bert, make_vit, texts

torch.set_num_threads(1)


def totals(forward, inputs, entry, rules=PROPOSED):
    return LRP(rules=rules, entry=entry)(forward, inputs).sum(-1)


# --- entries of texts


def test_the_three_entries_of_bert():
    """The look-up, the sum with positions and types, and the norm of that."""
    bert, inputs, seen = make_bert().double(), texts(), {}
    embeddings = bert.bert.embeddings
    embeddings.word_embeddings.register_forward_hook(lambda m, a, out: seen.update(word=out))
    embeddings.LayerNorm.register_forward_pre_hook(lambda m, a: seen.update(sum=a[0]))
    embeddings.LayerNorm.register_forward_hook(lambda m, a, out: seen.update(embeddings=out))
    tape = Tape.record(lambda x: bert(**x).logits, inputs, dtype="float64")
    for name, expected in dict(seen).items():
        ours, theirs = tape.relevance(None, [tape.entry_at(name), expected], OLDER)
        torch.testing.assert_close(ours, theirs)
        torch.testing.assert_close(*tape.gradient(None, [tape.entry_at(name), expected]))
    assert torch.equal(tape.entry, tape.entry_at("sum"))
    word, sums, normed = (totals(lambda x: bert(**x).logits, inputs, name) for name in seen)
    torch.testing.assert_close(sums, torch.ones(3).double(), atol=1e-5, rtol=0)
    torch.testing.assert_close(normed, sums)
    assert ((word - 1).abs() > 1e-2).all()  # positions and types have taken their share


def test_in_a_model_that_adds_nothing_to_its_look_up_the_entries_are_one():
    config = LlamaConfig(
        **{"vocab_size": 50, "hidden_size": 24, "intermediate_size": 32, "num_hidden_layers": 2},
        **{"num_attention_heads": 3, "pad_token_id": 0, "num_labels": 3},
    )
    llama = enlarged(LlamaForSequenceClassification(config)).double()
    inputs = {key: value[:, :5] for key, value in texts().items()}
    found = [totals(lambda x: llama(**x).logits, inputs, e) for e in ("word", "sum", "embeddings")]
    for total in found:
        torch.testing.assert_close(total, torch.ones(3).double(), atol=1e-5, rtol=0)
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0], found[2])


class Text(nn.Module):
    """Embeddings in a way of choice, one of torch's layers that begins with its attention, and a head."""

    def __init__(self, way):
        super().__init__()
        torch.manual_seed(0)
        self.way = way
        self.words, self.places = nn.Embedding(50, 16), nn.Embedding(20, 16)
        self.layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=way != "tokens first")
        self.head = nn.Linear(16, 3)
        for p in self.parameters():
            p.data.add_(0.3 * torch.randn(p.shape))

    def embedded(self, ids):
        if self.way == "positions first":
            return self.places(torch.arange(ids.shape[1]).expand_as(ids)) + self.words(ids)
        if self.way == "rows of a matrix":
            return self.words.weight[ids]
        if self.way == "rows":
            return self.words(ids.flatten()).view(*ids.shape, 16)
        if self.way == "in place":
            x = self.words(ids)
            x += self.places.weight[: ids.shape[1]]
            return x
        if self.way == "scaled, then positions":
            return self.words(ids) * 4 + self.places.weight[: ids.shape[1]]
        return self.words(ids)

    def forward(self, inputs):
        ids = inputs if isinstance(inputs, torch.Tensor) else next(iter(inputs.values()))
        x = self.embedded(ids.T if self.way == "tokens first" else ids)
        x = self.layer(x)
        return self.head(x[0] if self.way == "tokens first" else x[:, 0])


IDS = torch.tensor([[5, 9, 11, 23], [31, 7, 8, 14], [3, 44, 2, 17], [1, 1, 6, 9]])
WAYS = [
    "positions first",
    "rows of a matrix",
    "rows",
    "in place",
    "scaled, then positions",
    "tokens first",
    "plain",
]


@pytest.mark.parametrize("name", ["input_ids", "tokens", None])
@pytest.mark.parametrize("batch", [1, 2, 4])
@pytest.mark.parametrize("way", WAYS)
def test_tokens_enter_where_they_are_looked_up(way, batch, name):
    model = Text(way).double().eval()
    inputs = IDS[:batch] if name is None else {name: IDS[:batch]}
    maps = LRP(rules=PROPOSED)(model, inputs)
    assert maps.shape == (batch, 4)
    torch.testing.assert_close(maps.sum(1), torch.ones(batch).double(), atol=1e-4, rtol=0)
    for i in range(batch):
        alone = IDS[i : i + 1] if name is None else {name: IDS[i : i + 1]}
        torch.testing.assert_close(LRP(rules=PROPOSED)(model, alone), maps[i : i + 1], atol=1e-6, rtol=1e-6)


def test_an_unknown_entry_is_refused():
    with pytest.raises(ValueError, match=r"entry='words': expected one of word, sum, embeddings"):
        LRP(entry="words")(Text("plain").eval(), {"input_ids": IDS})


# --- what counts as input


@pytest.mark.parametrize(
    "method", [Attribution(start_layer=0), PartialLRP(), LRP(), GradCAM(), Rollout(start_layer=0)]
)
def test_what_else_requires_a_gradient_is_a_constant(method, images):
    vit = make_vit().double()
    vit.reset_classifier(0)
    vit.eval()
    classes = nn.Linear(24, 24, dtype=torch.float64)(torch.randn(4, 24).double())  # has a graph of its own
    prompt = torch.randn(17, 24).double().requires_grad_()  # a leaf that is no parameter

    def of(a, b):
        def run(x):
            vit.pos_drop = Added(b)
            return vit(x) @ a.T

        return method(run, images.double())

    assert classes.requires_grad
    assert torch.equal(of(classes, prompt), of(classes.detach(), prompt.detach()))


class Added(nn.Module):
    def __init__(self, what):
        super().__init__()
        self.what = what
        self.eval()

    def forward(self, x):
        return x + self.what


# --- streams


class TwoModels(nn.Module):
    """Two ViTs side by side: their blocks are no chain."""

    def __init__(self):
        super().__init__()
        self.first, self.second = make_vit(), make_vit()

    def forward(self, x):
        return self.first(x) + self.second(x.flip(-1))


@pytest.mark.parametrize("method", [Rollout(start_layer=0), Attribution(start_layer=0)])
def test_blocks_side_by_side_are_not_rolled_up(method, images):
    with pytest.raises(RefusedError, match="several streams of tokens"):
        method(TwoModels().eval(), images)
    assert RawAttention()(TwoModels().eval(), images).isfinite().all()
    parallel = timm.create_model(
        "vit_small_patch16_18x2_224",
        img_size=32,
        patch_size=8,
        embed_dim=24,
        depth=2,
        num_heads=3,
        num_classes=4,
    )
    with pytest.raises(RefusedError, match="several streams of tokens"):
        method(enlarged(parallel), images)


class CrossReader(nn.Module):
    """A decoder of as many tokens as its encoder has."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.model = nn.Transformer(16, 2, 1, 1, 32, batch_first=True, norm_first=True)
        self.words, self.head = nn.Embedding(50, 16), nn.Linear(16, 3)

    def forward(self, inputs):
        ids = inputs["input_ids"]
        return self.head(self.model(self.words(ids), self.words(ids.roll(1, 1)))[:, -1])


def test_a_decoder_that_reads_an_encoder_is_no_sequence():
    model = CrossReader().eval()
    for method in (Rollout(start_layer=0), Attribution(start_layer=0), Attribution(start_layer=-1)):
        with pytest.raises(RefusedError, match="several streams of tokens"):
            method(model, {"input_ids": IDS})
    with pytest.raises(RefusedError, match="tokens enter the model in 2 places"):
        LRP()(model, {"input_ids": IDS})
    assert RawAttention()(model, {"input_ids": IDS}).shape == (4, 4)


def test_attention_that_no_logit_uses_is_left_out():
    def unused(m, x):
        m.map = (x[:, None] @ x[:, None].mT).softmax(-1) @ x[:, None]
        return x

    plain, other, tokens = Model().double(), Model(unused).double(), TOKENS.double()
    assert len(Tape.record(other, tokens, dtype="float64").attentions) == 1
    for method in (
        RawAttention(),
        Rollout(start_layer=0),
        Attribution(start_layer=0),
        GradCAM(),
        PartialLRP(),
    ):
        torch.testing.assert_close(method(other, tokens), method(plain, tokens))


# --- padding by any name


@pytest.mark.parametrize("method", [GradCAM(weights="matrix"), GradCAM(), RandomMap()])
@pytest.mark.parametrize("name", ["attention_mask", "padding", "none"])
def test_padding_is_what_nobody_attends_to(method, name):
    bert = make_bert().double()
    inputs = texts()

    def forward(batch):
        ids = batch["input_ids"]
        return bert(input_ids=ids, attention_mask=batch.get(name, (ids != 0).long())).logits

    def renamed(batch):
        return {"input_ids": batch["input_ids"]} | ({} if name == "none" else {name: batch["attention_mask"]})

    together = method(forward, renamed(inputs))
    assert (together[inputs["attention_mask"] == 0] == 0).all()
    for i in range(3):
        length = int(inputs["attention_mask"][i].sum())
        alone = method(forward, renamed({key: value[i : i + 1, :length] for key, value in inputs.items()}))
        torch.testing.assert_close(together[i : i + 1, :length], alone)


# --- what happens before the network


class First(nn.Module):
    def __init__(self, first, model):
        super().__init__()
        self.first, self.model = first, model

    def forward(self, x):
        return self.model(self.first(x))


def in_place(x):
    return x.clone().sub_(torch.tensor([0.4, 0.5, 0.6])[:, None, None]).div_(0.25)


PREPARATIONS = {
    "normalised": lambda x: (x - 0.45) / torch.full((3, 1, 1), 0.25),
    "in place": in_place,
    "scaled": lambda x: 2 * x - 1,
    "from 1": lambda x: 1 - x,
    "channels last": lambda x: x.contiguous(memory_format=torch.channels_last),
    "other order of channels": lambda x: (x[:, [2, 1, 0]] - 0.5) * 2,
    "rows of another order": lambda x: x.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2).flip(1),
}


@pytest.mark.parametrize("rules", [PROPOSED, OLDER], ids=str)
@pytest.mark.parametrize("prepare", PREPARATIONS.values(), ids=PREPARATIONS)
def test_lrp_reaches_pixels_through_what_prepares_them(prepare, rules):
    vit = make_vit()
    x = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(8))
    inside = LRP(rules=rules)(First(prepare, vit).eval(), x)
    torch.testing.assert_close(inside, LRP(rules=rules)(vit, prepare(x)), rtol=1e-6, atol=1e-9)


def test_gradients_through_what_prepares_pixels_are_autograds():
    model = First(PREPARATIONS["in place"], make_vit()).eval().requires_grad_(False)
    x = torch.rand(2, 3, 32, 32)
    tape = Tape.record(model, x, dtype="float64")
    pixels = x.double().requires_grad_()
    (expected,) = torch.autograd.grad(model.double()(pixels).amax(dim=1).sum(), pixels)
    torch.testing.assert_close(tape.gradient(None, [tape.entry])[0], expected, rtol=1e-4, atol=1e-6)


# --- errors of torch's own


def reasons(op, *methods):
    for method in methods or (GradCAM(), Attribution(start_layer=0)):
        with pytest.raises(RefusedError) as error:
            method(Model(op).eval(), TOKENS)
        yield str(error.value)


@pytest.mark.parametrize("reentrant", [True, False])
def test_a_block_that_is_computed_again_is_named(reentrant):
    def again(m, x):
        return x + checkpoint(lambda y: F.gelu(m.branch(y)), x, use_reentrant=reentrant)

    for reason in reasons(again):
        assert "torch.utils.checkpoint" in reason
        assert "turn recomputation off" in reason


def test_mixed_types_are_named_with_their_operation():
    def mixed(m, x):
        return F.linear(x.half(), m.weight)

    (reason,) = reasons(mixed, GradCAM())
    assert "linear (called by Model) failed" in reason
    assert "model.float()" in reason


def test_a_tensor_of_no_tape_is_named():
    tape = Tape.record(Model().eval(), TOKENS, dtype="float64")
    for foreign in (torch.ones(2), torch.ones(2, requires_grad=True)):
        with pytest.raises(RefusedError, match=r"reading the tape backwards failed.*no logit depends on it"):
            tape.gradient(None, [foreign])


def test_a_class_that_does_not_exist_is_refused():
    with pytest.raises(ValueError, match="the model has 3 classes, counted from 0"):
        GradCAM()(Model().eval(), TOKENS, torch.tensor([0, 3]))


def test_running_out_of_memory_is_no_refusal():
    def too_much(m, x):
        raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(torch.OutOfMemoryError):
        GradCAM()(Model(too_much).eval(), TOKENS)


# --- norms of other libraries


class OwnNorm(nn.LayerNorm):
    """As timm has it: torch's norm under another class."""

    def forward(self, x):
        return F.layer_norm(x, self.normalized_shape, self.weight, self.bias, self.eps)


class WrappedNorm(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(WIDTH)), nn.Parameter(torch.zeros(WIDTH))

    def forward(self, x):
        return F.layer_norm(x, (WIDTH,), self.weight, self.bias)


WrappedNorm.__name__ = "LayerNorm2d"


@pytest.mark.parametrize("norm", [OwnNorm(WIDTH), WrappedNorm()], ids=["subclass", "wrapper"])
def test_norms_that_call_torchs_are_looked_into(norm):
    """So a rule set that shares relevance in another way at a norm knows its weights."""
    from dataclasses import replace

    def twice(R, z, x, shape, weight, bias, eps, centred):
        return (2 * R,)

    rules = replace(PROPOSED, name="own", norm=twice)
    norm = norm.double().eval()

    def relevance(op):
        tape = Tape.record(Model(op).double().eval(), TOKENS, dtype="float64")
        return tape.relevance(None, [tape.entry], rules)[0]

    torch.testing.assert_close(
        relevance(lambda m, x: x + norm(x)), relevance(lambda m, x: x + F.layer_norm(x, (WIDTH,)))
    )
