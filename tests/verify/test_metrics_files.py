"""The files of metrics of models made on the spot, with values by plain code from the definitions."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from bench.verify.stems import find_stems, pixels
from tests.verify import slow
from tests.verify.conftest import MASK_ID, MEAN, STD, VIT
from tests.verify.test_verification import run

FRACTIONS = [i / 10 for i in range(11)]
BINS = (0.01, 0.05, 0.1, 0.2, 0.5)


def top(scores, count):
    return [int(i) for i in np.argsort(-scores, kind="stable")[:count]]


def scores_of(probability, scores):
    """p at each fraction and bin, with ``probability`` of what is left without some units."""
    n = len(scores)
    morf = [probability(top(scores, int(round(n * f, 6)))) for f in FRACTIONS]
    without = [probability(top(scores, max(1, int(round(n * b, 6))))) for b in BINS]
    return {
        "morf_p": morf,
        "morf_auc": sum((a + b) / 20 for a, b in zip(morf[1:], morf[:-1], strict=True)),
        "comprehensiveness": morf[0] - sum(without) / len(BINS),
        "p_without_top": without,
    }


@pytest.fixture
def image_metrics(vit_folder):
    """Curves of a random map whose patches become the mean colour."""
    weights = load_file(vit_folder.path / "tulip.safetensors")
    images = vit_folder.arrays("tulip.npz")["images"]
    x = pixels(images, {"mean": MEAN, "std": STD})
    maps = np.random.default_rng(3).random((2, 16))
    shape = {"heads": VIT["num_heads"], "patch": VIT["patch_size"], "depth": VIT["depth"]}
    logits = [slow.vit(weights, image, **shape)[0] for image in x]
    explained = [int(each.argmax()) for each in logits]
    curves = []
    for image, scores, k in zip(x, maps, explained, strict=True):

        def probability(units, image=image, k=k):
            masked = image.clone()
            for unit in units:
                row, column = divmod(unit, 4)
                masked[:, 8 * row : 8 * row + 8, 8 * column : 8 * column + 8] = 0
            return float(slow.vit(weights, masked, **shape)[0].softmax(dim=0)[k])

        curves.append(scores_of(probability, scores))
    columns = {key: [each[key] for each in curves] for key in ("morf_p", "morf_auc")}
    bins = {key: [each[key] for each in curves] for key in ("comprehensiveness", "p_without_top")}
    content = {
        "files": ["a", "b"],
        "z_clean": [float(each[k]) for each, k in zip(logits, explained, strict=True)],
        "random": {
            "ties_in_patch_map": [0, 0],
            "complexity_patch": {
                "gini": [_gini(row) for row in maps],
                "effective_eps0.3": [_above(r) for r in maps],
            },
            "curves_patch_mean": columns | {"bins": bins},
        },
    }
    (vit_folder.path / "metrics").mkdir()
    vit_folder.json("metrics/tulip.json", content)
    np.savez(
        vit_folder.path / "metrics" / "tulip.npz",
        images=images,
        explained=np.array(explained),
        **{"map.random": maps},
    )
    return vit_folder, content


def _gini(values):
    n = len(values)
    pairs = sum(abs(a - b) for a in values for b in values)
    return pairs / (2 * n * sum(values))


def _above(values):
    return int(sum(v > 0.3 * max(values) for v in values))


def test_metrics_on_images_are_verified(image_metrics, capsys):
    folder, _ = image_metrics
    code, rows, _, _ = run(capsys, folder.path)
    assert code == 0
    assert rows["random/curves_patch_mean/morf_p"][-1] == "ok"
    assert rows["random/curves_patch_mean/bins/comprehensiveness"][-1] == "ok"
    assert rows["random/complexity_patch/effective_eps0.3"][-1] == "ok"


@pytest.mark.parametrize(
    "key", ["z_clean", "random/curves_patch_mean/morf_auc", "random/complexity_patch/gini"]
)
def test_a_value_that_is_off_by_a_hundredth_is_missed(key, image_metrics, capsys):
    folder, content = image_metrics
    *path, last = key.split("/")
    section = content
    for name in path:
        section = section[name]
    section[last] = [1.01 * section[last][0], *section[last][1:]]
    folder.json("metrics/tulip.json", content)
    code, rows, _, _ = run(capsys, folder.path)
    assert (code, rows[key][-1]) == (1, "missed")


@pytest.mark.parametrize(
    ("change", "key", "status"),
    [
        ({"guess": [1.0, 2.0]}, "guess", "unknown: no metric is known by this key"),
        ({"random": {"curves_patch_pink": {"morf_p": [[1.0]]}}}, "random/curves_patch_pink", "unknown"),
        (
            {"random": {"complexity_patch": {"beauty": [1.0, 1.0]}}},
            "random/complexity_patch/beauty",
            "unknown",
        ),
        ({"random": 3}, "metrics/tulip", "unknown: not of the form of a file of metrics"),
        (
            {"random": {"subsets_n3": {"pearson_p": [1.0, 1.0]}}},
            "random/subsets_n3/pearson_p",
            "missed: BenchError: no file",
        ),
    ],
)
def test_what_is_not_understood_fails(change, key, status, image_metrics, capsys):
    folder, content = image_metrics
    folder.json("metrics/tulip.json", content | change)
    code, rows, _, _ = run(capsys, folder.path)
    assert code == 1
    assert rows[key][-1].startswith(status)


@pytest.fixture
def text_metrics(bert_folder):
    """Curves of a stored map whose tokens are masked, and ferret's scores of one text."""
    model = find_stems(bert_folder.path, None)[0][0].build()
    arrays = bert_folder.arrays("fern.npz")
    maps = np.random.default_rng(4).random((2, 9))
    sequences = []
    for ids, mask, scores in zip(arrays["input_ids"], arrays["attention_mask"], maps, strict=True):
        length = int(mask.sum())
        own = torch.from_numpy(ids[None, :length])
        with torch.no_grad():
            logits = model(own).logits[0]
        k = int(logits.argmax())

        def probability(units, own=own, k=k):
            masked = own.clone()
            for unit in units:
                masked[0, 1 + unit] = MASK_ID
            with torch.no_grad():
                return float(model(masked).logits[0].softmax(dim=0)[k])

        section = scores_of(probability, scores[1 : length - 1])
        sequences.append(
            {"length": length, "units": length - 2, "explained": k, "raw_attention": {"mask": section}}
        )
    (bert_folder.path / "metrics").mkdir()
    bert_folder.json("metrics/fern.json", {"settings": {"fractions": FRACTIONS}, "sequences": sequences})
    # The map that is scored need not be the model's own attention to be scored.
    bert_folder.arrays("fern.npz", {"raw_attention": maps})
    return bert_folder


