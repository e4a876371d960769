"""Methods that take tokens apart as vectors: each written out by the names of a model's modules, for one sample.

The third text of the batch is padded in it, and not in what it is compared with.
"""

import bench  # noqa: F401  isort: skip  (lets timm and transformers be imported)

import pytest
import torch
import torch.nn.functional as F
from transformers import GPT2Config, GPT2ForSequenceClassification

from methods import ALTI, DecompX, GlobEnc, RefusedError, ValueZeroing, verify
from tests.support.small_models import IMAGES, LENGTHS, enlarged, make_bert, make_llama, make_vit, texts

pytestmark = pytest.mark.numerical

SAMPLE, LENGTH = 2, LENGTHS[2]
TARGET = torch.tensor([1, 0, 1])


def make_gpt2():
    sizes = {"vocab_size": 50, "n_embd": 24, "n_layer": 2, "n_head": 3, "n_positions": 20}
    ids = {"pad_token_id": 0, "bos_token_id": None, "eos_token_id": None}
    return enlarged(GPT2ForSequenceClassification(GPT2Config(**sizes, **ids)))


def of_text(module):
    module = module.double()
    return module, (lambda inputs: module(**inputs).logits), texts()


@pytest.fixture(scope="module")
def bert():
    return of_text(make_bert())


@pytest.fixture(scope="module", params=["bert", "gpt2", "llama", "vit", "registers"])
def layout(request):
    """A forward function with a batch, for each layout."""
    made = {"bert": make_bert, "gpt2": make_gpt2, "llama": make_llama}.get(request.param)
    if made:
        return request.param, *of_text(made())[1:]
    module = make_vit(**({"reg_tokens": 2} if request.param == "registers" else {})).double()
    return request.param, module, IMAGES.double()


def alone(inputs):
    """The sample without its padding."""
    if isinstance(inputs, torch.Tensor):
        return inputs[SAMPLE : SAMPLE + 1]
    return {name: t[SAMPLE : SAMPLE + 1, :LENGTH] for name, t in inputs.items()}


class Bert:
    """What the layers of a BERT classifier see of the sample, by the names of its modules."""

    def __init__(self, module, inputs):
        self.module, self.layers = module, module.bert.encoder.layer
        seen = {}

        def see(name):
            def hook(_, given, returned):
                seen[name] = given, returned

            return hook

        handles = [part.register_forward_hook(see(name)) for name, part in module.named_modules()]
        with torch.no_grad():
            self.logits = module(**alone(inputs)).logits[0]
        for handle in handles:
            handle.remove()

        def first(x):
            return first(x[0]) if isinstance(x, tuple) else x[0]

        self.given = {name: first(given) for name, (given, _) in seen.items() if given}
        self.returned = {
            name: first(returned)
            for name, (_, returned) in seen.items()
            if isinstance(returned, (tuple, torch.Tensor))
        }
        self.start = self.returned["bert.embeddings"]

    def attention(self, b):
        """(heads, n, n), and the heads' values (heads, n, 8)."""
        own = self.layers[b].attention.self
        tokens = self.entering(b)
        q, k, v = (x(tokens).view(LENGTH, 3, 8).transpose(0, 1) for x in (own.query, own.key, own.value))
        return (q @ k.mT / 8**0.5).softmax(dim=-1), v

    def entering(self, b):
        return self.start if b == 0 else self.returned[f"bert.encoder.layer.{b - 1}.output.LayerNorm"]

    def norm(self, b, which, vectors):
        """A norm of block b, linear with the statistics of what it was given: vectors (n, n, width)."""
        name = f"bert.encoder.layer.{b}.{which}.LayerNorm"
        given, part = self.given[name], self.module.get_submodule(name)
        std = (given.var(dim=-1, unbiased=False) + part.eps).sqrt()
        return (vectors - vectors.mean(dim=-1, keepdim=True)) / std[:, None, None] * part.weight

    def brought(self, b):
        """T_kj = Σ_h A_kj (V_j W_O)^h + 1[k = j] x_k, one by one."""
        (attention, values), x = self.attention(b), self.entering(b)
        out = self.layers[b].attention.output.dense.weight
        found = torch.zeros(LENGTH, LENGTH, 24, dtype=torch.float64)
        for k in range(LENGTH):
            for j in range(LENGTH):
                for h in range(3):
                    found[k, j] += attention[h, k, j] * (out[:, 8 * h : 8 * h + 8] @ values[h, j])
            found[k, k] += x[k]
        return found


