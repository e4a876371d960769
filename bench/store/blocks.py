"""An unfinished cell: its samples shared among shards, and what of each is done.

Until a cell is finished a folder of its name lies where its files will be::

    plan.json                          what the cell is and how the samples are shared
    <shard>-of-<shards>/
        <position>-<digest>.parquet    a part: the rows of some samples, named by the position of the first and
                                       the first digits of its SHA-256

A run takes up its shard where these end. Whoever finds the last shard done merges all rows, writes the cell's
files and removes the folder.
"""

import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from bench.cli import say
from bench.errors import BenchError, first_line
from bench.store.cells import FORMAT, Cell
from bench.store.files import read_json, replace_file, sha256, write_text, writing

PLAN = "plan.json"
POSITION = "position"  # the column of a sample's place in the data set
DIGITS = 16  # of a part's digest in its name
TRIALS = 5  # to write into a folder that another process removes
DAMAGED = (OSError, ValueError, KeyError, TypeError)  # what reading a damaged part may raise
_KEY = b"bench"  # of the description in the metadata of the Parquet file


@dataclass(frozen=True)
class Part:
    """Some samples of a shard.

    Attributes:
        rows: one per sample; its place among all samples of the cell is in the column ``position``.
        skipped: by position, why a sample has no row.
        origin: what the rows were computed with, and how long it took.
    """

    rows: pd.DataFrame
    skipped: Mapping[int, str]
    origin: Mapping[str, Any]

    @property
    def positions(self) -> set[int]:
        """The positions of the samples that have a row."""
        return set(self.rows[POSITION].tolist())

    def done(self, skipping: bool) -> set[int]:
        """The positions that need not be looked at again; ``skipping``: also those that were skipped."""
        return self.positions | set(self.skipped) if skipping else self.positions

    def write(self, folder: Path) -> None:
        """Write to a Parquet file of its own, whole or not at all.

        Raises:
            OSError: if it cannot be written.
        """
        table = pa.Table.from_pandas(self.rows, preserve_index=False)
        described = json.dumps({"skipped": list(self.skipped.items()), "origin": self.origin}, default=str)
        table = table.replace_schema_metadata({_KEY: described})
        content = pa.BufferOutputStream()
        pq.write_table(table, content)
        content = content.getvalue().to_pybytes()
        digest = hashlib.sha256(content).hexdigest()[:DIGITS]
        path = folder / f"{min(self.done(skipping=True)):08d}-{digest}.parquet"
        replace_file(path, lambda aside: aside.write_bytes(content))

    @classmethod
    def read(cls, path: Path) -> "Part":
        """Raises one of :data:`DAMAGED` if the file is not the one that was written."""
        if sha256(path)[:DIGITS] != path.stem.partition("-")[2]:
            raise ValueError("its SHA-256 is not that in its name")
        table = pq.read_table(path)
        described = json.loads((table.schema.metadata or {})[_KEY])
        rows = table.replace_schema_metadata(None).to_pandas()
        return cls(rows.astype({POSITION: "int64"}), dict(described["skipped"]), described["origin"])


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
        """Positions in the cell's data set of the samples of a shard."""
        return [p for p in range(self.samples) if self.shard_of(p) == shard]


