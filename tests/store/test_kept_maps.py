"""Maps are kept raw, and what is added later is measured of them without explaining anything again."""

import numpy as np
import pandas as pd
import pytest
import torch

import methods
from bench.errors import BenchError
from bench.models import ImageModel
from bench.runner.cell import run
from bench.store.cells import KeptMaps
from bench.store.files import sha256
from tests.support.cells import begun, cell_of, cells_of, finished, record_of, rows_of, same_rows


class Counted(methods.GradCAM):
    """A method that counts the samples that it is called for, but not to be checked."""

    calls = 0

    def for_check(self):
        return methods.GradCAM()

    def __call__(self, forward, inputs, target=None):
        Counted.calls += len(inputs)
        return super().__call__(forward, inputs, target)


class CountedRollout(methods.Rollout):
    """The same, of a method that does not depend on the class."""

    def for_check(self):
        return methods.Rollout()

    def __call__(self, forward, inputs, target=None):
        Counted.calls += len(inputs)
        return super().__call__(forward, inputs, target)


class CountedAttribution(methods.TransformerAttribution):
    """The same, of a method with another map for another class."""

    def for_check(self):
        return methods.TransformerAttribution()

    def __call__(self, forward, inputs, target=None):
        Counted.calls += len(inputs)
        return super().__call__(forward, inputs, target)


class CountedModel(ImageModel):
    """A model that counts the samples that pass through it."""

    passes = 0

    def forward(self, inputs):
        CountedModel.passes += len(inputs)
        return super().forward(inputs)


HERE = "tests.store.test_kept_maps"
COUNTED = ("method=gradcam", f"method._target_={HERE}.Counted", f"model._target_={HERE}.CountedModel")


@pytest.fixture(autouse=True)
def from_zero():
    Counted.calls = CountedModel.passes = 0


class Recorded(methods.PartialLRP):
    """A method that notes what it returns: with signs, at an odd scale."""

    returned: list[torch.Tensor] = []  # noqa: RUF012

    def for_check(self):
        return methods.PartialLRP()

    def __call__(self, forward, inputs, target=None):
        relevance = super().__call__(forward, inputs, target)
        relevance = 1e-4 * (relevance - relevance.mean(dim=1, keepdim=True))
        Recorded.returned += list(relevance)
        return relevance


def test_maps_are_kept_as_the_method_returned_them(configure):
    """With sign and scale, in float32, the prefix tokens apart, under a digest of their own."""
    Recorded.returned.clear()
    config = configure("segmentation", "method=partial_lrp", f"method._target_={HERE}.Recorded")
    run(config)
    rows, record = rows_of(config, "maps"), record_of(config, "maps")
    assert record["rows_sha256"] == sha256(cell_of(config, "maps").rows_file)
    assert list(rows["id"]) == list(rows_of(config)["id"])
    assert rows["explained_class"].between(0, 2).all()
    for (_, row), returned in zip(rows.iterrows(), Recorded.returned, strict=True):
        assert row["map"].dtype == row["prefix"].dtype == np.float32
        assert list(row["shape"]) == [4, 4]
        kept = np.concatenate([row["prefix"], row["map"]])
        assert kept.tolist() == returned.float().tolist()
        assert row["map"].min() < 0 < row["map"].max()


def test_signs_are_kept(configure):
    config = configure("segmentation", "method=lrp", "keep=pixels")
    run(config)
    assert np.stack(rows_of(config, "maps")["map"]).min() < 0


def test_no_maps_are_kept_if_none_are_asked_for(configure):
    config = configure("segmentation", "method=rollout", "keep=none")
    run(config)
    assert finished(config) == {"mask_overlap"}
    assert run(config | {"keep": "tokens"}) is None  # nothing is explained for the sake of keeping alone