def test_globenc_by_its_definition(bert):
    module, forward, inputs = bert
    own, product = Bert(module, inputs), torch.eye(LENGTH, dtype=torch.float64)
    with torch.no_grad():
        for b in range(3):
            vectors = own.norm(b, "output", own.norm(b, "attention.output", own.brought(b)))
            product = vectors.norm(dim=-1) @ product
    maps = GlobEnc()(forward, inputs)
    torch.testing.assert_close(maps[SAMPLE, :LENGTH], product[0])
    assert (maps[SAMPLE, LENGTH:] == 0).all()
    torch.testing.assert_close(GlobEnc().norms(forward, inputs)[SAMPLE][2], vectors.norm(dim=-1))


@pytest.mark.parametrize("settings", [{}, {"distance": "l2"}, {"after": "block"}], ids=str)
def test_alti_by_its_definition(settings, bert):
    module, forward, inputs = bert
    own, product = Bert(module, inputs), torch.eye(LENGTH, dtype=torch.float64)
    order = 2 if "distance" in settings else 1
    with torch.no_grad():
        for b in range(3):
            vectors, which = own.norm(b, "attention.output", own.brought(b)), "attention.output"
            if "after" in settings:
                vectors, which = own.norm(b, "output", vectors), "output"
            left = own.returned[f"bert.encoder.layer.{b}.{which}.LayerNorm"]
            c = torch.zeros(LENGTH, LENGTH, dtype=torch.float64)
            for k in range(LENGTH):
                for j in range(LENGTH):
                    c[k, j] = (left[k].norm(p=order) - (left[k] - vectors[k, j]).norm(p=order)).clamp(min=0)
            product = c / c.sum(dim=1, keepdim=True) @ product
    maps = ALTI(**settings)(forward, inputs)
    torch.testing.assert_close(maps[SAMPLE, :LENGTH], product[0])
    torch.testing.assert_close(
        ALTI(**settings).contributions(forward, inputs)[SAMPLE][2].sum(dim=1), torch.ones(LENGTH).double()
    )


