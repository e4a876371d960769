"""What is known about each finished cell."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

from bench.layout import rank, readable
from bench.numbers import labelled, protocol_label, settings_of_method
from bench.sanity import WARNINGS, warnings
from bench.store import Result, protocol_of


@dataclass(frozen=True)
class Described:
    """A cell.

    Attributes:
        name: of its method and explained class.
        anchor: unique on the page.
        facts: what was measured and with what, by name.
        warnings: what a table warns of.
        config: the resolved configuration as JSON.
    """

    name: str
    anchor: str
    facts: dict[str, str]
    warnings: Sequence[str]
    config: str


def described(found: Sequence[Result]) -> list[Described]:
    """All cells, in the order of their methods."""
    in_order = sorted(labelled(found), key=lambda item: rank(item[1]))
    return [_described(result, label) for result, label in in_order]


def _described(result: Result, label: str) -> Described:
    record, config = result.record, result.record["config"]
    facts = {
        "metrics": "; ".join(f"{name} {value:.4g}" for name, value in record["metrics"].items()),
        "samples": _samples(record),
        "method settings": settings_of_method(record["method"]) or "none",
        "protocol": protocol_label(protocol_of(config)),
        "model": config["model"]["title"],
        "weights (SHA-256)": record["checkpoint_sha256"],
        "data": config["dataset"]["title"],
        "seed": str(config["seed"]),
        "device": record.get("device", "not recorded"),
        "batch size": str(record.get("batch_size", "not recorded")),
        "time": _time(record),
        "peak memory": _memory(record.get("peak_memory_bytes")),
        "versions": ", ".join(f"{name} {version}" for name, version in record.get("versions", {}).items())
        or "not recorded",
        "sanity": _sanity(record.get("sanity", {})),
        "file": result.path.name,
    }
    return Described(
        name=f"{readable(label)}, {config['explained']} class",
        anchor=result.path.stem,
        facts=facts,
        warnings=warnings(record.get("sanity", {})),
        config=json.dumps(config, indent=1, default=str),
    )


def _samples(record: dict) -> str:
    skipped = record.get("skipped") or []
    return f"{record['samples']}" + (f", {len(skipped)} more skipped" if skipped else "")


def _time(record: dict) -> str:
    if "rows_of" in record:
        return f"none: the rows are those of {record['rows_of']}, as the method does not know the class"
    if "seconds" not in record:
        return "not recorded"
    parts = record.get("seconds_per_sample") or {}
    each = ", ".join(f"{name} {seconds:.3g} s" for name, seconds in parts.items())
    return f"{record['seconds']:.1f} s" + (f"; per sample: {each}" if each else "")


def _memory(peak: int | None) -> str:
    return "not recorded" if peak is None else f"{peak / 2**20:.0f} MiB"


def _sanity(findings: dict) -> str:
    looked = [f"{WARNINGS[key][1]}: {findings[key]:.2g}" for key in WARNINGS if key in findings]
    if not findings.get("thorough"):
        looked.append("maps were not looked at (sanity=true does)")
    return "; ".join(looked)
