"""Methods on words in the runner: which tokens they are told to remove, and how pieces make a word's score."""

from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from bench.errors import BenchError
from bench.explain import TextExplainer
from bench.models import Batch, Maps, TextModel
from bench.runner.cell import run
from bench.runner.explain import with_players
from bench.tasks.rationale import relevant_words
from methods import LeaveOneOut, Patches, RandomMap, Segments, Words
from tests.support.cells import rows_of
from tests.support.tiny_texts import text_configuration, write

pytestmark = pytest.mark.numerical


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return write(tmp_path_factory.mktemp("root"))


@pytest.fixture
def configure(root, tmp_path):
    return partial(
        text_configuration, root, tmp_path / "results", "task=token_f1", "protocol.token_f1.k=[1,3,50]"
    )


def test_the_players_are_the_words_of_the_data_set(configure, root):
    config = configure("method=leave_one_out")
    run(config)
    kept = rows_of(config, "maps").set_index("id")["map"]
    model = TextModel(root / "bert")
    batch = model.encode([["the", "plot", "was", "boring", "and", "the", "films", "bad", "bad", "bad"]], 32)
    players = Words(batch.words, mask_id=model.tokenizer.mask_token_id, pad_id=0)
    expected = LeaveOneOut(players=players)(model.forward, batch.inputs, torch.tensor([0]))
    np.testing.assert_allclose(kept["a"], expected[0], atol=1e-6)
    boring = (batch.words[0] == 3).nonzero().flatten()
    assert len(boring) == 2  # pieces, which are removed together
    assert kept["a"][boring[0]] == kept["a"][boring[1]]


@pytest.mark.parametrize("method", ["leave_one_out", "occlusion", "kernel_shap", "lime", "partition_shap"])
def test_each_runs_on_texts_whatever_the_batch(configure, method):
    fewer = ["method.most_players=4", "save_every=0"]
    if method in ("kernel_shap", "lime"):
        fewer.append("method.samples=12")
    run(together := configure(f"method={method}", "batch_size=3", *fewer))
    maps = rows_of(together, "maps")["map"]
    run(alone := configure(f"method={method}", "batch_size=1", "rerun=true", *fewer))
    for one, other in zip(maps, rows_of(alone, "maps")["map"], strict=True):
        assert np.abs(one).max() > 0
        np.testing.assert_allclose(one, other, atol=1e-5)


def test_a_model_without_a_mask_token_needs_another_fill(configure, monkeypatch):
    monkeypatch.setattr(TextModel, "mask_id", None)
    with pytest.raises(BenchError, match=r"^method: fill='mask': the model has no mask token"):
        run(configure("method=leave_one_out"))
    assert run(configure("method=leave_one_out", "method.fill=attention")) is not None


def test_images_have_their_patches_removed():
    model = SimpleNamespace(grid=(2, 3), prefix_tokens=1)
    images = Batch((), torch.zeros(1, 3, 32, 48))
    assert with_players(LeaveOneOut(), model, images).players == Patches((2, 3), 1)


def test_who_was_told_already_is_not_told_again():
    segments = LeaveOneOut(players=Segments(torch.zeros(4, 4, dtype=torch.long)))
    assert with_players(segments, None, None) is segments
    assert with_players(method := RandomMap(), None, None) is method


WORDS = torch.tensor([[-1, 0, 0, 1, 1, -1]])
VALUES = torch.tensor([[9.0, 0.5, -0.2, 0.1, -0.4, 9.0]])


@pytest.mark.parametrize(
    ("of_method", "expected"),
    [("sum", [0.3, 0.0]), ("max", [0.5, 0.1]), ("mean", [0.25, 0.05]), (None, [0.5, 0.1])],
)
def test_a_method_says_how_pieces_make_a_word(of_method, expected):
    """Pieces of a sum keep their signs and the word is clamped; of a maximum or a mean each piece is."""
    maps = Maps(VALUES, torch.zeros(1, 0), torch.zeros(1), of_method)
    scores, visible = relevant_words(maps, WORDS, "max")
    assert scores[0].tolist() == pytest.approx(expected)
    assert visible.all()


def test_another_way_to_join_pieces_is_refused():
    with pytest.raises(BenchError, match=r"method.word_score='product': expected one of sum, max, mean"):
        relevant_words(Maps(VALUES, torch.zeros(1, 0), torch.zeros(1), "product"), WORDS, "max")


def test_kept_maps_score_as_fresh_ones(configure):
    method = ["method=kernel_shap", "method.samples=12"]
    run(fresh := configure(*method))
    measured = np.stack(rows_of(fresh)["token_f1"])
    run(other := configure(*method, "protocol.token_f1.k=[1,3,51]"))  # from the maps that are kept
    np.testing.assert_array_equal(np.stack(rows_of(other)["token_f1"])[:, :2], measured[:, :2])


def test_the_words_shown_are_joined_as_they_are_scored(root):
    overrides = [f"paths.data={root}", "method.most_players=6"]
    explainer = TextExplainer(str(root / "bert"), ["leave_one_out"], overrides)
    shown = explainer("boring films bad", target="NEG").maps["leave_one_out"]
    batch = explainer.model.encode([["boring", "films", "bad"]], 32)
    players = Words(batch.words, explainer.model.mask_id, explainer.model.pad_id)
    tokens = LeaveOneOut(players=players)(explainer.model.forward, batch.inputs, torch.tensor([0]))[0]
    expected = [max(0.0, float(tokens[batch.words[0] == word].sum())) for word in range(3)]
    np.testing.assert_allclose(shown, expected, atol=1e-5)
