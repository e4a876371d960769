"""Claims with documents through the runner: pairs, three classes, alternative rationales, texts that are cut."""

import json
from functools import partial

import numpy as np
import pytest

import bench  # noqa: F401
from bench.errors import BenchError
from bench.runner.cell import run
from bench.tables.table import table
from tests.support.cells import record_of, rows_of
from tests.support.tiny_claims import claims_configuration, write_claims
from tests.support.tiny_models_of_texts import write_bert

pytestmark = pytest.mark.numerical

FLOORS = ("first_words", "inverse_frequency", "content_words")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("root")
    write_claims(folder / "eraser" / "fever")
    write_bert(folder / "bert")
    return folder


@pytest.fixture
def configure(root, tmp_path):
    return partial(claims_configuration, root, "bert", tmp_path / "results", 32)


def test_a_cell_of_pairs(configure):
    run(config := configure("task=token_f1", "method=first_words"))
    rows = rows_of(config)
    assert rows["words"].tolist() == [21] * 6
    assert rows["visible"].tolist() == [21] * 6
    assert rows["annotated"].tolist() == [7, 7, 0, 7, 7, 0]
    # The first four words are the first of the alternatives, and all of it.
    assert np.stack(rows["token_f1"])[:, 1].tolist() == [1, 1, 0, 1, 1, 0]
    assert np.stack(rows["recall"])[0].tolist() == [1 / 4, 1, 1]
    assert rows_of(config, "predictions")["label"].tolist() == [0, 1, 2, 0, 1, 2]
    assert record_of(config)["texts"] == {"texts": 6, "cut": 0, "annotated": 28, "annotated_beyond": 0}
    assert "did not see" not in table(config).markdown()


def test_parts_are_all_needed(configure):
    run(config := configure("task=token_f1", "method=first_words", "dataset.groups=parts"))
    assert np.stack(rows_of(config)["token_f1"])[0, 1] == pytest.approx(2 * 4 / (4 + 7))


@pytest.mark.parametrize(
    ("method", "settings"),
    [
        *(("transformer_attribution", ()), ("attn_lrp", ()), ("leave_one_out", ())),
        ("integrated_gradients", ("method.points=5",)),
    ],
)
def test_the_query_is_read_and_neither_ranked_nor_removed(configure, method, settings):
    maps = []
    for size in (1, 3):
        how = (f"batch_size={size}", f"seed={size}", *settings)
        run(config := configure("task=token_f1", f"method={method}", *how))
        maps.append(rows_of(config, "maps")["map"])
        assert (rows_of(config)["visible"] == 21).all()
    for one, other in zip(*maps, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)
        assert len(one) == 4 + 21 + 3
        of_query = one[1:5]
        assert (of_query == 0).all() == (method == "leave_one_out")


@pytest.mark.parametrize("method", FLOORS)
def test_floors_look_at_words(configure, method):
    run(config := configure("task=plausibility", f"method={method}"))
    maps = np.stack(rows_of(config, "maps")["map"])
    assert (maps[:, :6] == 0).all()  # [CLS], the claim and [SEP]
    assert (maps[:, 6:-1] != 0).any()
    counts = rows_of(config, "plausibility")
    assert [len(own) for own in counts["span_annotated"]] == [3] * 6  # one for each k
    assert counts["auprc"].notna().tolist() == [True, True, False, True, True, False]


def test_inverse_frequencies_are_those_of_the_texts_that_are_explained(configure):
    run(config := configure("task=token_f1", "method=inverse_frequency"))
    first = rows_of(config, "maps")["map"][0][6:-1]
    assert first[4] == first[9] == 0  # a full stop is in every text
    assert first[10:20].max() > first[0]


def test_a_metric_of_each_alternative_takes_the_best(configure):
    run(config := configure("task=plausibility", "method=oracle"))
    counts = rows_of(config, "plausibility").iloc[0]
    # The map is the union of both; at k = 4 the four first words are a span of their own.
    assert (counts["span_hits"][1], counts["span_predicted"][1], counts["span_annotated"][1]) == (1, 1, 1)
    assert counts["auprc"] < 1


def test_faithfulness_of_pairs(configure):
    run(config := configure("task=faithfulness_texts", "method=first_words"))
    removed = rows_of(config, "removal_curves")
    assert len(removed) == 6
    assert all(np.isfinite(np.stack(removed["positive_probability"])).all(axis=1))


def test_what_the_model_does_not_see_is_said(configure):
    cut = "protocol.token_f1.max_length=14"  # seven words of each document, one annotated one beyond
    run(config := configure("task=token_f1", "method=first_words", cut))
    assert rows_of(config)["visible"].tolist() == [7] * 6
    assert record_of(config)["texts"] == {"texts": 6, "cut": 6, "annotated": 28, "annotated_beyond": 4}
    text = table(config).markdown()
    assert (
        "The model did not see the end of 6 of 6 texts; 14.3 % of the annotated words lie beyond what it saw."
        in text
    )


def test_shards_add_up_what_was_read(configure):
    cut = "protocol.token_f1.max_length=14"
    for shard in range(2):
        run(
            configure(
                "task=token_f1", "method=first_words", cut, "shards=2", f"shard={shard}", "batch_size=2"
            )
        )
    config = configure("task=token_f1", "method=first_words", cut)
    assert record_of(config)["texts"] == {"texts": 6, "cut": 6, "annotated": 28, "annotated_beyond": 4}


def test_texts_that_are_too_long_may_be_refused(configure):
    refuse = partial(configure, "task=token_f1", "method=first_words", "on_long_text=refuse")
    named = r"on_long_text=refuse: of 0 the model would see 7 of 21 words, at max_length=14.*on_long_text=cut"
    with pytest.raises(BenchError, match=named):
        run(refuse("protocol.token_f1.max_length=14"))
    whole = refuse()
    assert run(whole) is not None
    assert run(configure("task=token_f1", "method=first_words")) is None  # they are the same rows
    with pytest.raises(BenchError, match="on_long_text=shorten: expected cut or refuse"):
        run(whole | {"on_long_text": "shorten"})


def test_a_claim_that_fills_the_model_is_named(configure):
    with pytest.raises(BenchError, match=r"the query 'the \w+ is \w+' takes 7 of max_length=7"):
        run(configure("task=token_f1", "method=first_words", "protocol.token_f1.max_length=7"))


def test_without_the_query(configure):
    run(config := configure("task=token_f1", "method=first_words", "dataset.query=false"))
    assert all(len(own) == 21 + 2 for own in rows_of(config, "maps")["map"])


def test_a_damaged_line_is_named_with_its_key(configure, root, tmp_path):
    line = json.loads((root / "eraser/fever/test.jsonl").read_text().splitlines()[0])
    line["evidences"][0][0]["end_token"] = None
    (tmp_path / "test.jsonl").write_text(json.dumps(line) + "\n")
    (tmp_path / "docs").mkdir()
    named = (
        r"test\.jsonl, line 1: evidences\[0\]\[0\]\.end_token: null; expected a whole number of words\. Mend"
    )
    with pytest.raises(BenchError, match=named):
        run(configure("task=token_f1", "method=first_words", f"dataset.path={tmp_path}"))


def test_a_nested_subset_has_the_maps_of_the_whole(configure):
    few = configure("task=token_f1", "method=inverse_frequency", "subset=3")
    run(few)
    run(whole := configure("task=token_f1", "method=inverse_frequency"))
    own, all_of_them = (rows_of(config, "maps").set_index("id")["map"] for config in (few, whole))
    assert len(own) == 3
    for name, values in own.items():
        np.testing.assert_allclose(values, all_of_them[name], rtol=1e-6)
