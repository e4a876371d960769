"""What is wrong with an entry, as far as its own files and the list of what is known tell."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.board.entry import Entry
from bench.board.facts import Part, list_name
from bench.board.known import FILE, Known, definition_in, settings_digest
from bench.board.origin import COMMIT, is_own
from bench.board.tables import LARGEST, ids_digest
from bench.catalogue import Catalogue
from bench.errors import BenchError
from bench.store.identity import differences

SHOWN = 3  # ids or differences in a message
LIST = re.compile(r"all|(?P<limit>\d+) drawn with seed (?P<seed>\d+)")
EXPLAINED = ("predicted", "target")
MADE = "made"  # the folder of what tebench board makes of the entries
AGAIN = "run its cells anew and submit them"


@dataclass(frozen=True)
class Fault:
    """Why an entry is refused.

    Attributes:
        file: of the board.
        key: what in it is wrong.
        text: how.
        remedy: what to do about it.
    """

    file: Path
    key: str
    text: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.file}: {self.key}: {self.text}; {self.remedy}"


def of_files(root: Path) -> Iterator[Fault]:
    """Files on a board that no entry names, or that are too large."""
    named: set[Path] = set()
    for path in sorted(root.glob("*/*/*.json")):
        try:
            parts = Entry.load(path).parts
            named |= {path.parent / str(file[0]) for part in parts for file in (part.rows, part.maps) if file}
        except (BenchError, TypeError, IndexError):
            continue  # said of the entry itself
    for path in sorted(root.glob("*/*/*")):
        if path.relative_to(root).parts[0] == MADE:
            continue
        if path.suffix != ".json" and path not in named:
            yield Fault(path, "file", "no entry names it", "remove it")
        elif (size := path.stat().st_size) > LARGEST:
            yield Fault(
                path, "size", f"{size:,} bytes; a board takes {LARGEST:,}", "submit fewer samples (limit=…)"
            )


def of_entry(entry: Entry, root: Path, known: Known) -> Iterator[Fault]:
    """What an entry says of data, model, method and its parts, against the list of what is known."""

    def fault(key: str, text: str, remedy: str) -> Fault:
        return Fault(entry.path, key, text, remedy)

    if entry.path != entry.where(root):
        yield fault("name", f"it is an entry for {entry.where(root)}", "let tebench submit name it")
    if entry.explained not in EXPLAINED:
        yield fault("explained", f"{entry.explained!r}", "expected predicted or target")
    for key, said, there in (
        ("dataset", entry.dataset, known.datasets),
        ("model", entry.model, known.models),
    ):
        if (one := there.get(said.name)) is None:
            names = ", ".join(sorted(there)) or "none"
            yield fault(f"{key}.name", f"{said.name} is unknown to {FILE} (known: {names})", _ask(key))
        elif lines := differences(said.made_of, one["made_of"]):
            what = "weights" if any(line.startswith("content") for line in lines) else "settings"
            text = f"its {what} are not those of {FILE}: {'; '.join(lines[:SHOWN])}"
            yield fault(f"{key}.made_of", text, f"run the cells with the {key} that {FILE} names")
        elif said.title != one["title"]:
            yield fault(f"{key}.title", f"{said.title!r}, expected {one['title']!r}", AGAIN)
    yield from _of_method(entry, fault)
    if not entry.parts:
        yield fault("parts", "there is none", AGAIN)
    if len({part.key for part in entry.parts}) < len(entry.parts):
        yield fault("parts", "two are of one task and protocol", AGAIN)
    for part in entry.parts:
        yield from _of_part(entry, part, known)


def _ask(key: str) -> str:
    return f"a maintainer adds a {key} with tebench board --known; until then it cannot be on this board"


def _of_method(entry: Entry, fault: Any) -> Iterator[Fault]:
    """Whether a method is what it is called, and its code can be found."""
    method, facts = entry.method, Catalogue()
    target, has_file = method.made_of["target"], facts.file("method", method.name) is not None
    if method.label.partition(" (")[0] != method.name:
        yield fault("method.label", f"{method.label!r} is no label of {method.name}", AGAIN)
    if has_file:
        known = facts.method(method.name)
        for key in ("title", "kind", "family"):
            if getattr(method, key) != getattr(known, key):
                text = f"{getattr(method, key)!r}, but {method.name} has {getattr(known, key)!r}"
                yield fault(f"method.{key}", text, AGAIN)
    elif method.kind != "method":
        text = f"{method.kind!r}, and {method.name} has no file in conf/method"
        yield fault("method.kind", text, "a method of your own is of the kind method")
    if is_own(target):
        if not has_file and method.is_default:
            text = f"{target} is the project's own, and conf/method has no {method.name}"
            yield fault("method.name", text, "submit it under its own name")
        return
    source = method.source or {}
    if not (
        source.get("distribution") or (source.get("url") and COMMIT.fullmatch(str(source.get("commit"))))
    ):
        text = f"{target} is none of the project's methods, and there is no repository and commit of its code"
        yield fault("method.source", text, "submit it with --source URL@COMMIT")


def _of_part(entry: Entry, part: Part, known: Known) -> Iterator[Fault]:
    where = f"{part.task} ({part.protocol_label})"

    def fault(key: str, text: str, remedy: str) -> Fault:
        return Fault(entry.path, f"{where}: {key}", text, remedy)

    yield from _of_protocol(entry, part, known, fault)
    yield from _of_metrics(part, known, fault)
    if LIST.fullmatch(part.on) is None:
        yield fault(
            "on", f"{part.on!r} is no list of samples", f"expected {list_name(None, 0)} or {list_name(9, 0)}"
        )
        return
    lists = known.datasets.get(entry.dataset.name, {"lists": {}})["lists"]
    if (one := lists.get(part.on)) is None:
        names = "; ".join(sorted(lists)) or "none"
        text = f"{part.on}: {FILE} has no such list of {entry.dataset.name} (known: {names})"
        yield fault("on", text, "score a list that it has (limit=…, seed=…)")
        return
    if part.content != one["content"]:
        text = f"the digest of the samples is {part.content}, in {FILE} {one['content']}"
        yield fault("content", text, "run the cells with the data that it names")
    yield from _of_ids(entry, part, one, fault)


def _of_protocol(entry: Entry, part: Part, known: Known, fault: Any) -> Iterator[Fault]:
    if part.protocol_label not in known.metrics:
        names = ", ".join(sorted(known.metrics)) or "none"
        text = f"{part.protocol_label} is unknown to {FILE} (known: {names})"
        yield fault("protocol", text, "run the cells under a protocol that it names")
        return
    if part.protocol_label != f"{part.protocol} v{part.version}":
        text = f"{part.protocol} v{part.version} is called {part.protocol_label}"
        yield fault("protocol", text, AGAIN)
    methods = known.methods.get(part.protocol_label, {})
    name = f"{_task(part).get('modality')}/{entry.method.name}"
    if (
        name in methods
        and (methods[name] == settings_digest(entry.method.made_of)) != entry.method.is_default
    ):
        text = f"{entry.method.label} does not have the settings that this name stands for under {part.protocol_label}"
        yield fault("method", text, "submit it, so that its settings stand in its label")


def _task(part: Part) -> Mapping[str, Any]:
    """The section of a part's task in conf; empty if there is none."""
    return Catalogue().read("task", part.task).get("task", {})


