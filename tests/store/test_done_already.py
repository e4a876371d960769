"""A cell is known by what it is made of: whatever else changes it is done, and it is not if that changes."""

import json
import os
import shutil
import time
from typing import ClassVar

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

import methods
from bench.config import configuration
from bench.errors import BenchError
from bench.runner.cell import run
from bench.tables.table import table
from bench.tasks import MaskOverlap, Task
from tests.support.cells import cell_of, cells_of, finished, record_of, rows_of
from tests.support.modules import Modules
from tests.support.stored_rows import segmentation
from tests.support.tiny_images import WNIDS


@pytest.fixture
def modules(tmp_path, monkeypatch):
    """A folder of modules of the user's own."""
    return Modules(tmp_path / "modules", monkeypatch)


METHOD = """
import methods
{helper}
class Mine:
    def __call__(self, forward, inputs, target=None):
        return {sign} * methods.RawAttention()(forward, inputs)
"""
MINE = ("segmentation", "method=custom", "method._target_=mine.Mine")


def source(sign, helper=""):
    return METHOD.format(sign=sign, helper=helper)


def test_an_own_method_that_is_edited_is_computed_again(configure, modules):
    modules.write("mine", source("1"))
    config = configure(*MINE)
    first = run(config)
    modules.write("mine", source("-1"))
    second = run(config)
    assert second is not None  # not "done already"
    assert second != first
    # Two cells under one name: which of them would a table be of?
    with pytest.raises(BenchError, match=r"two cells have one name .*mine\.py.*rerun=true"):
        table(config)
    assert run(config | {"rerun": True}) == second
    assert table(config).data.query("metric == 'map'")["value"].tolist() == pytest.approx([second["map"]])
    for cell in cells_of(config).values():
        assert len(list(cell.rows_file.parent.glob("*.parquet"))) == 1


def test_what_an_own_method_imports_from_its_folder_counts_too(configure, modules):
    modules.write("helper", "SIGN = 1\n")
    modules.write("mine", source("helper.SIGN", "import helper"))
    config = configure(*MINE)
    first = run(config)
    modules.write("helper", "SIGN = -1\n")
    assert run(config) not in (None, first)


def test_an_own_method_that_is_edited_while_it_runs_is_what_was_imported(configure, modules):
    """A sweep goes on with what it imported, and its cells say so."""
    modules.write("mine", source("1"))
    config = configure(*MINE)
    first = run(config)
    modules.edit_while_it_runs("mine", source("-1"))
    assert run(config) is None  # the same code: done already
    modules.write("mine", source("-1"))  # a new process
    assert run(config) not in (None, first)


def test_a_comment_in_another_file_of_the_folder_changes_nothing(configure, modules):
    modules.write("mine", source("1"))
    run(config := configure(*MINE))
    modules.write("another", "# not imported by mine\n")
    assert run(config) is None


class Opposite(MaskOverlap):
    """What would be measured if background were foreground."""

    def measure(self, explanations):
        columns = super().measure(explanations)
        return columns | {
            "correct": [n - c for n, c in zip(columns["labelled"], columns["correct"], strict=True)]
        }


class Mine(Task):
    """A task of the user's own that measures something else under the official name."""

    def measurements(self):
        section = {"_target_": "tests.store.test_done_already.Opposite", "threshold": "mean"}
        return [(section, Opposite(threshold="mean"))]


TASK = "task._target_=tests.store.test_done_already.Mine"


@pytest.mark.parametrize("order", ["official first", "own first"])
def test_a_task_of_the_users_own_and_the_official_one_have_cells_of_their_own(configure, order):
    official = configure("segmentation", "method=rollout")
    own = configure("segmentation", "method=rollout", TASK)
    both = [official, own] if order == "official first" else [own, official]
    made = [run(config) for config in both]
    assert None not in made  # neither is "done already"
    right = dict(zip(map(id, both), made, strict=True))
    assert right[id(official)]["pixel_accuracy"] == pytest.approx(100 - right[id(own)]["pixel_accuracy"])
    accuracy = table(official).data.query("metric == 'pixel_accuracy'")["value"].tolist()
    assert accuracy == pytest.approx([right[id(official)]["pixel_accuracy"]])
    # But the explanation is the same, whichever task asks for it.
    assert cell_of(official, "maps").rows_file == cell_of(own, "maps").rows_file


