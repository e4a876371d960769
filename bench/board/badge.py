"""What was recomputed of which entry: ``results/board/recomputed.json``, written by ``tebench board --check --write``.

An entry is known by its digest there, so a file that changes loses what was said of it.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from bench.board.entry import Entry
from bench.store.files import read_json, write_text

FILE = "recomputed.json"
NOT = "not recomputed"


@dataclass(frozen=True)
class Badge:
    """What was recomputed of an entry.

    Attributes:
        digest: of its JSON file.
        scores: by task and protocol, the metrics whose scores were made from the raw maps again.
        maps: by task and protocol, what was done with maps, in words.
    """

    digest: str
    scores: Mapping[str, list[str]]
    maps: Mapping[str, str]

    def __str__(self) -> str:
        words = []
        if metrics := sorted({name for names in self.scores.values() for name in names}):
            words.append(f"scores recomputed from the raw maps: {', '.join(metrics)}")
        words += sorted(set(self.maps.values()))
        return "; ".join(words) or NOT


def badges(root: Path) -> dict[str, Badge]:
    """What was recomputed on a board, by the path of the entry below the board's folder.

    Raises:
        BenchError: if the file is damaged.
    """
    path = root / FILE
    if not path.exists():
        return {}
    return {
        name: Badge(**said) for name, said in read_json(path, "remove it and check the board again").items()
    }


def badge(root: Path, entry: Entry, known: Mapping[str, Badge]) -> str:
    """What a reader is told of an entry.

    Args:
        known: :func:`badges` of the board.
    """
    found = known.get(entry.path.relative_to(root).as_posix())
    return str(found) if found is not None and found.digest == entry.digest else NOT


def write(root: Path, found: Mapping[str, Badge]) -> None:
    """Add to what was recomputed, and forget entries that are not there any more.

    Raises:
        BenchError: if the file cannot be written.
    """
    merged = {name: one for name, one in {**badges(root), **found}.items() if (root / name).exists()}
    plain = {name: asdict(one) for name, one in sorted(merged.items())}
    write_text(root / FILE, json.dumps(plain, indent=1, ensure_ascii=False) + "\n")
