"""Sequence classifiers of transformers."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from bench.errors import BenchError, first_line
from bench.hub import is_directory, pretrained
from bench.models.base import Batch, Maps, as_mapping, rounded
from bench.models.checkpoint import check_finite, checksum, files_of_directory
from bench.models.pieces import pad_on_side, split_into_pieces

CONTENT = "config.json, model.safetensors and a tokenizer"
SYNONYMS = {"NEGATIVE": "NEG", "POSITIVE": "POS"}  # what models call the classes of data sets
DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16, None: "auto"}
# Keys of a model's configuration that say where and by what it was written, not what it computes.
OF_THE_FILE = {"_name_or_path", "transformers_version", "dtype", "torch_dtype"}


class TextModel:
    """An unmodified transformers sequence classifier in eval mode, with its tokenizer.

    Args:
        path: a directory, or a name on the hub.
        dtype: in which the weights are held: ``float32``, ``float16``, ``bfloat16``, or None for the type that
            they are stored in. A method may compute in another (its own ``dtype``).

    Raises:
        BenchError: if there is no such model, its files are damaged, or its tokenizer does not belong to it.
    """

    modality: ClassVar[str] = "text"
    version: ClassVar[int] = 1

    def __init__(self, path: str | Path, dtype: str | None = "float32"):
        if dtype not in DTYPES:
            raise BenchError(
                f"model.dtype={dtype}: expected one of {', '.join(filter(None, DTYPES))}, or null"
            )
        self.path = str(path)
        self.tokenizer, self.module = _loaded(self.path, DTYPES[dtype])
        config = self.module.config
        pad_on_side(self.tokenizer, config)
        # An ill-fitting vocabulary is no error in transformers: it silently makes a tokenizer of five words.
        if not len(self.tokenizer) <= config.vocab_size or len(self.tokenizer) < 100:
            raise BenchError(
                f"model.path: the tokenizer in {path} has {len(self.tokenizer)} words, the model "
                f"{config.vocab_size}; expected tokenizer.json (or vocab.txt) of the same model"
            )
        if config.num_labels < 2:
            raise BenchError(f"model.path: {path} has {config.num_labels} output; expected 2 or more classes")
        self.classes = tuple(str(config.id2label[number]) for number in range(config.num_labels))
        described = {key: value for key, value in config.to_diff_dict().items() if key not in OF_THE_FILE}
        self.content = {
            "weights": checksum(self.module),
            "configuration": _digest(json.dumps(described, sort_keys=True, default=str)),
            "tokenizer": _digest(self.tokenizer.backend_tokenizer.to_str()),
        }
        self.max_length = _positions(self.module)
        self.device = torch.device("cpu")

    def __repr__(self) -> str:
        return f"{type(self.module).__name__} from {self.path}"

    @property
    def mask_id(self) -> int | None:
        """The id of the token that stands for a masked one; None if the model has none, as decoders."""
        return self.tokenizer.mask_token_id

    @property
    def pad_id(self) -> int | None:
        """The id of the padding token that tokenizer and model agree on; None if there is none."""
        own, models = self.tokenizer.pad_token_id, self.module.config.pad_token_id
        return own if own is not None and own == models else None

    def __call__(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """Logits (batch, classes)."""
        return self.module(**inputs).logits

    forward = __call__

    def to(self, device: torch.device) -> "TextModel":
        """Move the weights; returns the model."""
        self.module.to(device)
        self.device = device
        return self

    @staticmethod
    def files(path: str | Path, **_: Any) -> list[Path]:
        """The local files that the model comes from; none if it is the hub's."""
        return files_of_directory(path)

    def check(self, settings: Mapping[str, Any]) -> None:
        """Raises BenchError if the documents are to be longer than what the model takes."""
        self._length(as_mapping(settings).get("max_length"))

    def preparation(self, settings: Mapping[str, Any]) -> Callable:
        """Documents are split into pieces batch by batch, so there is nothing to do for each."""
        return _as_it_is

    def batch(self, samples: Sequence, settings: Mapping[str, Any]) -> Batch:
        """Split documents, with their queries, into word pieces, cut at ``max_length`` and pad to the longest."""
        documents, queries = ([getattr(sample, name) for sample in samples] for name in ("document", "query"))
        batch = self.encode(documents, settings["max_length"], queries)
        return Batch(samples, batch.inputs, batch.words)

    def numbers(self, classes: Sequence[str] | None) -> Sequence[int]:
        """The index of the logit of each class of a data set.

        Names count without their case; NEGATIVE and POSITIVE are NEG and POS. A model that names its classes
        LABEL_0, LABEL_1, … has them in the order of the data set's.

        Raises:
            BenchError: if the model has other classes.
        """
        if classes is None:
            return range(len(self.classes))
        own = {_plain(name): number for number, name in enumerate(self.classes)}
        if set(own) == {f"LABEL_{number}" for number in range(len(classes))}:
            return range(len(classes))
        if set(own) != {_plain(name) for name in classes} or len(own) != len(classes):
            raise BenchError(
                f"model.path: {self.path} calls its classes {', '.join(self.classes)}; expected those of the "
                f"data set, {', '.join(classes)}, in id2label of config.json"
            )
        return [own[_plain(name)] for name in classes]

    def encode(
        self,
        documents: Sequence[Sequence[str]],
        max_length: int,
        queries: Sequence[Sequence[str]] | None = None,
    ) -> Batch:
        """Split documents, given as words, into pieces; cut at ``max_length`` pieces and pad to the longest.

        Args:
            queries: the words of each document's query, which stands before it as the first text of a pair
                (:func:`bench.models.pieces.split_into_pieces`); none, or an empty one, for a document alone.

        Returns:
            The batch without its samples.

        Raises:
            BenchError: if the model takes no documents of this length, they need padding and the model has no token
                for it, or a query leaves no room for its document.
        """
        length = self._length(max_length)
        if len(documents) > 1 and self.pad_id is None:
            raise BenchError(
                f"model.path: {self.path} has no padding token, so texts cannot be batched; set pad_token in "
                "its tokenizer and pad_token_id in its config.json, or explain one at a time (batch_size=1)"
            )
        pieces = split_into_pieces(self.tokenizer, documents, queries, length)
        inputs = {name: value.to(self.device) for name, value in pieces.inputs.items()}
        return Batch((), inputs, pieces.words.to(self.device))

    def maps(self, relevance: Tensor, batch: Batch, target: Tensor) -> Maps:
        """Token maps (batch, tokens); texts have no prefix tokens apart.

        Raises:
            BenchError: if there is not one number per token.
        """
        if relevance.shape != batch.words.shape:
            raise BenchError(
                f"method: it returned relevance of shape {tuple(relevance.shape)}; "
                f"expected {tuple(batch.words.shape)}, one number per token"
            )
        return Maps(rounded(relevance, batch.ids), relevance.new_zeros(len(relevance), 0).float(), target)

    def _length(self, wanted: Any) -> int:
        least = self.tokenizer.num_special_tokens_to_add() + 1
        if type(wanted) is not int or wanted < least:
            raise BenchError(
                f"protocol.token_f1.max_length={wanted}: expected a number of word pieces, {least} or more"
            )
        if self.max_length is not None and wanted > self.max_length:
            raise BenchError(
                f"protocol.token_f1.max_length={wanted}: {self.path} takes at most {self.max_length} word pieces"
            )
        return wanted