class Cheating(Task):
    """A task that measures something else than the section says by which its cells are known."""

    def measurements(self):
        return [(section, Opposite(threshold="mean")) for section, _ in super().measurements()]


def test_a_task_whose_sections_do_not_describe_what_it_measures_is_refused(configure):
    config = configure("segmentation", "method=rollout", TASK.replace("Mine", "Cheating"))
    with pytest.raises(
        BenchError, match=r"task: Cheating.measurements\(\) gives Opposite.* expected a section"
    ):
        run(config)


@pytest.fixture
def weights(root, tmp_path):
    """A copy of the weights, and what to call to replace it by others."""
    path = shutil.copy(root / "tiny.safetensors", tmp_path / "weights.safetensors")
    others = {name: value + 0.5 * torch.randn_like(value) for name, value in load_file(path).items()}

    def replace():
        save_file(others, tmp_path / "others.safetensors")
        (tmp_path / "others.safetensors").rename(path)

    return path, replace


class Interrupted(methods.GradCAM):
    """A method during whose first call something happens."""

    happens = None

    def __call__(self, forward, inputs, target=None):
        happens, Interrupted.happens = Interrupted.happens, None
        if happens is not None:
            happens()
        return super().__call__(forward, inputs, target)


INTERRUPTED = ("method=gradcam", "method._target_=tests.store.test_done_already.Interrupted")


def test_weights_that_are_replaced_while_a_cell_runs_do_not_change_what_it_is(configure, weights):
    path, replace = weights
    config = configure("segmentation", *INTERRUPTED, f"model.checkpoint={path}")
    before = cell_of(config)
    Interrupted.happens = replace
    old = run(config)
    assert before.is_done()
    assert before.result().identity == before.id.identity  # rows of the old weights under their digest
    assert not cell_of(config).is_done()
    new = run(config)
    assert new is not None  # the new weights are not "done already"
    assert new != old
    with pytest.raises(BenchError, match=r"two cells have one name .*model\.content\.weights"):
        table(config)


class Replacing(Task):
    """A task with which something happens after digests are taken and before the model is loaded.

    A run asks it for its measurements when it is made, and then when the digests are known.
    """

    happens: ClassVar[list] = []

    def measurements(self):
        if Replacing.happens:
            Replacing.happens.pop()()
        return super().measurements()


def test_weights_that_are_replaced_before_they_are_loaded_are_refused(configure, weights):
    """The digest was known from before; rows of the new weights must not be stored under it."""
    path, replace = weights
    os.utime(path, (time.time() - 1000,) * 2)
    task = "task._target_=tests.store.test_done_already.Replacing"
    config = configure("segmentation", "method=rollout", task, f"model.checkpoint={path}")
    before = cell_of(config)  # from now on the digest is remembered
    Replacing.happens += [replace, lambda: None]
    with pytest.raises(BenchError, match="model: its files changed while the run began"):
        run(config)
    assert not before.is_done()
    assert run(config) is not None
    assert not before.is_done()


