"""Normalised AOPC of images and texts, against every order of the groups gone through by hand."""

from functools import partial
from itertools import permutations

import numpy as np
import pytest
import torch

import bench  # noqa: F401
from bench.errors import BenchError
from bench.models.preprocessing import ImageSettings
from bench.runner.cell import Plan, run
from bench.tasks import AopcBounds, GroupCurve
from tests.support.cells import cells_of, finished
from tests.support.tiny_texts import text_configuration
from tests.support.tiny_texts import write as write_texts

pytestmark = pytest.mark.numerical

# 2 × 2 blocks of a grid of 4 × 4 patches, each of which is 8 pixels wide
BLOCKS = [(slice(16 * a, 16 * a + 16), slice(16 * b, 16 * b + 16)) for a in (0, 1) for b in (0, 1)]
READS = "task.metrics.normalised_aopc.reads"
FOUR = ("+metric=normalised_aopc", f"{READS}.group_curve.groups=4", f"{READS}.aopc_bounds.groups=4")


@pytest.fixture
def configure_texts(tmp_path_factory, tmp_path):
    root = write_texts(tmp_path_factory.mktemp("root"))
    return partial(text_configuration, root, tmp_path / "results", "task=faithfulness_texts")


def only(config):
    """The configuration with normalised AOPC as its one metric."""
    task = config["task"]
    kept = {name: section for name, section in task["metrics"].items() if name.startswith("normalised")}
    return config | {"task": task | {"metrics": kept}}


def rows_of(config, kind):
    return cells_of(config)[kind].result().rows.set_index("id")


def every_aopc(probability, groups):
    """The AOPC of every order of the groups, one after the other, by the order."""
    found = {}
    for order in permutations(range(groups)):
        values = [probability(frozenset(order[:count])) for count in range(groups + 1)]
        found[order] = sum(values[0] - value for value in values) / len(values)
    return found


def test_images(configure):
    config = only(configure("faithfulness", "method=random", *FOUR, f"{READS}.aopc_bounds.width=null"))
    summary = run(config)
    curves, bounds, maps = (rows_of(config, kind) for kind in ("group_curve", "aopc_bounds", "maps"))
    plan = Plan.of(config)
    model, settings, normalised = plan.source.model(), ImageSettings.of(config["task"]["inputs"]), []
    for sample in (plan.dataset[i] for i in range(len(plan.dataset))):
        image = model.normalise(settings.pixels(sample.image, model)[None])
        kept, known = maps.loc[sample.id], {}

        def probability(removed, image=image, kept=kept, known=known):
            if removed not in known:
                masked = image.clone()
                for block in removed:
                    masked[0, :, *BLOCKS[block]] = 0  # the model's mean
                with torch.no_grad():
                    known[removed] = float(model.forward(masked).softmax(1)[0, kept["explained_class"]])
            return known[removed]

        every = every_aopc(probability, 4)
        assert bounds.loc[sample.id, "aopc_lower"] == pytest.approx(min(every.values()), abs=1e-6)
        assert bounds.loc[sample.id, "aopc_upper"] == pytest.approx(max(every.values()), abs=1e-6)
        # patches 0 and 1, 4 and 5 are the first block, …
        relevance = np.asarray(kept["map"], dtype=np.float64).reshape(2, 2, 2, 2).sum(axis=(1, 3)).ravel()
        order = tuple(np.argsort(-relevance, kind="stable").tolist())
        curve = curves.loc[sample.id, "group_probability"]
        assert curve[0] - np.mean(curve) == pytest.approx(every[order], abs=1e-6)
        span = max(every.values()) - min(every.values())
        normalised.append((every[order] - min(every.values())) / span)
    assert summary["normalised_aopc"] == pytest.approx(np.mean(normalised), abs=1e-4)
    assert 0 <= min(normalised) <= max(normalised) <= 1


def test_texts(configure_texts):
    """Words 0 … n − 1 in four runs of neighbours; removed ones become the mask token."""
    reads = READS.replace("normalised_aopc", "normalised_aopc_words")
    settings = [f"{reads}.{each}.groups=4" for each in ("group_curve", "aopc_bounds")]
    config = only(
        configure_texts(
            "method=random", "+metric=normalised_aopc_words", *settings, f"{reads}.aopc_bounds.width=null"
        )
    )
    run(config)
    curves, bounds, maps = (rows_of(config, kind) for kind in ("group_curve", "aopc_bounds", "maps"))
    plan = Plan.of(config)
    model = plan.source.model()
    for sample in (plan.dataset[i] for i in range(len(plan.dataset))):
        batch = model.batch([sample], config["task"]["inputs"])
        words, kept = batch.words[0], maps.loc[sample.id]
        count = int(words.max()) + 1
        group = [word * min(4, count) // count for word in range(count)]
        pieces = list(zip(kept["map"], words.tolist(), strict=True))
        scores = [max(v for v, w in pieces if w == word) for word in range(count)]

        def probability(removed, batch=batch, words=words, group=group, kept=kept):
            inputs = {name: value.clone() for name, value in batch.inputs.items()}
            for place, word in enumerate(words.tolist()):
                if word >= 0 and group[word] in removed:
                    inputs["input_ids"][0, place] = model.mask_id
            with torch.no_grad():
                return float(model.forward(inputs).softmax(1)[0, kept["explained_class"]])

        groups = max(group) + 1
        every = every_aopc(probability, groups)
        assert bounds.loc[sample.id, "aopc_lower"] == pytest.approx(min(every.values()), abs=1e-6)
        assert bounds.loc[sample.id, "aopc_upper"] == pytest.approx(max(every.values()), abs=1e-6)
        sums = np.array([sum(s for s, g in zip(scores, group, strict=True) if g == n) for n in range(groups)])
        order = tuple(np.argsort(-sums, kind="stable").tolist())
        curve = curves.loc[sample.id, "group_probability"]
        assert len(curve) == groups + 1
        assert curve[0] - np.mean(curve) == pytest.approx(every[order], abs=1e-6)


def test_the_bounds_are_found_once_for_all_methods(configure):
    one, other = (only(configure("faithfulness", f"method={m}", *FOUR)) for m in ("random", "rollout"))
    run(one)
    before = cells_of(one)["aopc_bounds"].written_at()
    assert run(other) is not None
    assert cells_of(other)["aopc_bounds"].written_at() == before
    assert finished(other) == {"maps", "group_curve", "aopc_bounds"}


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda: GroupCurve(groups=31, unit="patch", fill="mean"), "groups=31: expected from 2 to 30"),
        (lambda: GroupCurve(groups=1, unit="patch", fill="mean"), "groups=1"),
        (lambda: GroupCurve(groups=9, unit="pixel", fill="mean"), "unit=pixel"),
        (lambda: GroupCurve(groups=9, unit="word", fill="mean"), "fill='mean'"),
        (lambda: AopcBounds(groups=16, unit="patch", fill="mean"), "need a beam search"),
        (lambda: AopcBounds(groups=16, unit="patch", fill="mean", width=0), "width=0"),
    ],
)
def test_settings_out_of_range_are_named(make, named):
    with pytest.raises(BenchError, match=named):
        make()


def test_more_blocks_than_patches_are_refused(configure):
    config = only(configure("faithfulness", "method=random", *FOUR, f"{READS}.group_curve.groups=25"))
    with pytest.raises(BenchError, match=r"groups=25: 5 × 5 blocks do not fit into 4 × 4 patches"):
        run(config)
