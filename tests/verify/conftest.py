"""Folders of goldens that are made on the spot, with names and sizes of their own."""

import bench  # noqa: F401  isort: skip  (lets timm and transformers be imported)

import json
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from timm.models.vision_transformer import VisionTransformer
from transformers import BertConfig, BertForSequenceClassification

from tests.support.small_models import enlarged
from tests.verify import slow

VIT = {"img_size": 32, "patch_size": 8, "embed_dim": 24, "depth": 5, "num_heads": 2, "num_classes": 4}
BERT = {
    **{"vocab_size": 40, "hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 3},
    **{"intermediate_size": 48, "num_labels": 3, "max_position_embeddings": 20},
}
MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)
MASK_ID = 7


class Folder:
    """A folder of goldens, whose files can be written over."""

    def __init__(self, path):
        self.path = path

    def json(self, name, content):
        (self.path / name).write_text(json.dumps(content))

    def arrays(self, name, changes=None):
        """The arrays of a file, written back with what is changed; None takes one away."""
        file = self.path / name
        with np.load(file) as stored:
            arrays = {key: stored[key] for key in stored.files} | (changes or {})
        arrays = {key: array for key, array in arrays.items() if array is not None}
        np.savez(file, **arrays)
        return arrays


def write_vit(path, name="tulip"):
    """A ViT of 5 blocks, 2 images of it, and goldens by :mod:`tests.verify.slow`."""
    model = enlarged(VisionTransformer(**VIT))
    weights = model.state_dict()
    save_file(weights, path / f"{name}.safetensors")
    folder = Folder(path)
    folder.json(f"{name}.config.json", {"library": "timm", "class": "VisionTransformer", **VIT})
    folder.json(f"{name}.verify.json", {"mean": MEAN, "std": STD})
    images = np.random.default_rng(0).integers(0, 256, (2, 3, 32, 32), dtype=np.uint8)
    mean, std = (np.array(values).reshape(3, 1, 1) for values in (MEAN, STD))
    shape = {"heads": VIT["num_heads"], "patch": VIT["patch_size"], "depth": VIT["depth"]}
    goldens = slow.vit_goldens(weights, torch.from_numpy((images / 255 - mean) / std), (2,), **shape)
    newer = {key: value for key, value in goldens.items() if key.startswith(("gae", "gradient", "input"))}
    np.savez(path / f"{name}.npz", images=images, **{k: v for k, v in goldens.items() if k not in newer})
    np.savez(path / f"{name}_newer.npz", **newer)
    return folder


def write_bert(path, name="fern"):
    """A BERT of 2 layers and 3 classes, 2 texts of it, and goldens by :mod:`tests.verify.slow`."""
    model = enlarged(BertForSequenceClassification(BertConfig(**BERT)))
    save_file(model.state_dict(), path / f"{name}.safetensors")
    folder = Folder(path)
    config = {"library": "transformers", "class": "BertForSequenceClassification", **BERT}
    folder.json(f"{name}.config.json", config)
    folder.json(f"{name}.verify.json", {"cls_id": 2, "sep_id": 3, "pad_id": 0, "mask_id": MASK_ID})
    lengths = torch.tensor([9, 6])
    ids = torch.randint(8, 40, (2, 9), generator=torch.Generator().manual_seed(0))
    mask = (torch.arange(9) < lengths[:, None]).long()
    goldens = slow.bert_goldens(model.double(), ids, lengths, MASK_ID, (0, 2))
    np.savez(path / f"{name}.npz", input_ids=(ids * mask).numpy(), attention_mask=mask.numpy(), **goldens)
    return folder


@pytest.fixture(scope="session")
def made(tmp_path_factory):
    """Both, made once."""
    folders = {"vit": tmp_path_factory.mktemp("vit"), "bert": tmp_path_factory.mktemp("bert")}
    write_vit(folders["vit"])
    write_bert(folders["bert"])
    return folders


@pytest.fixture
def vit_folder(made, tmp_path):
    shutil.copytree(made["vit"], tmp_path, dirs_exist_ok=True)
    return Folder(tmp_path)


@pytest.fixture
def bert_folder(made, tmp_path):
    shutil.copytree(made["bert"], tmp_path, dirs_exist_ok=True)
    return Folder(tmp_path)
