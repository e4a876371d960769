"""Which model families the methods work on: ``python -m tests.families`` writes ``results/models.md``.

Every family of :mod:`tests.families.families` is built with random weights and explained by every method of
``conf/method``, each checked by :func:`methods.verify`. Nothing is downloaded. The exit code is 1 if a map is wrong, or
if a method or a model fails in another way than by refusing.
"""

import argparse
import sys
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from math import ceil

import torch

import bench  # noqa: F401  first: see its docstring
from bench.cli import say
from bench.config import PROJECT
from methods.verify import LIMITS as CHECKED
from tests.families import checks
from tests.families.checks import (
    CHECKS,
    DROPPED,
    EXPLAINED,
    EXPLAINED_IN_FLOAT64,
    FAILED,
    MIXED,
    REFUSED,
    VARIANTS,
    WRONG,
    Verdict,
)
from tests.families.families import FAMILIES
from tests.families.family import Family

FIGURES = (*CHECKS, VARIANTS, MIXED, DROPPED)
MARKS = {EXPLAINED_IN_FLOAT64: "float64", REFUSED: "no", WRONG: "**wrong**", FAILED: "**failed**"}
MOST_COLUMNS = 10  # of methods in one table
LIBRARIES = ("torch", "timm", "transformers", "torchvision")

INTRODUCTION = """# Model families

Made by `make models` from unmodified classes of timm, transformers, torchvision and torch with random weights
(`tests/families`), with {versions}. {count} families, {explained} of which at least one method explains.

The first table says how many methods explain a family, and how exactly; those below it, which. *yes*: the method
explains the family, and `methods.verify` found nothing wrong, in float64, on two samples (texts of unequal length).
*float64*: the same, but mixed precision misses float64's map by more than the benchmark admits, which refuses it
there and names `method.dtype=float64`. *no*: the method refuses the family, for the reason of that number at the end.
Methods that draw are checked with
fewer draws. Figures are the largest over the methods that explain the family:

- *logits*: those on the tape against the model's own, relative; at most {logits:.0e}.
- *alone*: the map of a sample alone against its map in the batch; at most {alone:.0e}.
- *gradient*: that of attention against a central difference of the logits; at most {gradient:.0e}.
- *conserved*: relevance that is lost or gained between the logit, where 1 is put, and where tokens enter, under rules
  that conserve it; at most {conserved:.0e}.
- *variants*: maps with fused against unfused attention (timm), sdpa against eager (transformers); at most
  {variants:.0e}.
- *mixed*: maps in mixed precision against float64, where that is not refused; at most {mixed:.0e}.
- *dropped*: no error; the share of relevance (of both signs) that position embeddings, attention masks and biases of
  scores would get under the proposed rules, which give it to nobody."""


def table(families: Sequence[Family], chosen: Mapping[str, Callable]) -> tuple[str, list[str]]:
    """The tables of families in markdown, with the reasons of refusals below them; and what must not be."""
    rows, reasons, faults, explained = [], [], [], 0
    for family in families:
        started = time.monotonic()
        found = checks.judge(family, chosen)
        count = found.explaining
        say(f"{family.name}: {count} of {len(chosen)} methods, {time.monotonic() - started:.1f} s")
        wrong = [f"{family.name}, {title}: {reason}" for title, reason in found.faults.items()]
        for fault in wrong:
            say(f"fault: {fault}")
        faults += wrong
        explained += count > 0
        figures = [_figure(found, name) for name in FIGURES]
        overview = [family.name, f"`{family.example}`", f"{count} of {len(chosen)}", *figures]
        rows.append((overview, _marks(found, reasons)))
    parts = [_introduction(len(families), explained)]
    parts.append(_markdown(["family", "example", "methods", *FIGURES], [overview for overview, _ in rows], 2))
    for titles, start in _groups(list(chosen)):
        marks = [[overview[0], *marks[start : start + len(titles)]] for overview, marks in rows]
        parts.append(_markdown(["family", *titles], marks, 1))
    if reasons:
        parts += [
            "Reasons:",
            "\n".join(f"{number}. {reason}" for number, reason in enumerate(reasons, start=1)),
        ]
    return "\n\n".join(parts) + "\n", faults


def _groups(titles: list[str]) -> list[tuple[list[str], int]]:
    """The methods of each table, as many in each as can be read side by side, and the place of the first."""
    count = ceil(len(titles) / MOST_COLUMNS)
    size = ceil(len(titles) / max(count, 1))
    return [(titles[start : start + size], start) for start in range(0, len(titles), max(size, 1))]


def _markdown(head: list[str], rows: list[list[str]], names: int) -> str:
    """A table whose first columns are names, and whose others are centred."""
    align = [":--"] * names + [":-:"] * (len(head) - names)
    return "\n".join("| " + " | ".join(line) + " |" for line in [head, align, *rows])


def _marks(found: Verdict, reasons: list[str]) -> list[str]:
    """What each method does, with the number of its reason; new reasons are added to the list."""
    marks = []
    for answer in found.answers.values():
        if answer.kind == EXPLAINED:
            marks.append("yes")
            continue
        if answer.reason not in reasons:
            reasons.append(answer.reason)
        marks.append(f"{MARKS[answer.kind]} ({reasons.index(answer.reason) + 1})")
    return marks


def _figure(found: Verdict, name: str) -> str:
    value = found.figures.get(name)
    if value is None:
        return "–"
    return f"{value:.2f}" if name == DROPPED else f"{value:.0e}"


def _introduction(count: int, explained: int) -> str:
    versions = ", ".join(f"{library} {version(library)}" for library in LIBRARIES)
    limits = {name: CHECKED[name] for name in CHECKS} | checks.LIMITS
    return INTRODUCTION.format(versions=versions, count=count, explained=explained, **limits)


def main() -> None:
    """Write the table, and say by the exit code whether a map is wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.families", description=__doc__.splitlines()[0])
    parser.add_argument(
        "only", nargs="*", help="parts of the names of families: only these, printed and not written"
    )
    only = parser.parse_args().only
    families = [f for f in FAMILIES if not only or any(part.lower() in f.name.lower() for part in only)]
    if not families:
        parser.error(f"no family is called like {' or '.join(only)}")
    torch.set_num_threads(1)  # tiny models gain nothing by more
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of libraries, about tiny configurations
        text, faults = table(families, checks.methods())
    print(text)
    if not only:
        (PROJECT / "results" / "models.md").write_text(text)
    if faults:
        print("faults:", *faults, sep="\n", file=sys.stderr)
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
