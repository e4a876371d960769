"""Everything in a folder of goldens, compared."""

import re
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any

import methods
from bench.errors import BenchError
from bench.verify import scores_ferret
from bench.verify.files import UnreadableError
from bench.verify.lines import Line
from bench.verify.maps import compare_maps
from bench.verify.metrics_files import compare_metrics
from bench.verify.scores import unknown
from bench.verify.scores_files import compare_files
from bench.verify.stems import Stem, find_stems
from bench.verify.subject import Subject

Progress = Callable[[str, int, str], AbstractContextManager[Callable[[int], None]]]


def compare_all(folder: Path, data: Path | None, progress: Progress) -> list[Line]:
    """A line for each key of each file of a folder.

    Args:
        folder: with the files.
        data: where weights and data sets lie that the files name, or None.
        progress: shows how far it is; as :func:`bench.cli.progress`.
    """
    folders = [place for place in (folder, folder / "newer") if place.is_dir()]
    stems, problems = find_stems(folder, data)
    lines = [Line(Path(str(e).partition(": ")[0]).name, "–", "unknown", note=str(e)) for e in problems]
    ferret, foreign = _ferret(folders, stems, lines)
    with progress("keys", sum(len(g.arrays) for stem in stems for g in stem.goldens), "key") as done:
        for stem in stems:
            lines += _of_stem(stem, ferret[stem.name], done)
    lines += unknown("ferret_scores", foreign)
    return lines + compare_files(folders, data) + _strangers(folder, stems) + _without_key(lines)


def _of_stem(stem: Stem, ferret: dict[str, Any], done: Callable[[int], None]) -> list[Line]:
    try:
        model = stem.build()
    except BenchError as e:
        return [Line(stem.name, "weights", "missed", note=str(e))]
    if stem.input("images") is None and stem.input("input_ids") is None:
        note = f"no {stem.name}.npz with the array images or input_ids can be read"
        return [Line(stem.name, "inputs", "missed", note=note)]
    lines = [line for golden in stem.goldens for line in compare_maps(stem, golden, model, done)]
    if stem.scores:
        lines += compare_metrics(stem, model)
    return lines + (scores_ferret.compare(Subject(stem, stem.goldens[0], model), ferret) if ferret else [])


def _ferret(folders: list[Path], stems: list[Stem], lines: list[Line]) -> tuple[dict[str, dict], list[str]]:
    """The values of ferret's metrics by model; and those of no model."""
    found, foreign = {stem.name: {} for stem in stems}, []
    for path in (place / "ferret_scores.json" for place in folders):
        if path.is_file():
            try:
                own, others = scores_ferret.entries_of(path, stems)
            except UnreadableError as e:
                lines.append(Line(path.stem, "–", "unknown", note=str(e)))
                continue
            foreign += others
            for name, entries in own.items():
                found[name] |= entries
    return found, foreign


def _strangers(folder: Path, stems: list[Stem]) -> list[Line]:
    """Files of numbers that belong to no model and to nothing else that is known."""
    names = {stem.name for stem in stems}
    known = {f"{name}{ending}" for name in names for ending in ("", "_newer")} | {"segmentation"}
    found = []
    for path in sorted({*folder.glob("*.npz"), *folder.glob("newer/*.npz"), *folder.glob("metrics/*.npz")}):
        if path.stem not in known:
            note = f"there is no {path.stem}.config.json that says what model it is of"
            found.append(Line(path.name, "–", "unknown", note=note))
    for path in sorted(folder.glob("metrics/*.json")):
        stem, _, other = path.stem.partition(".")
        if stem in names and other:
            found.append(Line(stem, path.name, "informative", note="numbers of other packages; not compared"))
        elif stem not in names:
            found.append(Line(path.name, "–", "unknown", note=f"there is no {stem}.config.json"))
    return found


def _without_key(lines: list[Line]) -> list[Line]:
    """The methods of which no key is stored here."""
    asked = {word for line in lines for word in re.findall(r"\w+", f"{line.method} {line.settings}")}
    kinds = [getattr(methods, name, None) for name in methods.__all__]
    names = [k.__name__ for k in kinds if isinstance(k, type) and is_dataclass(k) and hasattr(k, "version")]
    return [Line("–", "–", "derived", name) for name in sorted(names) if name not in asked]