def test_alti_of_a_pre_norm_decoder_by_its_definition():
    """T is what the attention adds, and the skip connection; nothing follows it."""
    module, forward, inputs = of_text(make_llama())
    states = []
    for layer in module.model.layers:
        layer.register_forward_pre_hook(lambda _, given: states.append(given[0][0]))
        layer.post_attention_layernorm.register_forward_pre_hook(lambda _, given: states.append(given[0][0]))
    with torch.no_grad():
        module.set_attn_implementation("eager")
        attentions = module(**alone(inputs), output_attentions=True).attentions
        module.set_attn_implementation("sdpa")
        entering, attended = states[::2], states[1::2]
        product = torch.eye(LENGTH, dtype=torch.float64)
        for b, layer in enumerate(module.model.layers):
            values = layer.self_attn.v_proj(layer.input_layernorm(entering[b])).view(LENGTH, 2, 6)
            c = torch.zeros(LENGTH, LENGTH, dtype=torch.float64)
            for k in range(LENGTH):
                for j in range(LENGTH):
                    heads = torch.cat([attentions[b][0, h, k, j] * values[j, h // 2] for h in range(4)])
                    brought = layer.self_attn.o_proj.weight @ heads + (entering[b][k] if j == k else 0)
                    left = attended[b][k]
                    c[k, j] = (left.norm(p=1) - (left - brought).norm(p=1)).clamp(min=0)
            product = c / c.sum(dim=1, keepdim=True) @ product
    torch.testing.assert_close(ALTI()(forward, inputs)[SAMPLE, :LENGTH], product[-1], rtol=1e-5, atol=1e-6)


def value_layer(module, b):
    """The layer that computes a block's values, and which of its outputs they are, (tokens, width)."""
    if hasattr(module, "bert"):
        return module.bert.encoder.layer[b].attention.self.value, slice(0, 24)
    if hasattr(module, "model"):
        return module.model.layers[b].self_attn.v_proj, slice(0, 12)
    return module.blocks[b].attn.qkv, slice(48, 72)


@pytest.mark.parametrize("name", ["bert", "llama", "vit"])
def test_value_zeroing_by_its_definition(name):
    if name == "vit":
        module = make_vit().double()
        forward, inputs, blocks = module, IMAGES.double(), module.blocks
    else:
        module, forward, inputs = of_text(make_bert() if name == "bert" else make_llama())
        blocks = module.bert.encoder.layer if name == "bert" else module.model.layers
    one, product = alone(inputs), None

    def left(b, zeroed=None):
        """What block b leaves when the value of a token is zero in it."""
        layer, values = value_layer(module, b)
        seen = []

        def zero(_, __, returned):
            if zeroed is not None:
                returned = returned.clone()
                returned[:, zeroed, values] = 0
            return returned

        def look(_, __, returned):
            seen.append((returned[0] if isinstance(returned, tuple) else returned)[0])

        handles = [layer.register_forward_hook(zero), blocks[b].register_forward_hook(look)]
        with torch.no_grad():
            forward(one)
        for handle in handles:
            handle.remove()
        return seen[0]

    for b in range(len(blocks)):
        whole = left(b)
        c = torch.stack(
            [1 - F.cosine_similarity(whole, left(b, j), dim=-1) for j in range(len(whole))], dim=1
        )
        c = c / c.sum(dim=1, keepdim=True)
        product = c if product is None else c @ product
    read = -1 if name == "llama" else 0
    maps = ValueZeroing()(forward, inputs)[SAMPLE]
    torch.testing.assert_close(maps[: len(whole)], product[read], rtol=1e-5, atol=1e-6)
    last = ValueZeroing(last_block_only=True)(forward, inputs)[SAMPLE]
    torch.testing.assert_close(last[: len(whole)], c[read], rtol=1e-5, atol=1e-6)


def decomposed(own, share, activation):
    """DecompX of the sample, written out: (n, classes)."""
    module = own.module
    v = torch.diag_embed(own.start.T).permute(1, 2, 0).contiguous()
    for b, layer in enumerate(own.layers):
        attention, _ = own.attention(b)
        attend, out = layer.attention.self, layer.attention.output.dense
        if b == 0:
            v = share(out.bias, own.brought(0))
        else:
            w = attend.value.weight.view(3, 8, 24)
            values = torch.einsum("ijd,hcd->ijhc", v, w)
            mixed = torch.einsum("hki,ijhc->kjhc", attention, values).flatten(2) @ out.weight.T + v
            v = share(out.weight @ attend.value.bias + out.bias, mixed)
        v = share(layer.attention.output.LayerNorm.bias, own.norm(b, "attention.output", v))
        u = own.returned[f"bert.encoder.layer.{b}.intermediate.dense"]
        hidden = activation(
            share(layer.intermediate.dense.bias, v @ layer.intermediate.dense.weight.T), u, F.gelu
        )
        v = v + share(layer.output.dense.bias, hidden @ layer.output.dense.weight.T)
        v = share(layer.output.LayerNorm.bias, own.norm(b, "output", v))
    pooler = module.bert.pooler.dense
    u = pooler(own.entering(3)[:1])
    v = activation(share(pooler.bias, v[:1] @ pooler.weight.T), u, torch.tanh)
    return share(module.classifier.bias, v @ module.classifier.weight.T)[0]


def zero_origin(v, u, f):
    return v * (f(u) / u)[:, None]


def absdot(bias, v):
    if bias.ndim == 1:
        bias = bias.expand(len(v), -1)
    weights = torch.einsum("kjd,kd->kj", v, bias).abs()
    return v + (weights / weights.sum(dim=1, keepdim=True))[:, :, None] * bias[:, None]


def tangent(v, u, f):
    u = u.detach().requires_grad_()
    with torch.enable_grad():
        (slope,) = torch.autograd.grad(f(u).sum(), u)
    return absdot((f(u) - slope * u).detach(), v * slope[:, None])


def test_decompx_by_its_definition(bert):
    module, forward, inputs = bert
    own = Bert(module, inputs)
    with torch.no_grad():
        for settings, share, activation in (
            ({}, absdot, zero_origin),
            ({"activation": "tangent"}, absdot, tangent),
            ({"bias": None}, lambda bias, v: v, zero_origin),  # which our method has from one gradient
        ):
            expected = decomposed(own, share, activation)
            maps = DecompX(**settings)(forward, inputs, TARGET)[SAMPLE]
            torch.testing.assert_close(maps[:LENGTH], expected[:, 1], rtol=1e-5, atol=1e-7)
            assert (maps[LENGTH:] == 0).all()


@pytest.mark.parametrize(
    "settings",
    [{}, {"activation": "tangent"}, {"bias": "norm"}, {"bias": "cosine"}, {"bias": "equal"}],
    ids=str,
)
def test_decompx_sums_to_the_logits(settings, layout):
    name, forward, inputs = layout
    if name == "llama":
        with pytest.raises(RefusedError, match="not gated ones"):
            DecompX(**settings)(forward, inputs)
        return
    classes = torch.tensor([[0, 1], [1, 0], [1, 1]])
    with torch.no_grad():
        logits = forward(inputs).gather(1, classes)
    torch.testing.assert_close(DecompX(**settings)(forward, inputs, classes).sum(dim=-1), logits)


def test_without_biases_one_gradient_is_enough_in_pre_norm_blocks_too():
    """The form that carries vectors, of a model whose biases are zero, is what the gradient gives."""
    module, forward, inputs = of_text(make_gpt2())
    for name, parameter in module.named_parameters():
        if name.endswith("bias"):
            parameter.data.zero_()
    expected = DecompX()(forward, inputs, TARGET)
    torch.testing.assert_close(DecompX(bias=None)(forward, inputs, TARGET), expected)


CLASS_FREE = [GlobEnc(), ALTI(), ValueZeroing(), DecompX(readout="pooler")]


@pytest.mark.parametrize("method", [*CLASS_FREE, DecompX(), DecompX(bias=None)], ids=str)
def test_each_explains_a_layout_or_refuses_it(method, layout):
    name, forward, inputs = layout
    refused = {"GlobEnc": {"gpt2", "llama", "vit", "registers"}, "DecompX": {"llama"}}
    if name in refused.get(type(method).__name__, ()):
        with pytest.raises(RefusedError):
            method(forward, inputs)
        return
    found = verify(method, forward, inputs, TARGET)  # a sample alone among them, and two classes
    assert found.figures["alone"] <= 1e-6
    maps = method(forward, inputs)
    assert maps.isfinite().all()
    if method in CLASS_FREE:
        assert (maps >= 0).all()
        if not isinstance(method, (GlobEnc, DecompX)):
            torch.testing.assert_close(maps.sum(dim=1), torch.ones(3).double())
        both = method(forward, inputs, torch.tensor([[0, 1]] * 3))
        assert torch.equal(both[:, 0], maps)
        assert torch.equal(both[:, 1], maps)


def test_classes_in_another_order_are_maps_in_another_order(bert):
    _, forward, inputs = bert
    other, swapped, _ = of_text(make_bert())
    for parameter in other.classifier.parameters():
        parameter.data = parameter.data.flip(0)
    for method in (DecompX(bias="norm"), DecompX(bias=None)):
        torch.testing.assert_close(method(swapped, inputs, 1 - TARGET), method(forward, inputs, TARGET))
    for method in CLASS_FREE[:3]:
        torch.testing.assert_close(method(swapped, inputs), method(forward, inputs))


def test_several_tokens_that_are_read_are_refused_or_averaged():
    module = make_vit(global_pool="avg", class_token=False).double()
    images = IMAGES.double()
    with pytest.raises(RefusedError):
        DecompX()(module, images)
    contributions = ALTI().contributions(module, images)[0]
    product = contributions[2] @ contributions[1] @ contributions[0]
    torch.testing.assert_close(ALTI()(module, images)[0], product.mean(dim=0))


def test_a_model_that_does_something_else_is_refused():
    """Parts that are recomputed are compared with the model's own."""
    module = make_bert().double()
    dense = module.bert.encoder.layer[1].attention.self
    plain = dense.forward

    def scaled(*arguments, **settings):
        context, *rest = plain(*arguments, **settings)
        return context * torch.linspace(1, 2, 24, dtype=torch.float64), *rest

    dense.forward = scaled
    with pytest.raises(RefusedError):
        ALTI()(lambda inputs: module(**inputs).logits, texts())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ALTI(distance="l3"), "distance='l3'"),
        (lambda: ALTI(after="norm"), "after='norm'"),
        (lambda: DecompX(bias="dot"), "bias='dot': expected one of absdot, norm, cosine, equal, None"),
        (lambda: DecompX(activation="secant"), "activation='secant'"),
        (lambda: DecompX(readout="head"), "readout='head'"),
        (lambda: DecompX(feed_forward=None), "feed_forward=None"),
    ],
)
def test_settings_out_of_range_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_the_block_has_no_norm_behind_it():
    _, forward, inputs = of_text(make_llama())
    with pytest.raises(RefusedError, match="choose after='attention'"):
        ALTI(after="block")(forward, inputs)
