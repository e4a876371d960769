"""Rows of a table from Hugging Face ``datasets``, read where they lie as far as that is possible."""

import re
from bisect import bisect_right
from collections.abc import Mapping
from functools import reduce
from itertools import accumulate
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from bench.errors import BenchError
from bench.hub import reach_hub

# `datasets` takes two seconds to import, so it is imported where it is used.

HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")
FILE_SUFFIXES = {".parquet", ".arrow", ".tar", ".gz", ".tgz"}


class Rows(Protocol):
    """A table whose rows are read one by one, with nothing in them decoded."""

    features: dict[str, Any]  # of `datasets`, by column
    files: list[Path]  # that hold the rows; empty where they are in memory alone

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> dict[str, Any]: ...

    def column(self, name: str) -> list[Any]:
        """A column, or a field of a column of structs (``image.path``)."""

    def nulls(self, name: str) -> list[int]:
        """The rows in which such a column is null; its values are not read, as far as that is possible."""


def open_rows(path: str | Path, split: str, required: tuple[str, ...], data_files: str | None = None) -> Rows:
    """Open what ``datasets`` understands at ``path``; the columns named in ``required`` are there.

    ==================================  =================================================================
    path                                what is written to disk
    ==================================  =================================================================
    a Parquet file (``split`` is moot)  nothing: read in place, one row group in memory
    a folder of Parquet files           nothing: the same
    a folder from ``save_to_disk``      nothing: memory-mapped
    a folder of images ("imagefolder")  a list of paths and labels in ``HF_DATASETS_CACHE``; no image
    a name on the hub                   the download in ``HF_HUB_CACHE`` and an Arrow copy of it in
                                        ``HF_DATASETS_CACHE``. To have the data once and not twice, run
                                        ``hf download NAME --repo-type dataset --local-dir FOLDER``
                                        and give the folder
    ==================================  =================================================================

    Raises:
        BenchError: ``path`` is missing or cannot be read, the hub cannot be reached, there is no such split
            or column.
    """
    source = f"{path} (split {split})"
    try:
        rows = _open(Path(path), split, data_files)
    except BenchError:
        raise
    except Exception as error:  # each builder of `datasets` raises errors of its own, without a common base
        raise BenchError(
            f"{source}: Hugging Face datasets cannot read it: {error} Expected a Parquet file, a folder of "
            "Parquet files or images, a folder from save_to_disk, or the name of a data set on the hub. "
            "Check path and split; a gated data set, such as ImageNet, also needs its conditions accepted "
            "and `hf auth login`."
        ) from error
    for name in required:
        if name not in rows.features:
            raise BenchError(
                f"{source}: no column {name!r} among {sorted(rows.features)}; expected {', '.join(required)}."
                " Rename the column, or give another data set."
            )
    if len(rows) == 0:
        raise BenchError(f"{source}: empty; expected at least one row. Choose another split.")
    return rows


def _open(path: Path, split: str, data_files: str | None) -> Rows:
    import datasets

    if path.is_file():
        return ParquetRows([path])
    if (path / "state.json").is_file() or (path / "dataset_dict.json").is_file():
        saved = datasets.load_from_disk(path)
        return ArrowRows(_pick(saved, split, path) if isinstance(saved, datasets.DatasetDict) else saved)
    if path.is_dir() and any(path.rglob("*.parquet")):
        files = datasets.load_dataset_builder(str(path)).config.data_files
        return ParquetRows([Path(file) for file in _pick(files, split, path)])
    if path.is_dir():
        # By default labels are dropped where there is one class folder only.
        return ArrowRows(
            datasets.load_dataset("imagefolder", data_dir=str(path), split=split, drop_labels=False)
        )
    _require_hub(path)
    if data_files is None:
        return ArrowRows(datasets.load_dataset(str(path), split=split))
    # The sizes that the hub publishes are those of the complete data set.
    return ArrowRows(
        datasets.load_dataset(
            str(path), split=split, data_files={split: data_files}, verification_mode="no_checks"
        )
    )


def _pick(splits: Mapping[str, Any], split: str, path: Path) -> Any:
    if split not in splits:
        raise BenchError(f"{path}: no split {split!r}; it has {', '.join(splits)}. Set split to one of them.")
    return splits[split]