@dataclass(frozen=True)
class Work:
    """An unfinished cell.

    Attributes:
        folder: where it is kept.
        plan: what its ``plan.json`` says: what the cell is (:meth:`bench.store.cells.Cell.described`), and
            ``cut``.
    """

    folder: Path
    plan: Mapping[str, Any] = field(repr=False)

    @classmethod
    def begin(cls, cell: Cell, cut: Cut) -> "Work":
        """Begin a cell, or go on with it. Nothing is written yet.

        Raises:
            BenchError: if it was begun in another way.
        """
        work = cls(cell.work_folder, {**cell.described(), "cut": asdict(cut)})
        work._check()
        return work

    @classmethod
    def read(cls, folder: Path) -> "Work":
        """Raises BenchError if ``plan.json`` is damaged."""
        work = cls(folder, read_json(folder / PLAN, "delete its folder, and its cell begins anew"))
        try:
            _ = work.cut, work.plan["identity"]
        except (KeyError, TypeError) as e:
            raise BenchError(
                f"{folder / PLAN} is damaged (no {e}); delete its folder, and its cell begins anew"
            ) from e
        return work

    def keep(self, shard: int, part: Part) -> None:
        """Save a part of a shard.

        Raises:
            BenchError: if the results folder cannot be written to, or the cell was begun in another way.
        """
        for trial in range(TRIALS):
            try:
                self._keep(shard, part)
                return
            except BenchError as e:
                # Another process has finished the cell meanwhile, and is removing the folder.
                if not isinstance(e.__cause__, FileNotFoundError) or trial + 1 == TRIALS:
                    raise

    def _keep(self, shard: int, part: Part) -> None:
        with writing(self.folder):
            if not (self.folder / PLAN).exists():
                write_text(self.folder / PLAN, json.dumps(self.plan, indent=1, default=str) + "\n")
            self._check()
            part.write(self._folder(shard))

    def _check(self) -> None:
        """Raises BenchError if the cell on the disk is cut in another way."""
        try:
            begun = asdict(Work.read(self.folder).cut)
        except BenchError as e:
            if isinstance(e.__cause__, FileNotFoundError):  # not begun, or finished meanwhile
                return
            raise
        names = {"samples": "the number of samples", "block": "batch_size"}
        for key, value in asdict(self.cut).items():
            # In a single shard batches may be of any size: what is left is its own in any case.
            if begun[key] != value and not (key == "block" and self.cut.shards == 1):
                raise BenchError(
                    f"{names.get(key, key)}={value}: the cell was begun with {begun[key]}; go on with "
                    f"that, or delete {self.folder} and begin anew"
                )

    @cached_property
    def cut(self) -> Cut:
        """How its samples are shared."""
        return Cut(**{key: self.plan["cut"][key] for key in ("samples", "shards", "block")})

    def _folder(self, shard: int) -> Path:
        return self.folder / f"{shard}-of-{self.cut.shards}"

    def parts_of(self, shard: int) -> list[Part]:
        """What is done of a shard, in order. A part that is damaged is passed over, with a message."""
        found = []
        for path in sorted(self._folder(shard).glob("[0-9]*.parquet")):
            try:
                found.append(Part.read(path))
            except FileNotFoundError:  # whoever finished the cell has removed it meanwhile
                continue
            except DAMAGED as e:
                say(f"{path} is damaged ({first_line(e)}): its samples are computed again")
        return found

    def parts(self) -> list[Part]:
        """What is done, of all shards.

        Raises:
            BenchError: naming a folder that holds samples of another shard, or is of another cut.
        """
        known = {self._folder(shard): shard for shard in range(self.cut.shards)}
        for path in sorted(self.folder.glob("*-of-*")):
            if path not in known:
                raise BenchError(f"{path}: the cell was cut into {self.cut.shards} shards; remove this one")
        found = []
        for path, number in known.items():
            parts = self.parts_of(number)
            for position in sorted(set().union(*(part.positions for part in parts))):
                if (owner := self.cut.shard_of(position)) != number:
                    raise BenchError(
                        f"{path}: it holds samples of shard {owner}, which would count twice; remove it and "
                        f"run shard={number} again"
                    )
            found += parts
        return found

    def has_rows(self, shard: int) -> bool:
        """Whether any sample of a shard has a row."""
        return any(len(part.rows) for part in self.parts_of(shard))

    def left(self, shard: int, skipping: bool) -> list[int]:
        """The positions of a shard that are not done; ``skipping``: what was skipped counts as done."""
        done = set().union(*(part.done(skipping) for part in self.parts_of(shard)))
        return [p for p in self.cut.positions(shard) if p not in done]

    def missing(self, parts: Sequence[Part], skipping: bool = True) -> dict[int, int]:
        """How many samples each unfinished shard lacks; ``skipping``: what was skipped counts as done."""
        done = set().union(*(part.done(skipping) for part in parts))
        lacking = {i: len(set(self.cut.positions(i)) - done) for i in range(self.cut.shards)}
        return {i: count for i, count in lacking.items() if count}

    def in_words(self, missing: Mapping[int, int]) -> str:
        """What is missing, in words."""
        if self.cut.shards == 1:
            return f"{missing[0]} of {self.cut.samples} samples are missing"
        shards = ", ".join(map(str, missing))
        return f"of {self.cut.shards} shards {shards} {'is' if len(missing) == 1 else 'are'} not finished"

    def forget_shard(self, shard: int) -> None:
        """Remove what is done of a shard."""
        shutil.rmtree(self._folder(shard), ignore_errors=True)

    def forget(self) -> None:
        """Remove everything that is done; the plan last, as parts without one could not be told apart."""
        for shard in self.folder.glob("*-of-*"):
            shutil.rmtree(shard, ignore_errors=True)
        shutil.rmtree(self.folder, ignore_errors=True)


def merge(parts: Sequence[Part]) -> pd.DataFrame:
    """The rows of parts in the order of their samples, one for each.

    Raises:
        BenchError: if all samples were skipped.
    """
    tables = [pa.Table.from_pandas(part.rows, preserve_index=False) for part in parts if len(part.rows)]
    if not tables:
        first = next((why for part in parts for why in part.skipped.values()), "none was looked at")
        raise BenchError(f"dataset: no sample could be read; the first: {first}")
    rows = pa.concat_tables(tables, promote_options="permissive").replace_schema_metadata(None).to_pandas()
    rows = rows.drop_duplicates(POSITION).sort_values(POSITION, ignore_index=True)
    return rows.drop(columns=POSITION)


def skipped_by(parts: Sequence[Part]) -> list[str]:
    """Why samples have no row in any of the parts, in the order of the samples."""
    done = set().union(*(part.positions for part in parts))
    skipped = {p: why for part in parts for p, why in part.skipped.items() if p not in done}
    return [skipped[p] for p in sorted(skipped)]


def unfinished(folder: Path, kind: str) -> Iterator[Work]:
    """All cells of a kind that are begun and not finished, in the order of their names.

    Raises:
        BenchError: if a JSON file is damaged.
    """
    for path in sorted((folder / kind).glob(f"*/{PLAN}")):
        if path.parent.with_name(f"{path.parent.name}.json").exists():
            continue  # whoever finished the cell may have been killed before removing this
        try:
            work = Work.read(path.parent)
        except BenchError:
            if path.exists():  # if not, whoever finished the cell has removed it meanwhile
                raise
            continue
        if work.plan.get("format") == FORMAT:
            yield work
