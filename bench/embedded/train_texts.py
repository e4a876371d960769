"""Train the embedded text model: a small, unmodified transformers BERT that tells a review's verdict."""

from collections.abc import Iterator
from itertools import chain, islice

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, IterableDataset
from transformers import BertConfig, BertForSequenceClassification, PreTrainedTokenizerBase

from bench.embedded import CHECKPOINTS, make
from bench.embedded.fit import fit
from bench.embedded.reviews import Review, reviews
from bench.embedded.vocabulary import save_tokenizer

BATCH = 32
STEPS = 1000
SHORT = 700  # steps with opinions only
LEARNING_RATE = 1.5e-3
INITIAL = 0.1  # standard deviation of the weights; BERT's own 0.02 suits 768 dimensions, not 64
HELDOUT_SEED = 7  # no review of the written data root comes from this seed
IGNORED = -100  # torch's index of pieces without a loss


def _config(vocabulary_size: int) -> BertConfig:
    return BertConfig(
        vocab_size=vocabulary_size,
        hidden_size=64,
        num_hidden_layers=4,
        num_attention_heads=4,
        intermediate_size=256,
        max_position_embeddings=512,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        initializer_range=INITIAL,
        id2label={0: "NEG", 1: "POS"},
        label2id={"NEG": 0, "POS": 1},
    )


class _Collate:
    """Reviews to (inputs, labels (batch,), kinds of opinion (batch, pieces))."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self.tokenizer = tokenizer

    def __call__(self, batch: list[Review]) -> tuple[dict[str, Tensor], Tensor, Tensor]:
        texts = [review.words for review in batch]
        encoded = self.tokenizer(texts, is_split_into_words=True, padding=True, return_tensors="pt")
        piece_labels = torch.full_like(encoded["input_ids"], IGNORED)
        for row, review in enumerate(batch):
            of_word = _word_labels(review)
            for column, word in enumerate(encoded.word_ids(row)):
                if word is not None:
                    piece_labels[row, column] = of_word[word]
        return dict(encoded), torch.tensor([review.label for review in batch]), piece_labels


def _word_labels(review: Review) -> list[int]:
    """0 for words outside of opinions, 1 + 2·positive + negated for those of an opinion."""
    labels = [0] * len(review.words)
    for opinion in review.opinions:
        kind = 1 + 2 * opinion.positive + opinion.negated
        labels[opinion.start : opinion.end] = [kind] * (opinion.end - opinion.start)
    return labels


class _TrainingReviews(IterableDataset):
    """Fresh reviews, sorted by length within pools so that batches need little padding."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def __iter__(self) -> Iterator[Review]:
        short = reviews(self.seed, SHORT * BATCH, words=(0, 0))
        full = reviews(self.seed + 1, (STEPS - SHORT) * BATCH)
        fresh = chain(short, full)
        while pool := list(islice(fresh, 8 * BATCH)):
            yield from sorted(pool, key=lambda review: len(review.words))


@torch.no_grad()
def _initialise_positions(weight: Tensor) -> None:
    """Sines and cosines of the position (Vaswani et al. 2017), as large as the initial embeddings of words.

    With them "the word three before this one" is a linear map from the start, which is what negation needs.
    """
    count, width = weight.shape
    frequencies = 10_000.0 ** -(torch.arange(width // 2) / (width // 2))
    angles = torch.arange(count)[:, None] * frequencies
    weight.copy_(torch.cat([angles.sin(), angles.cos()], 1) * INITIAL)


def train(seed: int) -> dict[str, object]:
    """Train, save ``bert_reviews/`` with its tokenizer and return what is worth knowing about the run.

    A small BERT needs hours to find negation from verdicts alone. So the word pieces have losses of their
    own: half-way up, whether they belong to an opinion, for or against, plain or denied; at the top, for or
    against. The first reviews are opinions without a plot, and position embeddings start from sines and
    cosines. The pieces' heads are dropped: what is saved is transformers' model and nothing else.
    """
    folder = CHECKPOINTS / "bert_reviews"
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(seed)
    tokenizer = save_tokenizer(folder)
    model = BertForSequenceClassification(_config(len(tokenizer)))
    _initialise_positions(model.bert.embeddings.position_embeddings.weight)
    kind_head, polarity_head = nn.Linear(model.config.hidden_size, 5), nn.Linear(model.config.hidden_size, 3)

    def loss_of(step: int, batch: tuple[dict[str, Tensor], Tensor, Tensor]) -> Tensor:
        inputs, labels, piece_labels = batch
        answer = model(**inputs, output_hidden_states=True)
        kind_logits = kind_head(answer.hidden_states[2]).flatten(0, 1)
        polarity_logits = polarity_head(answer.hidden_states[-1]).flatten(0, 1)
        kinds = piece_labels.flatten()
        polarities = torch.where(kinds == IGNORED, IGNORED, (kinds + 1) // 2)
        return (
            cross_entropy(answer.logits, labels)
            + cross_entropy(kind_logits, kinds, ignore_index=IGNORED)
            + cross_entropy(polarity_logits, polarities, ignore_index=IGNORED)
        )

    loader = DataLoader(
        _TrainingReviews(seed), BATCH, num_workers=1, prefetch_factor=8, collate_fn=_Collate(tokenizer)
    )
    fit(
        nn.ModuleList([model, kind_head, polarity_head]),
        loader,
        loss_of,
        STEPS,
        LEARNING_RATE,
        "train bert_reviews",
    )
    model.save_pretrained(folder)
    return {
        "steps": STEPS,
        "batch": BATCH,
        "accuracy_on_1000_heldout_reviews": accuracy(model, tokenizer, HELDOUT_SEED, 1000),
        "accuracy_on_embedded_movies_test": accuracy(model, tokenizer, **make.REVIEWS["test"]),
    }


@torch.inference_mode()
def accuracy(model: nn.Module, tokenizer: PreTrainedTokenizerBase, seed: int, count: int) -> float:
    """Share of reviews whose verdict the model tells."""
    model.eval()
    right = 0
    for inputs, labels, _ in DataLoader(list(reviews(seed, count)), 50, collate_fn=_Collate(tokenizer)):
        right += int((model(**inputs).logits.argmax(1) == labels).sum())
    return right / count
