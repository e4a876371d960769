"""``python -m bench.verify`` on models that it has never seen, with goldens that other code made."""

import re
from pathlib import Path

import numpy as np
import pytest

import bench.verify.__main__ as program
from bench.verify.compare_all import compare_all
from tests.support.refusals import refused

ROOT = Path(__file__).parents[2]


def run(capsys, folder, *arguments):
    """The exit code, and what was printed: the rows of the table by key, and messages."""
    try:
        program.main([f"golden={folder}", *arguments])
        code = 0
    except SystemExit as e:
        code = e.code
    out, messages = capsys.readouterr()
    lines = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in out.splitlines() if "|" in line
    ]
    return code, {line[1]: line for line in lines[2:] if line[1] != "–"}, lines[2:], messages


def test_a_vision_model_made_on_the_spot_is_verified(vit_folder, capsys):
    code, rows, _, _ = run(capsys, vit_folder.path)
    assert {row[-1] for row in rows.values()} == {"ok"}
    assert {"raw_attention", "rollout.start4", "gae.class2", "gradient.pixels.predicted"} <= set(rows)
    assert code == 0
    assert rows["rollout.start3"][:4] == ["tulip", "rollout.start3", "Rollout", "start_layer=3"]


def test_a_text_model_made_on_the_spot_is_verified(bert_folder, capsys):
    code, rows, _, _ = run(capsys, bert_folder.path)
    assert {row[-1] for row in rows.values()} == {"ok"}
    assert {"leave_one_out.mask.logit.class2", "gradient_norm.l2.class0", "logits"} <= set(rows)
    assert code == 0


@pytest.mark.parametrize(
    "key", ["raw_attention", "rollout.start1", "gae.class2", "gradient.patch_sums.predicted", "logits"]
)
def test_a_golden_that_is_off_by_a_hundredth_is_missed(key, vit_folder, capsys):
    file = next(f.name for f in vit_folder.path.glob("*.npz") if key in np.load(f).files)
    stored = vit_folder.arrays(file)[key]
    vit_folder.arrays(file, {key: np.concatenate([stored[:1], stored[1:] * 1.01])})
    code, rows, _, messages = run(capsys, vit_folder.path)
    assert code == 1
    assert rows[key][-1] == "missed"
    assert rows[key][4].startswith("9.9e-03")  # of the worst sample
    assert [k for k, row in rows.items() if row[-1] != "ok"] == [key]
    assert "1 missed" in messages


def test_nan_has_to_stand_where_the_golden_has_nan(vit_folder, bert_folder, capsys):
    gae = vit_folder.arrays("tulip_newer.npz")["gae.class2"]
    gae[0, 3] = np.nan
    vit_folder.arrays("tulip_newer.npz", {"gae.class2": gae})
    losses = bert_folder.arrays("fern.npz")["leave_one_out.mask.logit.class0"]
    losses[1, -1] = 0.0  # at padding
    bert_folder.arrays("fern.npz", {"leave_one_out.mask.logit.class0": losses})
    code, rows, _, _ = run(capsys, vit_folder.path)
    assert code == 1
    assert {k for k, row in rows.items() if "NaN stands elsewhere" in row[-1]} == {
        "gae.class2",
        "leave_one_out.mask.logit.class0",
    }


def test_the_class_of_another_file_is_explained(vit_folder, capsys):
    newer = vit_folder.arrays("tulip_newer.npz")
    vit_folder.arrays("tulip.npz", {"targets": np.array([2, 2])})
    vit_folder.arrays("tulip_newer.npz", {"gae.target": newer["gae.class2"]})
    code, rows, _, _ = run(capsys, vit_folder.path)
    assert (code, rows["gae.target"][-1]) == (0, "ok")


def test_an_array_of_another_shape_is_missed(vit_folder, capsys):
    stored = vit_folder.arrays("tulip.npz")["raw_attention"]
    vit_folder.arrays("tulip.npz", {"raw_attention": stored[:, 1:]})
    code, rows, _, _ = run(capsys, vit_folder.path)
    assert code == 1
    assert rows["raw_attention"][-1] == "missed: ValueError: shape (2, 16) where (2, 15) is stored"


