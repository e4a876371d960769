"""Token F1 against the reference scorer on ERASER movies, scikit-learn and the definition."""

import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import precision_recall_fscore_support

from metrics import best_alternative, precision_recall_f1, token_counts, token_f1, top_k

pytestmark = pytest.mark.numerical

GOLDEN = Path(__file__).parents[1] / "golden"
REFERENCE = json.loads((GOLDEN / "token_f1.json").read_text())["scores"]
# Per document of the movies test split: its name, number of words and merged rationale spans [start, end).
SPANS = json.loads((GOLDEN / "token_f1_spans.json").read_text())
VISIBLE = 400


def reference_scores(document):
    """The seeded random scores that the reference numbers were made with."""
    seed = int.from_bytes(document["annotation_id"].encode(), "little") % 2**32
    return torch.from_numpy(np.random.default_rng(seed).random(min(document["words"], VISIBLE)))


def rationale(document):
    annotated = torch.zeros(document["words"], dtype=torch.bool)
    for start, end in document["spans"]:
        annotated[start:end] = True
    return annotated


def padded(documents):
    """Scores, rationales and valid words of documents as one batch, padded with numbers that would win."""
    scores = [reference_scores(each) for each in documents]
    width = max(map(len, scores))
    return (
        torch.stack([torch.cat([each, torch.full((width - len(each),), 9.0)]) for each in scores]),
        torch.nn.utils.rnn.pad_sequence([rationale(each) for each in documents], batch_first=True),
        torch.tensor([[j < len(each) for j in range(width)] for each in scores]),
    )


def test_reference_scorer():
    ks = [int(k) for k in REFERENCE]
    scores, rationales, valid = padded(SPANS)
    counts = token_counts(scores, rationales, ks, valid)
    macro = [each.mean(0) for each in precision_recall_f1(*counts)]
    micro = precision_recall_f1(*(each.sum(0) for each in counts))
    for i, k in enumerate(ks):
        for ours, name in ((macro, "instance_macro"), (micro, "instance_micro")):
            for value, key in zip(ours, ("p", "r", "f1"), strict=True):
                assert value[i].item() == pytest.approx(REFERENCE[str(k)][name][key], abs=1e-9), (
                    k,
                    name,
                    key,
                )


def test_shipped_spans_are_those_of_the_real_data(real_data):
    with tarfile.open(real_data / "movies.tar.gz") as archive:
        files = {member.name: archive.extractfile(member).read() for member in archive if member.isfile()}
    for line, document in zip(files["movies/test.jsonl"].splitlines(), SPANS, strict=True):
        row = json.loads(line)
        words = len(files[f"movies/docs/{row['annotation_id']}"].split())
        annotated = torch.zeros(words, dtype=torch.bool)
        for evidence in (each for group in row["evidences"] for each in group):
            annotated[evidence["start_token"] : evidence["end_token"]] = True
        assert (row["annotation_id"], words) == (document["annotation_id"], document["words"])
        assert annotated.equal(rationale(document))


def test_a_padded_batch_scores_what_its_documents_score_alone():
    ks = (1, 5, 80, 1000)
    scores, rationales, valid = padded(SPANS[:6])
    together = token_f1(scores, rationales, ks, valid)
    for i, document in enumerate(SPANS[:6]):
        alone = token_f1(reference_scores(document)[None], rationale(document)[None], ks)
        assert all(a[0].equal(b[i]) for a, b in zip(alone, together, strict=True))


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 3), st.booleans()), min_size=1, max_size=12),
    st.lists(st.booleans(), max_size=5),
    st.integers(1, 15),
)
def test_token_f1_is_sklearns_and_ties_go_to_the_earlier_word(visible, hidden, k):
    scores, annotated = zip(*visible, strict=True)
    chosen = sorted(range(len(scores)), key=lambda i: (-scores[i], i))[:k]
    truth = [*annotated, *hidden]
    predicted = [i in chosen for i in range(len(truth))]
    expected = precision_recall_fscore_support(truth, predicted, average="binary", zero_division=0)[:3]
    ours = token_f1(torch.tensor([scores]).double(), torch.tensor([truth]), [k])
    assert [each.item() for each in ours] == pytest.approx(expected)


def test_words_past_the_visible_part_cap_recall():
    scores, rationales = torch.tensor([[3.0, 2.0, 1.0]]), torch.tensor([[True, True, False, True, True]])
    assert token_f1(scores, rationales, [2]).recall.item() == 0.5
    assert token_f1(scores, rationales[:, :3], [2]).recall.item() == 1


def test_nothing_annotated_or_nothing_visible_is_worth_nothing():
    scores, valid = torch.rand(3, 3), torch.tensor([[True] * 3, [False] * 3, [False] * 3])
    rationales = torch.tensor([[False] * 3, [True] * 3, [False] * 3])
    assert torch.stack(token_f1(scores, rationales, [2], valid)).eq(0).all()


def test_top_k_takes_real_words_only():
    valid = torch.tensor([[True, True, False]])
    scores = torch.tensor([[-5.0, -4.0, float("nan")]])
    assert top_k(scores, [1, 2, 3], valid)[0].tolist() == [
        [False, True, False],
        [True, True, False],
        [True, True, False],
    ]


def test_what_cannot_be_scored_is_refused():
    scores, rationales = torch.rand(2, 4), torch.zeros(2, 6, dtype=torch.bool)
    with pytest.raises(ValueError, match="ks: expected numbers of words, 1 or more"):
        token_f1(scores, rationales, [0, 5])
    with pytest.raises(ValueError, match="all words of each document, got 3 for 4 scores"):
        token_f1(scores, rationales[:, :3], [5])
    with pytest.raises(ValueError, match=r"rationales: expected shape \(2, any\)"):
        token_f1(scores, rationales[:1], [5])
    with pytest.raises(ValueError, match="valid: expected shape"):
        token_f1(scores, rationales, [5], torch.ones(2, 5, dtype=torch.bool))
    scores[1, 0] = float("nan")
    with pytest.raises(ValueError, match=r"NaN or infinity in sample\(s\) \[1\]"):
        token_f1(scores, rationales, [5])


def test_the_alternative_that_agrees_best_counts():
    """At each k for itself; words of the others are mistakes."""
    scores = torch.tensor([[5.0, 4, 3, 2, 1], [5, 4, 3, 2, 1]])
    first = torch.tensor([[1, 1, 0, 0, 0], [0, 0, 0, 0, 1]], dtype=torch.bool)
    second = torch.tensor([[1, 0, 0, 1, 1], [0, 0, 0, 0, 0]], dtype=torch.bool)
    found = best_alternative(scores, torch.stack([first, second]), [1, 2, 5])
    assert found.f1[0].tolist() == pytest.approx([2 / 3, 1, 2 * 3 / (5 + 3)])
    assert found.recall[0].tolist() == pytest.approx([1 / 2, 1, 1])
    assert found.precision[0].tolist() == pytest.approx([1, 1, 3 / 5])
    assert found.f1[1].tolist() == pytest.approx([0, 0, 2 / 6])
    for one, other in zip(
        best_alternative(scores, first[None], [1, 3]), token_f1(scores, first, [1, 3]), strict=True
    ):
        assert one.equal(other)
    with pytest.raises(ValueError, match="1 or more"):
        best_alternative(scores, first[:0][None][:0], [1])
