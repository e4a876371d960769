"""What a tape knows of the blocks of a model, against the modules of the models themselves, and runs of the rest."""

import bench  # noqa: F401  isort: skip  (lets timm and transformers be imported)

import pytest
import torch
import torchvision
from torch import nn
from transformers import (
    LlamaConfig,
    LlamaForSequenceClassification,
    ViTConfig,
    ViTForImageClassification,
)

from methods.relevance import LIBRA, RefusedError, Tape
from tests.support.small_models import IMAGES, TOKENS, Model, enlarged, make_bert, make_vit, texts

pytestmark = pytest.mark.numerical


class TokensFirst(nn.Module):
    """torch's encoder layers, with the tokens before the samples."""

    def __init__(self, norm_first):
        super().__init__()
        self.words, self.head = nn.Embedding(50, 16), nn.Linear(16, 3)
        options = {"norm_first": norm_first, "activation": "gelu"}
        self.layers = nn.ModuleList([nn.TransformerEncoderLayer(16, 2, 32, **options) for _ in range(2)])

    def forward(self, x):
        x = self.words(x["input_ids"].T)
        for layer in self.layers:
            x = layer(x)
        return self.head(x[0])


def timm_vit(**options):
    model = make_vit(**options)
    return model, model, IMAGES, [(b, b.norm1, b.norm2) for b in model.blocks]


def torchvision_vit():
    size = {
        "image_size": 32,
        "patch_size": 8,
        "num_layers": 2,
        "num_heads": 3,
        "hidden_dim": 24,
        "mlp_dim": 48,
    }
    model = enlarged(torchvision.models.VisionTransformer(**size, num_classes=5))
    return model, model, IMAGES, [(b, b.ln_1, b.ln_2) for b in model.encoder.layers]


def transformers_vit():
    size = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 48}
    model = enlarged(ViTForImageClassification(ViTConfig(**size, image_size=32, patch_size=8, num_labels=5)))
    blocks = [m for m in model.modules() if type(m).__name__ == "ViTLayer"]
    return (
        model,
        lambda x: model(x).logits,
        IMAGES,
        [(b, b.layernorm_before, b.layernorm_after) for b in blocks],
    )


