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
import methods
from bench.errors import BenchError
from bench.runner.cell import run
from bench.tables.table import table
from tests.support.cells import MEASURED, cell_of, cells_of, finished, record_of, rows_of, same_rows
from tests.support.commands import ended
from tests.support.tiny_images import OPTIONS

ROOT = Path(bench.__file__).resolve().parent.parent


def test_a_perturbation_run_keeps_maps_predictions_and_what_was_measured(configure):
    config = configure("perturbation", "explained=target")
    summary = run(config)
    assert finished(config) == {"maps", "predictions", "masking"}
    predictions, rows, record = rows_of(config, "predictions"), rows_of(config), record_of(config)
    assert list(predictions["label"]) == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert predictions["id"].is_unique
    assert predictions["id"].equals(rows["id"])
    assert (rows_of(config, "maps")["explained_class"] == predictions["label"]).all()
    for direction in ("positive", "negative"):
        steps = np.stack(rows[f"{direction}_predictions"])
        assert steps.shape == (9, 10)
        assert (steps[:, 0] == predictions["predicted"]).all()
    # The definition, once more: trapezoids over x = 0 … 0.9 of the accuracy, times 100.
    hits = np.stack(rows["negative_predictions"]) == predictions["label"].to_numpy()[:, None]
    assert summary["negative_auc"] == pytest.approx(100 * np.trapezoid(hits.mean(axis=0), np.arange(10) / 10))
    assert record["config"]["protocol"]["name"] == "paper"
    assert len(record["identity"]["model"]["content"]["weights"]) == 64
    assert record["identity"]["measurement"]["settings"]["fill"] == "black"
    assert record["identity"]["inputs"]["resize"] == "squash"
    assert record["versions"]["torch"] == torch.__version__
    assert record["samples"] == 9
    assert record["seed"] == 0


class Counted(methods.GradCAM):
    """A method that notes how often it is called, and for how many samples."""

    calls: tuple[int, ...] = ()

    def for_check(self):
        return methods.GradCAM()

    def __call__(self, forward, inputs, target):
        Counted.calls += (len(inputs),)
        return super().__call__(forward, inputs, target)


class CountedForBoth(Counted):
    """The same, which says that its maps do not depend on the class."""

    class_specific = False

    def for_check(self):
        return methods.RawAttention()


def test_a_method_that_ignores_the_class_runs_once_for_both(configure):
    own = ("method=gradcam", "method._target_=tests.runner.test_cell.CountedForBoth")
    predicted, target = (configure("perturbation", f"explained={e}", *own) for e in ("predicted", "target"))
    Counted.calls = ()
    assert run(predicted) is not None
    assert sum(Counted.calls) == 9
    assert run(target) is None  # done already: it is the same cell
    assert sum(Counted.calls) == 9
    assert cell_of(predicted).rows_file == cell_of(target).rows_file
    assert record_of(target)["names"][-1] == "any"


def test_a_method_of_a_class_runs_for_each(configure):
    own = ("method=gradcam", "method._target_=tests.runner.test_cell.Counted")
    Counted.calls = ()
    for explained in ("predicted", "target"):
        assert run(configure("perturbation", f"explained={explained}", *own)) is not None
    assert sum(Counted.calls) == 18


def test_accuracy_is_measured_against_the_label_whatever_is_explained(configure):
    summaries = [
        run(configure("perturbation", f"explained={explained}", "method=raw_attention", "rerun=true"))
        for explained in ("predicted", "target")
    ]
    # Raw attention does not depend on the explained class, so nothing else may.
    assert summaries[0] == summaries[1]


def test_a_segmentation_cell(configure):
    config = configure("segmentation", "method=transformer_attribution")
    summary = run(config)
    rows = rows_of(config)
    assert finished(config) == {"maps", "mask_overlap"}
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
        rows.append(rows_of(config))
    assert np.allclose(rows[0]["average_precision"], rows[1]["average_precision"], atol=1e-5)
    assert (rows[0]["correct"] == rows[1]["correct"]).all()


def test_workers_change_nothing(configure, tmp_path):
    with_workers = configure("perturbation", "num_workers=2")
    without = configure("perturbation", "num_workers=0", f"paths.results={tmp_path / 'without'}")
    run(with_workers)
    run(without)
    same_rows(with_workers, without)


def test_a_finished_cell_is_done_already(configure, capsys):
    config = configure("segmentation", "method=rollout")
    assert run(config) is not None
    before = cell_of(config).record_file.stat().st_mtime_ns
    capsys.readouterr()
    assert run(config) is None
    assert "done already" in (said := capsys.readouterr().out)
    assert "rerun=true computes it again" in said
    assert cell_of(config).record_file.stat().st_mtime_ns == before
    assert run(config | {"rerun": True}) is not None
    assert cell_of(config).record_file.stat().st_mtime_ns > before


def test_what_changes_a_number_is_another_cell(configure):
    files = {
        cell_of(configure("perturbation", *overrides)).rows_file
        for overrides in (
            (),
            ("protocol.perturbation.fill=mean",),
            ("method.start_layer=0",),
            ("limit=3",),
            ("seed=1",),
            ("method=gradcam", "explained=predicted"),
            ("method=gradcam", "explained=target"),
        )
    }
    assert len(files) == 7


