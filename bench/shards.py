"""An unfinished cell: its samples shared among shards, and what of each is done.

Until a cell is finished a folder of its name lies where its files will be::

    plan.json                 how the samples are shared; a run that would share them otherwise is refused
    <shard>-of-<shards>/
        <position>-0.parquet  a part: the rows of some samples, named by the position of the first

A run takes up its shard where these end. Whoever finds the last shard done puts all rows together, writes the
cell's files and removes the folder.
"""

import itertools
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from bench.console import say
from bench.errors import BenchError
from bench.files import read_json, replace_file, writing
from bench.parts import DAMAGED, POSITION, Part, origin_of, rows_of
from bench.store import Cell, Result, folder, results

PLAN = "plan.json"


@dataclass(frozen=True)
class Cut:
    """How the samples of a cell are shared: blocks of them in turn.

    A block is a batch, so a sample is in a batch with the same others whatever the number of shards, and its
    row is the same to the last bit.
    """

    samples: int
    shards: int
    block: int

    def shard_of(self, position: int) -> int:
        """The shard that a sample belongs to."""
        return position // self.block % self.shards

    def positions(self, shard: int) -> list[int]:
        """Of the samples of a shard, among all samples of the cell."""
        return [p for p in range(self.samples) if self.shard_of(p) == shard]


@dataclass(frozen=True)
class Shard:
    """One shard of an unfinished cell.

    Attributes:
        folder: of its parts.
        positions: of its samples.
    """

    folder: Path
    positions: Sequence[int] = field(repr=False)

    def parts(self) -> list[Part]:
        """What is done, in order. A part that is damaged is passed over, with a message."""
        found = []
        for path in sorted(self.folder.glob("[0-9]*.parquet")):
            try:
                found.append(Part.read(path))
            except FileNotFoundError:  # whoever finished the cell has removed it meanwhile
                continue
            except DAMAGED as e:
                reason = (str(e).strip() or type(e).__name__).splitlines()[0]
                say(f"{path} is damaged ({reason}): its samples are computed again")
        return found