def _require_hub(path: Path) -> None:
    looks_local = path.suffix in FILE_SUFFIXES or Path(path.parts[0]).exists()
    if looks_local or not HUB_NAME.fullmatch(str(path)):
        raise BenchError(
            f"{path}: no such file or folder. Point paths.data (or BENCH_DATA) to the data root, or give the "
            "name of a data set on the Hugging Face hub (owner/name)."
        )
    reach_hub(
        f"{path}: no such file or folder",
        f"Give a local path (`hf download {path} --repo-type dataset --local-dir DIR` where there is a "
        "network)",
    )


class ArrowRows:
    """A ``datasets.Dataset``, memory-mapped by it."""

    def __init__(self, dataset) -> None:
        self.features = dataset.features
        self.files = [Path(entry["filename"]) for entry in dataset.cache_files]
        self._dataset = dataset.with_format("arrow")

    def __len__(self) -> int:
        return len(self._dataset)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self._dataset[index].to_pylist()[0]

    def column(self, name: str) -> list[Any]:
        column, *fields = name.split(".")
        return reduce(pc.struct_field, fields, self._dataset[:][column]).to_pylist()

    def nulls(self, name: str) -> list[int]:
        column, *fields = name.split(".")
        return _true(pc.is_null(reduce(pc.struct_field, fields, self._dataset[:][column])))


class ParquetRows:
    """Parquet files as one table, read in place: the row group of the last row that was asked for is kept."""

    def __init__(self, files: list[Path]) -> None:
        import datasets

        self.files = files
        self._groups: list[tuple[Path, int]] = []
        self.features = datasets.Features.from_arrow_schema(pq.read_schema(files[0]))
        lengths = []
        for file in files:
            metadata = pq.read_metadata(file)
            columns = sorted(metadata.schema.to_arrow_schema().names)
            if columns != sorted(self.features):
                raise BenchError(
                    f"{file}: it has the columns {', '.join(columns)} where {files[0]} has "
                    f"{', '.join(sorted(self.features))}; expected files of one table. Remove one of them."
                )
            self._groups += [(file, group) for group in range(metadata.num_row_groups)]
            lengths += [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)]
        if min(lengths, default=0) < 0:
            raise ValueError("a row group of less than no rows")
        self._starts = [0, *accumulate(lengths)]
        self._kept: tuple[int, pa.Table] | None = None

    def __len__(self) -> int:
        return self._starts[-1]

    def __getitem__(self, index: int) -> dict[str, Any]:
        number = bisect_right(self._starts, index) - 1
        if self._kept is None or self._kept[0] != number:
            self._kept = number, self._read(number)
        return self._kept[1].slice(index - self._starts[number], 1).to_pylist()[0]

    def column(self, name: str) -> list[Any]:
        column, *fields = name.split(".")
        tables = (self._read(number, [name]) for number in range(len(self._groups)))
        return [value for t in tables for value in reduce(pc.struct_field, fields, t[column]).to_pylist()]

    def nulls(self, name: str) -> list[int]:
        column, *fields = name.split(".")
        rows: list[int] = []
        for number, (path, group) in enumerate(self._groups):
            stored = pq.read_metadata(path).row_group(group)
            columns = (stored.column(place) for place in range(stored.num_columns))
            counts = [c.statistics.null_count for c in columns if c.path_in_schema == name and c.statistics]
            if counts == [0]:
                continue
            table = self._read(number, [name])
            empty = _true(pc.is_null(reduce(pc.struct_field, fields, table[column])))
            rows += [self._starts[number] + row for row in empty]
        return rows

    def _read(self, number: int, columns: list[str] | None = None) -> pa.Table:
        path, group = self._groups[number]
        rows = self._starts[number + 1] - self._starts[number]
        try:
            with pq.ParquetFile(path) as file:
                table = file.read_row_group(group, columns)
            if len(table) != rows:
                raise OSError(f"{len(table)} rows of {rows}")
        except (OSError, pa.ArrowException) as error:
            raise BenchError(
                f"{path}: row group {group} cannot be read ({error}); expected an undamaged Parquet file. "
                "Copy it again."
            ) from error
        return table

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_kept": None}


def _true(values: pa.ChunkedArray) -> list[int]:
    return [place for place, value in enumerate(values.to_pylist()) if value]
