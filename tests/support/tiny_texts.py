"""A tiny text suite: three reviews with their rationales, a BERT of random weights."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

import bench  # noqa: F401
from bench.config import configuration

PIECES = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "[MASK]",
    "good",
    "bad",
    "film",
    "plot",
    "##s",
    "##ting",
    "bor",
    "##ing",
]
PIECES += [f"w{i}" for i in range(110)]
DOCUMENTS = {
    "a": ("NEG", "the plot was boring and the films bad bad bad", [(1, 2), (8, 10)]),
    "b": ("POS", "good film w1 w2 w3 w4 w5 good plots", [(0, 2)]),
    "c": ("POS", "w7 " * 40 + "good films", [(28, 31), (40, 42)]),
}


def write(root: Path) -> Path:
    """Write it to ``root``, laid out as a data root, with the model in ``bert``."""
    write_movies(root / "movies")
    write_model(root / "bert")
    return root


def write_movies(folder: Path) -> Path:
    """The reviews alone."""
    (folder / "docs").mkdir(parents=True)
    lines = []
    for name, (label, text, spans) in DOCUMENTS.items():
        (folder / "docs" / name).write_text(text)
        evidences = [[{"docid": name, "start_token": a, "end_token": b, "text": ""}] for a, b in spans]
        lines.append(json.dumps({"annotation_id": name, "classification": label, "evidences": evidences}))
    (folder / "test.jsonl").write_text("\n".join(lines))
    return folder


def write_model(folder: Path, labels: Sequence[str] = ("NEG", "POS"), blocks: int = 3) -> Path:
    """The model alone."""
    from transformers import BertConfig, BertForSequenceClassification, BertTokenizerFast

    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(PIECES),
        hidden_size=24,
        num_hidden_layers=blocks,
        num_attention_heads=3,
        intermediate_size=48,
        max_position_embeddings=32,
        id2label=dict(enumerate(labels)),
        label2id={label: number for number, label in enumerate(labels)},
    )
    BertForSequenceClassification(config).save_pretrained(folder)
    BertTokenizerFast(vocab={piece: i for i, piece in enumerate(PIECES)}).save_pretrained(folder)
    return folder


def text_configuration(root: Path, results: Path, *overrides: str) -> dict[str, Any]:
    """Compose a cell of the suite.

    Args:
        root: where :func:`write` has put it.
        results: the folder of the results.
        overrides: with the task.
    """
    return configuration(
        [
            "dataset=movies",
            "model=transformers",
            f"model.path={root / 'bert'}",
            "protocol.token_f1.max_length=32",
            f"paths.data={root}",
            f"paths.results={results}",
            "device=cpu",
            *overrides,
        ]
    )
