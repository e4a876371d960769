"""A made-up data set of three labels, and a random classifier that has them in another order."""

import json
from pathlib import Path

ROWS = [
    ("the lake lies still", "calm", ["still"]),
    ("who broke my cup", "cross", ["broke"]),
    ("what a bright morning", "cheerful", ["bright", "morning"]),
    ("a slow walk home", "calm", ["slow", "walk"]),
    ("they shout at me again", "cross", ["shout", "again"]),
    ("we sing all day", "cheerful", ["sing"]),
]


def write_moods(file: Path) -> None:
    """Write the data set as JSON lines."""
    rows = [{"id": f"m{i}", "text": t, "mood": m, "because": b} for i, (t, m, b) in enumerate(ROWS)]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))


def write_classifier(folder: Path) -> None:
    """Write a BERT classifier with random weights, and a tokenizer that knows the data set's words."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import BertConfig, BertForSequenceClassification, PreTrainedTokenizerFast

    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *sorted({w for t, *_ in ROWS for w in t.split()})]
    words += [f"filler{i}" for i in range(120 - len(words))]
    tokenizer = Tokenizer(models.WordLevel({w: i for i, w in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        unk_token="[UNK]",
        pad_token="[PAD]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        model_input_names=["input_ids", "attention_mask"],
    ).save_pretrained(folder)
    torch.manual_seed(0)
    names = {0: "Cheerful", 1: "calm", 2: "CROSS"}
    config = BertConfig(
        vocab_size=len(words),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=48,
        max_position_embeddings=40,
        id2label=names,
        label2id={name: number for number, name in names.items()},
    )
    BertForSequenceClassification(config).save_pretrained(folder)
