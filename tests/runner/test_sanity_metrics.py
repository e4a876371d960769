"""Maps of noisy images and of random models, and descriptions of maps, on a tiny model."""

from contextlib import suppress
from itertools import pairwise

import numpy as np
import pytest
import torch

import bench  # noqa: F401
from bench.errors import BenchError
from bench.models.randomised import STAGES, parameters_of, randomised
from bench.runner.cell import Plan, run
from bench.tasks import MaxSensitivity, ParameterRandomisation
from tests.support.small_models import make_bert, make_vit

pytestmark = pytest.mark.numerical


def of_kind(config, kind):
    (rows,) = [cell.result().rows for one, cell in Plan.of(config).measured if one.name == kind]
    return rows.set_index("id")


def test_noise_moves_maps_of_the_model_and_not_the_floor(configure):
    changes = ("protocol.robustness.draws=3", "protocol.robustness.radius=0.5")
    own = configure("robustness", "method=gradcam", "method.weights=row", *changes)
    summary = run(own)
    rows = of_kind(own, "max_sensitivity")
    for row in rows.itertuples():
        if row.distances is not None:
            assert row.max_sensitivity == pytest.approx(max(row.distances))
            assert row.average_sensitivity == pytest.approx(np.mean(row.distances))
    assert summary["max_sensitivity"] > summary["average_sensitivity"] > 0
    assert 0 < summary["gini"] < 1
    floor = run(configure("robustness", "method=centre", *changes))
    assert floor["max_sensitivity"] == 0  # it never looks at the image
    assert floor["tied"] > 0.5


def test_maps_of_random_models(configure):
    config = configure("sanity", "method=transformer_attribution", "protocol.sanity.seeds=[0,1]")
    summary = run(config)
    rows = of_kind(config, "parameter_randomisation")
    for row in rows.itertuples():
        if row.similarities is not None:
            assert len(row.similarities) == len(STAGES)
            assert row.similarity == pytest.approx(np.mean(row.similarities))
            assert row.similarity_random == pytest.approx(row.similarities[-1])
    assert -1 <= summary["parameter_randomisation"] < 1
    blind = run(configure("sanity", "method=centre", "protocol.sanity.seeds=[0]"))
    assert blind["parameter_randomisation"] == pytest.approx(1)  # it never looks at the model
    assert blind["class_similarity"] == pytest.approx(1)


def test_conservation_is_of_the_sum_of_all_tokens(configure):
    config = configure("segmentation", "method=gradcam", "method.weights=row", "+metric=conservation_error")
    run(config)
    rows = of_kind(config, "conservation")
    for row in rows.itertuples():
        assert row.conservation_error == pytest.approx(abs(row.total - row.logit) / abs(row.logit))


def test_stages_grow_from_the_head_down():
    model = make_vit()
    stages = [set(parameters_of(model, stage)) for stage in STAGES]
    assert all(smaller < larger for smaller, larger in pairwise(stages))
    assert stages[0] == {name for name, _ in model.named_parameters() if name.startswith(("norm", "head"))}
    assert stages[1] - stages[0] == {n for n, _ in model.named_parameters() if n.startswith("blocks.2.")}
    assert stages[2] - stages[1] == {n for n, _ in model.named_parameters() if n.startswith("blocks.1.")}
    assert {"cls_token", "pos_embed", "patch_embed.proj.weight"} == stages[4] - stages[3] - {
        "patch_embed.proj.bias"
    }
    assert stages[4] == {name for name, _ in model.named_parameters()}
    bert = make_bert()
    assert {"classifier.weight", "bert.pooler.dense.weight"} <= set(parameters_of(bert, "head"))
    assert "bert.embeddings.word_embeddings.weight" not in parameters_of(bert, "blocks")


@pytest.mark.parametrize("stage", STAGES)
def test_random_parameters_are_of_the_seed_and_are_taken_back(stage):
    model = make_vit()
    before = {name: value.clone() for name, value in model.named_parameters()}
    drawn = []
    state = torch.get_rng_state()
    for seed in (1, 1, 2):
        with suppress(RuntimeError), randomised(model, stage, seed):
            drawn.append({name: value.detach().clone() for name, value in model.named_parameters()})
            raise RuntimeError("a method failed")
        assert all(value.equal(before[name]) for name, value in model.named_parameters())
    assert torch.get_rng_state().equal(state)
    names = parameters_of(model, stage)
    matrices = [name for name in names if before[name].ndim > 1]
    assert all(drawn[0][name].equal(drawn[1][name]) for name in before)
    assert all(not drawn[0][name].equal(drawn[2][name]) for name in matrices)
    assert all(not drawn[0][name].equal(before[name]) for name in matrices)
    assert all(drawn[0][name].equal(before[name]) for name in before if name not in names)


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda: MaxSensitivity(radius=0), "radius"),
        (lambda: MaxSensitivity(draws=0), "draws"),
        (lambda: ParameterRandomisation(seeds=[]), "seeds"),
        (lambda: parameters_of(torch.nn.Linear(1, 1), "all"), "no list of blocks"),
        (lambda: parameters_of(make_vit(), "tail"), "stage"),
    ],
)
def test_settings_out_of_range_are_named(make, named):
    with pytest.raises(BenchError, match=named):
        make()
