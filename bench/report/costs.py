"""What a map costs and what is known of each cell, from records; and what maps are worth at every recall."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch

from bench.catalogue import base_name, catalogue_of
from bench.cli import progress
from bench.figures.panels import with_bands
from bench.figures.style import Panel
from bench.report.html import Grid
from bench.report.shown import Shown, kept_maps
from bench.runner.records import FIGURES, warnings
from bench.store.cells import Result
from bench.store.identity import ANY
from bench.tables.conditions import title_read
from bench.tables.format import Column, Entry, readable
from bench.tables.select import Scored
from bench.tables.statistics import in_words, ordered, protocol_label
from bench.tables.table import Part
from metrics import precision_at
from metrics.metric import Curve

RECALLS = np.arange(1, 51) / 50
COSTS = ("method", "explained", "seconds", "memory", "batch_size", "device")
NOT_RECORDED = "not recorded"


def costs(part: Part) -> pd.DataFrame:
    """What each method's maps cost, in the order of the methods, without the ceiling.

    The seconds are those in the record of the maps where these are kept, else those that the measurement's
    record has for explaining.

    Returns:
        Columns method, explained (``any`` where the maps do not depend on the class), seconds (per map),
        memory (peak of the process, or of the GPU, in MiB; None where it is not known), batch_size, device.
    """
    facts, rows, seen = catalogue_of(part.config), [], set()
    for one in ordered(part.selection):
        source = kept_maps(part.config, one) or one.own[0]
        record = source.record
        seconds = (record.get("seconds_per_sample") or {}).get("explain")
        if source.path in seen or not seconds or facts.method(one.name).kind == "ceiling":
            continue
        seen.add(source.path)
        peak = record.get("peak_memory_bytes")
        memory = None if peak is None else peak / 2**20
        rows.append(
            (one.label, source.explained, seconds, memory, record.get("batch_size"), record["device"])
        )
    return pd.DataFrame(rows, columns=list(COSTS))


def against_quality(part: Part, spent: pd.DataFrame) -> list[Panel]:
    """A panel for each metric: its value over the seconds per map, for the explained class.

    Args:
        spent: :func:`costs`. Of a metric with a k, the middle one is shown.
    """
    explained, facts, measured = part.config["explained"], catalogue_of(part.config), part.measured
    compared = measured["method"].map(lambda label: facts.method(base_name(label)).kind == "method")
    measured = measured[(measured["explained"] == explained) & compared]
    spent = spent[spent["explained"].isin([explained, ANY]) & (spent["seconds"] > 0)]
    both = measured.merge(spent[["method", "seconds"]], on="method").rename(columns={"seconds": "x"})
    panels = []
    for name, rows in both.groupby("metric", sort=False):
        metric, ks = part.metrics[name], sorted(rows["k"].unique())
        k = ks[len(ks) // 2]
        title = metric.title + (f" at k = {k}" if k else "")
        better = {True: ": more is better", False: ": less is better", None: ""}[metric.higher_is_better]
        data = rows[rows["k"] == k]
        panels.append(
            Panel(f"{title}{better}", "seconds per map (left is cheaper)", title, data, curves=False)
        )
    return panels


def cost_grid(spent: pd.DataFrame, part: Part) -> Grid:
    """The costs for a reader, with one row per explanation."""
    facts, rows = catalogue_of(part.config), {}
    for place, r in enumerate(spent.itertuples(index=False)):
        title = f"{readable(r.method, facts)}, {r.explained} class, {r.device}"
        rows[str(place)] = (title, not facts.method(base_name(r.method)).competes)
    values = {
        "milliseconds per map ↓": (1000 * spent["seconds"], 1),
        "peak memory, MiB ↓": (spent["memory"], 0),
        "batch size": (spent["batch_size"], 0),
    }
    columns = [
        Column(
            "",
            heading,
            None,
            decimals,
            {row: Entry(v) for row, v in zip(rows, own, strict=True) if pd.notna(v)},
        )
        for heading, (own, decimals) in values.items()
    ]
    return Grid(columns, [(row, *rest) for row, rest in rows.items()])


def precision_recall(part: Part, shown: Shown, count: int) -> tuple[Panel, int]:
    """A panel of the mean curves of ``count`` images drawn with the seed, for their predicted class.

    Precision is that of foreground and background together, as average precision has it, so the area under a
    mean curve is the mAP of these images.

    Returns:
        The panel, and how many images there were.
    """
    config, ids = part.config, shown.ids
    drawn = np.random.default_rng(config["seed"]).permutation(len(ids))[:count]
    found: dict[str, list[np.ndarray]] = {label: [] for label in shown.labels}
    with progress("precision over recall", len(drawn), "image") as advance:
        for name in [ids[i] for i in sorted(drawn)]:
            seen = shown.see(name)
            size = tuple(seen.batch.inputs.shape[-2:])
            for label in shown.labels:
                if (maps := shown.maps(label, seen, seen.classes[0])) is not None:
                    recalls = torch.from_numpy(RECALLS)
                    precision = precision_at(recalls, maps.pixels(size).cpu(), seen.batch.masks.cpu())
                    found[label].append(100 * precision[0].numpy())
            advance()
    curves = {
        ("precision", label): Curve(
            100 * RECALLS, np.stack(values), "recall, %", "precision, %", (0.0, 100.0)
        )
        for label, values in found.items()
        if len(values) == len(drawn)
    }
    data = with_bands(curves, config["seed"])
    title = f"{title_read(part.selection, 'model')}\n{title_read(part.selection, 'dataset')}"
    return Panel(title, "recall, %", "precision, %", data), len(drawn)


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


def described(part: Part, belongs: Callable[[Scored], bool] = lambda one: True) -> list[Described]:
    """The cells of a table, each once: those of the methods in their order, then those of the model alone.

    Args:
        belongs: whether the cells of a method are wanted; then those of the model are left out.
    """
    facts, found = catalogue_of(part.config), {}
    for one in filter(belongs, ordered(part.selection)):
        name = f"{readable(one.label, facts)}, {{}} class" + (": {}" if len(one.own) > 1 else "")
        for result in one.own:
            kind = result.record["kind"].replace("_", " ")
            found.setdefault(result.path, (result, name.format(result.explained, kind), one))
    cells = [_described(*entry, part) for entry in found.values()]
    if not cells or len(found) < len({r.path for one in part.selection.scored for r in one.own}):
        return cells
    alone = [result for result in part.selection.results if "method" not in result.identity]
    return cells + [
        _described(result, f"{result.record['kind']} of the model", None, part) for result in alone
    ]


def _described(result: Result, name: str, one: Scored | None, part: Part) -> Described:
    record, identity, measured = result.record, result.identity, part.measured
    skipped, phases = record.get("skipped") or [], record.get("seconds_per_sample") or {}
    checks, facts = record.get("checks", {}), {}
    if one is not None:
        own = measured[(measured["method"] == one.label) & (measured["explained"] == one.explained)]
        values = [f"{r.metric}{f'@{r.k}' if r.k else ''} {r.value:.4g}" for r in own.itertuples(index=False)]
        facts = {
            "metrics": "; ".join(values),
            "method settings": in_words(one.method["settings"]) or "none",
        }
    times = [f"{record['seconds']:.1f} s"] if "seconds" in record else []
    times += (
        [f"per sample: {', '.join(f'{phase} {s:.3g} s' for phase, s in phases.items())}"] if phases else []
    )
    peak = record.get("peak_memory_bytes")
    checked = [f"{text}: {_figure(checks[key])}" for key, (_, text) in FIGURES.items() if key in checks]
    facts |= {
        "samples": f"{record['samples']}" + (f", {len(skipped)} more skipped" if skipped else ""),
        "protocol": protocol_label(part.config),
        "model": title_read(part.selection, "model"),
        "content of the model (SHA-256)": in_words(identity["model"]["content"]),
        "data": title_read(part.selection, "dataset"),
        "content of the data": str(identity["dataset"]["content"]),
        "seed": str(identity["dataset"]["seed"]),
        "device": record.get("device", NOT_RECORDED),
        "batch size": str(record.get("batch_size", NOT_RECORDED)),
        "time": "; ".join(times) or NOT_RECORDED,
        "peak memory": NOT_RECORDED if peak is None else f"{peak / 2**20:.0f} MiB",
        "versions": in_words(record.get("versions", {})) or NOT_RECORDED,
        "checks": "; ".join(checked) or "none: no method made these rows",
        "file": f"{record['kind']}/{result.path.name}",
    }
    anchor = f"cell-{record['kind']}-{result.path.stem}"
    shown = json.dumps(record["config"], indent=1, default=str)
    return Described(name, anchor, facts, warnings(checks), shown)


def _figure(found: float | str) -> str:
    return found if isinstance(found, str) else f"{found:.2g}"