def test_metrics_on_texts_are_verified(text_metrics, capsys):
    _, rows, _, _ = run(capsys, text_metrics.path)
    for key in ("morf_p", "morf_auc", "comprehensiveness", "p_without_top"):
        assert rows[f"sequences/1/raw_attention/mask/{key}"][-1] == "ok"
    assert rows["raw_attention"][-1] == "missed: NaN stands elsewhere than in the golden"


def test_ferret_scores_of_no_model_are_unknown(text_metrics, capsys):
    entry = {"aopc_comprehensiveness": 0.0, "aopc_sufficiency": 1.0, "bins": 0}
    name = "leave_one_out.mask.logit/class0/sample1/mask"
    text_metrics.json("ferret_scores.json", {"reference": "…", f"moss/{name}": entry, f"fern/{name}": entry})
    code, rows, _, _ = run(capsys, text_metrics.path)
    assert code == 1
    assert rows[f"moss/{name}"][-1].startswith("unknown")
    assert rows[f"ferret/{name}/bins"][-1] == "missed"  # some token has a positive score


def test_files_of_no_model(tmp_path, capsys):
    (tmp_path / "eraser_metrics.json").write_text(json.dumps({"recipe": "…", "multirc": {"seed": 1}}))
    (tmp_path / "token_f1.json").write_text(json.dumps({"scores": {"5": {}}}))
    (tmp_path / "segmentation.json").write_text("{}")
    code, _, lines, _ = run(capsys, tmp_path)
    assert code == 1
    assert [line[0] for line in lines if line[-1].startswith("not offered: needs")] == [
        "token_f1",
        "eraser_metrics",
    ]
    assert [line for line in lines if line[0] == "segmentation" and line[-1].startswith("unknown")]
