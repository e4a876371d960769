"""What a map costs, from the records of finished cells."""

from collections.abc import Sequence
from typing import Any

import pandas as pd

from bench.drawing import Panel
from bench.layout import ordered
from bench.numbers import METRICS, REFERENCES, base_name, labelled
from bench.store import Result
from bench.tables import ABLATIONS

MAP, CELL = "the map alone", "the whole cell"
APART = (*ABLATIONS, *REFERENCES)  # not drawn beside the methods that are compared


def costs(found: Sequence[Result]) -> pd.DataFrame:
    """One row per cell that was computed; one whose rows are another cell's cost nothing and is left out.

    Columns: method, explained, seconds (per sample), measured (what these seconds are of: :data:`MAP` or
    :data:`CELL`), memory (peak of the process, or of the GPU, in MiB; None where it is not known), batch_size
    and device.
    """
    rows = []
    for result, method in labelled(found):
        record = result.record
        if "rows_of" in record or "seconds" not in record or base_name(method) == "oracle":
            continue
        of_map = (record.get("seconds_per_sample") or {}).get("explain")
        peak = record.get("peak_memory_bytes")
        rows.append(
            {
                "method": method,
                "explained": record["config"]["explained"],
                "seconds": record["seconds"] / record["samples"] if of_map is None else of_map,
                "measured": CELL if of_map is None else MAP,
                "memory": None if peak is None else peak / 2**20,
                "batch_size": record.get("batch_size"),
                "device": record["device"],
            }
        )
    columns = ["method", "explained", "seconds", "measured", "memory", "batch_size", "device"]
    return ordered(pd.DataFrame(rows, columns=columns))


def against_quality(config: dict[str, Any], spent: pd.DataFrame, measured: pd.DataFrame) -> list[Panel]:
    """A panel for each metric: its value over the seconds per sample, for the explained class.

    Args:
        spent: :func:`costs`.
        measured: :func:`bench.numbers.numbers`. Of a metric with a k, the middle one is shown.
    """
    explained = config["explained"]
    measured = measured[(measured["explained"] == explained) & ~measured["method"].map(base_name).isin(APART)]
    spent = spent[(spent["explained"] == explained) & (spent["seconds"] > 0)]
    both = measured.merge(spent[["method", "seconds", "measured"]], on="method")
    panels = []
    for metric, rows in both.groupby("metric", sort=False):
        ks = sorted(rows["k"].unique())
        k = ks[len(ks) // 2]
        title = METRICS[metric].title + (f" at k = {k}" if k else "")
        unit = "per map" if set(rows["measured"]) == {MAP} else "per sample"
        direction = "more" if METRICS[metric].higher_is_better else "less"
        data = rows[rows["k"] == k].rename(columns={"seconds": "x"})
        label = f"seconds {unit} (left is cheaper)"
        panels.append(Panel(f"{title}: {direction} is better", label, title, data, curves=False))
    return panels


def as_entries(spent: pd.DataFrame) -> pd.DataFrame:
    """The costs, formatted for a reader, with one row per cell."""
    shown = {
        "seconds per sample ↓": spent["seconds"].map("{:.3g}".format),
        "peak memory, MiB ↓": spent["memory"].map(lambda m: "–" if pd.isna(m) else f"{m:.0f}"),
        "batch size": spent["batch_size"].map(lambda b: "–" if pd.isna(b) else f"{b:.0f}"),
        "device": spent["device"],
        "explained class": spent["explained"],
        "seconds are of": spent["measured"],
    }
    return pd.DataFrame(shown).set_axis(spent["method"], axis=0)
