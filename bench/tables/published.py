"""Published numbers, from ``results/reference/<task>.csv``, with how each was confirmed."""

from pathlib import Path

import pandas as pd

from bench.catalogue import REFERENCE

SOURCES = {
    "chefer2021": "Chefer et al. 2021",
    "rerun_issue52": "public re-run (issue 52)",
    "rerun_kth": "public re-run (KTH)",
}
PROTOCOL = "paper"  # under which the numbers were published
COLUMNS = ["source", "method", "metric", "explained", "k", "value", "confirmed"]


def published(task: str, results: str | Path) -> pd.DataFrame:
    """All published numbers of a task, with the columns :data:`COLUMNS`; no rows where there are none."""
    # Results may be kept anywhere; the published numbers come with the project.
    for folder in (Path(results) / "reference", REFERENCE):
        if (path := folder / f"{task}.csv").exists():
            return pd.read_csv(path)[COLUMNS]
    return pd.DataFrame(columns=COLUMNS)
