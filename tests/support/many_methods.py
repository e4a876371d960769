"""A store of many methods: what a page has to carry when every method was run."""

from pathlib import Path

import pandas as pd

from bench.catalogue import Catalogue
from bench.config import configuration, method_of, quoted
from tests.support.stored_rows import perturbation, segmentation, store, token_f1

ROWS = {"perturbation": perturbation, "segmentation": segmentation, "token_f1": token_f1}
COUNT = 25


def names() -> list[str]:
    """The first :data:`COUNT` methods of the project that can be the best, in their order."""
    facts = Catalogue()
    own = [
        name
        for name in facts.names("method")
        if facts.read("method", name).get("_target_", "").startswith("methods.")
        and not name.endswith("_all_blocks")  # in texts the same as those without
    ]
    competing = [facts.method(name) for name in own if facts.method(name).kind == "method"]
    return [m.name for m in sorted(competing, key=lambda m: (m.order, m.name))][:COUNT]


def fill(results: Path, samples: int) -> None:
    """Put finished cells of :data:`COUNT` methods in each of three tasks into a folder of results."""
    for task, make in ROWS.items():
        config = configuration([f"task={task}", f"paths.results={quoted(results)}"])
        for seed, name in enumerate(names()):
            made = make(seed=seed)
            rows = pd.concat([made] * -(-samples // len(made)), ignore_index=True)[:samples]
            rows["id"] = [f"{task}{i}" for i in range(samples)]
            cell = config | {"method": method_of(name, Catalogue(), config)}
            store(cell, rows, record={"seconds": 1.0, "device": "cpu", "batch_size": 8})
