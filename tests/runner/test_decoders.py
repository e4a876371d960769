"""Decoder classifiers (Llama, Qwen2, Qwen3) through the runner, with claims and documents as pairs."""

from functools import partial

import numpy as np
import pytest
import torch

import bench  # noqa: F401
from bench.errors import BenchError
from bench.models import TextModel
from bench.runner.cell import run
from tests.support.cells import record_of, rows_of
from tests.support.tiny_claims import claims_configuration, write_claims
from tests.support.tiny_models_of_texts import write_decoder

pytestmark = pytest.mark.numerical

FAMILIES = ("llama", "qwen2", "qwen3")
METHODS = ("transformer_attribution", "attn_lrp")


@pytest.fixture(scope="module", params=FAMILIES)
def root(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    write_claims(folder / "eraser" / "fever", {"test": 6})
    write_decoder(folder / "model", request.param)
    return folder


@pytest.fixture
def configure(root, tmp_path):
    return partial(claims_configuration, root, "model", tmp_path / "results", 96)


def test_the_last_token_is_read_with_any_padding(root):
    """What a classifier says of a text does not depend on the batch; its tokenizer's files pad in front."""
    model = TextModel(root / "model")
    texts = [["the", "boat", "is", "red", "."], ["it", "is"], ["the", "grey", "coat"]]
    together = model.encode(texts, 64)
    assert together.inputs["attention_mask"][:, 0].tolist() == [1, 1, 1]
    logits = model.forward(together.inputs)
    for place, text in enumerate(texts):
        alone = model.encode([text], 64)
        torch.testing.assert_close(logits[place], model.forward(alone.inputs)[0], atol=1e-5, rtol=1e-4)
    # The last token decides: without it the answer is another.
    shorter = model.forward(model.encode([texts[0][:-1]], 64).inputs)[0]
    assert (shorter - logits[0]).abs().max() > 1e-3


@pytest.mark.parametrize("method", METHODS)
def test_a_batch_gives_the_maps_of_single_texts(configure, method):
    maps, scores = [], []
    for size in (1, 4):
        run(config := configure("task=token_f1", f"method={method}", f"batch_size={size}", f"seed={size}"))
        maps.append(rows_of(config, "maps")["map"])
        scores.append(np.stack(rows_of(config)["token_f1"]))
        checks = record_of(config)["checks"]
        assert checks["alone"] < 1e-4
    for one, other in zip(*maps, strict=True):
        assert np.abs(one).max() > 0
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-5 * np.abs(one).max())
    np.testing.assert_allclose(*scores, atol=1e-12)
    assert record_of(config)["texts"]["cut"] == 0


@pytest.mark.parametrize("task", ["plausibility", "faithfulness_decoders"])
def test_tasks_of_texts(configure, task):
    summary = run(configure(f"task={task}", "method=input_x_gradient"))
    assert all(np.isfinite(value) for value in summary.values())
    expected = {"auprc", "tau_leave_one_out"} if task == "plausibility" else {"srg", "comprehensiveness"}
    assert expected <= set(summary)


def test_words_are_deleted_as_a_model_without_a_mask_token_has_it(configure):
    with pytest.raises(
        BenchError, match=r"no mask token; use fill=delete, as all of task=faithfulness_decoders"
    ):
        run(configure("task=faithfulness_texts", "method=first_words"))
    with pytest.raises(BenchError, match="no mask token"):
        run(configure("task=token_f1", "method=leave_one_out"))
    assert run(configure("task=token_f1", "method=leave_one_out", "method.fill=delete")) is not None
