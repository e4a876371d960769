"""Values of ferret's metrics on stored maps: ``ferret_scores.json``, whose names say model, map and sample."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bench.verify.files import read_json
from bench.verify.grammar import Entry
from bench.verify.lines import Line
from bench.verify.offered import metric
from bench.verify.scores import compare_section, leaves, unknown
from bench.verify.stems import Stem
from bench.verify.subject import Subject

TOLERANCE = 1e-9
ROWS = 32
KEY = Entry("{map:[^/]+}/class{k:int}/sample{sample:int}/{what:delete|mask|taucorr_loo}", "")


def entries_of(path: Path, stems: Sequence[Stem]) -> tuple[dict[str, dict[str, Any]], list[str]]:
    """The entries of a file by the name of the model, and those whose model is not there."""
    found: dict[str, dict[str, Any]] = {stem.name: {} for stem in stems}
    foreign = []
    for key, value in read_json(path).items():
        name, slash, rest = key.partition("/")
        if not slash:
            continue  # what the file says of itself
        if name in found:
            found[name][rest] = value
        else:
            foreign.append(key)
    return found, foreign


def compare(subject: Subject, entries: Mapping[str, Any]) -> list[Line]:
    """A line for each number."""
    lines, stem = [], subject.stem.name
    for key, value in entries.items():
        if (read := KEY.read(key)) is None:
            lines += unknown(stem, [f"ferret/{key}"])
            continue
        stored = leaves(value) if isinstance(value, Mapping) else {"": value}
        lines += compare_section(
            stem, f"ferret/{key}", stored, lambda r=read: _scored(subject, **r), TOLERANCE
        )
    return lines


def _scored(subject: Subject, map: str, k: int, sample: int, what: str) -> dict[str, Any]:
    length = int(subject.lengths[sample])
    inputs = {name: t[sample : sample + 1, :length] for name, t in subject.inputs.items()}
    units = torch.arange(-1, length - 1)[None].clone()
    units[:, -1] = -1  # [CLS] and [SEP] stay
    fill = "mask" if what == "mask" else "delete"
    ids = {"mask_id": subject.stem.settings.get("mask_id"), "pad_id": subject.stem.settings.get("pad_id", 0)}
    masked = metric("MaskedTexts")(subject.forward, inputs, units, fill, **ids)
    scores = torch.from_numpy(subject.array(f"{map}.class{k}"))[sample, 1 : length - 1].double()

    def probability(removed: Tensor) -> Tensor:
        with torch.no_grad():
            rows = [masked(torch.zeros(len(some), dtype=torch.long), some) for some in removed.split(ROWS)]
        return torch.cat(rows).softmax(dim=1)[:, k]

    clean = subject.logits()[sample].softmax(dim=0)[k]
    if what == "taucorr_loo":
        drops = clean - probability(torch.eye(length - 2, dtype=torch.bool))
        return {"": float(metric("kendall")(scores[None], drops[None])[0])}
    found = metric("ferret_aopc")(scores, float(clean), probability)
    return {
        "aopc_comprehensiveness": found.comprehensiveness,
        "aopc_sufficiency": found.sufficiency,
        "bins": found.bins,
    }