@pytest.mark.parametrize("key", ["rollout.begin1", "gae.classes", "rollout.start1.class", "tea"])
def test_a_key_that_is_not_understood_fails(key, vit_folder, capsys):
    vit_folder.arrays("tulip.npz", {key: np.zeros((2, 16))})
    code, rows, _, messages = run(capsys, vit_folder.path)
    assert code == 1
    assert rows[key][-1].startswith("unknown")
    assert "1 unknown" in messages


def test_a_key_that_a_model_makes_impossible_is_missed(vit_folder, capsys):
    stored = vit_folder.arrays("tulip.npz")["rollout.start4"]
    vit_folder.arrays("tulip.npz", {"rollout.start7": stored})
    code, rows, _, _ = run(capsys, vit_folder.path)
    assert code == 1
    assert rows["rollout.start7"][-1].startswith("missed: ValueError: start_layer=7: the model has 5 blocks")


def test_a_method_that_is_not_there_is_not_offered(vit_folder, capsys, monkeypatch):
    import methods

    monkeypatch.delattr(methods, "GAE")
    code, rows, _, _ = run(capsys, vit_folder.path)
    assert rows["gae.class2"][-1] == "not offered: there is no methods.GAE"
    assert code == 0


def test_an_empty_folder_fails(tmp_path, capsys):
    code, rows, _, messages = run(capsys, tmp_path)
    assert (code, rows) == (1, {})
    assert "not verified" in messages


def test_only_informative_keys_are_nothing_compared(vit_folder, capsys):
    arrays = vit_folder.arrays("tulip.npz")
    gone = {key: None for key in arrays if key != "images"}
    vit_folder.arrays("tulip.npz", gone | {"debug.attention.block0": np.zeros((2, 17, 17))})
    (vit_folder.path / "tulip_newer.npz").unlink()
    code, rows, _, _ = run(capsys, vit_folder.path)
    assert code == 1
    assert rows["debug.attention.block0"][-1].startswith("informative")


def test_a_model_without_weights_fails(vit_folder, capsys):
    (vit_folder.path / "tulip.safetensors").unlink()
    code, rows, _, _ = run(capsys, vit_folder.path)
    assert code == 1
    assert "there is no tulip.safetensors" in rows["weights"][-1]


def test_weights_below_the_data_root(vit_folder, tmp_path_factory, capsys):
    data = tmp_path_factory.mktemp("data")
    (vit_folder.path / "tulip.safetensors").rename(data / "elsewhere.safetensors")
    settings = {"mean": (0.4, 0.5, 0.6), "std": (0.2, 0.25, 0.3), "weights": "elsewhere.safetensors"}
    vit_folder.json("tulip.verify.json", settings)
    code, rows, _, _ = run(capsys, vit_folder.path)
    assert code == 1
    assert "give data=ROOT" in rows["weights"][-1]
    code, rows, _, _ = run(capsys, vit_folder.path, f"data={data}")
    assert code == 0


def test_weights_have_to_fit(vit_folder, capsys):
    config = (vit_folder.path / "tulip.config.json").read_text()
    (vit_folder.path / "tulip.config.json").write_text(config.replace('"depth": 5', '"depth": 6'))
    code, rows, _, _ = run(capsys, vit_folder.path)
    assert code == 1
    assert "blocks.5.norm1.weight is missing" in rows["weights"][-1]


