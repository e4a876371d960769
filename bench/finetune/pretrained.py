"""Tokenizers and classifiers of transformers to start a fine-tuning from."""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from bench.errors import BenchError, first_line
from bench.hub import is_directory, pretrained


def load_tokenizer(start: str):
    """The tokenizer of a directory or a hub name. One without a padding token pads with its end of text.

    Raises:
        BenchError: if there is none, it has no vocabulary, or no token to pad with.
    """
    from transformers import AutoTokenizer

    local = is_directory("start", start, "config.json, model.safetensors and a tokenizer")
    try:
        tokenizer = AutoTokenizer.from_pretrained(start, local_files_only=local, trust_remote_code=False)
    except Exception as e:  # transformers' errors have no base of their own
        raise BenchError(f"start: no tokenizer can be loaded from {start}: {first_line(e)}") from e
    # An ill-fitting vocabulary is no error in transformers: it silently makes a tokenizer of five words.
    if len(tokenizer) < 100 or not tokenizer.is_fast:
        raise BenchError(
            f"start: the tokenizer of {start} has {len(tokenizer)} words"
            + ("" if tokenizer.is_fast else " and is no fast one")
            + "; expected tokenizer.json of the model"
        )
    if (
        tokenizer.pad_token is None
    ):  # as of decoders, which need one to read texts of different lengths together
        if tokenizer.eos_token is None:
            raise BenchError(
                f"start: the tokenizer of {start} has no padding token; set pad_token in its files"
            )
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def load_classifier(
    start: str, fresh: Mapping[str, Any] | None, vocabulary: int, labels: Sequence[str]
) -> nn.Module:
    """A sequence classifier with the weights of ``start``.

    With ``fresh`` they are random, and the configuration is that of ``start`` with these changes.

    Raises:
        BenchError: if it cannot be loaded or has no classifier of its kind.
    """
    from transformers import AutoConfig, AutoModelForSequenceClassification

    local = is_directory("start", start, "config.json, model.safetensors and a tokenizer")
    names = {"id2label": dict(enumerate(labels)), "label2id": {name: i for i, name in enumerate(labels)}}
    try:
        config = AutoConfig.from_pretrained(start, local_files_only=local, trust_remote_code=False, **names)
        if fresh is not None:
            if unknown := sorted(key for key in fresh if not hasattr(config, key)):
                raise BenchError(f"fresh: {type(config).__name__} has no {', '.join(unknown)}")
            config.update({"vocab_size": vocabulary} | dict(fresh))
            return AutoModelForSequenceClassification.from_config(config)
        return pretrained(AutoModelForSequenceClassification, start, local, config=config)[0]
    except BenchError:
        raise
    except Exception as e:
        raise BenchError(f"start: no classifier can be made from {start}: {first_line(e)}") from e
