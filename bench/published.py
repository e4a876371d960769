"""Published numbers, from ``results/reference/``: one CSV per task, with how each was confirmed."""

from pathlib import Path

import pandas as pd

from bench.config import PROJECT
from bench.errors import BenchError

SOURCES = {
    "chefer2021": "Chefer et al. 2021",
    "rerun_issue52": "public re-run (issue 52)",
    "rerun_kth": "public re-run (KTH)",
}
PROTOCOL = "paper"  # under which the numbers were published
SETUPS = {
    "perturbation": "ViT-B/16, 50,000 images of ImageNet validation",
    "segmentation": "ViT-B/16, ImageNet-Segmentation",
    "token_f1": "BERT-base, ERASER Movie Reviews",
}


def published(task: str, results: str | Path) -> pd.DataFrame:
    """All published numbers of a task: source, method, metric, explained, k, value, confirmed.

    Raises:
        BenchError: if the file is missing.
    """
    path = Path(results) / "reference" / f"{task}.csv"
    if not path.exists():
        # Tables may be kept anywhere; the published numbers come with the project.
        path = PROJECT / "results" / "reference" / path.name
    if not path.exists():
        raise BenchError(
            f"there are no published numbers at {path}; the project's results/reference is incomplete"
        )
    table = pd.read_csv(path)
    if task == "perturbation":
        table["metric"] = table["direction"] + "_auc"
        table = table.rename(columns={"explained_class": "explained", "auc": "value"}).assign(k=0)
    elif task == "segmentation":
        keys = ["source", "method", "confirmed"]
        table = table.melt(keys, ["pixel_accuracy", "map", "miou"], "metric", "value").assign(
            explained="predicted", k=0
        )
    else:
        table = table.rename(columns={"token_f1_macro": "value"}).assign(
            metric="token_f1", explained="target"
        )
    return table[["source", "method", "metric", "explained", "k", "value", "confirmed"]]
