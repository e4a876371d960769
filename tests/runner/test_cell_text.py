"""The token F1 task on a tiny BERT and documents of its own."""

import json
import shutil
from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import bench  # noqa: F401
from bench.config import build
from bench.errors import BenchError
from bench.models import TextModel
from bench.models.base import predicted
from bench.runner.cell import Plan, plan_summary, run
from bench.tasks.rationale import word_scores
from methods import TransformerAttribution
from tests.support.cells import cell_of, finished, record_of, rows_of
from tests.support.stored_rows import kept
from tests.support.tiny_texts import DOCUMENTS, PIECES, text_configuration, write

pytestmark = pytest.mark.numerical


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """The data root of the tiny text suite."""
    return write(tmp_path_factory.mktemp("root"))


@pytest.fixture
def configure(root, tmp_path):
    return partial(
        text_configuration, root, tmp_path / "results", "task=token_f1", "protocol.token_f1.k=[1,3,50]"
    )


def rows(config):
    """Run, and join what was measured, predicted and explained."""
    run(config)
    table = rows_of(config).merge(rows_of(config, "predictions"), on="id")
    if "maps" in finished(config):
        table = table.merge(rows_of(config, "maps")[["id", "explained_class"]], on="id")
    return table


def test_a_cell_scores_every_document_at_every_k(configure):
    table = rows(configure("method=transformer_attribution"))
    assert list(table["id"]) == list(DOCUMENTS)
    assert (table["explained_class"] == table["label"]).all()  # the annotated class is explained
    assert list(table["annotated"]) == [3, 2, 5]
    assert list(table["words"]) == [10, 9, 42]
    assert list(table["visible"]) == [10, 9, 30]  # 32 word pieces less [CLS] and [SEP]
    # With more words than there are, all visible words are the rationale.
    f1 = np.stack(table["token_f1"])[:, 2]
    assert f1 == pytest.approx([2 * 3 / (10 + 3), 2 * 2 / (9 + 2), 2 * 2 / (30 + 5)])


def test_rows_score_the_whole_rationale_and_what_the_model_saw_of_it(configure):
    table = rows(configure())
    assert (np.stack(table["recall"])[:2] == np.stack(table["visible_recall"])[:2]).all()
    assert (np.stack(table["token_f1"])[:2] == np.stack(table["visible_token_f1"])[:2]).all()
    # Of the third document's five annotated words the model sees two, and at k = 50 all 30 words are taken.
    last = table.iloc[2]
    assert (last["recall"][2], last["visible_recall"][2]) == (2 / 5, 1)
    assert last["visible_token_f1"][2] == pytest.approx(2 * 2 / (30 + 2))


def test_a_protocol_decides_which_scores_are_shown(configure):
    run(configure())
    clean = configure("protocol=clean", "protocol.token_f1.k=[1,3,50]")
    assert run(clean) is None  # nothing of it has to be measured: it is the same cell
    whole, both = (plan_summary(Plan.of(config)) for config in (configure(), clean))
    assert set(whole) == {f"token_f1@{k}" for k in (1, 3, 50)}
    assert both.keys() - whole.keys() == {
        f"{metric}_visible@{k}" for metric in ("token_f1", "recall") for k in (1, 3, 50)
    }
    assert {name: both[name] for name in whole} == whole


def test_the_scores_of_a_protocol_are_read_from_the_same_rows(configure):
    table = rows(config := configure())
    chosen = configure("protocol.token_f1.scores.only_correct=true")
    assert cell_of(chosen).rows_file == cell_of(config).rows_file
    correct = np.stack(table[table["label"] == table["predicted"]]["token_f1"])
    assert 0 < len(correct) < len(table)
    tables = {kind: rows_of(chosen, kind) for kind in ("predictions", "rationale_overlap")}
    statistics = build("task", chosen["task"], {"_target_"}).statistics(tables)
    assert statistics["token_f1", 3].value == pytest.approx(correct[:, 1].mean())


