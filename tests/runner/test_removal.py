"""The measurement of faithfulness on tiny models: what it stores, and what it refuses."""

from functools import partial

import numpy as np
import pytest
import torch

import bench  # noqa: F401
import metrics
from bench.errors import BenchError
from bench.runner.cell import Plan, plan_summary, run
from bench.tasks import GroupRemoval, RemovalCurves, SubsetDrops
from bench.tasks.units import seed_of
from tests.support.cells import cells_of, finished
from tests.support.tiny_texts import text_configuration
from tests.support.tiny_texts import write as write_texts

pytestmark = pytest.mark.numerical

STEPS, BINS = [i / 10 for i in range(11)], [0.01, 0.05, 0.1, 0.2, 0.5]


def measured(config):
    """The rows of the curves: with the first and the second fill."""
    run(config)
    return [cell.result().rows for one, cell in Plan.of(config).measured if one.name == "removal_curves"]


def stack(rows, column):
    return np.stack(rows[column]).astype(float)


@pytest.fixture
def small(configure):
    """The task on subsets that fit into 16 patches."""
    return lambda *more: configure(
        "faithfulness", "protocol.subsets.sizes=[2,5,20]", "protocol.subsets.subsets=[12,30,7]", *more
    )


@pytest.fixture
def configure_texts(tmp_path_factory, tmp_path):
    root = write_texts(tmp_path_factory.mktemp("root"))
    return partial(text_configuration, root, tmp_path / "results", "task=faithfulness_texts")


def assert_curves(rows):
    """What holds of every curve, whatever the model."""
    most, least = stack(rows, "positive_probability"), stack(rows, "negative_probability")
    assert most.shape == least.shape == (len(rows), len(STEPS))
    np.testing.assert_array_equal(most[:, [0, -1]], least[:, [0, -1]])
    np.testing.assert_allclose(most[:, 0], np.exp(rows["log_probability"]), rtol=1e-6)
    assert ((most >= 0) & (most <= 1)).all()
    assert stack(rows, "without_top_log_probability").shape == (len(rows), len(BINS))
    assert stack(rows, "only_top_probability").shape == (len(rows), len(BINS))
    assert rows["tied"].between(0, 1).all()


def test_images(small):
    config = small("method=random")
    mean, drop = measured(config)
    for rows in (mean, drop):
        assert_curves(rows)
        assert (rows["units"] == 16).all()
    assert list(mean["log_probability"]) == pytest.approx(list(drop["log_probability"]))
    assert not np.allclose(stack(mean, "positive_probability"), stack(drop, "positive_probability"))
    others = {"subset_drops", "subset_sums", "group_removal"}
    assert finished(config) == {"maps", "removal_curves", *others}


def test_a_row_is_what_the_model_says_of_that_image(small):
    """One step of one image, masked by hand from the map that was kept."""
    from bench.models.preprocessing import ImageSettings

    config = small("method=rollout")
    rows, _ = measured(config)
    plan = Plan.of(config)
    maps = cells_of(config)["maps"].result().rows.set_index("id")
    model, sample = plan.source.model(), plan.dataset[4]
    settings = ImageSettings.of(config["task"]["inputs"])
    image = model.normalise(settings.pixels(sample.image, model)[None])
    kept = maps.loc[sample.id]
    order = np.argsort(-np.asarray(kept["map"]), kind="stable")[: int(16 * 0.3)]
    for patch in order:
        row, column = divmod(int(patch), 4)
        image[0, :, 8 * row : 8 * row + 8, 8 * column : 8 * column + 8] = 0  # the mean, normalised
    with torch.no_grad():
        expected = model.forward(image).softmax(dim=1)[0, kept["explained_class"]]
    found = rows.set_index("id").loc[sample.id, "positive_probability"][3]
    assert found == pytest.approx(float(expected), abs=1e-5)


def test_texts(configure_texts):
    mask, delete = measured(configure_texts("method=rollout"))
    for rows in (mask, delete):
        assert_curves(rows)
    assert list(mask["units"]) == list(delete["units"])
    assert mask["units"].nunique() > 1


@pytest.mark.parametrize("batch_size", [1, 3])
def test_the_batch_changes_nothing(small, configure_texts, batch_size):
    for configured in (small, configure_texts):
        alone = measured(configured("method=random", "batch_size=4"))
        together = measured(configured("method=random", f"batch_size={batch_size}", "rerun=true"))
        for one, other in zip(alone, together, strict=True):
            for column in ("positive_logit", "negative_logit", "without_top_log_probability"):
                np.testing.assert_allclose(stack(one, column), stack(other, column), atol=1e-4)


def of_kind(config, kind):
    (rows,) = [cell.result().rows for one, cell in Plan.of(config).measured if one.name == kind]
    return rows.set_index("id")


