"""What a cell's record says of how it was computed."""

from collections.abc import Mapping, Sequence
from typing import Any

from bench.store.blocks import Part

# What is looked at: beyond which number a table warns, and how.
WARNINGS = {
    "conservation_error": (1e-3, "relevance lost or gained by the rules, of 1 put in"),
    "logits_error": (
        1e-3,
        "relative difference of the explained logits from the model's own, at most",
    ),
    "deviation": (1e-2, "relative deviation of maps from those in float64, at most"),
    "same_for_another_class": (0, "maps that do not change with the class, of a method that should"),
}

COUNTS = ("same_for_another_class",)  # maps; the others are the largest figure seen


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
        "sanity": merged([o["sanity"] for o in origins]),
    }
    others = []
    for o in origins:
        if o["versions"] not in (last["versions"], *others):
            others.append(o["versions"])
    if others:  # e.g. a run that was killed and went on after an update
        origin["other_versions"] = others
    return origin


def merged(findings: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What was found in all parts of a cell: how often, or at most."""
    total: dict[str, Any] = {"thorough": all(found.get("thorough", False) for found in findings)}
    for found in findings:
        for name, value in found.items():
            if name in COUNTS:
                total[name] = total.get(name, 0) + value
            elif name != "thorough":
                total[name] = max(total.get(name, 0.0), value)
    return total


def warnings(found: Mapping[str, Any]) -> list[str]:
    """What a reader of a cell's table must know of its findings."""
    return [
        f"{text}: {found[name]:.3g}" for name, (limit, text) in WARNINGS.items() if found.get(name, 0) > limit
    ]