@pytest.mark.parametrize("method", [("gradcam", "Counted"), ("rollout", "CountedRollout")])
def test_a_second_metric_makes_no_pass_for_explaining(configure, capsys, method):
    own = (f"method={method[0]}", f"method._target_={HERE}.{method[1]}", COUNTED[2])
    run(configure("segmentation", *own))
    assert Counted.calls == 4
    CountedModel.passes = 0
    capsys.readouterr()
    another = configure("segmentation", *own, "protocol.segmentation.threshold=0.4")
    assert run(another) is not None
    assert Counted.calls == 4
    assert CountedModel.passes == 0
    assert "maps are kept already, nothing is explained again" in capsys.readouterr().err


def test_a_metric_that_needs_predictions_makes_only_the_passes_that_it_must(configure):
    settings = ("perturbation", *COUNTED, "protocol.perturbation.steps=[0,0.5]")
    run(configure(*settings))
    assert Counted.calls == 9
    CountedModel.passes = 0
    assert run(configure(*settings, "protocol.perturbation.fill=mean")) is not None
    assert Counted.calls == 9
    assert CountedModel.passes == 2 * 9  # a step in each direction; the clean predictions are stored


def test_measurements_that_are_equal_run_once_however_many_metrics_read_them(configure):
    run(configure("perturbation", *COUNTED, "protocol.perturbation.steps=[0,0.5]", "keep=none"))
    alone = CountedModel.passes
    CountedModel.passes = 0
    settings = ("protocol=clean", "protocol.images.size=32", "protocol.perturbation.steps=[0,0.5]")
    hits = "protocol.perturbation.scores.hits=[label,predicted]"
    summary = run(configure("perturbation", *COUNTED, *settings, hits, "keep=none"))
    assert {"negative_auc", "negative_auc_prediction"} <= summary.keys()
    assert CountedModel.passes == alone


def test_a_kept_map_scores_to_the_same_bits(configure, tmp_path):
    """As one that was just made, on the same machine."""
    for method in ("gradcam", "partial_lrp"):
        run(configure("segmentation", f"method={method}"))
        later = configure("segmentation", f"method={method}", "protocol.segmentation.threshold=0.4")
        run(later)
        fresh = configure(
            "segmentation",
            f"method={method}",
            "protocol.segmentation.threshold=0.4",
            f"paths.results={tmp_path / 'fresh'}",
        )
        run(fresh)
        same_rows(later, fresh)


def test_a_measurement_that_compares_two_explanations_keeps_both(configure):
    """And is made of kept ones without explaining anything again, whatever batches they come in."""
    own = ("method=transformer_attribution", f"method._target_={HERE}.CountedAttribution")
    config = configure("segmentation", *own, "+metric=class_similarity")
    summary = run(config)
    assert -1 <= summary["class_similarity"] <= 1
    assert Counted.calls == 8
    plain, other = sorted(
        cells_of(config)["maps"].rows_file.parent.glob("*.parquet"), key=lambda p: len(p.name)
    )
    classes = [pd.read_parquet(file)["explained_class"].tolist() for file in (plain, other)]
    assert all(a != b for a, b in zip(*classes, strict=True))
    before = rows_of(config, "class_comparison")
    cell = cell_of(config, "class_comparison")
    cell.record_file.unlink()
    run(config)
    assert Counted.calls == 8
    pd.testing.assert_frame_equal(rows_of(config, "class_comparison"), before)


class OfPixels(methods.Rollout):
    """A method that returns one number per pixel."""

    calls, fails_at = 0, None

    def for_check(self):
        return methods.Rollout()

    def __call__(self, forward, inputs, target=None):
        OfPixels.calls += len(inputs)
        if OfPixels.fails_at is not None and OfPixels.calls > OfPixels.fails_at:
            OfPixels.fails_at = None
            raise RuntimeError("a bug")
        return inputs.mean(dim=1) - 0.3


PIXELS = (
    "segmentation",
    "method=rollout",
    f"method._target_={HERE}.OfPixels",
    "batch_size=1",
    "save_every=0",
)