def test_subsets_are_drawn_once_for_all_methods(small):
    """What the model loses without one of them, by hand, and the sums of two methods over the same patches."""
    config, other = small("method=rollout"), small("method=random")
    summary = run(config)
    kept = cells_of(config)["subset_drops"].written_at()
    run(other)
    assert cells_of(other)["subset_drops"].written_at() == kept
    drops, sums = of_kind(config, "subset_drops"), of_kind(config, "subset_sums")
    plan = Plan.of(config)
    sample = plan.dataset[2]
    maps = cells_of(config)["maps"].result().rows.set_index("id")
    relevance = np.asarray(maps.loc[sample.id, "map"])
    subsets = metrics.draw_subsets(16, 5, 30, seed_of(sample.id, 5)).numpy()
    own = np.asarray(sums.loc[sample.id, "subset_sums"], dtype=float)
    np.testing.assert_allclose(own[12:42], relevance[subsets].sum(axis=1), rtol=1e-5)
    assert np.isnan(own[42:]).all()  # there are no 20 patches
    lost = np.asarray(drops.loc[sample.id, "drop_probability"], dtype=float)
    from bench.models.preprocessing import ImageSettings

    model = plan.source.model()
    image = model.normalise(ImageSettings.of(config["task"]["inputs"]).pixels(sample.image, model)[None])
    changed = image.clone()
    for patch in subsets[3]:
        row, column = divmod(int(patch), 4)
        changed[0, :, 8 * row : 8 * row + 8, 8 * column : 8 * column + 8] = 0
    with torch.no_grad():
        p = model.forward(torch.cat([image, changed])).softmax(dim=1)[
            :, maps.loc[sample.id, "explained_class"]
        ]
    assert lost[12 + 3] == pytest.approx(float(p[0] - p[1]), abs=1e-5)
    assert np.isnan(summary["faithfulness_correlation"])  # of subsets of 20
    assert np.isnan(summary["sensitivity_n"])
    chosen = "task.metrics.faithfulness_correlation.chosen=[5]"
    assert np.isfinite(plan_summary(Plan.of(small("method=rollout", chosen)))["faithfulness_correlation"])


def test_saco_removes_every_group_alone(small):
    config = small("method=random", "measurement@task.metrics.saco.reads.group_removal=group_removal")
    run(config)
    rows = of_kind(config, "group_removal")
    for row in rows.itertuples():
        assert len(row.salience) == len(row.drop) == 10
        assert (np.diff(row.salience) <= 1e-9).all()  # by rank
        assert row.saco == pytest.approx(float(metrics.saco(row.salience, row.drop)))


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda: SubsetDrops(sizes=[0], subsets=[5], unit="patch", fill="mean"), "sizes"),
        (lambda: SubsetDrops(sizes=[2], subsets=[5, 5], unit="patch", fill="mean"), "subsets"),
        (lambda: SubsetDrops(sizes=[2], subsets=[5], unit="patch", fill="mask"), "fill"),
        (lambda: GroupRemoval(groups=1, unit="patch", fill="mean"), "groups"),
        (lambda: GroupRemoval(groups=5, unit="word", fill="mask"), "unit"),
    ],
)
def test_settings_of_subsets_and_groups_are_named(make, named):
    with pytest.raises(BenchError, match=named):
        make()


def test_fewer_units_than_groups(small):
    with pytest.raises(BenchError, match="an image has 16 units"):
        run(small("method=random", "task.metrics.saco.reads.group_removal={groups: 17, unit: patch}"))


def test_the_test_of_the_paper_stands_as_it_was(configure):
    """The same cells under the same names, whether faithfulness is measured as well or not."""
    config = configure("perturbation", "method=random")
    run(config)
    assert finished(config) == {"maps", "predictions", "masking"}
    assert [m.name for m, _ in Plan.of(config).measured] == ["predictions", "masking"]


def make(**changes):
    return RemovalCurves(**{"steps": STEPS, "bins": BINS, "unit": "patch", "fill": "mean"} | changes)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"steps": [0.1, 1.0]}, "steps"),
        ({"steps": [0.0, 1.5]}, "steps"),
        ({"bins": [0.0, 0.5]}, "bins"),
        ({"unit": "letter"}, "unit"),
        ({"fill": "white"}, "fill"),
        ({"unit": "pixel", "fill": "drop"}, "fill"),
        ({"unit": "word", "fill": "mean"}, "fill"),
        ({"fill": "blur"}, "blur_sigma"),
        ({"fill": "inpaint"}, "leaves nothing"),
        ({"rounding": "up"}, "rounding"),
        ({"ranked_by": "any"}, "ranked_by"),
        ({"ties": "any"}, "ties"),
        ({"unit": "word", "fill": "mask", "word_score": "sum"}, "word_score"),
    ],
)
def test_settings_out_of_range_are_named(changes, named):
    with pytest.raises(BenchError, match=named):
        make(**changes)


def test_images_are_no_texts(configure, configure_texts):
    with pytest.raises(BenchError, match="expected a model of texts"):
        run(
            configure(
                "faithfulness", "+metric=srg", "measurement@task.metrics.srg.reads.removal=removal_mask"
            )
        )
