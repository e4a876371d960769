"""Film reviews from a grammar: a stand-in for the movie reviews of ERASER.

A review voices several opinions, each about one aspect of a film, among sentences that only tell the plot.
Its label is the verdict of the clear majority. An opinion is an adjective or a verb, and three in ten are
negated, so that "far from dull" speaks for a film and "never funny" against it; people in the plot are "dull"
or "charming" too. Hence no word decides by its presence: a model has to join each word to its negation, tell
opinions from plot, and weigh the opinions against each other. The rationale is known exactly: it is the
opinions that agree with the verdict.
"""

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random

MARGIN = (3, 5)  # by how many opinions the majority leads
MINORITY = (0, 3)
NEGATED = 0.3  # share of the opinions
MIXED = 0.5  # share of the dissenting opinions that share a sentence with one of the majority
WORDS = (70, 260)  # aimed at; the last filler may take a review some words further

ASPECTS = (
    ("plot", "story", "script", "storyline"),
    ("acting", "cast", "leading actor", "leading actress"),
    ("music", "score", "soundtrack", "title song"),
    ("photography", "camera work", "lighting"),
    ("dialogue", "banter", "narration"),
    ("pacing", "rhythm", "editing"),
    ("ending", "finale", "last act"),
    ("humour", "comedy", "slapstick"),
    ("animation", "stunt work", "make-up"),
    ("direction", "staging", "choreography"),
    ("scenery", "set design", "wardrobe"),
    ("villain", "hero", "heroine", "sidekick"),
)
PRAISE = (
    *("brilliant", "charming", "clever", "convincing", "dazzling", "delightful", "elegant", "engaging"),
    *("flawless", "funny", "gripping", "hilarious", "inspired", "lively", "lovely", "masterful"),
    *("memorable", "moving", "original", "polished", "powerful", "refreshing", "stunning", "subtle"),
    *("superb", "thrilling", "touching", "witty"),
)
BLAME = (
    *("annoying", "awful", "bland", "boring", "careless", "clumsy", "contrived", "dreadful"),
    *("dreary", "dull", "flat", "forgettable", "hollow", "lazy", "lifeless", "mediocre"),
    *("messy", "painful", "pathetic", "pointless", "ridiculous", "shallow", "stale", "stupid"),
    *("tedious", "tiresome", "uninspired", "wooden"),
)
LIKED = ("admired", "adored", "cherished", "enjoyed", "loved", "relished")
DISLIKED = ("detested", "endured", "hated", "loathed", "regretted", "resented")

SAYS = (
    *("{it} is {adverb} {word}", "{it} was {word} throughout", "i found {it} {adverb} {word}"),
    *("{it} turns out to be {word}", "{it} strikes me as {adverb} {word}", "{it} remains {word} to the end"),
)
DENIES = (
    *("{it} is not {word}", "{it} is never {word}", "{it} is hardly {word}", "{it} is far from {word}"),
    *("{it} is anything but {word}", "i did not find {it} {adverb} {word}", "nobody could call {it} {word}"),
    *(
        "there is nothing {word} about {it}",
        "{it} does not strike me as {word}",
        "{it} was at no point {word}",
    ),
)
FEELS = ("i {adverb} {word} {it}", "i {word} {it} from start to finish", "like many others i {word} {it}")
DENIES_FEELING = (
    "i never {word} {it}",
    "i can hardly say that i {word} {it}",
    "at no point have i {word} {it}",
)
ADVERBS = ("really", "simply", "truly", "quite", "utterly", "rather")
LEADS = ("", "", "", "in my view ,", "to be fair ,", "this time", "i must say that", "once again")
JOINS_ALIKE = ("{a} and {b} .", "{a} ; what is more , {b} .", "{a} , and besides , {b} .")
JOINS_MIXED = ("although {a} , {b} .", "{a} , but {b} .", "{a} ; even so , {b} .", "while {a} , {b} .")