@dataclass(frozen=True)
class Work:
    """An unfinished cell.

    Attributes:
        folder: where it is kept.
        plan: what its ``plan.json`` says: ``cut``, and the cell's ``conditions``, ``method``, ``config``.
    """

    folder: Path
    plan: Mapping[str, Any] = field(repr=False)

    @classmethod
    def begin(cls, cell: Cell, cut: Cut) -> "Work":
        """Begin a cell, or go on with it. Nothing is written yet.

        Raises:
            BenchError: if it was begun in another way.
        """
        agreed = asdict(cut) | {key: cell.config[key] for key in ("sanity", "save_maps")}
        work = cls(cell.work_folder, cell.described() | {"cut": agreed})
        work._check()
        return work

    def keep(self, shard: Shard, part: Part) -> None:
        """Save a part of a shard.

        Raises:
            BenchError: if the results folder cannot be written to, or the cell was begun in another way.
        """
        first = min(part.done(skipping=True))
        names = (f"{first:08d}-{count}.parquet" for count in itertools.count())
        plan = json.dumps(self.plan, indent=1, default=str) + "\n"
        with writing(self.folder):
            if not (self.folder / PLAN).exists():
                replace_file(self.folder / PLAN, lambda aside: aside.write_text(plan))
            self._check()
            # A sample that was skipped may begin a part once more, when it can be read.
            part.write(next(path for name in names if not (path := shard.folder / name).exists()))

    def _check(self) -> None:
        """Raises BenchError if the cell on the disk is cut in another way."""
        if not (self.folder / PLAN).exists():
            return
        begun = Work.read(self.folder).plan["cut"]
        names = {"samples": "the number of samples", "block": "batch_size"}
        for key, value in self.plan["cut"].items():
            # In a single shard batches may be of any size: what is left is its own in any case.
            if begun.get(key) != value and not (key == "block" and self.cut.shards == 1):
                raise BenchError(
                    f"{names.get(key, key)}={value}: the cell was begun with {begun.get(key)}; go on with "
                    f"that, or delete {self.folder} and begin anew"
                )

    @classmethod
    def read(cls, folder: Path) -> "Work":
        """Raises BenchError if ``plan.json`` is damaged."""
        work = cls(folder, read_json(folder / PLAN, "delete its folder, and its cell begins anew"))
        try:
            _ = work.cut
        except (KeyError, TypeError) as e:
            raise BenchError(
                f"{folder / PLAN} is damaged (no {e}); delete its folder, and its cell begins anew"
            ) from e
        return work

    @cached_property
    def cut(self) -> Cut:
        """How its samples are shared."""
        return Cut(**{key: self.plan["cut"][key] for key in ("samples", "shards", "block")})

    def shard(self, number: int) -> Shard:
        """One of its shards."""
        return Shard(self.folder / f"{number}-of-{self.cut.shards}", self.cut.positions(number))

    def parts(self) -> list[Part]:
        """What is done, of all shards.

        Raises:
            BenchError: naming a folder that holds samples of another shard, or is of another cut.
        """
        known = {self.shard(i).folder: i for i in range(self.cut.shards)}
        for path in sorted(self.folder.glob("*-of-*")):
            if path not in known:
                raise BenchError(f"{path}: the cell was cut into {self.cut.shards} shards; remove this one")
        found = []
        for path, number in known.items():
            parts = self.shard(number).parts()
            for position in sorted(set().union(*(part.positions for part in parts))):
                if (owner := self.cut.shard_of(position)) != number:
                    raise BenchError(
                        f"{path}: it holds samples of shard {owner}, which would count twice; remove it and "
                        f"run shard={number} again"
                    )
            found += parts
        return found

    def missing(self, parts: Sequence[Part], skipping: bool = True) -> dict[int, int]:
        """How many samples each unfinished shard lacks; ``skipping``: what was skipped counts as done."""
        done = set().union(*(part.done(skipping) for part in parts))
        lacking = {i: len(set(self.shard(i).positions) - done) for i in range(self.cut.shards)}
        return {i: count for i, count in lacking.items() if count}

    def in_words(self, missing: Mapping[int, int]) -> str:
        """What is missing, in words."""
        if self.cut.shards == 1:
            return f"{missing[0]} of {self.cut.samples} samples are missing"
        shards = ", ".join(map(str, missing))
        return f"of {self.cut.shards} shards {shards} {'is' if len(missing) == 1 else 'are'} not finished"

    def forget(self) -> None:
        """Remove everything that is done; the plan last, as parts without one could not be told apart."""
        for shard in self.folder.glob("*-of-*"):
            shutil.rmtree(shard, ignore_errors=True)
        shutil.rmtree(self.folder, ignore_errors=True)


def together(parts: Sequence[Part]) -> tuple[pd.DataFrame, dict[str, Any]]:
    """The rows of a cell's parts, and what they were computed with.

    Raises:
        BenchError: if the parts were computed with different weights, or all samples were skipped.
    """
    origin = origin_of(parts)
    if not any(len(part.rows) for part in parts):
        raise BenchError(f"dataset: no sample could be read; the first: {origin['skipped'][0]}")
    return rows_of(parts).drop(columns=POSITION), origin


def stored(config: dict[str, Any], task: str) -> tuple[list[Result], list[Work]]:
    """All cells of a suite's task, in the order of their names: those that are finished, and all others.

    Raises:
        BenchError: if a JSON file is damaged.
    """
    begun = list(_begun(config, task))  # first: a cell that is finished meanwhile is in both, not in neither
    finished = list(results(config, task))
    names = {result.path.stem for result in finished}
    return finished, [work for work in begun if work.folder.name not in names]


def unfinished(config: dict[str, Any], task: str) -> list[Work]:
    """All unfinished cells of a suite's task, in the order of their names.

    Raises:
        BenchError: if a JSON file is damaged.
    """
    return stored(config, task)[1]


def _begun(config: dict[str, Any], task: str) -> Iterator[Work]:
    for path in sorted(folder(config, task).glob(f"*/{PLAN}")):
        try:
            yield Work.read(path.parent)
        except BenchError:
            if path.exists():  # if not, whoever finished the cell has removed it meanwhile
                raise


def so_far(work: Work) -> Result | None:
    """What is done of an unfinished cell, as if that were all; None if nothing is."""
    parts = work.parts()
    if not any(len(part.rows) for part in parts):
        return None
    rows, origin = together(parts)
    described = {key: work.plan[key] for key in ("conditions", "method", "config")}
    record = described | origin | {"metrics": {}, "samples": len(rows)}
    return Result(work.folder / PLAN, record, chosen=rows)
