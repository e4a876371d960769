"""Methods that images and texts share, on padded texts: an encoder with positions and types, and a decoder."""

import bench  # noqa: F401  isort: skip  (lets transformers be imported)

from dataclasses import replace

import pytest
import torch
from transformers import LlamaConfig, LlamaForSequenceClassification

from methods import (
    AGCAM,
    GAE,
    AttCAT,
    AttnLRP,
    DifferenceXGradient,
    ExpectedGradients,
    FullGradPlus,
    Gradient,
    GradSAM,
    InputXGradient,
    IntegratedGradients,
    LeGrad,
    LibraGrad,
    SmoothGrad,
    Tape,
    TokenTM,
)
from tests.support.small_models import LENGTHS, enlarged, make_bert, texts

pytestmark = pytest.mark.numerical

METHODS = [
    Gradient("l2"),
    InputXGradient(),
    InputXGradient(entry="embeddings", reduce="l2"),
    IntegratedGradients(points=2, token_id=1, keep=(2, 3)),
    IntegratedGradients(points=2, token_id=1, entry="embeddings"),
    ExpectedGradients(samples=2, token_id=1),
    DifferenceXGradient(token_id=1),
    SmoothGrad(samples=2, statistic="mean_square"),
    SmoothGrad(samples=2, entry="sum", of="input_x_gradient"),
    GAE(),
    GAE(last_block_only=True, signed=True),
    GradSAM(),
    AGCAM(),
    TokenTM(),
    LeGrad(start_layer=0),
    AttCAT(),
    LibraGrad(GAE()),
    LibraGrad(InputXGradient()),
    AttnLRP(),
    AttnLRP("constant", gate="constant", entry="embeddings"),
]
OF_BERT = [FullGradPlus(), LibraGrad(FullGradPlus())]  # of a decoder's norms the tape knows no biases: none


def make_llama():
    config = LlamaConfig(
        **{"vocab_size": 50, "hidden_size": 24, "intermediate_size": 32, "num_hidden_layers": 2},
        **{"num_attention_heads": 4, "num_key_value_heads": 2, "pad_token_id": 0, "num_labels": 2},
    )
    return enlarged(LlamaForSequenceClassification(config), std=0.4)


MODELS = {"bert": make_bert, "llama": make_llama}


@pytest.fixture(scope="module", params=MODELS)
def forward(request):
    model = MODELS[request.param]().double()
    return lambda inputs: model(**inputs).logits


def names(methods):
    return [f"{type(m).__name__}{i}" for i, m in enumerate(methods)]


@pytest.mark.parametrize("method", METHODS + OF_BERT, ids=names(METHODS + OF_BERT))
def test_padding_changes_nothing(method, forward):
    inputs, target = texts(), torch.tensor([1, 0, 1])
    together = method(forward, inputs, target)
    assert together.shape == (3, 9)
    assert together.isfinite().all()
    for i, length in ((0, LENGTHS[0]), (1, LENGTHS[1])):
        one = {name: t[i : i + 1, :length] for name, t in inputs.items()}
        alone = method(forward, one, target[i : i + 1])
        torch.testing.assert_close(together[i : i + 1, :length], alone, rtol=1e-6, atol=1e-12)
        assert (together[i, :length] != 0).any()
        assert (together[i, length:] == 0).all()


def test_attcat_over_all_rows_has_those_that_nobody_reads():
    bert, inputs = make_bert().double(), texts()
    full = {name: t[:1] for name, t in inputs.items()}  # without padding
    hidden = full | {"attention_mask": full["attention_mask"].clone()}
    hidden["attention_mask"][:, 4] = 0
    maps = {q: AttCAT(queries=q)(lambda x: bert(**x).logits, hidden) for q in ("tokens", "all")}
    tape = Tape.record(lambda x: bert(**x).logits, hidden)
    gradients = tape.gradient(None, [b.input for b in tape.blocks])
    for queries, rows in (("tokens", [0, 1, 2, 3, 5, 6, 7, 8]), ("all", range(9))):
        expected = sum(
            b.attention.mean(1)[:, list(rows)].mean(1) * (b.input * g).sum(-1)
            for b, g in zip(tape.blocks, gradients, strict=True)
        )
        torch.testing.assert_close(maps[queries], expected.detach())
    with pytest.raises(ValueError, match="queries="):
        AttCAT(queries="rows")


def test_integrated_gradients_of_a_baseline_of_tokens_are_complete():
    bert = make_bert().double()
    inputs = {name: t[:1] for name, t in texts().items()}
    ids = inputs["input_ids"]
    method = IntegratedGradients(points=30, token_id=1, keep=(int(ids[0, 0]),))
    baseline = {**inputs, "input_ids": torch.where(ids == ids[0, 0], ids, 1)}
    change = (bert(**inputs).logits - bert(**baseline).logits)[0, 1]
    total = method(lambda x: bert(**x).logits, inputs, torch.tensor([1])).sum()
    torch.testing.assert_close(total, change, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    "method",
    [
        Gradient("l2"),
        InputXGradient(),
        IntegratedGradients(points=2, token_id=1),
        IntegratedGradients(points=2, entry="embeddings"),
        SmoothGrad(samples=1),
    ],
    ids=lambda m: type(m).__name__,
)
def test_gradients_in_float64_of_a_model_in_float32(method):
    bert, inputs = make_bert(), texts()
    maps = replace(method, dtype="float64")(lambda x: bert(**x).logits, inputs)
    bert.double()
    torch.testing.assert_close(maps, method(lambda x: bert(**x).logits, inputs), rtol=1e-9, atol=1e-12)


def test_tokens_alone_are_explained_as_with_a_mask_of_ones():
    bert = make_bert().double()
    inputs = {name: t[:1] for name, t in texts().items()}
    method = IntegratedGradients(points=2, token_id=1)
    expected = method(lambda x: bert(**x).logits, inputs)
    torch.testing.assert_close(method(lambda x: bert(x).logits, inputs["input_ids"]), expected)
