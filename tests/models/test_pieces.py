"""Texts as models read them: single documents and pairs, for tokenizers that take words and for those that glue."""

import pytest
import torch

from bench.data import Eraser
from bench.errors import BenchError
from bench.models import TextModel
from bench.models.pieces import glues, split_into_pieces
from tests.support.tiny_claims import write_claims
from tests.support.tiny_models_of_texts import byte_level, write_bert, write_decoder

QUERY, DOCUMENT = ["the", "door", "is", "red"], ["the", "stone", "is", "blue", ".", "w1", "w2"]


@pytest.fixture(scope="module")
def bert(tmp_path_factory):
    return TextModel(write_bert(tmp_path_factory.mktemp("bert")))


@pytest.fixture(scope="module")
def gpt(tmp_path_factory):
    return TextModel(write_decoder(tmp_path_factory.mktemp("gpt2"), "gpt2"))


def test_query_and_document_are_the_tokenizers_pair(bert):
    batch = bert.encode([DOCUMENT], 32, [QUERY])
    expected = bert.tokenizer(" ".join(QUERY), " ".join(DOCUMENT), return_tensors="pt")
    for name, value in expected.items():
        assert batch.inputs[name].equal(value), name
    assert batch.inputs["token_type_ids"][0].tolist() == [0] * 6 + [1] * 8
    assert batch.words[0].tolist() == [-1] * 6 + [*range(7)] + [-1]


def test_only_the_document_is_cut(bert):
    batch = bert.encode([DOCUMENT], 11, [QUERY])
    assert batch.words[0].tolist() == [-1] * 6 + [0, 1, 2, 3] + [-1]
    assert bert.tokenizer.decode(batch.inputs["input_ids"][0][1:5]) == "the door is red"


@pytest.mark.parametrize("model", ["bert", "gpt"])
def test_a_query_that_leaves_no_room_is_refused(model, request):
    model = request.getfixturevalue(model)
    with pytest.raises(BenchError, match=r"the query 'the door is red.*max_length=7 .*dataset.query=false"):
        model.encode([DOCUMENT], 7, [QUERY * 2])


def test_a_document_without_a_query_among_others_is_read_alone(bert):
    together = bert.encode([DOCUMENT, DOCUMENT[:3]], 32, [QUERY, []])
    alone = bert.encode([DOCUMENT[:3]], 32)
    length = alone.words.shape[1]
    assert together.words[1, :length].equal(alone.words[0])
    assert (together.words[1, length:] == -1).all()
    for name, value in alone.inputs.items():
        assert together.inputs[name][1, :length].equal(value[0]), name
    assert together.inputs["attention_mask"].sum(dim=1).tolist() == [14, 5]


def test_a_tokenizer_that_puts_nothing_between_them_gets_a_line_break():
    tokenizer = byte_level()
    assert glues(tokenizer)
    pieces = split_into_pieces(tokenizer, [DOCUMENT], [QUERY], 64)
    ids = pieces.inputs["input_ids"][0]
    assert tokenizer.decode(ids) == "the door is red\nthe stone is blue . w1 w2"
    for number, word in enumerate(DOCUMENT):
        assert tokenizer.decode(ids[pieces.words[0] == number]).strip() == word
    assert tokenizer.decode(ids[pieces.words[0] == -1]) == "the door is red\n"


def test_padding_is_behind_the_text_whatever_the_files_say(gpt):
    """A decoder with learned positions reads a text in a batch as it reads it alone."""
    texts, queries = [DOCUMENT, DOCUMENT[:2]], [QUERY, QUERY[:2]]
    together = gpt.encode(texts, 64, queries)
    assert (together.words[1] == -1).sum() > (together.words[0] == -1).sum() - 3
    assert together.inputs["attention_mask"][1, 0] == 1
    logits = gpt.forward(together.inputs)
    for place, (text, query) in enumerate(zip(texts, queries, strict=True)):
        alone = gpt.encode([text], 64, [query])
        torch.testing.assert_close(logits[place], gpt.forward(alone.inputs)[0], atol=1e-5, rtol=1e-4)


def test_texts_may_be_padded_to_a_length_of_ones_own():
    tokenizer = byte_level("right")
    pieces = split_into_pieces(tokenizer, [DOCUMENT, DOCUMENT[:1]], None, 40, pad_to=40)
    assert {tuple(value.shape) for value in (*pieces.inputs.values(), pieces.words)} == {(2, 40)}
    assert (pieces.inputs["input_ids"][1, 5:] == tokenizer.pad_token_id).all()


def test_what_is_read_is_counted(bert, tmp_path):
    claims = Eraser(write_claims(tmp_path / "claims"), "test", groups="alternatives")
    samples = [claims[i] for i in (0, 2)]
    batch = bert.batch(samples, {"max_length": 14})
    assert batch.read == [
        {"words": 21, "visible": 7, "annotated": 7, "annotated_visible": 6},
        {"words": 21, "visible": 7, "annotated": 0, "annotated_visible": 0},
    ]
    assert batch.rationales.shape == (2, 21)
    assert batch.alternatives.sum(dim=2).tolist() == [[4, 0], [3, 0]]
    assert batch.annotation()[0].sum() == 6


def test_words_that_hold_blanks_keep_their_numbers():
    """A list of words may have such in it; the tokenizer is given one string."""
    tokenizer, words = byte_level(), ["the door", " is", "red  red", "blue"]
    assert glues(tokenizer)
    pieces = split_into_pieces(tokenizer, [words], None, 64)
    for number, word in enumerate(words):
        ids = pieces.inputs["input_ids"][0][pieces.words[0] == number]
        assert tokenizer.decode(ids).split() == word.split()
    assert pieces.words.max() == 3


def test_half_a_character_is_named(bert):
    with pytest.raises(BenchError, match=r"the word 'blu\\udcff' holds half of a character.*UTF-8"):
        bert.encode([["the", "blu\udcff"]], 32)
