"""Tables and figures say what was read, and never replace those of a suite by others."""

import pytest

from bench.config import configuration
from bench.figures.__main__ import main as figures
from bench.tables.table import table
from tests.support.stored_rows import SAMPLES, perturbation, segmentation, token_f1

VOC = "VOC 2012 animals"


@pytest.mark.parametrize(
    ("overrides", "title"),
    [
        ([], "VOC 2012 animals (not ImageNet-Segmentation)"),
        (["dataset.path=/mine/masks.mat"], "/mine/masks.mat (read by ImageNetSegmentation)"),
        (["dataset._target_=mine.Masks", "dataset.path=/mine"], "/mine (read by Masks)"),
        (["dataset.path=/mine", "dataset.title=my masks"], "my masks"),
        (["dataset=imagenet", "dataset.split=train"], "ImageNet validation with split=train"),
        (["paths.data=/elsewhere", "limit=8"], "VOC 2012 animals (not ImageNet-Segmentation)"),
    ],
)
def test_a_data_set_is_called_what_is_read(overrides, title):
    config = configuration(["suite=small_real", "task=segmentation", *overrides])
    assert config["dataset"]["title"] == title


@pytest.mark.parametrize(
    ("overrides", "title"),
    [
        ([], "DeiT-Tiny (LN rounded)"),
        (["model.checkpoint=/mine.pth"], "DeiT-Tiny (LN rounded) with checkpoint=/mine.pth"),
        (
            ["model.architecture=vit_b", "model.checkpoint=/mine.pth"],
            "vit_b with checkpoint=/mine.pth",
        ),
        (["model=timm", "model.architecture=vit_b"], "vit_b"),
        (["model=transformers_image", "model.path=/my/vit"], "/my/vit"),
    ],
)
def test_a_model_is_called_what_is_read(overrides, title):
    config = configuration(["suite=small_real", "task=segmentation", *overrides])
    assert config["model"]["title"] == title


def test_a_table_names_the_data_that_its_cells_read_not_those_of_its_own_command_line(keep, tmp_path):
    suite = "suite=small_real"
    config = configuration([suite, "task=segmentation", f"paths.results={tmp_path}"])
    keep("rollout", segmentation(), suite, "dataset.path=/mine/masks.mat")
    made = table(config)
    assert VOC not in made.caption
    assert "/mine/masks.mat" in made.caption
    assert made.name.startswith("segmentation--")
    assert "Not the suite's own choice" in made.markdown()
    keep("lrp", segmentation(), suite)  # the same content, as the suite names it: so it was that all along
    made = table(config)
    assert VOC in made.caption
    assert made.name == "segmentation"


def test_weights_in_a_file_may_be_those_of_the_suite(keep):
    made = table(keep("rollout", segmentation(), "suite=paper", "model.checkpoint=/data/vit.safetensors"))
    assert "ViT-B/16 with checkpoint=/data/vit.safetensors" in made.caption
    assert made.name == "segmentation"


def test_what_a_suite_itself_offers_has_a_name_of_its_own(keep, tmp_path):
    """Its other models, and the first of its samples: none replaces the suite's first table."""
    suite, where = "suite=real", f"paths.results={tmp_path}"
    findings = tmp_path / "real" / "findings" / "paper"
    findings.mkdir(parents=True)
    for name in ("segmentation", "segmentation--first-12"):
        (findings / f"{name}.md").write_text(f"Written about {name}.")
    keep("rollout", segmentation(), suite)
    keep("rollout", segmentation(0.9), suite, "model=real/deit_tiny")
    made = {
        name: table(configuration([suite, where, *chosen, "task=segmentation"]))
        for name, chosen in {
            "segmentation": [],
            "segmentation--first-12": ["subset=12"],
            "segmentation--compete_cheap": ["experiment=compete_cheap"],
            "segmentation--deit_tiny_ln_rounded": ["model=real/deit_tiny"],
            "segmentation--deit_tiny_ln_rounded--first-12": ["model=real/deit_tiny", "subset=12"],
        }.items()
    }
    assert [one.name for one in made.values()] == list(made)
    few = made["segmentation--first-12"].markdown()
    assert "12 samples, the first 12 of the data set in the nested order" in few
    assert "make table2 SUITE=real PROTOCOL=paper ARGS='subset=12'" in few
    assert "Written about segmentation--first-12." in few
    competing = made["segmentation--compete_cheap"].markdown()
    assert "make compete TASKS=segmentation SUITE=real PROTOCOL=paper`" in competing
    assert "Written about" not in made["segmentation--deit_tiny_ln_rounded"].markdown()


def test_a_model_in_another_folder_is_another(keep):
    made = table(keep("rollout", token_f1(), "model.path=/my/bert"))
    assert made.name.startswith("token_f1--")
    assert "/my/bert on reviews from a grammar" in made.caption


@pytest.mark.parametrize("change", ["limit=8", "protocol.perturbation.fill=mean", "dataset.path=/mine"])
def test_a_figure_under_other_conditions_says_so_and_replaces_no_other(keep, tmp_path, change):
    where = f"paths.results={tmp_path}"
    keep("rollout", perturbation())
    keep("rollout", perturbation(0.9, 0.1), change)
    if "path" in change:
        (tmp_path / "other").mkdir()
        where = f"paths.results={tmp_path / 'other'}"
        keep("rollout", perturbation(0.9, 0.1), change, where)
    figures([where, "figure=perturbation", "--output", str(tmp_path / "figures")])
    figures([where, "figure=perturbation", change, "--output", str(tmp_path / "figures")])
    names = sorted(file.name for file in (tmp_path / "figures" / "paper").glob("*.svg"))
    other = next(name for name in names if name.startswith("perturbation--"))
    assert names == ([other] if "path" in change else [other, "perturbation.svg"])


def test_a_figure_tells_how_many_samples_it_is_of_and_which_settings_changed(keep, monkeypatch):
    from bench.figures import program

    titles = []
    monkeypatch.setattr(program, "figure_of", lambda panels, title, facts: titles.append(title))
    monkeypatch.setattr(program, "save", lambda figure, file: None)
    program.write(keep("rollout", perturbation()))
    program.write(keep("rollout", perturbation(), "limit=40", "protocol.perturbation.fill=mean"))
    plain, changed = titles
    assert plain.endswith(f"paper v1 · {SAMPLES} samples")
    assert f"perturbation.fill=mean · {SAMPLES} samples drawn with seed 0" in changed
    assert "Not the suite's own choice" in changed
