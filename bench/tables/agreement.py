"""How far methods agree, from their kept maps; nothing is run."""

from collections.abc import Mapping
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
import torch

from bench.catalogue import catalogue_of
from bench.config import fingerprint
from bench.errors import BenchError
from bench.store.cells import KeptMaps, Result, cells_folder, results
from bench.store.files import or_say, write_text
from bench.store.identity import ANY, MAPS, recipe
from bench.tables.conditions import NO_CONDITION, tables_folder
from bench.tables.select import wanted
from bench.tables.statistics import protocol_label
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


def document(pairs: pd.DataFrame, config: Mapping[str, Any]) -> str:
    """The tables of all measures in markdown, with what they are of."""
    facts = catalogue_of(config)
    named = pairs.replace(
        {key: {n: facts.method(n).title for n in set(pairs[key])} for key in ("method", "other")}
    )
    texts = [
        f"**Agreement of the methods' maps**, {config['model']['title']} on {config['dataset']['title']}, "
        f"{config['explained']} class, protocol {protocol_label(config)}. Mean over {pairs['samples'].max()} samples "
        "(or those on which the measure is defined). No arrow: two methods may be wrong together."
    ]
    texts += [f"**{measure}**\n\n{as_matrix(named, measure).to_markdown()}" for measure in MEASURES]
    return "\n\n".join(texts)


def write(pairs: pd.DataFrame, config: Mapping[str, Any]) -> None:
    """Write ``agreement.md`` and ``.csv`` into the tables of the suite and the protocol.

    Under other conditions than the suite's own the name ends with their fingerprint.
    """
    own = [override for override in config["overrides"] if not override.startswith(NO_CONDITION)]
    name = f"agreement--{fingerprint(sorted(own))}" if own else "agreement"
    contents = {"csv": pairs.to_csv(index=False, float_format="%.6g"), "md": document(pairs, config) + "\n"}
    for suffix, text in contents.items():
        or_say(lambda suffix=suffix, text=text: write_text(tables_folder(config) / f"{name}.{suffix}", text))
