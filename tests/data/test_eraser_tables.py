"""The tables of ERASER's data sets: counts and floors, on made-up ones of their form."""

import pytest

import bench  # noqa: F401
from bench.data import Eraser
from bench.eraser.__main__ import main
from bench.eraser.program import KS, SEEDS, counts, floors
from bench.errors import BenchError
from bench.finetune.pretrained import load_tokenizer
from tests.support.tiny_claims import LABELS, write_claims
from tests.support.tiny_models_of_texts import write_bert


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("root")
    write_claims(folder / "eraser" / "claims", {"test": 12})
    write_bert(folder / "bert")
    return folder


def test_counts(root):
    tokenizer = load_tokenizer(str(root / "bert"))
    row = counts("claims", "test", Eraser(root / "eraser" / "claims", "test", LABELS), tokenizer)
    assert row["texts"] == row["documents"] == 12
    assert row["classes"] == "AGREES 4, DENIES 4, SILENT 4"
    assert (row["words of a document"], row["words of a query"]) == ("21.0", "4.0")
    assert row["annotated words"] == 8 * 7
    assert row["their share (mean over texts)"] == f"{8 * 7 / 21 / 12:.3f}"
    assert row["texts of several groups"] == 8
    assert (row["texts cut"], row["annotated words beyond"]) == (0, "0.0 %")


def test_what_lies_beyond_is_counted(root, monkeypatch):
    from bench.eraser import program as eraser

    monkeypatch.setattr(eraser, "LONGEST", 14)  # seven words of each document
    tokenizer = load_tokenizer(str(root / "bert"))
    row = counts("claims", "test", Eraser(root / "eraser" / "claims", "test", LABELS), tokenizer)
    assert (row["texts cut"], row["annotated words beyond"]) == (12, "14.3 %")


def test_floors(root):
    dataset = Eraser(root / "eraser" / "claims", "test", LABELS, groups="alternatives")
    found = floors(dataset)
    assert set(found) == {"random (5 seeds)", "first words", "inverse frequency", "content words only"}
    assert len(found["random (5 seeds)"]) == SEEDS
    assert len({one["AUPRC"].value for one in found["random (5 seeds)"]}) == SEEDS
    for scores in found.values():
        assert list(scores[0]) == ["AUPRC", *(f"token F1@{k}" for k in KS), *(f"IOU F1@{k}" for k in KS)]
        assert scores[0]["AUPRC"].count == 8  # of a text without an annotated word it is not defined
        assert scores[0]["token F1@80"].count == 12
    # All annotated words come first: the precision is 1 up to the fourth.
    assert found["first words"][0]["AUPRC"].value == pytest.approx(1)
    assert found["first words"][0]["AUPRC"].value > found["random (5 seeds)"][0]["AUPRC"].value
    # With 20 of 21 words taken, of four annotated ones: the mean over 12 texts, of which 8 have any.
    assert found["first words"][0]["token F1@20"].value == pytest.approx(8 / 12 * 2 * 4 / (20 + 4))


def test_bad_arguments_are_named(root, tmp_path):
    for arguments, named in (
        ([], "data: missing"),
        (["date=x"], r"date=x: expected data=…"),
        ([f"data={tmp_path}", f"tokenizer={root / 'bert'}"], "no multirc, fever, boolq below"),
        ([f"data={root}"], "no directory .*bert_mini_movies"),
    ):
        with pytest.raises(BenchError, match=named):
            main(arguments)
