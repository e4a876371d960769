"""Maps made elsewhere are scored as the same maps made here, or refused by name."""

import json

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bench.errors import BenchError
from bench.runner.cell import run
from bench.tables.table import table
from tests.support.cells import finished, record_of, rows_of


@pytest.fixture
def kept(configure):
    """A finished cell whose maps are kept, and their rows."""
    config = configure("segmentation", "method=gradcam")
    run(config)
    return config, rows_of(config, "maps")


def write(path, rows: pd.DataFrame, **stated) -> str:
    """Write maps as another toolkit would."""
    content = pa.Table.from_pandas(rows, preserve_index=False)
    pq.write_table(content.replace_schema_metadata({b"maps": json.dumps(stated).encode()}), path)
    return f"maps='{path}'"


def test_they_score_as_the_maps_that_a_method_makes(configure, kept, tmp_path):
    config, rows = kept
    own = write(tmp_path / "theirs.parquet", rows[["id", "map", "shape", "explained_class"]], unit="patch")
    foreign = configure("segmentation", own)
    run(foreign)
    columns = ["id", "correct", "intersection", "union", "average_precision"]
    pd.testing.assert_frame_equal(rows_of(foreign)[columns], rows_of(config)[columns], check_exact=True)
    made = table(foreign)
    assert set(made.shown.index) == {"gradcam", "theirs"}
    (note,) = [note for note in made.findings if note.startswith("The maps of theirs were made elsewhere")]
    assert "model, dataset, resize" in note
    assert "explained class" not in note


def test_npz_for_maps_of_equal_shape(configure, kept, tmp_path):
    config, rows = kept
    maps = np.stack([np.reshape(m, s) for m, s in zip(rows["map"], rows["shape"], strict=True)])
    np.savez(tmp_path / "theirs.npz", id=rows["id"].to_numpy(str), map=maps)
    foreign = configure("segmentation", f"maps='{tmp_path / 'theirs.npz'}'")
    run(foreign)
    assert rows_of(foreign)["correct"].tolist() == rows_of(config)["correct"].tolist()


def test_another_file_of_the_same_name_is_another_cell(configure, kept, tmp_path):
    _, rows = kept
    rows = rows[["id", "map", "shape"]]
    foreign = configure("segmentation", write(tmp_path / "theirs.parquet", rows))
    run(foreign)
    before = rows_of(foreign)
    write(tmp_path / "theirs.parquet", rows.assign(map=[-m for m in rows["map"]]))
    assert "mask_overlap" not in finished(foreign)
    run(foreign)
    assert rows_of(foreign)["correct"].tolist() != before["correct"].tolist()
    with pytest.raises(BenchError, match=r"two cells have one name .*method\.content\.path"):
        table(foreign)


def test_the_file_may_be_moved(configure, kept, tmp_path):
    _, rows = kept
    run(configure("segmentation", write(tmp_path / "theirs.parquet", rows[["id", "map", "shape"]])))
    (tmp_path / "moved").mkdir()
    (tmp_path / "theirs.parquet").rename(tmp_path / "moved" / "theirs.parquet")
    assert "mask_overlap" in finished(
        configure("segmentation", f"maps='{tmp_path / 'moved' / 'theirs.parquet'}'")
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rows: rows.iloc[1:], "it has no map of"),
        (lambda rows: pd.concat([rows, rows.iloc[:1]]), "an id occurs twice"),
        (lambda rows: rows.assign(map=[m * np.nan for m in rows["map"]]), "NaN or infinity in the map of"),
        (lambda rows: rows.assign(shape=[[1, len(m)] for m in rows["map"]]), "has the shape"),
        (lambda rows: rows.assign(explained_class=rows["explained_class"] + 1), "explains class"),
        (lambda rows: rows.drop(columns="map"), "cannot be read"),
    ],
)
def test_what_does_not_fit_is_refused(configure, kept, tmp_path, change, message):
    _, rows = kept
    own = write(tmp_path / "theirs.parquet", change(rows[["id", "map", "shape", "explained_class"]]))
    with pytest.raises(BenchError, match=message):
        run(configure("segmentation", own))


@pytest.mark.parametrize(
    "stated", [{"model": "another"}, {"dataset": "another"}, {"resize": "model"}, {"unit": "token"}]
)
def test_what_the_file_states_is_compared(configure, kept, tmp_path, stated):
    _, rows = kept
    own = write(tmp_path / "theirs.parquet", rows[["id", "map", "shape"]], **stated)
    with pytest.raises(BenchError, match=f"its {next(iter(stated))} is"):
        run(configure("segmentation", own))


def test_the_digest_of_the_weights_names_the_model(configure, kept, tmp_path):
    config, rows = kept
    weights = record_of(config)["identity"]["model"]["content"]["weights"]
    own = write(tmp_path / "theirs.parquet", rows[["id", "map", "shape"]], model=weights)
    assert run(configure("segmentation", own))


def test_a_metric_that_compares_explanations_is_refused(configure, kept, tmp_path):
    _, rows = kept
    own = write(tmp_path / "theirs.parquet", rows[["id", "map", "shape"]])
    with pytest.raises(BenchError, match="leave that metric out"):
        run(configure("segmentation", own, "+metric=class_similarity"))
