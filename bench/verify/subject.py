"""A model with the inputs of one golden, and what is computed of them."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.errors import BenchError
from bench.verify.grammar import Asked
from bench.verify.offered import make
from bench.verify.prepared import PREPARED
from bench.verify.stems import Golden, Stem, pixels, with_block_epsilon
from bench.verify.tensors import TENSORS
from bench.verify.views import Grid
from methods.verify import Widened

CHUNK = 4  # samples in one pass, so that the tape of a large model in float64 fits into memory


class Subject:
    """A model, and the samples of one of its goldens.

    Attributes:
        stem: what belongs to the model.
        golden: the file that is compared.
        model: in float64.
        inputs: of the model: pixels, or ``input_ids`` and ``attention_mask``.
    """

    def __init__(self, stem: Stem, golden: Golden, model: nn.Module):
        self.stem, self.golden, self.model = stem, golden, model
        self.matrices: dict[str, list] = {}  # that methods roll up, by the name of the class
        self._rounds = not stem.is_vision and self._rounds_on_its_way()

    @cached_property
    def inputs(self) -> Tensor | dict[str, Tensor]:
        if self.stem.is_vision:
            return pixels(self.array("images"), self.stem.settings)
        names = ("input_ids", "attention_mask")
        return {name: torch.from_numpy(self.array(name)).long() for name in names}

    @cached_property
    def lengths(self) -> Tensor:
        """How many tokens each text has, (samples,)."""
        return self.inputs["attention_mask"].sum(dim=1)

    @cached_property
    def grid(self) -> Grid:
        """Of the patches of images."""
        return Grid.of(self.model, tuple(self.inputs.shape[-2:]))

    def array(self, name: str) -> np.ndarray:
        """An input that a file holds; raises BenchError if none does."""
        if (found := self.stem.input(name, self.golden)) is None:
            raise BenchError(f"no file of {self.stem.name} has the array {name!r} that this key needs")
        return found

    def setting(self, name: str) -> int:
        """A number of ``<stem>.verify.json``, such as ``mask_id``; raises BenchError if it is not there."""
        if (
            found := self.stem.settings.get(name, self.stem.config.get(_OTHER_NAMES.get(name, name)))
        ) is None:
            raise BenchError(f"{self.stem.name}.verify.json has no {name!r}, which this key needs")
        return found

    def forward(self, inputs: Tensor | dict[str, Tensor]) -> Tensor:
        """Logits (batch, classes); what the model would round to narrower types on its way stays in float64."""
        if self.stem.is_vision:
            found = self.model(inputs)
            return getattr(found, "logits", found)
        if not self._rounds:
            return self.model(**inputs).logits
        with Widened():
            return self.model(**inputs).logits

    def _rounds_on_its_way(self) -> bool:
        """Whether the model rounds anything to a narrower type on its way; to see to it takes time."""
        part = self.part(slice(0, 1))
        with torch.inference_mode():
            plain = self.model(**part).logits
            with Widened():
                return not torch.equal(plain, self.model(**part).logits)

    @contextmanager
    def epsilon(self, key: str) -> Iterator[float | None]:
        """Let the blocks' norms have the epsilon that a key was computed with."""
        epsilon = self.stem.epsilon(key)
        before = [] if epsilon is None else with_block_epsilon(self.model, epsilon)
        try:
            yield epsilon
        finally:
            for module, field, value in before:
                setattr(module, field, value)

    @cached_property
    def _logits(self) -> dict[float | None, Tensor]:
        return {}

    def logits(self, key: str = "") -> Tensor:
        """Of all samples, (samples, classes), under the epsilon of a key."""
        with self.epsilon(key) as epsilon:
            if epsilon not in self._logits:
                with torch.no_grad():
                    self._logits[epsilon] = torch.cat([self.forward(self.part(at)) for at in self.chunks()])
        return self._logits[epsilon]

    def __len__(self) -> int:
        return len(self.inputs if self.stem.is_vision else self.inputs["input_ids"])

    def chunks(self) -> list[slice]:
        """The samples in portions."""
        return [slice(i, min(i + CHUNK, len(self))) for i in range(0, len(self), CHUNK)]

    def part(self, at: slice) -> Tensor | dict[str, Tensor]:
        """The inputs of some samples."""
        return self.inputs[at] if self.stem.is_vision else {name: t[at] for name, t in self.inputs.items()}

    def explained(self, name: str, key: str) -> Tensor:
        """The explained classes (samples,): ``predicted``, ``target`` or ``classK``."""
        if name == "predicted":
            return self.logits(key).argmax(dim=1)
        if name == "target":
            return torch.from_numpy(self.array("targets")).long()[: len(self)]
        return torch.full((len(self),), int(name.removeprefix("class")))

    def computation(self, asked: Asked) -> str:
        """What keys have in common that one run of a method serves."""
        values = {name: value for name, value in asked.values.items() if name != "_readout"}
        own = asked.key if asked.entry.view in TENSORS else ""
        how = asked.entry.alone, asked.entry.hidden_specials, self.stem.epsilon(asked.key)
        return repr((asked.entry.method, self.settings(asked), values, how, own))

    def settings(self, asked: Asked) -> dict:
        """Of the method's class, without what the inputs add."""
        if asked.entry.method == "TransformerAttribution" and self.stem.row_normalised(asked.key):
            return asked.settings | {"normalise_rows": True}
        return asked.settings

    def maps(self, asked: Asked, explained: Sequence[str | None]) -> list[Tensor]:
        """What a method returns for each of several explained classes, (samples, ...) each.

        Args:
            asked: a key; its own explained class is not looked at.
            explained: names of classes; or None alone for a method without a class.
        """
        names = [name for name in explained if name is not None]
        if asked.entry.alone and len(names) > 1:
            return [self.maps(asked, [name])[0] for name in names]
        columns = [self.explained(name, asked.key) for name in names]
        target = torch.stack(columns, dim=1) if columns else None
        with self.epsilon(asked.key):
            chunks = [slice(i, i + 1) for i in range(len(self))] if asked.entry.alone else self.chunks()
            found = [self._part(asked, at, target, names) for at in chunks]
        maps = torch.cat(found)
        return [maps] if target is None else list(maps.unbind(dim=1))

    def _part(self, asked: Asked, at: slice, target: Tensor | None, names: Sequence[str]) -> Tensor:
        """The maps of some samples, (samples, classes, ...) for classes that are given."""
        prepare = PREPARED.get(asked.entry.method)
        settings = self.settings(asked) | (prepare(self, asked, at, names) if prepare else {})
        common = {"prefix_tokens": self.grid.prefix} if self.stem.is_vision else {}
        method, inputs = make(asked.entry.method, settings, common), self.part(at)
        if asked.entry.hidden_specials:
            inputs = self._without_specials(at)
        maps = method(self.forward, inputs, None if target is None else target[at]).detach()
        return F.pad(maps, (0, self.width - maps.shape[-1])) if asked.entry.hidden_specials else maps

    def _without_specials(self, at: slice) -> dict[str, Tensor]:
        """One text, without padding, whose special tokens are out of the attention mask."""
        length = int(self.lengths[at])
        inputs = {name: t[:, :length] for name, t in self.part(at).items()}
        hidden = inputs["attention_mask"].masked_fill(self.specials[at, :length], 0)
        return inputs | {"attention_mask": hidden}

    @property
    def width(self) -> int:
        """Tokens of the longest text, with the padding of the others."""
        return self.inputs["input_ids"].shape[1]

    @cached_property
    def specials(self) -> Tensor:
        """Where the tokens [CLS] and [SEP] are, (samples, tokens), boolean."""
        ids = torch.tensor([self.setting("cls_id"), self.setting("sep_id")])
        return torch.isin(self.inputs["input_ids"], ids)


_OTHER_NAMES = {"pad_id": "pad_token_id", "mask_id": "mask_token_id"}