def _of_metrics(part: Part, known: Known, fault: Any) -> Iterator[Fault]:
    """Whether metrics are those of the list, and are said to be what they are."""
    there = known.metrics.get(part.protocol_label, {})
    family = _task(part).get("table", {}).get("family", part.task)
    for name, facts in part.metrics.items():
        if unmeasured := [read for read in facts.reads if read not in part.measurements]:
            yield fault(name, f"it reads {unmeasured[0]}, which is not among the measurements", AGAIN)
            continue
        if (expected := there.get(f"{part.task}/{name}")) is None:
            if there:
                text = f"{FILE} has no such metric of {part.task} under {part.protocol_label}"
                yield fault(
                    name, text, "leave it out, or ask a maintainer to add it with tebench board --known"
                )
            continue
        if definition_in(part, name) != expected:
            text = f"version {facts.version} with its measurements and settings is not what {FILE} has"
            yield fault(name, text, "run the cells with the project's code and settings as they are now")
            continue
        metric = facts.built(name)
        said = (facts.title, facts.unit, facts.higher_is_better, facts.family)
        meant = (metric.title, metric.unit, metric.higher_is_better, family)
        if said != meant:
            yield fault(name, f"it is said to be {said}, and is {meant}", AGAIN)
    if stray := sorted({key[0] for key in part.numbers} - set(part.metrics)):
        yield fault("numbers", f"of {stray[0]}, which is not among the metrics", AGAIN)
    if lacking := sorted(set(part.metrics) - {key[0] for key in part.numbers}):
        yield fault("numbers", f"there is none of {lacking[0]}", AGAIN)


def _of_ids(entry: Entry, part: Part, one: Mapping[str, Any], fault: Any) -> Iterator[Fault]:
    """Whether the samples are those of the list, in rows and maps alike."""
    if (part.samples, part.ids_sha256) != (one["samples"], one["ids_sha256"]):
        meant = f"{one['samples']} samples ({one['ids_sha256'][:12]}…)"
        text = f"{part.samples} samples ({part.ids_sha256[:12]}…), and {part.on} has {meant}"
        yield fault("samples", text, "score all samples of the list")
    for key, read in (("rows", entry.rows), ("maps", entry.maps)):
        try:
            table = read(part)
        except BenchError as e:
            yield fault(key, str(e), AGAIN)
            continue
        if table is None:
            continue
        ids = table["id"].tolist()
        if ids_digest(ids) != one["ids_sha256"]:
            yield fault(f"{key}.id", _unlike(ids, one), "score all samples of the list, and no others")
        elif ids != sorted(ids):
            yield fault(f"{key}.id", "they are not in their order", AGAIN)


def _unlike(ids: Sequence[str], one: Mapping[str, Any]) -> str:
    """How ids differ from those of a list."""
    known, own = one["ids"] or [], set(ids)
    found = [
        f"{len(names)} {what} ({', '.join(names[:SHOWN])}{', …' if len(names) > SHOWN else ''})"
        for what, names in (
            ("missing", [name for name in known if name not in own] if known else []),
            ("of no such sample", sorted(own - set(known)) if known else []),
            ("twice", sorted({name for name in own if list(ids).count(name) > 1})),
        )
        if names
    ]
    return f"{len(ids)} ids, which are not the {one['samples']} of the list: {', '.join(found) or 'others'}"