NAMES = (
    *("anna", "boris", "carla", "dmitri", "edith", "felix", "greta", "henry", "irene", "jonas", "katherine"),
    *("leopold", "margaret", "nikolai", "olivia", "patrick", "rosalind", "sebastian", "theodora", "vincent"),
)
TRAITS = ("young", "retired", "wealthy", "lonely", "married", "famous", "unemployed", "former")
JOBS = (
    *("detective", "teacher", "fisherman", "journalist", "surgeon", "carpenter", "librarian", "smuggler"),
    *(
        "photographer",
        "violinist",
        "shopkeeper",
        "astronaut",
        "gardener",
        "lieutenant",
        "bookkeeper",
        "pilot",
    ),
)
PLACES = (
    *(
        "a small harbour town",
        "the mountains of the north",
        "an abandoned hotel",
        "a crowded railway station",
    ),
    *("the capital", "a lighthouse on the coast", "a village near the border", "the archives of a museum"),
    *("a hospital by the river", "the old theatre", "a desert outpost", "the kitchen of a restaurant"),
)
DEEDS = (
    *("discovers a letter in the cellar", "loses a suitcase full of money", "inherits a house"),
    *("is accused of a robbery", "looks for a missing brother", "returns after eleven years"),
    *("agrees to drive a stranger across the country", "overhears a conversation", "opens a bakery"),
    *("has to hide from the police", "begins to receive phone calls", "is asked to translate a diary"),
)
FILLERS = (
    "{name} , a {trait} {job} , {deed} .",
    "the film opens in {place} , where {name} {deed} .",
    "when {name} meets {name} , the two set out for {place} .",
    "we follow {name} , who works as a {job} in {place} and one day {deed} .",
    "meanwhile , the {trait} {job} {deed} .",
    "much of the second half takes place in {place} .",
    "before long {name} {deed} , and the {job} from {place} gets involved .",
    "it is based on a novel about a {trait} {job} who {deed} .",
    "i saw it on a {day} evening with a {trait} {job} .",
)
DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")


@dataclass(frozen=True)
class Opinion:
    """One statement for (``positive``) or against the film: the words ``start`` to ``end`` (exclusive).

    ``negated`` says that it is made by denying the opposite.
    """

    start: int
    end: int
    positive: bool
    negated: bool


@dataclass(frozen=True)
class Review:
    """A generated review.

    Attributes:
        sentences: the words of each sentence, punctuation being words of their own.
        opinions: all statements, in the order of the text; positions count words over the whole review.
        label: 1 where most opinions are positive, else 0.
    """

    sentences: list[list[str]]
    opinions: list[Opinion]
    label: int

    @property
    def words(self) -> list[str]:
        return [word for sentence in self.sentences for word in sentence]

    @property
    def evidence(self) -> list[Opinion]:
        """The opinions that agree with the label."""
        return [opinion for opinion in self.opinions if opinion.positive == self.label]


def write(rng: Random, label: int, words: tuple[int, int] = WORDS) -> Review:
    """Write one review whose verdict is ``label``, with plot until it has as many words as ``words`` asks."""
    minority = rng.randint(*MINORITY)
    majority = minority + rng.randint(*MARGIN)
    aspects = [rng.choice(names) for names in rng.sample(ASPECTS, majority + minority)]
    agreeing = [_statement(rng, aspect, bool(label)) for aspect in aspects[:majority]]
    dissenting = [_statement(rng, aspect, not label) for aspect in aspects[majority:]]

    sentences = []
    while dissenting:
        pair = [dissenting.pop()]
        if rng.random() < MIXED:
            pair.append(agreeing.pop())
            rng.shuffle(pair)
        sentences.append(_sentence(rng, pair, JOINS_MIXED))
    while agreeing:
        pair = [agreeing.pop()]
        if agreeing and rng.random() < 0.25:
            pair.append(agreeing.pop())
        sentences.append(_sentence(rng, pair, JOINS_ALIKE))

    wanted = rng.randint(*words)
    while sum(len(sentence) for sentence, _ in sentences) < wanted:
        sentences.append((_filler(rng), []))
    rng.shuffle(sentences)
    return _join(sentences, label)