def test_a_setting_of_one_measurement_leaves_the_others_as_they_are(configure):
    one, other = cells_of(configure()), cells_of(configure("perturbation", "protocol.perturbation.fill=mean"))
    assert one["masking"].rows_file != other["masking"].rows_file
    for kind in ("maps", "predictions"):
        assert one[kind].rows_file == other[kind].rows_file


def test_other_weights_under_the_same_name_are_another_cell(configure, root, tmp_path):
    weights = tmp_path / "model.safetensors"
    shutil.copy(root / "tiny.safetensors", weights)
    before = cell_of(configure("segmentation", f"model.checkpoint={weights}")).record_file
    assert before == cell_of(configure("segmentation")).record_file  # wherever they lie
    changed = {name: value + 1 for name, value in load_file(weights).items()}
    save_file(changed, weights)
    assert before != cell_of(configure("segmentation", f"model.checkpoint={weights}")).record_file


def test_a_path_may_be_spelled_in_any_way(configure, root):
    detour = root / "imagenet" / ".." / "imagenet"
    spelled = configure("perturbation", f"dataset.path={detour}")
    assert cell_of(configure()).record_file == cell_of(spelled).record_file


def test_how_it_is_run_is_not_part_of_a_cell(configure):
    otherwise = configure("perturbation", "batch_size=1", "num_workers=2", "keep=none")
    assert cell_of(configure()).record_file == cell_of(otherwise).record_file


def test_a_limit_draws_the_same_samples_for_every_method(configure):
    drawn = []
    for method in ("rollout", "lrp"):
        config = configure("perturbation", f"method={method}", "limit=4")
        run(config)
        drawn.append(list(rows_of(config)["id"]))
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
    first = configure("segmentation")
    second = configure("segmentation", f"model.checkpoint={tmp_path / 'tiny.pth'}")
    assert run(first) is not None
    assert run(second) is None  # the same weights: done already
    assert cell_of(first).record_file == cell_of(second).record_file


@pytest.mark.parametrize("task", sorted(MEASURED.keys() - {"token_f1"}))
def test_nothing_is_left_but_finished_cells(configure, task):
    config = configure(task, "method=rollout", "batch_size=1", "save_every=0")
    run(config)
    assert not [cell for cell in cells_of(config).values() if cell.work_folder.exists()]


def test_a_failure_while_writing_leaves_no_cell(configure, monkeypatch):
    config = configure("segmentation", "method=rollout")

    def fail(*_, **__):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as broken:
        broken.setattr(Path, "write_text", fail)
        with pytest.raises(BenchError, match="No space left on device"):
            run(config)
    assert finished(config) == set()
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


def test_the_command_line_ends_with_a_message_and_without_a_traceback(tmp_path, monkeypatch, capsys):
    given = ("suite=paper", "method=rollout", f"paths.data={tmp_path}", "model=embedded/image")
    code, said = ended(monkeypatch, capsys, *given)
    assert code == 2
    assert str(tmp_path) in said


def test_a_sweep_goes_on_after_a_cell_that_fails(configure, root, tmp_path):
    config = configure("segmentation", "method=rollout", "explained=predicted")
    overrides = [
        f"paths.data={root}",
        f"paths.results={tmp_path / 'results'}",
        f"model.checkpoint={root / 'tiny.safetensors'}",
        OPTIONS,
    ]
    done = command(
        *("bench", "-m", "task=segmentation", "dataset=imagenet_segmentation", "model=timm"),
        *("method=gradcam,rollout", "model.architecture=vit_tiny_patch16_224", "protocol.images.size=32"),
        *("explained=target,predicted", *overrides),
    )
    assert done.returncode == 2
    assert "explained=target: this data set has no annotated classes" in done.stderr
    assert cell_of(config).is_done()


def test_the_command_line_works_from_any_folder(tmp_path):
    done = command("bench", "method=rollout", "suite=paper", f"paths.data={tmp_path}", cwd=tmp_path)
    assert done.returncode == 2
    assert "no such folder" in done.stderr
    assert "Traceback" not in done.stderr + done.stdout
    assert not list(tmp_path.iterdir())


def test_an_unknown_key_ends_the_command_line_without_a_traceback(monkeypatch, capsys):
    code, said = ended(monkeypatch, capsys, "method=rollout", "protocol.no_such_key=1")
    assert code == 2
    assert "no_such_key" in said


def test_a_record_is_json_that_others_can_read(configure):
    config = configure("segmentation", "method=rollout")
    run(config)
    for cell in cells_of(config).values():
        json.loads(cell.record_file.read_text(), parse_constant=pytest.fail)


def test_a_column_of_a_finished_cell_is_plain_parquet(configure):
    config = configure("segmentation", "method=rollout")
    run(config)
    assert list(pd.read_parquet(cell_of(config).rows_file)["id"]) == list(rows_of(config)["id"])
