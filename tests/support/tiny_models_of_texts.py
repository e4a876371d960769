"""Tiny classifiers of texts with random weights, with the tokenizers that such models have, as directories."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

import bench  # noqa: F401
from tests.support.tiny_claims import LABELS, vocabulary

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
END = "<|endoftext|>"
DECODERS = {
    "llama": ("LlamaConfig", {"num_key_value_heads": 2}),
    "qwen2": ("Qwen2Config", {"num_key_value_heads": 2}),
    "qwen3": ("Qwen3Config", {"num_key_value_heads": 2, "head_dim": 8}),
    "gpt2": ("GPT2Config", {}),
}


def write_bert(folder: Path, labels: Sequence[str] = LABELS, positions: int = 48) -> Path:
    """A BERT that reads pairs, with a piece for each word of the claims."""
    from transformers import BertConfig, BertForSequenceClassification, BertTokenizerFast

    pieces = [*SPECIAL, *vocabulary(), *(f"x{i}" for i in range(60))]
    config = BertConfig(
        **{"vocab_size": len(pieces), "hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 3},
        **{"intermediate_size": 48, "max_position_embeddings": positions},
        **_classes(labels),
    )
    _save(BertForSequenceClassification(config), folder)
    BertTokenizerFast(vocab={piece: i for i, piece in enumerate(pieces)}).save_pretrained(folder)
    return folder


def write_decoder(
    folder: Path, family: str, labels: Sequence[str] = LABELS, padding_side: str = "left"
) -> Path:
    """A decoder that reads the last token, with a byte-level tokenizer that pads where its files say."""
    import transformers

    name, more = DECODERS[family]
    tokenizer = byte_level(padding_side)
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
    longest = {"max_position_embeddings": 128}
    if family == "gpt2":
        sizes, longest = {"n_embd": 32, "n_layer": 2, "n_head": 4}, {"n_positions": 128}
    else:
        sizes |= {"intermediate_size": 48}
    config = getattr(transformers, name)(
        **sizes,
        **longest,
        **more,
        vocab_size=len(tokenizer),
        pad_token_id=tokenizer.pad_token_id,
        **_classes(labels),
    )
    _save(transformers.AutoModelForSequenceClassification.from_config(config), folder)
    tokenizer.save_pretrained(folder)
    return folder


def byte_level(padding_side: str = "left") -> Any:
    """A tokenizer like those of GPT-2, Llama 3 and Qwen: pieces of bytes with their blanks, no special tokens."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=330,
        special_tokens=[END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([f" {word}" for word in vocabulary()], trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token=END, pad_token=END, padding_side=padding_side
    )


def _classes(labels: Sequence[str]) -> dict[str, Any]:
    return {"id2label": dict(enumerate(labels)), "label2id": {name: i for i, name in enumerate(labels)}}


def _save(module: torch.nn.Module, folder: Path) -> None:
    """With weights large enough for attention to be far from uniform."""
    generator = torch.Generator().manual_seed(0)
    for parameter in module.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator) * 0.2
    module.save_pretrained(folder)
