"""How far methods agree: ``python -m bench.tables.agreement suite=embedded [task=perturbation]``.

Takes the same overrides as ``python -m bench``. Of all methods whose maps are kept under these conditions, on
the samples that all of them have: per sample Spearman's correlation, Kendall's τ_b, and the intersection over
union of the 10 % most relevant patches or tokens, each averaged over the samples on which it is defined.
Nothing is run. Symmetric tables without an arrow: agreement is no merit, as two methods may be wrong
together.
"""

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
import torch

from bench.cli import command_line, show
from bench.config import configuration
from bench.errors import BenchError
from bench.store.cells import KeptMaps, Result, cells_folder, results
from bench.store.identity import ANY, MAPS, recipe
from bench.tables.select import wanted
from metrics import kendall, spearman, top_share_iou

MEASURES = {"Spearman": spearman, "Kendall τ_b": kendall, "IoU of the top 10 %": top_share_iou}
OF_AN_EXPLANATION = ("dataset", "model", "inputs")


def kept_explanations(config: Mapping[str, Any]) -> dict[str, Result]:
    """The finished maps under the conditions of a configuration, by the names of the methods.

    Raises:
        BenchError: if there are fewer than two.
    """
    conditions = {
        key: value for key, value in wanted(config, {"_target_": ""}).items() if key in OF_AN_EXPLANATION
    }
    found: dict[str, Result] = {}
    for result in results(cells_folder(config), MAPS):
        identity = result.identity
        own = recipe({key: identity[key] for key in OF_AN_EXPLANATION})
        plain = identity.get("variant") is None and identity["explained"] in (ANY, config["explained"])
        if plain and own == conditions:
            found[result.record["names"][2]] = result
    if len(found) < 2:
        raise BenchError(
            f"agreement: {len(found)} methods have kept maps for {config['dataset']['name']}, "
            f"{config['model']['name']}, {config['explained']} class; run two or more first"
        )
    return found


def agreement(config: Mapping[str, Any]) -> pd.DataFrame:
    """One row per pair of methods and measure: ``method``, ``other``, ``measure``, ``value``, ``samples``.

    Raises:
        BenchError: as :func:`kept_explanations`, or if the methods have no sample in common, or maps of other
        units.
    """
    maps = {name: KeptMaps(result) for name, result in kept_explanations(config).items()}
    ids = sorted(set.intersection(*(set(result.ids()) for result in kept_explanations(config).values())))
    if not ids:
        raise BenchError("agreement: the methods have no sample in common; run them on the same")
    rows = []
    for one, other in combinations(maps, 2):
        pairs = [(np.asarray(maps[one][i]["map"]), np.asarray(maps[other][i]["map"])) for i in ids]
        if any(a.shape != b.shape for a, b in pairs):
            continue  # of patches and of pixels
        for name, measure in MEASURES.items():
            values = [float(measure(*(torch.tensor(each)[None].double() for each in pair))) for pair in pairs]
            defined = np.isfinite(values)
            value = float(np.mean(np.array(values)[defined])) if defined.any() else float("nan")
            rows.append(
                {
                    "method": one,
                    "other": other,
                    "measure": name,
                    "value": value,
                    "samples": int(defined.sum()),
                }
            )
    return pd.DataFrame(rows, columns=["method", "other", "measure", "value", "samples"])


def as_matrix(pairs: pd.DataFrame, measure: str) -> pd.DataFrame:
    """A symmetric table of one measure, the diagonal left empty."""
    chosen = pairs[pairs["measure"] == measure]
    names = list(dict.fromkeys([*chosen["method"], *chosen["other"]]))
    matrix = pd.DataFrame("–", index=pd.Index(names, name="method"), columns=names)
    for row in chosen.itertuples():
        text = "undefined" if row.value != row.value else f"{row.value:.2f}"
        matrix.loc[row.method, row.other] = matrix.loc[row.other, row.method] = text
    return matrix


def main(arguments: Sequence[str]) -> None:
    """Print a table for each measure.

    Raises:
        BenchError: as :func:`agreement`.
    """
    pairs = agreement(configuration(arguments))
    for measure in MEASURES:
        show(
            f"**{measure}**, mean over {pairs['samples'].max()} samples\n\n{as_matrix(pairs, measure).to_markdown()}\n"
        )


if __name__ == "__main__":
    command_line(main)
