"""From texts to the word pieces that a model reads: single documents, and pairs of a query and a document."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from bench.errors import BenchError

SEPARATOR = "\n"  # between query and document, where a tokenizer puts nothing between the texts of a pair


class Pieces(NamedTuple):
    """Texts as a model takes them.

    Attributes:
        inputs: what the tokenizer makes, each (batch, pieces).
        words: the word of the document that each piece is of, (batch, pieces), numbered from 0; −1 for pieces of the
            query, special tokens and padding.
    """

    inputs: dict[str, Tensor]
    words: Tensor


def split_into_pieces(
    tokenizer: Any,
    documents: Sequence[Sequence[str]],
    queries: Sequence[Sequence[str]] | None,
    max_length: int,
    pad_to: int | None = None,
) -> Pieces:
    """Split texts into pieces, cut the documents at their ends, and pad on the tokenizer's side (:func:`pad_on_side`).

    A query and its document become the tokenizer's pair, of which only the document is cut. Where a tokenizer puts
    nothing between the two, as those of Qwen and GPT-2 do not, a line break stands there.

    Args:
        tokenizer: a fast one of transformers.
        documents: each as its words.
        queries: the words of each document's query; none, or an empty one, for a document alone.
        max_length: of all pieces of a text, special ones included.
        pad_to: how many pieces all texts have in the end; None for those of the longest.

    Raises:
        BenchError: if a query leaves no room for its document, or a text holds what no tokenizer takes.
    """
    for text in (*documents, *(queries or ())):
        _check_characters(text)
    tokenizer.truncation_side = "right"  # the words that are seen are the first of the document
    takes_words = not glues(tokenizer)
    rows = [
        _one(tokenizer, words, queries[i] if queries else (), max_length, takes_words)
        for i, words in enumerate(documents)
    ]
    length = max(len(words) for _, words in rows) if pad_to is None else pad_to
    fill = {"input_ids": tokenizer.pad_token_id or 0, "token_type_ids": tokenizer.pad_token_type_id}
    left = tokenizer.padding_side == "left"

    def padded(values: Sequence[int], filler: int) -> list[int]:
        missing = [filler] * (length - len(values))
        return [*missing, *values] if left else [*values, *missing]

    inputs = {
        name: torch.tensor([padded(values[name], fill.get(name, 0)) for values, _ in rows])
        for name in rows[0][0]
    }
    return Pieces(inputs, torch.tensor([padded(words, -1) for _, words in rows]))


def pad_on_side(tokenizer: Any, config: Any) -> None:
    """Let a tokenizer pad behind the text, whatever its files say; for XLNet, which reads the last place, before it.

    Tokenizers of decoders often pad in front, for writing on. Read by a classifier, such padding moves the positions of
    the text, and with learned positions, as GPT-2 has them, a text in a batch is another input than the text alone.
    Behind the text no token sees it, and these classifiers read the last token that is no padding.

    Args:
        config: the model's.
    """
    tokenizer.padding_side = "left" if config.model_type == "xlnet" else "right"


def _check_characters(words: Sequence[str]) -> None:
    for word in words:
        try:
            word.encode()
        except UnicodeEncodeError as e:
            raise BenchError(
                f"dataset: the word {word[:60]!a} holds half of a character ({e.reason}), which no tokenizer "
                "takes; write the text as UTF-8 again"
            ) from e


def glues(tokenizer: Any) -> bool:
    """Whether words that are given one by one reach the model without a blank between them."""
    encoded = tokenizer(["film", "plot"], is_split_into_words=True, add_special_tokens=False)
    return "filmplot" in tokenizer.decode(encoded["input_ids"]).lower()


def _one(
    tokenizer: Any, document: Sequence[str], query: Sequence[str], max_length: int, takes_words: bool
) -> tuple[dict[str, list[int]], list[int]]:
    """The pieces of one text, and the word of the document of each."""
    paired, unseparated = bool(query), not _separates(tokenizer)
    if takes_words:
        texts = [[*query, *([SEPARATOR] if unseparated else [])], list(document)]
    else:
        texts = [" ".join(query) + (SEPARATOR if unseparated else ""), " ".join(document)]
    texts = texts if paired else texts[1:]
    if paired:
        _check_room(tokenizer, texts[0], max_length, takes_words)
    encoded = tokenizer(
        *texts,
        is_split_into_words=takes_words,
        truncation="only_second" if paired else True,
        max_length=max_length,
        return_offsets_mapping=not takes_words,
    )
    of_document = [number == len(texts) - 1 for number in encoded.sequence_ids(0)]
    spans = encoded.pop("offset_mapping", None)
    words = encoded.word_ids(0) if spans is None else _words_at(document, spans, of_document)
    numbers = [
        -1 if not is_own or word is None else word for word, is_own in zip(words, of_document, strict=True)
    ]
    return dict(encoded), numbers


def _separates(tokenizer: Any) -> bool:
    """Whether a tokenizer puts a token of its own between the texts of a pair."""
    return tokenizer.num_special_tokens_to_add(pair=True) > tokenizer.num_special_tokens_to_add(pair=False)


def _check_room(tokenizer: Any, query: Any, max_length: int, takes_words: bool) -> None:
    own = tokenizer(query, is_split_into_words=takes_words, add_special_tokens=False)["input_ids"]
    taken = len(own) + tokenizer.num_special_tokens_to_add(pair=True)
    if taken >= max_length:
        shown = query if isinstance(query, str) else " ".join(query)
        raise BenchError(
            f"dataset: the query {shown[:60].strip()!r} takes {taken} of max_length={max_length} word pieces and "
            "leaves none to its document; raise max_length, or leave the queries out with dataset.query=false"
        )


def _words_at(
    document: Sequence[str], spans: Sequence[Sequence[int]], of_document: Sequence[bool]
) -> list[int | None]:
    """The word of the document that each piece is of, by the place in the text where it ends; None for none."""
    number_at: list[int | None] = []  # of the word at each character; the blank between two is of none
    for number, word in enumerate(document):
        number_at += [number] * len(word) + [None]
    # A piece may begin with the blank before its word.
    return [
        number_at[end - 1] if own and end > start else None
        for (start, end), own in zip(spans, of_document, strict=True)
    ]
