"""Sequence classifiers of transformers."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from bench.errors import BenchError
from bench.hub import is_directory
from bench.models.checkpoint import check_finite, checksum

# What models call the classes, in the order of the labels in bench.data; LABEL_0 is a name for the first.
CLASSES = ({"NEG", "NEGATIVE", "LABEL_0"}, {"POS", "POSITIVE", "LABEL_1"})

CONTENT = "config.json, model.safetensors and a tokenizer"


@dataclass(frozen=True)
class Encoding:
    """A batch of documents as the model sees them.

    Attributes:
        inputs: what the model is called with, each (batch, tokens).
        words: the index of the word that each token is a piece of, (batch, tokens); -1 at [CLS], [SEP] and
            padding.
    """

    inputs: dict[str, Tensor]
    words: Tensor


class TextModel:
    """An unmodified transformers sequence classifier in eval mode, with its tokenizer.

    Args:
        path: a directory, or a name on the hub.

    Raises:
        BenchError: if there is no such model, its files are damaged, its tokenizer does not belong to it,
            or it has other classes than NEG and POS.
    """

    def __init__(self, path: str | Path):
        from transformers import AutoModelForSequenceClassification, AutoTokenizer

        path = str(path)
        local = is_directory("model.path", path, CONTENT)
        try:
            self.tokenizer = AutoTokenizer.from_pretrained(
                path, local_files_only=local, trust_remote_code=False
            )
            self.module, loading = AutoModelForSequenceClassification.from_pretrained(
                path,
                local_files_only=local,
                trust_remote_code=False,
                use_safetensors=True,
                output_loading_info=True,
                ignore_mismatched_sizes=True,
            )
        except Exception as e:  # transformers' errors have no base of their own
            reason = str(e).strip().partition("\n")[0].rstrip(".:") or type(e).__name__
            raise BenchError(
                f"model.path: {path} cannot be loaded as a sequence classifier: {reason}; expected {CONTENT}"
            ) from e
        self.module.eval()
        # transformers would go on with random numbers in the place of these.
        if mismatched := sorted(str(key[0]) for key in loading["mismatched_keys"]):
            raise BenchError(
                f"model.path: in {path} the shape of {', '.join(mismatched[:3])} does not fit config.json; "
                "expected the weights and the configuration of one model"
            )
        if missing := sorted(loading["missing_keys"]):
            raise BenchError(
                f"model.path: {path} lacks {', '.join(missing[:3])}; "
                "expected a fine-tuned sequence classifier, not a pretrained encoder alone"
            )
        check_finite(self.module, f"model.path: {path}")
        config = self.module.config
        # An ill-fitting vocabulary is no error in transformers: it silently makes a tokenizer of five words.
        if not len(CLASSES) < len(self.tokenizer) <= config.vocab_size or len(self.tokenizer) < 100:
            raise BenchError(
                f"model.path: the tokenizer in {path} has {len(self.tokenizer)} words, the model "
                f"{config.vocab_size}; expected tokenizer.json (or vocab.txt) of the same model"
            )
        labels = {str(name).upper(): index for index, name in config.id2label.items()}
        self.class_indices = [index for names in CLASSES for name, index in labels.items() if name in names]
        if sorted(self.class_indices) != list(range(config.num_labels)) or len(labels) != len(CLASSES):
            raise BenchError(
                f"model.path: {path} calls its classes {', '.join(map(str, config.id2label.values()))}; "
                "expected NEG and POS (or NEGATIVE and POSITIVE) in id2label of config.json"
            )
        self.path = path
        self.max_length = getattr(config, "max_position_embeddings", None)  # positions may be relative
        self.checksum = checksum(self.module)
        self.device = torch.device("cpu")

    def __repr__(self) -> str:
        return f"{type(self.module).__name__} from {self.path}"

    def __call__(self, inputs: dict[str, Tensor]) -> Tensor:
        """Logits (batch, 2)."""
        return self.module(**inputs).logits

    def to(self, device: torch.device) -> "TextModel":
        """Move the weights; returns the model."""
        self.module.to(device)
        self.device = device
        return self

    def encode(self, documents: Sequence[Sequence[str]], max_length: int) -> Encoding:
        """Split words into pieces, cut at ``max_length`` pieces and pad to the longest of the batch."""
        if self.max_length is not None and max_length > self.max_length:
            raise BenchError(
                f"protocol.token_f1.max_length={max_length}: "
                f"{self.path} takes at most {self.max_length} word pieces"
            )
        encoded = self.tokenizer(
            [list(words) for words in documents],
            is_split_into_words=True,
            truncation=True,
            max_length=max_length,
            padding=True,
            return_tensors="pt",
        )
        words = [[-1 if w is None else w for w in encoded.word_ids(i)] for i in range(len(documents))]
        inputs = {name: value.to(self.device) for name, value in encoded.items()}
        return Encoding(inputs, torch.tensor(words, device=self.device))

    @torch.inference_mode()
    def predict(self, inputs: dict[str, Tensor]) -> Tensor:
        """The predicted classes (batch,), in the order NEG, POS."""
        return self(inputs)[:, self.class_indices].argmax(dim=1)
