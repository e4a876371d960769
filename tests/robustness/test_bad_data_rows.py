"""However images in Parquet files or a saved folder are damaged, one line names the place."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bench.data import HuggingFaceImages
from tests.support.damage import JPEG, png_bomb
from tests.support.refusals import read_all, refused

FIELDS = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
GOOD = {"bytes": JPEG, "path": "a.JPEG"}


def rows(images=(GOOD, GOOD), labels=(0, 1), image_type=FIELDS, label_type=None) -> pa.Table:
    return pa.table({"image": pa.array(images, image_type), "label": pa.array(labels, label_type)})


LISTED = pa.struct([("bytes", pa.list_(pa.uint8())), ("path", pa.string())])
NUMBERED = pa.struct([("bytes", pa.binary()), ("path", pa.int64())])
ROWS = {
    "no label column": (rows().drop_columns("label"), r"no column 'label' among \['image'\]"),
    "image is a number": (rows((1, 2), image_type=pa.int64()), r"column 'image' is .*datasets\.Image\(\)"),
    "image without path": (
        rows(({"bytes": JPEG},) * 2, image_type=pa.struct([("bytes", pa.binary())])),
        r"column 'image' is .*datasets\.Image\(\)",
    ),
    "path is a number": (rows(({"bytes": JPEG, "path": 1},) * 2, image_type=NUMBERED), r"column 'image' is"),
    "bytes are a list": (
        rows(({"bytes": [1, 2]},) * 2, image_type=LISTED),
        r"row 0, unnamed: cannot be decoded",
    ),
    "null image": (rows((GOOD, None)), r"row 1 has no image"),
    "no bytes": (rows((GOOD, {"bytes": b"", "path": None})), r"row 1 has no image"),
    "path leads nowhere": (
        rows((GOOD, {"bytes": None, "path": "gone.JPEG"})),
        r"row 1, gone\.JPEG: cannot be decoded",
    ),
    "image bomb": (rows((GOOD, {"bytes": png_bomb(), "path": "b.png"})), r"row 1, b\.png: cannot be decoded"),
    "null label": (rows(labels=(0, None)), r"row 1 has label None"),
    "no labels at all": (rows(labels=(None, None)), r"row 0 has label None"),
    "label past the last class": (rows(labels=(0, 1000)), r"row 1 has label 1000; expected .* 0 to 999"),
    "label is a truth value": (rows(labels=(True, False)), r"row 0 has label True"),
    "label is a fraction": (rows(labels=(0.0, 1.0)), r"row 0 has label 0\.0"),
    "label is a list": (rows(labels=([0], [1])), r"row 0 has label \[0\]"),
}


@pytest.mark.parametrize(("table", "expected"), ROWS.values(), ids=ROWS)
def test_damaged_rows(tmp_path, table, expected):
    pq.write_table(table, tmp_path / "rows.parquet")
    with refused(rf"rows\.parquet.*{expected}"):
        read_all(HuggingFaceImages(tmp_path / "rows.parquet"))


BYTES = {
    "empty": lambda content: b"",
    "one byte": lambda content: content[:1],
    "half": lambda content: content[: len(content) // 2],
    "without its end": lambda content: content[:-1],
    "zeros for its index": lambda content: content[:-200] + bytes(192) + content[-8:],
    "zeros for its rows": lambda content: content[:4] + bytes(1000) + content[1004:],
}


@pytest.mark.parametrize("damage", BYTES.values(), ids=BYTES)
@pytest.mark.parametrize("folder", [False, True], ids=["file", "folder"])
def test_a_damaged_parquet_file(tmp_path, datasets_cache, damage, folder):
    file = tmp_path / "table" / "validation.parquet"
    file.parent.mkdir()
    pq.write_table(rows(), file, compression="none")
    file.write_bytes(damage(file.read_bytes()))
    with refused(r"table.*"):
        read_all(HuggingFaceImages(file.parent if folder else file))


def test_files_of_different_tables(tmp_path, datasets_cache):
    pq.write_table(rows(), tmp_path / "validation-0.parquet")
    pq.write_table(rows().drop_columns("label"), tmp_path / "validation-1.parquet")
    with refused(
        r"validation-1\.parquet: it has the columns image where .*validation-0\.parquet has image, label"
    ):
        read_all(HuggingFaceImages(tmp_path))


def cut_arrow(folder):
    (file,) = folder.glob("*.arrow")
    file.write_bytes(file.read_bytes()[:500])


SAVED = {
    "state.json cut": lambda folder: (folder / "state.json").write_text("{"),
    "state.json without files": lambda folder: (folder / "state.json").write_text("{}"),
    "dataset_info.json cut": lambda folder: (folder / "dataset_info.json").write_text("{"),
    "rows missing": lambda folder: [file.unlink() for file in folder.glob("*.arrow")],
    "rows cut": cut_arrow,
}


@pytest.mark.parametrize("damage", SAVED.values(), ids=SAVED)
def test_a_damaged_saved_folder(tmp_path, datasets_cache, damage):
    import datasets

    datasets.Dataset(rows()).save_to_disk(tmp_path / "saved")
    damage(tmp_path / "saved")
    with refused(r"saved \(split validation\): .* cannot read it"):
        read_all(HuggingFaceImages(tmp_path / "saved"))


def test_a_folder_without_images(tmp_path, datasets_cache):
    (tmp_path / "nothing").mkdir()
    with refused(r"nothing \(split validation\)"):
        read_all(HuggingFaceImages(tmp_path / "nothing"))
