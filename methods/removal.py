"""What removal-based methods share (Covert, Lundberg & Lee, "Explaining by Removing", JMLR 2021): the games.

The value v(S) of a set S of players (words, patches, segments) is what the model says of the explained class when
all other players are removed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import torch
from torch import Tensor

from methods.common import drawing, each_class
from methods.perturbed import logits_of, logits_of_edited
from methods.players import Players, Segments, Words, images_of, mask_of
from methods.relevance import Forward, Inputs, RefusedError

FILLS = ("mask", "pad", "delete", "attention")
QUANTITIES = ("logit", "probability")


@dataclass(frozen=True, kw_only=True)
class RemovalBased:
    """The settings of methods that remove players and look at the model's answers alone.

    Args:
        fill: what removing words is. ``mask``: their tokens become the mask token; ``pad``: the padding token,
            still attended to; ``delete``: the text closes up, so that positions move; ``attention``: the tokens
            stay, but the attention mask hides them.
        baseline: what removed pixels become, in the normalised input: 0 is the mean colour of the training data.
        quantity: what is looked at, the ``logit`` of the explained class or its softmax ``probability``.
        most_players: put neighbouring words, or squares of patches, together until there are no more players than
            this; None for no limit.
        chunk: edited inputs that go through the model at once.
        players: what is removed together (:mod:`methods.players`); the benchmark fills it in.

    Raises:
        ValueError: for a setting out of range.
    """

    word_score: ClassVar[str] = "sum"

    fill: Literal["mask", "pad", "delete", "attention"] = "mask"
    baseline: float = 0.0
    quantity: Literal["logit", "probability"] = "logit"
    most_players: int | None = None
    chunk: int = 32
    players: Players | None = None

    def __post_init__(self):
        check_choice("fill", self.fill, FILLS)
        check_choice("quantity", self.quantity, QUANTITIES)
        check_counts(self, "chunk", *(["most_players"] if self.most_players is not None else []))
        if self.players is not None and not isinstance(self.players, Players):
            raise ValueError(f"players={self.players!r}: expected Words, Patches or Segments")

    def __call__(self, forward: Forward, inputs: Inputs, target: Tensor | None = None) -> Tensor:
        """Explain ``target`` (batch,), or the predicted class if None.

        Returns:
            (batch, tokens) for words and patches, (batch, height, width) for segments, in float64: every token, or
            pixel, of a player has an equal share of its value, and what is never removed has 0. For a ``target``
            of (batch, classes), which costs no more passes, (batch, classes, …).

        Raises:
            RefusedError: if ``players`` is not given, is not of such inputs, or the model has not the token
                that ``fill`` needs; if the logits of an edited input are not finite.
            ValueError: for a class that the model does not have.
        """
        games = Games(self, forward, inputs, target)
        return games.maps(self._values(games))

    def for_check(self) -> "RemovalBased":
        """The same with few players, for :func:`methods.verify`."""
        return self if isinstance(self.players, Segments) else replace(self, most_players=4)

    def _values(self, games: "Games") -> Sequence[Tensor]:
        """The value of each player for each explained class, (players, classes), of every sample."""
        raise NotImplementedError


class Games:
    """The games of a batch: one for each sample and explained class.

    Attributes:
        inputs: the batch.
        players: those of the method, put together as it says.
        sizes: the number of players of each sample.
        whole: the value of all players together, (batch, classes), float64.
    """

    def __init__(self, method: RemovalBased, forward: Forward, inputs: Inputs, target: Tensor | None):
        if method.players is None:
            raise RefusedError(
                f"{type(method).__name__} removes parts of an input and has to be told which: give it "
                "players=Words(groups, mask_id) for texts, or Patches(grid, prefix_tokens) for images"
            )
        self._method, self._forward, self.inputs = method, forward, inputs
        self.players = method.players.at_most(method.most_players)
        self._labels = self.players.labels(inputs)
        flat = self._labels.flatten(1)
        self.sizes = [int(row.max()) + 1 if len(row) else 0 for row in flat]
        logits = logits_of(forward, inputs)
        self._single = target is None or target.ndim == 1
        self.target = each_class(logits.argmax(dim=1) if target is None else target).to(logits.device)
        if int(self.target.min()) < 0 or int(self.target.max()) >= logits.shape[1]:
            raise ValueError(
                f"target={self.target.tolist()}: the model has {logits.shape[1]} classes, counted from 0"
            )
        self.whole = self._quantity(logits, torch.arange(len(logits)))

    def __len__(self) -> int:
        return len(self.sizes)

    def generator(self, seed: int, sample: int) -> torch.Generator:
        """What draws for a sample (:func:`methods.common.drawing`)."""
        mask = mask_of(self.inputs)
        return drawing(seed, self.inputs, sample, None if mask is None else mask[sample].bool().cpu())

    def values(self, coalitions: Sequence[Tensor]) -> list[Tensor]:
        """The values of coalitions.

        Args:
            coalitions: of each sample, (coalitions, players), boolean: True for those who are there.

        Returns:
            of each sample (coalitions, classes), float64, on the CPU.
        """
        counts = [len(own) for own in coalitions]
        samples = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))
        # Who is never removed has a player of his own, the last, who is always there.
        table = torch.zeros(len(samples), max(self.sizes, default=0) + 1, dtype=torch.bool)
        for own, rows in zip(coalitions, table.split(counts), strict=True):
            rows[:, : own.shape[1]] = ~own
        chunks = zip(samples.split(self._method.chunk), table.split(self._method.chunk), strict=True)
        found = [self._of_chunk(*chunk) for chunk in chunks] if len(samples) else []
        values = torch.cat([self.whole[:0], *found])
        return list(values.split(counts))

    def maps(self, values: Sequence[Tensor]) -> Tensor:
        """From values (players, classes) of each sample to the maps of the batch."""
        spread = self.players.spread
        labels = self._labels.cpu()
        maps = torch.stack([spread(own, at) for own, at in zip(values, labels, strict=True)])
        maps = maps.to(self._labels.device)
        return maps[:, 0] if self._single else maps

    def _of_chunk(self, samples: Tensor, removed: Tensor) -> Tensor:
        labels = self._labels[samples.to(self._labels.device)]
        at = torch.where(labels < 0, removed.shape[1] - 1, labels)
        gone = removed.to(at.device).gather(1, at.flatten(1)).view(at.shape)
        edited = _without(self._method, self.inputs, samples.to(at.device), gone)
        logits = logits_of_edited(self._forward, edited, f"fill={self._method.fill!r}", "choose another fill")
        return self._quantity(logits, samples)

    def _quantity(self, logits: Tensor, samples: Tensor) -> Tensor:
        """What is looked at, for the explained classes: (rows, classes)."""
        logits = logits.double()
        values = logits if self._method.quantity == "logit" else logits.softmax(dim=1)
        return values.gather(1, self.target[samples.to(self.target.device)]).cpu()


def _without(method: RemovalBased, inputs: Inputs, samples: Tensor, gone: Tensor) -> Inputs:
    """The inputs of samples (rows,) without what is gone, (rows, tokens) or (rows, height, width), boolean."""
    if not isinstance(method.players, Words):
        images = images_of(inputs)[samples]
        return torch.where(gone[:, None], torch.full((), method.baseline).to(images), images)
    if not isinstance(inputs, Mapping):
        if method.fill in ("delete", "attention"):
            raise RefusedError(f"fill={method.fill!r}: it needs an attention_mask beside the input_ids")
        return torch.where(gone, _token(method), inputs[samples])
    batch = len(inputs["input_ids"])
    rows = {
        name: t[samples] if isinstance(t, Tensor) and t.shape[:1] == (batch,) else t
        for name, t in inputs.items()
    }
    if method.fill in ("mask", "pad"):
        return rows | {"input_ids": torch.where(gone, _token(method), rows["input_ids"])}
    if mask_of(inputs) is None:
        raise RefusedError(f"fill={method.fill!r}: it needs an attention_mask, (batch, tokens)")
    rows["attention_mask"] = torch.where(gone, 0, rows["attention_mask"])
    return rows if method.fill == "attention" else _closed_up(method, inputs, rows, samples, gone)


def _closed_up(
    method: RemovalBased, inputs: Mapping[str, Tensor], rows: dict, samples: Tensor, gone: Tensor
) -> dict:
    """Texts whose removed tokens became padding, on the side where the padding is."""
    if "position_ids" in rows:
        raise RefusedError("fill='delete': positions that are given cannot close up; leave position_ids out")
    rows["input_ids"] = torch.where(gone, _token(method), rows["input_ids"])
    padded_left = inputs["attention_mask"][samples, :1] == 0
    order = torch.where(padded_left, ~gone, gone).int().argsort(dim=1, stable=True)
    return {
        name: t.gather(1, order) if isinstance(t, Tensor) and t.shape == gone.shape else t
        for name, t in rows.items()
    }


def _token(method: RemovalBased) -> int:
    """The id that stands for what is removed."""
    name = "mask_id" if method.fill == "mask" else "pad_id"
    found = getattr(method.players, name)
    if found is None:
        raise RefusedError(
            f"fill={method.fill!r}: the model has no {name.removesuffix('_id')} token (players.{name} is None); "
            f"choose another fill, one of {', '.join(FILLS)}"
        )
    return found


def check_counts(method: RemovalBased, *names: str, least: int = 1) -> None:
    """Raises ValueError for settings that are not whole numbers of 1 or more, or of another least number."""
    for name in names:
        value = getattr(method, name)
        if type(value) is not int or value < least:
            raise ValueError(f"{name}={value!r}: expected a whole number, {least} or more")


def check_choice(name: str, value: object, choices: Sequence[str]) -> None:
    """Raises ValueError for a setting that is none of the choices."""
    if value not in choices:
        raise ValueError(f"{name}={value!r}: expected one of {', '.join(choices)}")


def given(coalitions: Tensor, players: int) -> Tensor:
    """Coalitions that are given by hand, (coalitions, players), as booleans.

    Raises:
        ValueError: if they are of another number of players.
    """
    if coalitions.ndim != 2 or coalitions.shape[1] != players:
        raise ValueError(
            f"coalitions of shape {tuple(coalitions.shape)} for {players} players; expected (coalitions, {players})"
        )
    return coalitions.bool().cpu()