@pytest.fixture
def own_images(root, tmp_path):
    """A copy of the images, and what to call to replace some of them under the same names."""
    shutil.copytree(root / "imagenet", folder := tmp_path / "pictures")
    rng = np.random.default_rng(7)

    def replace(count=9):
        for file in sorted((folder / "val").rglob("*.JPEG"))[:count]:
            pixels = rng.integers(0, 256, (40, 36, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(file)

    return folder, replace


def perturbed(configure, folder, *overrides):
    steps = "protocol.perturbation.steps=[0,0.5]"
    return configure("perturbation", "batch_size=3", steps, f"dataset.path={folder}", *overrides)


def test_images_that_are_replaced_under_the_same_names_are_other_data(configure, own_images):
    folder, replace = own_images
    config = perturbed(configure, folder, "method=rollout")
    assert run(config) is not None
    replace()
    assert run(config) is not None  # not "done already"
    with pytest.raises(BenchError, match=r"two cells have one name .*dataset\.content"):
        table(config)
    assert run(config | {"rerun": True}) is not None
    assert len(table(config).shown) == 1


def test_a_table_is_not_made_of_two_data_sets(configure, own_images):
    folder, replace = own_images
    run(perturbed(configure, folder, "method=rollout"))
    replace()
    config = perturbed(configure, folder, "method=raw_attention")
    run(config)
    with pytest.raises(BenchError, match=r"dataset\.content"):
        table(config)


def test_images_that_change_between_two_shards_finish_no_cell(configure, own_images):
    folder, replace = own_images
    config = perturbed(configure, folder, "method=rollout", "shards=2")
    assert run(config) is None
    replace(1)
    assert run(config | {"shard": 1}) is None
    assert finished(config) == set()
    assert run(config) is not None  # all shards of what is there now


def test_images_that_change_while_they_are_explained_leave_no_cell(configure, own_images):
    folder, replace = own_images
    config = perturbed(configure, folder, *INTERRUPTED)
    before = cells_of(config)
    Interrupted.happens = lambda: replace(1)
    with pytest.raises(BenchError, match=r"dataset: it changed while it was explained .*discarded"):
        run(config)
    assert not [cell for cell in before.values() if cell.is_done()]
    assert not [part for cell in before.values() for part in cell.work_folder.rglob("*.parquet")]
    assert run(config) is not None


def test_one_more_image_is_other_data(configure, own_images):
    folder, _ = own_images
    config = perturbed(configure, folder, "method=rollout")
    run(config)
    first = next((folder / "val" / WNIDS[0]).glob("*.JPEG"))
    shutil.copy(first, first.with_name(f"{WNIDS[0]}_9.JPEG"))
    assert run(config) is not None
    assert len(rows_of(config)) == 10


def test_what_moves_is_done_already(configure, root, tmp_path):
    """Data, weights and results, and a file put beside the weights."""
    before, after = tmp_path / "before", tmp_path / "after"
    shutil.copytree(root / "imagenet", before / "imagenet")
    shutil.copy(root / "tiny.safetensors", before)

    def settings(folder):
        where = (f"paths.data={folder}", f"paths.results={folder / 'results'}")
        model = f"model.checkpoint={folder / 'tiny.safetensors'}"
        return configure(
            "perturbation", "method=rollout", "protocol.perturbation.steps=[0,0.5]", *where, model
        )

    assert run(settings(before)) is not None
    made = table(settings(before))
    before.rename(after)
    (after / "README.md").write_text("What these weights are.\n")
    for file in (after / "imagenet").rglob("*"):
        file.touch()
    assert run(settings(after)) is None  # done already
    assert table(settings(after)).markdown() == made.markdown()


def test_results_alone_give_the_same_tables(configure, root, tmp_path):
    """On a machine that has neither the data nor the weights, at any place."""
    shutil.copytree(root / "imagenet", tmp_path / "there" / "imagenet")
    shutil.copy(root / "tiny.safetensors", tmp_path / "there")

    def settings(results, folder, method="rollout"):
        where = (f"paths.data={folder}", f"paths.results={results}")
        model = f"model.checkpoint={folder / 'tiny.safetensors'}"
        steps = "protocol.perturbation.steps=[0,0.5]"
        return configure("perturbation", f"method={method}", steps, *where, model)

    for method in ("rollout", "raw_attention"):
        run(settings(tmp_path / "results", tmp_path / "there", method))
    made = table(settings(tmp_path / "results", tmp_path / "there"))
    shutil.copytree(tmp_path / "results", tmp_path / "elsewhere")
    shutil.rmtree(tmp_path / "results")
    shutil.rmtree(tmp_path / "there")
    copied = table(settings(tmp_path / "elsewhere", tmp_path / "nowhere"))
    assert copied.markdown() == made.markdown()
    pd.testing.assert_frame_equal(copied.data, made.data)


class Counted(methods.GradCAM):
    """A method that counts the samples that it is called for, but not to be checked."""

    calls = 0

    def for_check(self):
        return methods.GradCAM()

    def __call__(self, forward, inputs, target=None):
        Counted.calls += len(inputs)
        return super().__call__(forward, inputs, target)


MEASUREMENT = """
from bench.tasks import MaskOverlap

class Mine(MaskOverlap):
    version = {version}

    def measure(self, explanations):
        columns = super().measure(explanations)
        {change}
        return columns
"""


def test_a_column_that_is_added_to_a_measurement_leaves_all_other_cells_valid(
    configure, modules, monkeypatch
):
    """Its version rises: its own cells are computed again, from the kept maps."""
    config = configure(
        "segmentation", "method=gradcam", "method._target_=tests.store.test_done_already.Counted"
    )
    Counted.calls = 0
    before = run(config)
    perturbation = configure("perturbation", "method=rollout", "protocol.perturbation.steps=[0,0.5]")
    run(perturbation)
    others = {kind: cell.written_at() for kind, cell in cells_of(perturbation).items()}
    maps = cell_of(config, "maps").written_at()

    measure = MaskOverlap.measure
    monkeypatch.setattr(MaskOverlap, "version", MaskOverlap.version + 1)
    monkeypatch.setattr(
        MaskOverlap, "measure", lambda self, e: measure(self, e) | {"images": [1] * len(e.batch.ids)}
    )
    with pytest.raises(BenchError, match=r"measured by other code .*without explaining anything again"):
        table(config)
    assert run(config) == before
    assert Counted.calls == 4  # once for each sample, in the first run
    assert rows_of(config)["images"].tolist() == [1] * 4
    assert len(table(config).shown) == 1
    assert cell_of(config, "maps").written_at() == maps
    assert run(perturbation) is None
    assert {kind: cell.written_at() for kind, cell in cells_of(perturbation).items()} == others


def test_a_measurement_of_the_users_own_that_is_edited_is_made_again_from_kept_maps(configure, modules):
    modules.write("measured", MEASUREMENT.format(version=1, change=""))
    reads = [
        f"task.metrics.{metric}.reads.mask_overlap._target_=measured.Mine"
        for metric in ("map", "miou", "pixel_accuracy")
    ]
    own = ("method=gradcam", "method._target_=tests.store.test_done_already.Counted")
    config = configure("segmentation", *own, *reads)
    Counted.calls = 0
    run(config)
    modules.write("measured", MEASUREMENT.format(version=2, change="columns['more'] = columns['correct']"))
    assert run(config) is not None
    assert Counted.calls == 4
    assert rows_of(config)["more"].equals(rows_of(config)["correct"])


def test_the_same_weights_under_another_configuration_are_another_model(configure, tmp_path):
    """An image classifier of transformers: its activation, and the means of its image processor."""
    from transformers import ViTConfig, ViTForImageClassification, ViTImageProcessor

    size = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 48}
    model = ViTForImageClassification(ViTConfig(**size, image_size=32, patch_size=8, num_labels=3))
    model.save_pretrained(tmp_path / "vit")
    ViTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(tmp_path / "vit")
    chosen = ["model=transformers_image", f"model.path={tmp_path / 'vit'}"]
    settings = ["task=segmentation", "dataset=imagenet_segmentation", "protocol.images.size=32", *chosen]
    config = configuration([*settings, f"paths.data={configure('segmentation')['paths']['data']}"])
    files = [cell_of(config).rows_file]
    for name, changes in (
        ("config.json", {"hidden_act": "relu"}),
        ("preprocessor_config.json", {"image_mean": [0.1, 0.2, 0.3]}),
        ("config.json", {"transformers_version": "5.0.0"}),
    ):
        file = tmp_path / "vit" / name
        file.write_text(json.dumps(json.loads(file.read_text()) | changes))
        files.append(cell_of(config).rows_file)
    assert len(set(files)) == 3
    assert files[-1] == files[-2]  # what wrote the file says nothing about the model


def test_cells_of_other_versions_are_said_below_the_table(keep):
    ours = {"torch": "2.6.0", "timm": "1.0.20", "commit": "abc"}
    keep("lrp", segmentation(), record={"versions": ours})
    config = keep("rollout", segmentation(), record={"versions": ours | {"torch": "2.7.0", "commit": "def"}})
    (note,) = (line for line in table(config).findings if "different versions" in line)
    for expected in ("torch", "2.6.0", "2.7.0", "abc", "def"):
        assert expected in note
    assert "timm" not in note


def test_the_nearest_finished_cell_is_named_with_what_differs(configure):
    run(configure("segmentation", "method=rollout"))
    other = configure("segmentation", "method=rollout", "protocol.segmentation.threshold=0.4", "limit=2")
    with pytest.raises(BenchError, match=r"nearest finished cell .*threshold: 0.4 and mean"):
        table(other)


def test_a_recorded_identity_holds_no_path(configure, root, tmp_path):
    config = configure("perturbation", "method=rollout", "protocol.perturbation.steps=[0,0.5]")
    run(config)
    for kind in finished(config):
        text = str(record_of(config, kind)["identity"])
        assert str(root) not in text
        assert str(tmp_path) not in text
        assert "tiny.safetensors" not in text