def llama():
    size = {"hidden_size": 24, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
    config = LlamaConfig(**size, vocab_size=50, num_key_value_heads=2, pad_token_id=0, num_labels=3)
    model = enlarged(LlamaForSequenceClassification(config))
    blocks = [(b, b.input_layernorm, b.post_attention_layernorm) for b in model.model.layers]
    return model, lambda x: model(**x).logits, texts(), blocks


def bert():
    model = make_bert()
    blocks = [(b, b.attention.output.LayerNorm, b.output.LayerNorm) for b in model.bert.encoder.layer]
    return model, lambda x: model(**x).logits, texts(), blocks


def tokens_first(norm_first):
    model = enlarged(TokensFirst(norm_first))
    return model, model, {"input_ids": texts()["input_ids"]}, [(b, b.norm1, b.norm2) for b in model.layers]


PRE_NORM = {
    "timm": timm_vit,
    "mean pooling": lambda: timm_vit(global_pool="avg", class_token=False),
    "registers": lambda: timm_vit(reg_tokens=2, init_values=0.1),
    "torchvision": torchvision_vit,
    "transformers": transformers_vit,
    "llama": llama,
    "tokens first, pre-norm": lambda: tokens_first(True),
}
POST_NORM = {"bert": bert, "tokens first, post-norm": lambda: tokens_first(False)}
MODELS = PRE_NORM | POST_NORM


def recorded(name):
    """The tape of a model, and what its own modules were given and returned."""
    _, forward, inputs, blocks = MODELS[name]()
    seen, handles = [{} for _ in blocks], []
    first = name.startswith("tokens first")

    def note(key, number, t):
        t = t[0] if isinstance(t, tuple) else t
        seen[number][key] = t.transpose(0, 1) if first else t
        seen[number][f"{key} of the model"] = t

    for i, (block, norm1, norm2) in enumerate(blocks):
        handles += [
            block.register_forward_pre_hook(lambda _, a, i=i: note("input", i, a)),
            block.register_forward_hook(lambda _, a, out, i=i: note("output", i, out)),
            norm1.register_forward_pre_hook(lambda _, a, i=i: note("into norm1", i, a)),
            norm1.register_forward_hook(lambda _, a, out, i=i: note("norm1", i, out)),
            norm2.register_forward_pre_hook(lambda _, a, i=i: note("into norm2", i, a)),
        ]
    tape = Tape.record(forward, inputs, dtype="float64")
    for handle in handles:
        handle.remove()
    return tape, seen, forward, inputs


def close(ours, expected):
    torch.testing.assert_close(ours, expected, rtol=0, atol=1e-9 * expected.abs().max().item() + 1e-300)


@pytest.mark.parametrize("name", MODELS)
def test_the_tokens_of_every_block_are_those_of_the_model(name):
    tape, seen, _, _ = recorded(name)
    assert len(tape.blocks) == len(seen)
    for block, expected in zip(tape.blocks, seen, strict=True):
        pre_norm = name in PRE_NORM
        assert block.is_pre_norm is pre_norm
        close(block.input, expected["input"])
        close(block.output, expected["output"])
        close(block.attended, expected["into norm2" if pre_norm else "into norm1"])
        close(block.normed, expected["norm1" if pre_norm else "input"])
        close(block.scores.softmax(-1), block.attention)
        assert block.values.shape[:3] == (*block.attention.shape[:2], block.attention.shape[-1])


@pytest.mark.parametrize("name", MODELS)
def test_their_gradients_are_those_of_the_models_own(name):
    tape, seen, _, _ = recorded(name)
    for block, expected in zip(tape.blocks, seen, strict=True):
        ours = tape.gradient(None, [block.input, block.output])
        own = tape.gradient(None, [expected[f"{field} of the model"] for field in ("input", "output")])
        for g, theirs in zip(ours, own, strict=True):
            close(g, theirs.transpose(0, 1) if name.startswith("tokens first") else theirs)
        (g,), (of_values,) = (tape.gradient(None, [t]) for t in (block.attention, block.values))
        # y depends on A and V by A V alone, so both gradients tell of the same product.
        close((g * block.attention).sum((-1, -2)), (of_values * block.values).sum((-1, -2)))


@pytest.mark.parametrize("name", MODELS)
def test_a_batch_has_the_blocks_of_its_samples(name):
    tape, _, forward, inputs = recorded(name)
    alone = {k: v[1:2] for k, v in inputs.items()} if isinstance(inputs, dict) else inputs[1:2]
    other = Tape.record(forward, alone, dtype="float64")
    for block, single in zip(tape.blocks, other.blocks, strict=True):
        for field in ("input", "normed", "values", "attended", "output"):
            ours, theirs = getattr(block, field), getattr(single, field)
            close(ours[1:2], theirs)
            close(tape.gradient(None, [ours])[0][1:2], other.gradient(None, [theirs])[0])


# --- layers


@pytest.mark.parametrize("name", [name for name in MODELS if name not in ("llama", "registers")])
def test_a_block_can_be_computed_from_its_layers(name):
    tape, _, _, _ = recorded(name)
    for block in tape.blocks:
        heads = (block.attention @ block.values).transpose(1, 2).flatten(2)
        weight, bias, _, _ = block.projection
        attended = block.input + nn.functional.linear(heads, weight, bias)
        close(attended, block.attended)

        def normed(x, norm):
            return nn.functional.layer_norm(x, x.shape[-1:], norm.weight, norm.bias, norm.eps)

        first, active, second = block.feed_forward
        one, two = block.norms
        assert one.centred
        x = normed(attended, two if block.is_pre_norm else one)
        close(nn.functional.gelu(nn.functional.linear(x, first.weight, first.bias)), active.output)
        x = nn.functional.linear(active.output, second.weight, second.bias)
        close(attended + x if block.is_pre_norm else normed(one.output + x, two), block.output)
        if block.is_pre_norm:
            close(normed(block.input, one), block.normed)


def test_the_head_is_what_follows_the_last_block():
    tape, _, _, _ = recorded("bert")
    pooler, tanh, classifier = tape.head
    close(pooler.input[:, 0], tape.blocks[-1].output[:, 0])
    close(pooler.output.tanh(), tanh.output)
    close(classifier.output[:, 0], tape.logits)
    assert [type(layer).__name__ for layer in recorded("timm")[0].head] == ["Norm", "Linear"]
    with pytest.raises(RefusedError, match="no chain of layers: mean"):
        _ = recorded("mean pooling")[0].head


@pytest.mark.parametrize("name", ["timm", "torchvision", "bert", "tokens first, post-norm"])
def test_relevance_and_constants_add_up_to_the_logit(name):
    """LibraGrad: Σ x ⊙ g at any block + Σ b ⊙ g of all that is added from there on is y_t."""
    tape, _, _, _ = recorded(name)
    constants = tape.constants
    inputs = [block.input for block in tape.blocks]
    of = [constant.output for constant in constants]
    gradients = tape.gradient(None, [*of, *inputs], LIBRA)
    for block, x in enumerate(inputs):
        total = (x * gradients[len(of) + block]).sum((1, 2))
        for constant, g in zip(constants, gradients, strict=False):
            if constant.block >= block:
                total = total + (constant.value * g).sum((1, 2))
        close(total, tape.logits.amax(dim=1))


def test_positions_are_constants_before_the_first_block():
    vit = make_vit().double()
    tape = Tape.record(vit, IMAGES, dtype="float64")
    (position,) = (c for c in tape.constants if c.kind == "shift")
    assert position.block == -1
    close(position.value, vit.pos_embed.detach())
    close(position.input + position.value, position.output)
    assert tape.constants[-1].block == len(tape.blocks)


# --- the rest run again


@pytest.mark.parametrize("name", MODELS)
def test_the_rest_of_the_network_is_the_model(name):
    """With what a tensor was, the logits are what they were; and what a change does is what its gradient says."""
    tape, _, _, _ = recorded(name)
    for block in tape.blocks:
        for field in ("input", "normed", "scores", "attention", "values", "attended", "output"):
            t = getattr(block, field)
            close(tape.rerun({t: t.detach()}), tape.logits.detach())
            ours = t.detach().clone().requires_grad_()
            (g,) = tape.gradient(None, [ours], logits=tape.rerun({t: ours}))
            close(g, tape.gradient(None, [t])[0])


def test_a_block_of_the_model_run_with_other_values():
    vit = make_vit().double()
    tape = Tape.record(vit, IMAGES, dtype="float64")
    block = tape.blocks[1]
    x = torch.randn(block.input.shape, dtype=torch.float64)
    close(tape.rerun({block.input: x}, until=block.output), vit.blocks[1](x).detach())
    close(tape.rerun({block.output: x}), vit.forward_head(vit.norm(vit.blocks[2](x))).detach())


def test_a_replaced_tensor_may_be_computed_from_the_tape():
    """Also where the caller has turned gradients off: the logits of an intermediate block, with pooled tokens."""
    vit = make_vit().double()
    tape = Tape.record(vit, IMAGES, dtype="float64")
    block, last = tape.blocks[0], tape.blocks[-1]
    with torch.no_grad():
        logits = tape.rerun({last.output: lambda: block.output.mean(1, keepdim=True).expand_as(last.output)})
        (ours,) = tape.gradient(None, [block.attention], logits=logits)
    target = tape.logits.argmax(dim=1)
    y = vit.head(vit.norm(block.output.mean(1))).gather(1, target[:, None])
    (expected,) = torch.autograd.grad(y.sum(), block.attention, retain_graph=True)
    close(ours, expected)


def test_words_in_the_place_of_those_looked_up():
    model = make_bert().double()
    inputs, forward = texts(), lambda x: model(**x).logits
    words = torch.randn(3, 9, 24, dtype=torch.float64).requires_grad_()
    y = model(inputs_embeds=words, attention_mask=inputs["attention_mask"]).logits
    (expected,) = torch.autograd.grad(y.amax(dim=1).sum(), words)
    tape = Tape.record(forward, inputs, dtype="float64", words=words)
    close(tape.logits, y.detach())
    close(tape.entry_at("word"), words.detach())
    close(tape.gradient(None, [tape.entry_at("word")])[0], expected)


# --- what is refused


def test_what_does_not_fit_is_refused():
    tape = Tape.record(make_vit(), IMAGES)
    block = tape.blocks[0]
    with pytest.raises(ValueError, match="expected a tensor of shape"):
        tape.rerun({block.input: block.input[:, :3].detach()})
    with pytest.raises(RefusedError, match="same tape"):
        tape.rerun({torch.zeros(3): torch.zeros(3)})
    with pytest.raises(ValueError, match="looks up no token ids"):
        Tape.record(make_vit(), IMAGES, words=torch.zeros(3, 9, 24))
    model = make_bert()
    with pytest.raises(ValueError, match=r"words of shape .* looks token ids up as \(3, 9, 24\)"):
        Tape.record(lambda x: model(**x).logits, texts(), words=torch.zeros(3, 4, 24))


class Parallel(nn.Module):
    """Attention and feed-forward network side by side, added in an order of choice."""

    def __init__(self, order):
        super().__init__()
        self.order = order
        self.embed, self.up, self.down, self.head = (nn.Linear(16, n) for n in (16, 16, 16, 3))
        enlarged(self, 0.5)

    def forward(self, x):
        x = self.embed(x)
        a = (x @ x.mT).softmax(-1)[:, None] @ x[:, None]
        a, m = self.down(a[:, 0]), self.up(x).tanh()
        x = (a + m) + x if self.order == "branches first" else (x + a) + m
        return self.head(x[:, 0])


@pytest.mark.parametrize(("order", "field"), [("branches first", "attended"), ("skip first", "output")])
def test_parallel_blocks_are_refused(order, field):
    tape = Tape.record(Parallel(order).eval(), TOKENS)
    with pytest.raises(RefusedError, match="parallel blocks"):
        getattr(tape.blocks[0], field)


def test_a_model_without_a_feed_forward_network_has_no_output():
    tape = Tape.record(Model().eval(), TOKENS)
    assert tape.blocks[0].input.shape == TOKENS.shape
    with pytest.raises(RefusedError, match="no feed-forward network"):
        _ = tape.blocks[0].output
    with pytest.raises(RefusedError, match="the output projection cannot be found"):
        _ = tape.blocks[0].projection


def test_what_is_written_in_place_is_not_run_again():
    def op(m, x):
        y = torch.zeros_like(x)
        y[:, 1:] = x[:, :-1]
        return x + m.branch(y)

    tape = Tape.record(Model(op).eval(), TOKENS)
    with pytest.raises(RefusedError, match="writes into tensors in place"):
        tape.rerun({tape.attentions[0]: tape.attentions[0].detach()})
