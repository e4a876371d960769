"""The experiments in which all methods compete: each in one of them, by what it costs and by what it explains."""

from contextlib import suppress

import pytest
import torch

from bench.catalogue import Catalogue
from bench.config import build, composed, configuration, method_of
from bench.errors import BenchError
from bench.models import ImageModel, TextModel
from bench.plan.speed import sample_for
from bench.runner.explain import explain, with_prefix_tokens
from methods.verify import for_check
from tests.support import tiny_images, tiny_texts

EXPERIMENTS = {
    "image": ("compete_cheap", "compete_dear", "compete_dearest"),
    "text": ("compete_cheap_texts", "compete_dear_texts", "compete_dearest_texts"),
}
TASKS = {"image": "faithfulness", "text": "faithfulness_texts"}
TOKENS = {"image": 197, "text": 512}  # of base-size models of 12 blocks
DEEP = 8  # blocks of the small models: the first that some methods read, by their authors' settings, is the seventh
# One setting of each method competes; these are another one of a method that does, or the same by another name.
LEFT_OUT = {
    *("rollout_all_blocks", "transformer_attribution_all_blocks"),
    "difference_x_gradient",  # without a baseline's token it is input × gradient
}
INSTEAD = {  # within the budget, of those that have more draws or players by default
    "image": {"rise": "rise_1000", "kernel_shap": "kernel_shap_512", "lime": "lime_500"}
    | {"partition_shap_64": "partition_shap"},
    "text": {"kernel_shap": "kernel_shap_512", "lime": "lime_500", "partition_shap": "partition_shap_64"},
}
PER_TOKEN = (
    "decompx",
    "value_zeroing",
)  # dearest by what they do to each token, whatever the number of tokens


def competing(experiment: str) -> list[str]:
    names = composed([f"experiment={experiment}"]).hydra.sweeper.params["method"].split(",")
    assert len(set(names)) == len(names)
    return names


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """A small model of each kind, deep enough for all methods."""
    folder = tmp_path_factory.mktemp("deep")
    options = tiny_images.TINY | {"depth": DEEP}
    import timm
    from safetensors.torch import save_file

    torch.manual_seed(0)
    save_file(timm.create_model("vit_tiny_patch16_224", **options).state_dict(), folder / "vit.safetensors")
    return {
        "image": ImageModel("vit_tiny_patch16_224", folder / "vit.safetensors", options),
        "text": TextModel(tiny_texts.write_model(folder / "bert", blocks=DEEP)),
    }


FLOORS = {
    "image": {"random", "centre", "edges"},
    "text": {"random", "first_words", "inverse_frequency", "content_words"},
}


def that_fit(names: set[str], model, modality: str) -> set[str]:
    """Those of some methods that explain a model, each tried on a sample."""
    arguments = [f"task={TASKS[modality]}", "protocol.images.size=32", "protocol.token_f1.max_length=32"]
    config, facts, found = configuration(arguments), Catalogue(), set()
    settings = config["task"]["inputs"]
    batch = model.batch([model.preparation(settings)(sample_for(model))], settings)
    for name in names:
        section = method_of(name, facts, config)
        method = for_check(with_prefix_tokens(build("method", section), model, section))
        with suppress(BenchError):
            explain(method, model, batch, torch.zeros(1, dtype=torch.long), range(len(model.classes)))
            found.add(name)
    return found


@pytest.mark.parametrize("modality", EXPERIMENTS)
def test_every_method_that_fits_is_in_one_experiment_and_no_other_is(models, modality):
    facts = Catalogue()
    every = {name for name in facts.names("method") if facts.method(name).kind == "method"}
    every -= {"custom"} | LEFT_OUT | INSTEAD[modality].keys()
    listed = [name for experiment in EXPERIMENTS[modality] for name in competing(experiment)]
    assert len(set(listed)) == len(listed)
    assert that_fit(every, models[modality], modality) | FLOORS[modality] == set(listed)
    assert set(INSTEAD[modality].values()) <= set(listed)


@pytest.mark.parametrize("modality", EXPERIMENTS)
def test_each_keeps_within_the_budget_of_its_experiment(modality):
    bounds = dict(zip(EXPERIMENTS[modality], ((0, 20), (20, 200), (200, 1000)), strict=True))
    config, facts = configuration([f"task={TASKS[modality]}"]), Catalogue()
    for experiment, (low, high) in bounds.items():
        for name in competing(experiment):
            section = method_of(name, facts, config)
            cost = build("method", section).passes(TOKENS[modality], 12)
            assert low <= sum(cost) <= high or name in PER_TOKEN, (name, cost)
    assert set(PER_TOKEN) <= set(competing(EXPERIMENTS[modality][-1]))


@pytest.mark.parametrize(
    ("arguments", "samples"),
    [
        (["experiment=compete_cheap", "suite=real"], 100),
        (["experiment=compete_dear", "suite=real"], 50),
        (["experiment=compete_dearest", "suite=real"], 20),
        (["experiment=compete_cheap", "suite=real", "model=real/deit_tiny"], 200),
        (["experiment=compete_dear", "suite=real", "model=real/deit_tiny"], 100),
        (["experiment=compete_dear", "suite=small_real", "subset=7"], 7),
        (["experiment=compete_cheap", "suite=real", "task=segmentation"], None),
        (["experiment=compete_dearest_texts", "suite=real"], 50),
        (["task=perturbation", "suite=embedded"], None),
    ],
)
def test_the_suite_and_the_model_say_on_how_many_samples(arguments, samples):
    assert configuration(arguments)["subset"] == samples


def test_a_model_that_has_to_be_made_says_how(tmp_path):
    from bench.models.build import build_model

    section = configuration(["suite=real", "task=token_f1", f"paths.data={tmp_path}"])["model"]
    with pytest.raises(
        BenchError,
        match=r"there is no .*minilm_l6_movies yet; make it with: pip download .* learning_rate=5e-5",
    ):
        build_model(section)
