"""What a cell's record says of how it was computed."""

from collections.abc import Mapping, Sequence
from typing import Any

from bench.runner.reading import summed
from bench.store.blocks import Part
from methods.verify import NOT_APPLICABLE

# What is checked of maps: beyond which figure a table warns, and how. Those without a limit are refused beyond
# their own (methods.verify.LIMITS), so that no row exceeds it.
FIGURES = {
    "logits": (None, "logits on the tape from the model's own, at most"),
    "alone": (None, "map of a sample alone from its map in a batch, at most"),
    "gradient": (None, "gradient of attention from a central difference, at most"),
    "conserved": (None, "relevance lost or gained by the rules, of 1 put in"),
    "classes": (None, "maps of two classes from each other, at most"),
    "deviation": (1e-2, "relative deviation of maps from those in float64, at most"),
}


def origin_of(parts: Sequence[Part]) -> dict[str, Any]:
    """What the parts of a cell were computed with and what they cost."""
    origins = [part.origin for part in parts]
    last = origins[-1]
    samples = sum(len(part.rows) for part in parts)
    origin = {
        "device": ", ".join(sorted({o["device"] for o in origins})),
        "seconds": round(sum(o["seconds"] for o in origins), 3),
        "seconds_per_sample": {
            phase: round(sum(o["seconds_by_phase"][phase] for o in origins) / max(samples, 1), 6)
            for phase in last["seconds_by_phase"]
        },
        "batch_size": last["batch_size"],
        "peak_memory_bytes": max(o["peak_memory_bytes"] for o in origins),
        "versions": last["versions"],
        "checks": merged([o.get("checks", {}) for o in origins]),
    }
    if texts := summed([own for o in origins if (own := o.get("texts"))]):
        origin["texts"] = texts
    others = []
    for o in origins:
        if o["versions"] not in (last["versions"], *others):
            others.append(o["versions"])
    if others:  # e.g. a run that was killed and went on after an update
        origin["other_versions"] = others
    return origin


def merged(checks: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What was found in all parts of a cell: the largest figures, and all that was noted."""
    total: dict[str, Any] = {}
    for found in checks:
        for name, value in found.items():
            known = total.get(name)
            if name == "notes":
                total[name] = list(dict.fromkeys([*(known or []), *value]))
            elif name == "dtype":
                total[name] = value if known in (None, value) else f"{known}, {value}"
            elif not isinstance(known, float):  # nothing yet, or "not applicable"
                total[name] = value
            elif isinstance(value, float):
                total[name] = max(known, value)
    return total


def warnings(found: Mapping[str, Any]) -> list[str]:
    """What a reader of a cell's table must know of its checks."""
    beyond = [
        f"{text}: {found[name]:.3g}"
        for name, (limit, text) in FIGURES.items()
        if limit is not None and found.get(name, 0) > limit
    ]
    if found.get("alone") == NOT_APPLICABLE:
        beyond.append("the method draws anew at each call, so its maps cannot be made again")
    return beyond + found.get("notes", [])