def test_the_epsilon_of_the_blocks_can_be_another(vit_folder, capsys):
    from safetensors.torch import load_file

    from bench.verify.stems import pixels
    from tests.verify import conftest, slow

    settings = {"mean": (0.4, 0.5, 0.6), "std": (0.2, 0.25, 0.3)}
    images = pixels(vit_folder.arrays("tulip.npz")["images"], settings)
    weights = load_file(vit_folder.path / "tulip.safetensors")
    shape = {"heads": 2, "patch": 8, "depth": conftest.VIT["depth"]}
    other = slow.vit_goldens(weights, images, (), **shape, eps=0.1)
    vit_folder.arrays("tulip.npz", {"rollout.start0": other["rollout.start0"]})
    assert run(capsys, vit_folder.path)[0] == 1
    vit_folder.json("tulip.verify.json", settings | {"block_norm_eps": {"0.1": ["rollout.start0"]}})
    assert run(capsys, vit_folder.path)[0] == 0


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("tulip.npz", b"PK\x03\x04 cut off", "no readable npz"),
        ("tulip.config.json", b"{", "no JSON"),
        ("tulip.config.json", b"[]", "expected a JSON object"),
        ("tulip.verify.json", b'{"meen": 1}', "'meen' is no setting"),
        ("tulip.config.json", b'{"library": "keras", "class": "Model"}', "expected 'timm' or 'transformers'"),
        (
            "tulip.config.json",
            b'{"library": "timm", "class": "VisionTransformer", "deep": 1}',
            "cannot be built",
        ),
        ("tulip.safetensors", b"cut off", "cannot be read as weights"),
        ("foreign.npz", b"", "there is no foreign.config.json"),
    ],
)
def test_what_cannot_be_read_is_one_message(file, content, message, vit_folder, capsys):
    (vit_folder.path / file).write_bytes(content)
    code, _, lines, _ = run(capsys, vit_folder.path)
    assert code == 1
    bad = [line[-1] for line in lines if line[-1].startswith(("unknown", "missed"))]
    assert len([each for each in bad if message in each]) == 1


def test_python_objects_are_not_loaded(vit_folder, capsys):
    np.savez(vit_folder.path / "tulip_newer.npz", gae=np.array([{}], dtype=object))
    code, _, lines, _ = run(capsys, vit_folder.path)
    assert code == 1
    assert [line for line in lines if "no readable npz" in line[-1]]


@pytest.mark.parametrize(("size", "status"), [(1e-16, "ok"), (1e-3, "missed")])
def test_a_map_that_vanishes_may_be_refused(size, status, bert_folder, capsys):
    """The gradient at the input of a norm sums to 0 over the hidden dimension."""
    key = "smoothgrad.gradient.std0.05.n2.sum.class0"
    noise = np.random.default_rng(0).normal(0, 0.05, (2, 9, 24))
    stored = np.where(bert_folder.arrays("fern.npz")["attention_mask"] > 0, size, np.nan)
    arrays = {"noise.sample0": noise, "noise.sample1": noise[:, :6], key: stored}
    bert_folder.arrays("fern.npz", arrays)
    code, rows, _, _ = run(capsys, bert_folder.path)
    assert rows[key][-1].startswith(status)
    assert code == (0 if status == "ok" else 1)


def test_the_table_is_written(vit_folder, tmp_path, capsys):
    file = tmp_path / "results" / "verification.md"
    run(capsys, vit_folder.path, f"out={file}")
    text = file.read_text()
    assert text.startswith("| stem | key | method | settings | error | tolerance | status |\n")
    assert re.search(r"^\d+ ok, \d+ derived$", text, re.MULTILINE)


def test_methods_without_a_key_are_listed(vit_folder):
    lines = compare_all(vit_folder.path, None, lambda *_: _Nothing())
    derived = {line.method for line in lines if line.status == "derived"}
    assert {"TransformerAttribution", "RandomMap"} <= derived
    assert not {"Rollout", "GAE", "Gradient"} & derived


class _Nothing:
    def __enter__(self):
        return lambda done: None

    def __exit__(self, *_):
        return None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "golden: missing"),
        (["golden=nowhere"], "there is no such folder"),
        (["gold=here"], "expected golden=FOLDER"),
        (["golden=.", "data=nowhere"], "data=nowhere"),
    ],
)
def test_arguments_that_make_no_sense(arguments, message):
    with refused(message):
        program.main(arguments)


def test_the_code_names_no_model():
    names = {file.name.partition(".")[0] for file in (ROOT / "tests" / "golden").glob("*.safetensors")}
    assert names
    source = "".join(file.read_text() for file in (ROOT / "bench" / "verify").glob("*.py"))
    assert not [name for name in names if name in source]
