"""Values of metrics on texts (``golden/metrics/README.md``)."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bench.verify.grammar import Entry
from bench.verify.lines import Line
from bench.verify.offered import metric
from bench.verify.scored_images import ROWS
from bench.verify.scores import DEFAULT, compare_section, leaves, unknown
from bench.verify.scores_images import BINS, curve_scores
from bench.verify.subject import Subject

FILLS = {"mask": "mask", "drop": "delete", "pad": "attention", "delete": "delete", "attention": "attention"}
"""As the files call them, and as ``metrics`` does: what they call ``pad`` hides tokens from attention."""

OF_A_SEQUENCE = ("length", "units", "explained", "p_clean", "z_clean")


class ScoredText:
    """One text, whose tokens between the first and the last are units.

    Attributes:
        subject: the model and all texts.
        sample: the place of this one.
        length: its tokens.
        explained: the predicted class.
    """

    def __init__(self, subject: Subject, sample: int):
        self.subject, self.sample = subject, sample
        self.length = int(subject.lengths[sample])
        self.inputs = {n: t[sample : sample + 1, : self.length] for n, t in subject.inputs.items()}
        self.logits = subject.logits()[sample]
        self.explained = int(self.logits.argmax())

    @property
    def units(self) -> int:
        """How many tokens can be removed."""
        return self.length - 2

    def map(self, name: str) -> Tensor:
        """A stored map of the explained class, (1, units); which, its name says."""
        start = Entry("{name:\\w+}_start{start:int}", "").read(name) or {"name": name, "start": None}
        arrays = {k: a for golden in self.subject.stem.goldens for k, a in golden.arrays.items()}
        base, ending = start["name"], f".class{self.explained}"
        found = [base, base + ending]
        if start["start"] is not None:
            found = [f"{base}.start{start['start']}{each}" for each in ("", ending)]
        elif not any(each in arrays for each in found):
            found = self._of_last_block(base, ending, arrays)
        key = next((each for each in found if each in arrays), None)
        if key is None:
            raise ValueError(f"no file of {self.subject.stem.name} holds the map {name!r} that is scored")
        return torch.from_numpy(arrays[key][self.sample, 1 : self.length - 1]).double()[None]

    def _of_last_block(self, base: str, ending: str, arrays: Mapping[str, Any]) -> list[str]:
        pattern = Entry(f"{base}.start{{start:int}}{ending}", "")
        starts = [read["start"] for key in arrays if (read := pattern.read(key))]
        return [f"{base}.start{max(starts)}{ending}"] if starts else []

    def masked(self, fill: str, mask_id: int | None) -> Any:
        """What gives logits of the text without some of its units."""
        units = torch.arange(-1, self.length - 1)[None]
        units[:, -1] = -1
        pad_id = self.subject.stem.settings.get("pad_id", self.subject.stem.config.get("pad_token_id", 0))
        kind = metric("MaskedTexts")
        return kind(self.subject.forward, self.inputs, units, FILLS[fill], mask_id=mask_id, pad_id=pad_id)


def of_fill(
    text: ScoredText, name: str, fill: str, stored: Mapping[str, Any], settings: Mapping[str, Any]
) -> dict:
    """Everything that is measured by removing units in one way."""
    maps, target = text.map(name), torch.tensor([text.explained])
    fractions, bins = settings.get("fractions", [i / 10 for i in range(11)]), settings.get("bins", BINS)
    counts, tops = metric("unit_counts")(text.units, fractions), metric("bin_counts")(text.units, bins)
    masked = text.masked(fill, _mask_id(text, settings))
    most, least = metric("removal_curves")(
        masked,
        metric("rank")(maps),
        torch.tensor([*counts, *tops]),
        torch.tensor([*counts, *(text.units - k for k in tops)]),
        target,
        rows=ROWS,
    )
    clean = text.logits.softmax(dim=0)[text.explained][None]
    found = curve_scores(fractions, clean, most, least)
    scores = {key.removeprefix("bins/"): np.asarray(value)[0] for key, value in found.items()}
    scores |= {"k": tops, "srg": scores["srg_auc"]}
    if "subsets/seed" in stored:
        own = {key.removeprefix("subsets/"): v for key, v in stored.items() if key.startswith("subsets/")}
        scores |= {f"subsets/{key}": value for key, value in _subsets(text, maps, masked, own).items()}
    return scores


def _mask_id(text: ScoredText, settings: Mapping[str, Any]) -> int | None:
    own = text.subject.stem.settings
    return own.get("metrics_mask_id", settings.get("mask_id", own.get("mask_id")))


def _subsets(text: ScoredText, maps: Tensor, masked: Any, own: Mapping[str, Any]) -> dict:
    chosen = metric("draw_subsets")(text.units, own["size"], own["runs"], own["seed"])
    removed = metric("subset_masks")(chosen, text.units)
    with torch.no_grad():
        logits = torch.cat([masked(torch.zeros(len(rows)).long(), rows) for rows in removed.split(ROWS)])
    drop = text.logits.softmax(dim=0)[text.explained] - logits.softmax(dim=1)[:, text.explained]
    sums = metric("subset_sums")(maps, chosen)[0]
    return {
        "seed": own["seed"],
        "size": own["size"],
        "runs": own["runs"],
        "pearson_p": metric("faithfulness_correlation")(sums, drop),
        "infidelity_p_scaled": metric("infidelity")(sums, drop, scaled=True),
    }


def _of_map(text: ScoredText, name: str, stored: Mapping[str, Any], settings: Mapping[str, Any]) -> dict:
    """Of one map: its shape, and what removing units says."""
    maps = text.map(name)
    found = {
        "ties": text.units - len(maps.unique()),
        "gini": np.asarray(metric("gini")(maps))[0],
        "entropy": np.asarray(metric("entropy")(maps))[0],
    }
    for fill in FILLS:
        inner = {k.removeprefix(f"{fill}/"): v for k, v in stored.items() if k.startswith(f"{fill}/")}
        if inner:
            found |= {f"{fill}/{k}": v for k, v in of_fill(text, name, fill, inner, settings).items()}
    return found


def compare(stem: Any, content: Mapping[str, Any], subject: Subject) -> list[Line]:
    """A line for each number of each map of each text."""
    settings, lines = content.get("settings", {}), []
    for name in content:
        if name not in ("settings", "sequences"):
            lines += unknown(stem.name, [name])
    for sample, sequence in enumerate(content.get("sequences", [])):
        text, key = ScoredText(subject, sample), f"sequences/{sample}"
        own = {name: value for name, value in sequence.items() if name in OF_A_SEQUENCE}
        lines += compare_section(stem.name, key, own, lambda text=text: _clean(text), DEFAULT)
        for name, section in sequence.items():
            if isinstance(section, Mapping):
                stored = leaves(section)
                arguments = (text, name, stored, settings)
                lines += compare_section(
                    stem.name, f"{key}/{name}", stored, lambda own=arguments: _of_map(*own), DEFAULT
                )
            elif name not in own:
                lines += unknown(stem.name, [f"{key}/{name}"])
    return lines


def _clean(text: ScoredText) -> dict:
    return {
        "length": text.length,
        "units": text.units,
        "explained": text.explained,
        "p_clean": float(text.logits.softmax(dim=0)[text.explained]),
        "z_clean": float(text.logits[text.explained]),
    }