def _loaded(path: str, dtype: torch.dtype | str) -> tuple[Any, nn.Module]:
    """The tokenizer and the classifier of a directory or a hub name.

    Raises:
        BenchError: if they cannot be loaded, or not all weights are those of the files.
    """
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    local = is_directory("model.path", path, CONTENT)
    try:
        tokenizer = AutoTokenizer.from_pretrained(path, local_files_only=local, trust_remote_code=False)
        module, loading = pretrained(
            AutoModelForSequenceClassification, path, local, ignore_mismatched_sizes=True, dtype=dtype
        )
    except Exception as e:  # transformers' errors have no base of their own
        raise BenchError(
            f"model.path: {path} cannot be loaded as a sequence classifier: {first_line(e).rstrip('.:')}; "
            f"expected {CONTENT}"
        ) from e
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
    if not tokenizer.is_fast:
        raise BenchError(f"model.path: the tokenizer of {path} is not a fast one; expected tokenizer.json")
    check_finite(module, f"model.path: {path}")
    return tokenizer, module.eval()


def _positions(module: nn.Module) -> int | None:
    """How many word pieces a model takes; None where positions are relative."""
    positions = getattr(module.config, "max_position_embeddings", None)
    if positions is None or positions < 1:
        return None
    # RoBERTa and its kin count positions from the one after that of the padding token.
    for name, part in module.named_modules():
        if name.rsplit(".")[-1] == "position_embeddings" and getattr(part, "padding_idx", None) is not None:
            return positions - part.padding_idx - 1
    return positions


def _plain(name: str) -> str:
    upper = str(name).upper()
    return SYNONYMS.get(upper, upper)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _as_it_is(sample: Any) -> Any:
    return sample
