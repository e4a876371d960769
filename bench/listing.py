"""What there is to choose from: ``python -m bench.listing methods``.

KIND is one of methods, metrics, models, datasets, tasks, protocols, suites or experiments; without one, all are
listed. ``--config-dir FOLDER`` adds choices of your own. ``--json`` prints name, title and description as JSON.
"""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from bench.catalogue import Catalogue
from bench.cli import command_line, show, tell
from bench.config import config_dirs, overrides_of
from bench.errors import BenchError, did_you_mean
from bench.suggestions import choices

# What a reader asks for, and the folder of choices with that.
KINDS = {
    "methods": "method",
    "metrics": "metric",
    "models": "model",
    "datasets": "dataset",
    "tasks": "task",
    "protocols": "protocol",
    "suites": "suite",
    "experiments": "experiment",
}


SENTENCE_END = re.compile(r"(?<=\w{3}\.) (?=[A-Z])")  # not of an abbreviation


def listed(kind: str, catalogue: Catalogue) -> list[dict[str, str]]:
    """The choices of a kind: ``name`` as on the command line, ``title`` for readers, and ``about``.

    Args:
        kind: one of :data:`KINDS`.
    """
    group = KINDS[kind]
    found = [
        {
            "name": name,
            "title": _title(catalogue.read(group, name)),
            "about": about(catalogue, group, name),
        }
        for name in sorted(choices(catalogue, group), key=_depth)
    ]
    if kind == "methods":
        found.sort(key=lambda one: catalogue.method(one["name"]).order)
    return found


def _depth(name: str) -> tuple[int, str]:
    """Those of a suite, in folders, are listed last."""
    return name.count("/"), name


def _title(content: Mapping[str, Any]) -> str:
    inner = content.get("task", content)  # a task is a section of the whole configuration
    title = str(inner.get("title") or "")
    return "" if "${" in title else title


def about(catalogue: Catalogue, group: str, name: str) -> str:
    """The first sentence of the comment with which a file of choices begins, without commands."""
    lines = []
    for line in catalogue.file(group, name).read_text(encoding="utf-8").splitlines():
        if line.startswith("# @package"):
            continue
        if not line.startswith("#") or line.startswith("#   "):  # the latter are commands
            break
        lines.append(line.removeprefix("#").strip())
    return SENTENCE_END.split(" ".join(lines), maxsplit=1)[0]


def _in_words(choice: Mapping[str, str]) -> str:
    """Title and description, for a cell of a table in markdown."""
    parts = [f"**{choice['title']}**" if choice["title"] else "", choice["about"]]
    return ": ".join(part for part in parts if part).replace("|", r"\|")


def main(arguments: Sequence[str]) -> None:
    """Print one kind of choices, or all.

    Raises:
        BenchError: for a kind that there is not.
    """
    import pandas as pd  # --help needs nothing of it

    kinds = [a for a in overrides_of(arguments) if a != "--json"]
    if unknown := [kind for kind in kinds if kind not in KINDS]:
        raise BenchError(f"{unknown[0]}: {did_you_mean(unknown[0], KINDS)}")
    catalogue = Catalogue(config_dirs(arguments))
    found = {kind: listed(kind, catalogue) for kind in kinds or KINDS}
    if "--json" in arguments:
        tell(json.dumps(found, indent=1, ensure_ascii=False))
        return
    for kind, known in found.items():
        table = pd.DataFrame([[one["name"], _in_words(one)] for one in known])
        table.columns = [f"{KINDS[kind]}=", "what it is"]
        show(table.to_markdown(index=False, disable_numparse=True) + "\n")


if __name__ == "__main__":
    command_line(main)
