"""# Floors for texts

**Formula.** Three maps that look at the words of a text and at no model. *First words*: (n − i)/n for word i of n,
counted from 0, so the earlier a word the more relevant it is. *Inverse frequency*: ln((1 + N)/(1 + d)) of a word that
occurs in d of the N texts of the data set. *Content words*: 1 for words that say what a text is about, 0 for function
words (articles, pronouns, prepositions, conjunctions, auxiliaries and the like, a list of the closed classes of
English) and for words without a letter or a digit. Not class-specific. All pieces of a word have the word's number;
words of a query, special tokens and padding have 0.

**Why.** Rationales of people are often at the beginning of a document, hold rare words, and hold hardly any function
words. A method that agrees with rationales no better than these has shown nothing about the model; a random map is a
lower floor still.

**Cost and memory.** No pass of the model. Inverse frequency reads all texts of the data set once before the first map.

**Reference.** ln((1 + N)/(1 + d)) is the smoothed inverse document frequency (Spärck Jones, "A Statistical
Interpretation of Term Specificity and Its Application in Retrieval", Journal of Documentation 28, 1972; smoothed as in
scikit-learn, without its added 1, so that a word of every text has 0). Words count without their case.
"""

import math
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from methods.common import Passes, for_each_class
from methods.function_words import FUNCTION_WORDS
from methods.players import Words, ids_of
from methods.relevance import Forward, Inputs, RefusedError


@dataclass(frozen=True, eq=False)
class DocumentFrequencies:
    """In how many texts each word occurs, without its case.

    Attributes:
        texts: how many texts there are.
        counts: of the words that occur, in lower case.
    """

    texts: int
    counts: Mapping[str, int]

    @classmethod
    def of(cls, texts: Iterable[Sequence[str]]) -> "DocumentFrequencies":
        """Count the words of texts that are given as their words."""
        counts: Counter[str] = Counter()
        number = 0
        for words in texts:
            counts.update({word.lower() for word in words})
            number += 1
        return cls(number, counts)

    def inverse(self, word: str) -> float:
        """ln((1 + texts)/(1 + texts with the word)), 0 or more."""
        return math.log((1 + self.texts) / (1 + self.counts.get(word.lower(), 0)))


@dataclass(frozen=True)
class _OfWords(ABC):
    """A map of numbers of words, without a look at the model.

    Args:
        players: which tokens make the words, and the words themselves; the benchmark fills it in.
    """

    class_specific: ClassVar[bool] = False

    players: Words | None = None

    def passes(self, tokens: int, blocks: int) -> Passes:
        """None: it never looks at the model."""
        return Passes(forward=0, backward=0)

    def __call__(self, forward: Forward, inputs: Inputs, target: Tensor | None = None) -> Tensor:
        """Returns (batch, tokens), float64; the same for each class of a (batch, classes) ``target``.

        Raises:
            RefusedError: for images, or if nobody said which tokens make the words.
        """
        name = type(self).__name__
        if not isinstance(self.players, Words):
            raise RefusedError(
                f"{name}: it is a floor for texts; expected players=Words(…), not {self.players!r}"
            )
        ids, groups = ids_of(inputs), self.players.groups
        if groups.shape != ids.shape:
            raise RefusedError(
                f"{name}: players has groups of shape {tuple(groups.shape)} for tokens {tuple(ids.shape)}; expected "
                "one number for each token"
            )
        score = self._scores()
        relevance = torch.zeros(groups.shape, dtype=torch.float64)
        for sample, numbers in enumerate(groups.tolist()):
            words = sorted({number for number in numbers if number >= 0})
            values = dict(zip(words, score(sample, words), strict=True))
            relevance[sample] = torch.tensor(
                [values.get(number, 0.0) for number in numbers], dtype=torch.float64
            )
        relevance = relevance.to(ids.device)
        return for_each_class(target, lambda _: relevance)

    @abstractmethod
    def _scores(self) -> Callable[[int, Sequence[int]], Sequence[float]]:
        """From the place of a text and the numbers of its words, in their order, to their scores."""

    def _of_each(self, score: Callable[[str], float]) -> Callable[[int, Sequence[int]], Sequence[float]]:
        """Scores that depend on the word alone."""
        texts = self.players.texts
        if texts is None:
            raise RefusedError(
                f"{type(self).__name__}: it scores the words themselves; expected players=Words(…, texts=…)"
            )
        return lambda sample, numbers: [score(texts[sample][number]) for number in numbers]


@dataclass(frozen=True)
class FirstWords(_OfWords):
    """A floor for texts: the earlier a word stands, the more relevant it is, (n − i)/n for word i of n, from 0.

    Args:
        players: which tokens make the words (:class:`methods.Words`); the benchmark fills it in.
    """

    version: ClassVar[int] = 1

    def _scores(self) -> Callable[[int, Sequence[int]], Sequence[float]]:
        return lambda sample, numbers: [1 - place / len(numbers) for place in range(len(numbers))]


@dataclass(frozen=True)
class InverseFrequency(_OfWords):
    """A floor for texts: the fewer texts a word occurs in, the more relevant it is, ln((1 + N)/(1 + d)).

    Spärck Jones, Journal of Documentation 28, 1972.

    Args:
        players: which tokens make the words, with the words themselves (:class:`methods.Words`); the benchmark fills
            it in.
        frequencies: in how many texts each word occurs; the benchmark counts the texts of the data set, without
            their queries.
    """

    version: ClassVar[int] = 1

    frequencies: DocumentFrequencies | None = None

    def _scores(self) -> Callable[[int, Sequence[int]], Sequence[float]]:
        if self.frequencies is None:
            raise RefusedError(
                "InverseFrequency: it needs the texts of a data set to count words in; give it "
                "frequencies=DocumentFrequencies.of(texts), or explain a data set"
            )
        return self._of_each(self.frequencies.inverse)


@dataclass(frozen=True)
class ContentWords(_OfWords):
    """A floor for texts: 1 for content words, 0 for function words of English and what has no letter or digit.

    Args:
        players: which tokens make the words, with the words themselves (:class:`methods.Words`); the benchmark fills
            it in.
    """

    version: ClassVar[int] = 1

    def _scores(self) -> Callable[[int, Sequence[int]], Sequence[float]]:
        return self._of_each(lambda word: float(is_content_word(word)))


def is_content_word(word: str) -> bool:
    """Whether a word of English, punctuation around it aside, is no function word and has a letter or a digit."""
    plain = word.lower().replace("’", "'")
    while plain and not plain[0].isalnum():
        plain = plain[1:]
    while plain and not plain[-1].isalnum():
        plain = plain[:-1]
    return bool(plain) and plain not in FUNCTION_WORDS