def test_the_oracle_is_the_ceiling(configure):
    """It finds every annotated word that is visible, and knows no other."""
    oracle = np.stack(rows(configure("method=oracle"))["token_f1"])
    # k words predicted of n annotated of which v are visible: min(k, v) hits.
    annotated, visible = np.array([[3], [2], [5]]), np.array([[3], [2], [2]])
    predicted = np.minimum([[1, 3, 50]], [[10], [9], [30]])
    assert oracle == pytest.approx(2 * np.minimum(predicted, visible) / (predicted + annotated))
    for method in ("random", "transformer_attribution"):
        assert (np.stack(rows(configure(f"method={method}"))["token_f1"]) <= oracle).all()


@pytest.mark.parametrize("method", ["transformer_attribution", "rollout", "gradcam", "lrp", "partial_lrp"])
def test_the_size_of_a_batch_changes_nothing(configure, method):
    padded = rows(configure(f"method={method}", "batch_size=3"))
    single = rows(configure(f"method={method}", "batch_size=1", "rerun=true"))
    assert np.allclose(np.stack(padded["token_f1"]), np.stack(single["token_f1"]), atol=1e-12)


def test_a_word_scores_the_maximum_of_its_pieces():
    scores = torch.tensor([[9.0, 0.1, 0.5, 0.2, 9.0, 9.0], [9.0, 0.3, 0.1, 0.1, 0.4, 9.0]])
    words = torch.tensor([[-1, 0, 0, 1, -1, -1], [-1, 0, 1, 1, 2, -1]])
    maximum, visible = word_scores(scores, words)
    assert np.allclose(maximum, [[0.5, 0.2, 0.0], [0.3, 0.1, 0.4]])
    assert visible.tolist() == [[True, True, False], [True, True, True]]
    mean, _ = word_scores(scores, words, "mean")
    assert mean[0].tolist() == pytest.approx([0.3, 0.2, 0.0])


@given(st.lists(st.lists(st.floats(0, 1), min_size=1, max_size=4), min_size=1, max_size=8))
def test_word_scores_by_their_definition(pieces):
    flat = [0.7, *(score for word in pieces for score in word), 0.9]
    index = [-1, *(i for i, word in enumerate(pieces) for _ in word), -1]
    scores, visible = word_scores(torch.tensor([flat], dtype=torch.float64), torch.tensor([index]))
    assert scores[0].tolist() == [max(word) for word in pieces]
    assert visible.all()


def test_words_and_pieces_keep_together(root):
    model = TextModel(root / "bert")
    encoding = model.encode([["boring", "films"], ["plot"]], max_length=32)
    assert encoding.words.tolist() == [[-1, 0, 0, 1, 1, -1], [-1, 0, -1, -1, -1, -1]]
    assert encoding.inputs["attention_mask"].tolist() == [[1] * 6, [1, 1, 1, 0, 0, 0]]


def rename_classes(folder, first, second):
    config = json.loads((folder / "config.json").read_text())
    config |= {"id2label": {"0": first, "1": second}, "label2id": {first: 0, second: 1}}
    (folder / "config.json").write_text(json.dumps(config))


@pytest.mark.parametrize(
    ("names", "indices"),
    [(("POS", "NEG"), [1, 0]), (("positive", "negative"), [1, 0]), (("LABEL_0", "LABEL_1"), [0, 1])],
)
def test_classes_are_found_by_their_names(root, tmp_path, names, indices):
    shutil.copytree(root / "bert", tmp_path / "bert")
    rename_classes(tmp_path / "bert", *names)
    model, renamed = TextModel(root / "bert"), TextModel(tmp_path / "bert")
    inputs = model.encode([["good", "film"]], 32).inputs
    classes = ("NEG", "POS")
    assert list(model.numbers(classes)) == [0, 1]
    assert list(renamed.numbers(classes)) == indices
    assert predicted(renamed, inputs, renamed.numbers(classes)) == indices[predicted(model, inputs, [0, 1])]


def broken(root, tmp_path, change):
    shutil.copytree(root / "bert", tmp_path / "broken")
    change(tmp_path / "broken")
    return tmp_path / "broken"