def test_maps_of_pixels_are_kept_only_if_asked_for(configure):
    OfPixels.calls = 0
    config = configure(*PIXELS)
    run(config)
    assert finished(config) == {"mask_overlap"}
    assert not cell_of(config, "maps").work_folder.exists()
    assert run(config | {"keep": "pixels"}) is not None  # done, but its maps were not kept
    assert finished(config) == {"mask_overlap", "maps"}
    assert OfPixels.calls == 8
    maps = np.stack(rows_of(config, "maps")["map"])
    assert maps.shape == (4, 32 * 32)
    assert maps.dtype == np.float32
    assert maps.min() < 0
    assert run(config | {"keep": "pixels"}) is None


def test_a_run_that_failed_goes_on_where_it_ended_if_its_maps_are_not_kept(configure):
    OfPixels.calls, OfPixels.fails_at = 0, 2
    config = configure(*PIXELS)
    with pytest.raises(RuntimeError):
        run(config)
    assert run(config) is not None
    assert OfPixels.calls == 5  # the two that were left
    assert finished(config) == {"mask_overlap"}


def test_maps_of_shards_are_put_together(configure, tmp_path):
    settings = ("segmentation", "method=gradcam", "batch_size=1")
    run(whole := configure(*settings, f"paths.results={tmp_path / 'whole'}"))
    for shard in (1, 0):
        run(config := configure(*settings, "shards=2", f"shard={shard}"))
    assert finished(config) == {"maps", "mask_overlap"}
    same_rows(config, whole)


def test_maps_are_read_one_after_the_other_and_their_digest_is_checked(configure):
    config = configure("segmentation", "method=gradcam")
    run(config)
    cell = cell_of(config, "maps")
    kept = KeptMaps(cell.result())
    for _, row in rows_of(config, "maps").iloc[::-1].iterrows():
        assert row["id"] in kept
        assert kept[row["id"]]["map"] == row["map"].tolist()
    assert "another" not in kept
    content = bytearray(cell.rows_file.read_bytes())
    content[len(content) // 2] ^= 1
    cell.rows_file.write_bytes(content)
    with pytest.raises(BenchError, match="is damaged"):
        KeptMaps(cell.result())


def test_a_kept_map_of_another_class_than_the_one_to_explain_is_refused(configure, monkeypatch):
    """The model may predict another class on another machine than where the map was made."""
    settings = ("perturbation", *COUNTED, "protocol.perturbation.steps=[0,0.5]")
    run(config := configure(*settings))
    cell = cell_of(config, "predictions")
    rows = cell.result().rows
    cell.write(rows.assign(predicted=(rows["predicted"] + 1) % 3), {"versions": {}})
    with pytest.raises(BenchError, match=r"n0.*: its kept map explains class \d.*rerun=true"):
        run(configure(*settings, "protocol.perturbation.fill=mean"))


def test_maps_are_kept_before_what_is_measured_of_them(configure):
    """So that a run that ends in between never measured a map that is lost."""

    config = configure(
        "segmentation", "method=gradcam", f"method._target_={HERE}.FailsSecond", "batch_size=2"
    )
    FailsSecond.seen = 0
    with pytest.raises(RuntimeError):
        run(config)
    positions = [
        {p for part in begun(config, kind).parts() for p in part.positions}
        for kind in ("maps", "mask_overlap")
    ]
    assert positions == [{0, 1}, {0, 1}]


class FailsSecond(methods.GradCAM):
    """A method that fails at the second batch."""

    seen = 0

    def for_check(self):
        return methods.GradCAM()

    def __call__(self, forward, inputs, target=None):
        FailsSecond.seen += 1
        if FailsSecond.seen == 2:
            raise RuntimeError("a bug")
        return super().__call__(forward, inputs, target)


def test_relevance_beyond_what_float32_holds_is_named(configure):
    config = configure("segmentation", "method=rollout", f"method._target_={HERE}.Huge")
    with pytest.raises(BenchError, match="beyond what float32 holds"):
        run(config)


class Huge(methods.Rollout):
    """A method whose numbers float32 does not hold."""

    def __call__(self, forward, inputs, target=None):
        return torch.full((len(inputs), 17), 1e300, dtype=torch.float64)
