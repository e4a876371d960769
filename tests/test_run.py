"""The runner on tiny models and data of its own: cells, the store, the command line."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file, save_file

import bench
from bench.errors import BenchError
from bench.run import run
from bench.store import Cell
from bench.tables import table
from tests.rounding import assert_same_but_for_rounding
from tests.tiny_images import OPTIONS

pytestmark = pytest.mark.numerical

ROOT = Path(bench.__file__).resolve().parent.parent


def read(config) -> tuple[pd.DataFrame, dict]:
    cell = Cell(config)
    return pd.read_parquet(cell.rows_file), json.loads(cell.record_file.read_text())


def test_a_perturbation_cell_keeps_rows_and_a_record(configure):
    config = configure("perturbation", "explained=target")
    summary = run(config)
    rows, record = read(config)
    assert len(rows) == 9
    assert rows["id"].is_unique
    assert list(rows["label"]) == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert (rows["explained_class"] == rows["label"]).all()
    for direction in ("positive", "negative"):
        predictions = np.stack(rows[f"{direction}_predictions"])
        assert predictions.shape == (9, 10)
        assert (predictions[:, 0] == rows["predicted"]).all()
    # The definition, once more: trapezoids over x = 0 … 0.9 of the accuracy, times 100.
    curve = (np.stack(rows["negative_predictions"]) == rows["label"].to_numpy()[:, None]).mean(axis=0)
    assert summary["negative_auc"] == pytest.approx(100 * np.trapezoid(curve, np.arange(10) / 10))
    assert record["metrics"] == summary
    assert record["config"]["protocol"]["name"] == "paper"
    assert len(record["checkpoint_sha256"]) == 64
    assert record["versions"]["torch"] == torch.__version__
    assert (rows["protocol.perturbation.fill"] == "black").all()
    assert (rows["protocol.images.resize"] == "squash").all()


def test_accuracy_is_measured_against_the_label_whatever_is_explained(configure):
    rows = {}
    for explained in ("predicted", "target"):
        config = configure("perturbation", f"explained={explained}", "method=raw_attention", "rerun=true")
        run(config)
        rows[explained] = read(config)[0]
    # Raw attention does not depend on the explained class, so nothing else may.
    for column in ("label", "predicted", "positive_predictions", "negative_predictions"):
        assert rows["predicted"][column].map(str).equals(rows["target"][column].map(str))


def test_a_method_that_ignores_the_class_runs_once_for_both(configure, monkeypatch):
    """And what is copied is what would be computed."""
    again = configure("perturbation", "explained=target", "method=rollout", "rerun=true")
    run(again)
    computed, _ = read(again)
    shutil.rmtree(again["paths"]["results"])

    run(configure("perturbation", "explained=predicted", "method=rollout"))
    monkeypatch.setattr("bench.run.compute", None)  # so that a call fails
    target = configure("perturbation", "explained=target", "method=rollout")
    summary = run(target)
    rows, record = read(target)
    pd.testing.assert_frame_equal(rows, computed)
    assert record["metrics"] == summary
    assert record["rows_of"].startswith("imagenet--vit_tiny_patch16_224--rollout--predicted")
    with pytest.raises(TypeError):
        run(configure("perturbation", "explained=target", "method=gradcam"))


def test_maps_are_copied_with_the_rows_of_a_method_that_ignores_the_class(configure, monkeypatch):
    run(predicted := configure("perturbation", "explained=predicted", "method=rollout", "save_maps=true"))
    monkeypatch.setattr("bench.run.compute", None)  # so that a call fails
    target = configure("perturbation", "explained=target", "method=rollout", "save_maps=true")
    assert run(target) is not None
    assert Cell(target).maps_file.read_bytes() == Cell(predicted).maps_file.read_bytes()
    assert run(target) is None


def test_what_is_copied_takes_the_place_of_what_was_begun(configure):
    target = configure("perturbation", "explained=target", "method=rollout")
    assert run(target | {"shards": 2}) is None
    assert Cell(target).work_folder.exists()
    run(configure("perturbation", "explained=predicted", "method=rollout"))
    assert run(target | {"shards": 2, "shard": 1}) is not None
    assert not Cell(target).work_folder.exists()


def test_a_segmentation_cell(configure):
    config = configure("segmentation", "method=transformer_attribution")
    summary = run(config)
    rows, _ = read(config)
    assert len(rows) == 4
    assert (rows["labelled"] == 32 * 32).all()
    assert summary["pixel_accuracy"] == pytest.approx(100 * rows["correct"].sum() / rows["labelled"].sum())
    union, intersection = np.stack(rows["union"]).sum(0), np.stack(rows["intersection"]).sum(0)
    assert summary["miou"] == pytest.approx(100 * (intersection / union).mean())


@pytest.mark.parametrize("method", ["transformer_attribution", "gradcam", "lrp", "partial_lrp"])
def test_the_size_of_a_batch_changes_nothing(configure, method):
    rows = []
    for size in (1, 4):
        config = configure("segmentation", f"method={method}", f"batch_size={size}", "rerun=true")
        run(config)
        rows.append(read(config)[0])
    assert_same_but_for_rounding(*rows)


def test_workers_change_nothing(configure):
    config = configure("perturbation", "num_workers=2")
    run(config)
    with_workers, _ = read(config)
    run(configure("perturbation", "num_workers=0", "rerun=true"))
    pd.testing.assert_frame_equal(with_workers, read(config)[0])


def test_a_finished_cell_is_not_run_again(configure, capsys):
    config = configure()
    run(config)
    before = Cell(config).record_file.stat().st_mtime_ns
    assert run(config) is None
    assert "done already" in capsys.readouterr().out
    assert Cell(config).record_file.stat().st_mtime_ns == before


def test_other_settings_are_another_cell(configure):
    paths = {
        Cell(configure("perturbation", *overrides)).record_file
        for overrides in (
            [],
            ["protocol.perturbation.fill=mean"],
            ["method.start_layer=0"],
            ["limit=3"],
            ["seed=1"],
        )
    }
    assert len(paths) == 5


def test_other_weights_under_the_same_name_are_another_cell(configure, root, tmp_path):
    weights = tmp_path / "model.safetensors"
    shutil.copy(root / "tiny.safetensors", weights)
    before = Cell(configure("segmentation", f"model.checkpoint={weights}")).record_file
    assert before == Cell(configure("segmentation")).record_file  # wherever they lie
    changed = {name: value + 1 for name, value in load_file(weights).items()}
    save_file(changed, weights)
    assert before != Cell(configure("segmentation", f"model.checkpoint={weights}")).record_file


def test_a_path_may_be_spelled_in_any_way(configure, root):
    detour = root / "imagenet" / ".." / "imagenet"
    assert (
        Cell(configure()).record_file == Cell(configure("perturbation", f"dataset.path={detour}")).record_file
    )


def test_how_it_is_run_is_not_part_of_a_cell(configure):
    assert (
        Cell(configure()).record_file
        == Cell(configure("perturbation", "batch_size=1", "num_workers=2")).record_file
    )


def test_a_limit_draws_the_same_samples_for_every_method(configure):
    drawn = []
    for method in ("rollout", "lrp"):
        config = configure("perturbation", f"method={method}", "limit=4")
        run(config)
        drawn.append(list(read(config)[0]["id"]))
    assert len(drawn[0]) == 4
    assert drawn[0] == drawn[1]


def test_a_method_of_the_users_own(configure, tmp_path, monkeypatch):
    (tmp_path / "my_methods.py").write_text(
        "import torch\n"
        "class Centre:\n"
        "    def __init__(self, sigma): self.sigma = sigma\n"
        "    def __call__(self, forward, inputs, target=None):\n"
        "        y = torch.linspace(-1, 1, inputs.shape[-1])\n"
        "        return torch.exp(-(y[:, None] ** 2 + y ** 2) / self.sigma).expand(len(inputs), -1, -1)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    own = ("method=custom", "method._target_=my_methods.Centre", "+method.sigma=0.5")
    config = configure("segmentation", *own)
    assert run(config)["map"] > 0
    run(configure("segmentation", "method=rollout"))
    assert list(table(config).shown.index) == ["rollout", "Centre"]


def test_a_state_dict_in_a_pth_file_is_read_too(configure, root, tmp_path):
    torch.save({"model": load_file(root / "tiny.safetensors")}, tmp_path / "tiny.pth")
    first, second = (
        configure("segmentation"),
        configure("segmentation", f"model.checkpoint={tmp_path / 'tiny.pth'}"),
    )
    assert run(first) == run(second)
    assert read(first)[1]["checkpoint_sha256"] == read(second)[1]["checkpoint_sha256"]


@pytest.mark.parametrize("writer", [(pd.DataFrame, "to_parquet"), (Path, "write_text")])
def test_a_failure_while_writing_leaves_no_cell(configure, monkeypatch, writer):
    config = configure("segmentation", "method=rollout")

    def fail(self, *_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(*writer, fail)
    with pytest.raises(BenchError, match="No space left on device"):
        run(config)
    assert not Cell(config).is_done()
    monkeypatch.undo()
    assert run(config) is not None


def command(*arguments, cwd=ROOT):
    return subprocess.run(
        [sys.executable, "-m", *arguments],
        capture_output=True,
        text=True,
        cwd=cwd,
        env=os.environ | {"PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"},
        check=False,
    )


def test_the_command_line_ends_with_a_message_and_without_a_traceback(tmp_path):
    done = command("bench", "suite=paper", "method=rollout", f"paths.data={tmp_path}", "model=embedded/image")
    assert done.returncode == 2
    assert str(tmp_path) in done.stderr
    assert "Traceback" not in done.stderr + done.stdout


def test_a_sweep_goes_on_after_a_cell_that_fails(configure, root, tmp_path):
    config = configure("segmentation", "method=rollout", "explained=predicted")
    overrides = [
        f"paths.data={root}",
        f"paths.results={tmp_path / 'results'}",
        f"model.checkpoint={root / 'tiny.safetensors'}",
        OPTIONS,
    ]
    done = command(
        *(
            "bench",
            "-m",
            "task=segmentation",
            "dataset=imagenet_segmentation",
            "model=timm",
            "method=rollout",
        ),
        *("model.architecture=vit_tiny_patch16_224", "protocol.images.size=32", "explained=target,predicted"),
        *overrides,
    )
    assert done.returncode == 2
    assert "explained=target: this data set has no annotated classes" in done.stderr
    assert Cell(config).is_done()


def test_the_command_line_works_from_any_folder(tmp_path):
    done = command("bench", "method=rollout", "suite=paper", f"paths.data={tmp_path}", cwd=tmp_path)
    assert done.returncode == 2
    assert "no such folder" in done.stderr
    assert not list(tmp_path.iterdir())


def test_an_unknown_key_ends_the_command_line_without_a_traceback():
    done = command("bench", "method=rollout", "protocol.no_such_key=1")
    assert done.returncode != 0
    assert "no_such_key" in done.stderr + done.stdout
    assert "Traceback" not in done.stderr + done.stdout