def _statement(rng: Random, aspect: str, positive: bool) -> tuple[list[str], Opinion]:
    """The words of a statement, and the opinion it voices as if the text began with it."""
    negated = rng.random() < NEGATED
    if rng.random() < 0.75:
        form, words = rng.choice(DENIES if negated else SAYS), PRAISE if positive != negated else BLAME
    else:
        form, words = (
            rng.choice(DENIES_FEELING if negated else FEELS),
            LIKED if positive != negated else DISLIKED,
        )
    said = form.format(it=f"the {aspect}", word=rng.choice(words), adverb=rng.choice(ADVERBS)).split()
    return said, Opinion(0, len(said), positive, negated)


def _sentence(
    rng: Random, statements: list[tuple[list[str], Opinion]], joins: tuple[str, ...]
) -> tuple[list[str], list[Opinion]]:
    """The words of a sentence made of one or two statements, and where in it the statements are."""
    frame = rng.choice(joins).format(a="{0}", b="{1}") if len(statements) == 2 else "{0} ."
    words, opinions = rng.choice(LEADS).split(), []
    for part in frame.split():
        if part in ("{0}", "{1}"):
            said, opinion = statements[int(part[1])]
            opinions.append(_moved(opinion, len(words)))
            words += said
        else:
            words.append(part)
    return words, opinions


def _filler(rng: Random) -> list[str]:
    # People are described in the words of the opinions as often as not, whatever the verdict.
    traits = TRAITS if rng.random() < 0.5 else PRAISE + BLAME
    sentence = rng.choice(FILLERS)
    while "{name}" in sentence:
        sentence = sentence.replace("{name}", rng.choice(NAMES), 1)
    filled = sentence.format(
        trait=rng.choice(traits),
        job=rng.choice(JOBS),
        place=rng.choice(PLACES),
        deed=rng.choice(DEEDS),
        day=rng.choice(DAYS),
    )
    return re.sub(r"\ba (?=[aeiou])", "an ", filled).split()


def _moved(opinion: Opinion, by: int) -> Opinion:
    return replace(opinion, start=opinion.start + by, end=opinion.end + by)


def _join(sentences: list[tuple[list[str], list[Opinion]]], label: int) -> Review:
    opinions, offset = [], 0
    for words, own in sentences:
        opinions += [_moved(opinion, offset) for opinion in own]
        offset += len(words)
    return Review([words for words, _ in sentences], opinions, label)


def reviews(seed: int, count: int, words: tuple[int, int] = WORDS) -> Iterator[Review]:
    """Reviews of both verdicts in turn; each has a random generator of its own, whatever ``count`` is."""
    for index in range(count):
        yield write(Random(f"{seed}/{index}"), index % 2, words)


def write_movies(folder: Path, splits: dict[str, Iterable[Review]]) -> None:
    """Write ``folder/<split>.jsonl`` and ``folder/docs/<id>``, the layout of the movie reviews in ERASER."""
    docs = folder / "docs"
    docs.mkdir(parents=True)
    for split, texts in splits.items():
        with (folder / f"{split}.jsonl").open("w") as lines:
            for index, review in enumerate(texts):
                name = f"{'posR' if review.label else 'negR'}_{split}_{index:04d}.txt"
                (docs / name).write_text("\n".join(" ".join(words) for words in review.sentences))
                lines.write(json.dumps(_annotation(name, review), sort_keys=True) + "\n")


def _annotation(name: str, review: Review) -> dict[str, object]:
    words = review.words
    evidences = [
        {
            "docid": name,
            "start_token": opinion.start,
            "end_token": opinion.end,
            "start_sentence": -1,
            "end_sentence": -1,
            "text": " ".join(words[opinion.start : opinion.end]),
        }
        for opinion in review.evidence
    ]
    return {
        "annotation_id": name,
        "classification": "POS" if review.label else "NEG",
        "docids": None,
        "evidences": [evidences],
        "query": "What is the sentiment of this review?",
        "query_type": None,
    }
