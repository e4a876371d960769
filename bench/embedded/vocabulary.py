"""The WordPiece vocabulary of the reviews: a few hundred pieces instead of 30,000."""

from pathlib import Path
from string import ascii_lowercase, digits, punctuation

from transformers import BertTokenizerFast

from bench.embedded.reviews import reviews

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
LONGEST_WHOLE = 6  # letters; a longer word is cut into two pieces, so that words and pieces differ
ENDINGS = ("ing", "ful", "less", "some", "able", "ed", "ous", "ant", "ent", "ive", "ist", "er", "ly")


def words() -> list[str]:
    """The words that reviews are written in, sorted; 5,000 reviews use all of them."""
    return sorted({word for review in reviews(seed=0, count=5000) for word in review.words})


def pieces() -> list[str]:
    """The vocabulary: special tokens, single letters and signs (so that no word is unknown), word pieces."""
    whole = {*ascii_lowercase, *digits, *punctuation}
    continued = {"##" + character for character in ascii_lowercase + digits}
    parts = {part for word in words() for part in word.split("-")}
    for part in parts:
        head, tail = _cut(part)
        whole.add(head)
        if tail:
            continued.add("##" + tail)
    return [*SPECIAL, *sorted(whole), *sorted(continued)]


def _cut(word: str) -> tuple[str, str]:
    if len(word) <= LONGEST_WHOLE:
        return word, ""
    ending = next((e for e in ENDINGS if word.endswith(e)), word[4:])
    return word.removesuffix(ending), ending


def save_tokenizer(folder: Path) -> BertTokenizerFast:
    """Write the tokenizer's files into ``folder`` and return it as loaded from there.

    transformers 5 ignores ``vocab_file=`` without a word, hence ``vocab=``.
    """
    vocabulary = {piece: index for index, piece in enumerate(pieces())}
    BertTokenizerFast(vocab=vocabulary, model_max_length=512).save_pretrained(folder)
    (folder / "vocab.txt").write_text("\n".join(vocabulary) + "\n")
    return BertTokenizerFast.from_pretrained(folder)