def drop_classifier(folder):
    from safetensors.torch import load_file, save_file

    weights = load_file(folder / "model.safetensors")
    kept = {name: value for name, value in weights.items() if not name.startswith("classifier")}
    save_file(kept, folder / "model.safetensors", metadata={"format": "pt"})


def truncate(folder):
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:5000])


def widen(folder):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"intermediate_size": 96}))


def shrink_vocabulary(folder):
    from transformers import BertTokenizerFast

    BertTokenizerFast(vocab={piece: i for i, piece in enumerate(PIECES[:6])}).save_pretrained(folder)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (drop_classifier, "lacks classifier.bias"),
        (truncate, "cannot be loaded"),
        (widen, r"the shape of bert\.encoder.* does not fit config.json"),
        (
            lambda folder: rename_classes(folder, "good", "bad"),
            "calls its classes good, bad; expected those of the data set, NEG, POS",
        ),
        (lambda folder: rename_classes(folder, "POS", "other"), "calls its classes POS, other"),
        (lambda folder: (folder / "config.json").write_text("{"), "cannot be loaded"),
        (shrink_vocabulary, "the tokenizer in .* has 6 words"),
    ],
)
def test_a_broken_model_is_named(root, tmp_path, change, expected):
    folder = broken(root, tmp_path, change)
    with pytest.raises(BenchError, match=expected) as raised:
        TextModel(folder).numbers(("NEG", "POS"))
    assert str(folder) in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("model.path=/no/such/bert", "there is no directory /no/such/bert"),
        ("protocol.token_f1.max_length=64", r"max_length=64.*at most 32"),
        ("dataset.split=dev", "dev"),
    ],
)
def test_bad_input_is_named(configure, tmp_path, override, expected):
    with pytest.raises(BenchError, match=expected):
        run(configure(override))
    assert not kept(tmp_path / "results")


def test_kept_maps_of_texts_have_a_number_per_piece(configure):
    """Beside the pieces themselves, and without the padding of the batch."""
    runs = [configure("method=gradcam", f"batch_size={size}", f"seed={size}") for size in (1, 3)]
    for config in runs:
        run(config)
    for (_, alone), (_, padded) in zip(*(rows_of(c, "maps").iterrows() for c in runs), strict=True):
        assert len(alone["map"]) == len(alone["input_ids"]) == alone["shape"][0]
        assert list(alone["input_ids"]) == list(padded["input_ids"])
        assert alone["map"].dtype == np.float32
        np.testing.assert_allclose(alone["map"], padded["map"], rtol=1e-4, atol=1e-6)
    lengths = [len(ids) for ids in rows_of(runs[0], "maps")["input_ids"]]
    assert len(set(lengths)) == 3
    assert max(lengths) == 32


class Counted(TransformerAttribution):
    """A method that notes for how many samples it is called."""

    calls = 0

    def for_check(self):
        return TransformerAttribution()

    def __call__(self, forward, inputs, target=None):
        Counted.calls += len(target)
        return super().__call__(forward, inputs, target)


def test_a_second_metric_on_kept_maps_of_texts_explains_nothing_again(configure):
    own = ("method=transformer_attribution", "method._target_=tests.runner.test_cell_text.Counted")
    Counted.calls = 0
    run(whole := configure(*own, "protocol.token_f1.word_score=mean"))
    assert Counted.calls == 3
    again = configure(*own)
    assert run(again) is not None  # the pieces of a word by their maximum
    assert Counted.calls == 3
    assert cell_of(whole).rows_file != cell_of(again).rows_file
    computed = rows_of(again)
    assert run(again | {"rerun": True}) is not None
    assert Counted.calls == 6
    pd.testing.assert_frame_equal(rows_of(again), computed, check_exact=True)


def test_a_cell_of_texts_begins_with_a_check_on_two_of_unequal_length(configure):
    run(config := configure("method=transformer_attribution"))
    checks = record_of(config)["checks"]
    assert checks["alone"] < 1e-6
    assert checks["conserved"] < 1e-3
