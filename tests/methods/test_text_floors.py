"""Floors for texts: maps of words that look at no model."""

import math

import pytest
import torch

from methods import ContentWords, DocumentFrequencies, FirstWords, InverseFrequency, RefusedError, Words
from methods.text_floors import is_content_word

TEXTS = [["The", "old", "boat", ",", "sank"], ["a", "Boat", "!"]]
GROUPS = torch.tensor([[-1, 0, 1, 1, 2, 3, 4, -1], [-1, 0, 1, 2, -1, -1, -1, -1]])
INPUTS = {"input_ids": torch.arange(16).view(2, 8), "attention_mask": torch.ones(2, 8)}
FREQUENCIES = DocumentFrequencies.of([*TEXTS, ["the", "sea"]])


def players(**changes):
    return Words(**{"groups": GROUPS, "texts": TEXTS} | changes)


METHODS = {
    "first": lambda p: FirstWords(p),
    "inverse": lambda p: InverseFrequency(p, FREQUENCIES),
    "content": lambda p: ContentWords(p),
}


def test_the_earlier_the_more_relevant():
    maps = FirstWords(players())(None, INPUTS)
    assert maps[0].tolist() == pytest.approx([0, 1, 0.8, 0.8, 0.6, 0.4, 0.2, 0])
    assert maps[1].tolist() == pytest.approx([0, 1, 2 / 3, 1 / 3, 0, 0, 0, 0])


def test_words_that_were_cut_off_count_for_nothing():
    cut = torch.where(GROUPS > 1, -1, GROUPS)
    assert FirstWords(players(groups=cut))(None, INPUTS)[0].tolist() == pytest.approx(
        [0, 1, 0.5, 0.5, 0, 0, 0, 0]
    )


def test_the_rarer_the_more_relevant_whatever_the_case():
    assert FREQUENCIES.texts == 3
    assert FREQUENCIES.counts["boat"] == FREQUENCIES.counts["the"] == 2
    one, two = math.log(4 / 2), math.log(4 / 3)
    maps = InverseFrequency(players(), FREQUENCIES)(None, INPUTS)
    assert maps[0].tolist() == pytest.approx([0, two, one, one, two, one, one, 0])
    assert maps[1].tolist() == pytest.approx([0, one, two, one, 0, 0, 0, 0])
    assert FREQUENCIES.inverse("unheard") == pytest.approx(math.log(4))
    assert DocumentFrequencies.of([["a"], ["a"]]).inverse("a") == 0


def test_content_words_only():
    maps = ContentWords(players())(None, INPUTS)
    assert maps[0].tolist() == [0, 0, 1, 1, 1, 0, 1, 0]
    assert maps[1].tolist() == [0, 0, 1, 0, 0, 0, 0, 0]


@pytest.mark.parametrize("word", ["film", "1999", "(Stallone)", "re-make", "isles", "naïve", "U.S."])
def test_words_with_content(word):
    assert is_content_word(word)


@pytest.mark.parametrize(
    "word", ["the", "The", '"it', "n't", "'s", "don’t", "--", "...", "", "we're", "(and"]
)
def test_words_without_content(word):
    assert not is_content_word(word)


@pytest.mark.parametrize("make", METHODS.values(), ids=METHODS)
def test_a_sample_has_the_same_map_in_any_batch_and_for_any_class(make):
    method = make(players())
    maps = method(None, INPUTS)
    assert maps.dtype == torch.float64
    several = method(None, INPUTS, torch.zeros(2, 3, dtype=torch.long))
    assert several.shape == (2, 3, 8)
    assert several[:, 1].equal(maps)
    alone = make(players().of_samples(torch.tensor([1]), 4))(None, {"input_ids": INPUTS["input_ids"][1:, :4]})
    assert alone.equal(maps[1:, :4])
    assert not type(method).class_specific
    assert method.passes(100, 12) == (0, 0)


@pytest.mark.parametrize("make", METHODS.values(), ids=METHODS)
def test_what_has_no_words_is_refused(make):
    with pytest.raises(RefusedError, match="floor for texts"):
        make(None)(None, torch.rand(2, 3, 8, 8))
    with pytest.raises(RefusedError, match=r"expected\s+input_ids"):
        make(players())(None, torch.rand(2, 3, 8, 8))
    with pytest.raises(RefusedError, match="one number for each token"):
        make(players())(None, {"input_ids": torch.zeros(2, 5, dtype=torch.long)})


@pytest.mark.parametrize("name", ["inverse", "content"])
def test_those_that_score_words_need_the_words(name):
    with pytest.raises(RefusedError, match=r"texts=…"):
        METHODS[name](players(texts=None))(None, INPUTS)
    with pytest.raises(RefusedError, match=r"texts=…"):
        METHODS[name](players().at_most(2))(None, INPUTS)  # neighbours put together are no words


def test_frequencies_are_asked_for():
    with pytest.raises(RefusedError, match=r"frequencies=DocumentFrequencies\.of\(texts\)"):
        InverseFrequency(players())(None, INPUTS)


def test_a_number_without_a_word_is_refused():
    with pytest.raises(ValueError, match="a word for each number"):
        players(texts=[TEXTS[0][:3], TEXTS[1]])
