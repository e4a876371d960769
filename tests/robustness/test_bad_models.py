"""However the files of a model are damaged, loading it ends in one line that names the file or the folder."""

import json
import pickle
import shutil
import struct
import zipfile

import pytest
import torch
from safetensors.torch import load_file, save_file

from bench.models import ImageModel, TextModel
from bench.runner.cell import run
from tests.support.refusals import refused
from tests.support.tiny_images import TINY
from tests.support.tiny_texts import PIECES, write_model


def cut(share: float):
    def damage(path):
        content = path.read_bytes()
        path.write_bytes(content[: int(share * len(content))])

    return damage


def content(data: bytes):
    return lambda path: path.write_bytes(data)


def header(claimed: int, text: bytes = b"{}"):
    return content(struct.pack("<Q", claimed) + text)


def change(edit):
    """Damage the tensors in a file."""

    def damage(path):
        weights = load_file(path)
        edit(weights)
        save_file(weights, path, metadata={"format": "pt"})

    return damage


@change
def one_more(weights):
    weights["surplus"] = torch.ones(3)


@change
def other_shape(weights):
    weights["head.bias"] = torch.ones(4)


@change
def transposed(weights):
    weights["patch_embed.proj.weight"] = weights["patch_embed.proj.weight"].mT.flip(0)[:12].contiguous()


@change
def quantised(weights):
    weights["head.weight"] = (100 * weights["head.weight"]).to(torch.int8)


def one_entry(value: float, name: str):
    return change(lambda weights: weights[name].view(-1)[5:6].fill_(value))


NOT_READ = "cannot be read as weights"
SAFETENSORS = {
    "empty": (content(b""), NOT_READ),
    "text": (content(b"version https://git-lfs.github.com/spec/v1\n"), NOT_READ),
    "cut in its header": (cut(0.05), NOT_READ),
    "cut near its end": (cut(0.99), NOT_READ),
    "header longer than the file": (header(10**9), NOT_READ),
    "header of 2⁶³ bytes": (header(2**63), NOT_READ),
    "header of no JSON": (header(4, b"{{{{"), NOT_READ),
    "header without tensors": (header(2), "is missing"),
    "one weight more": (one_more, "surplus is not in the model"),
    "one weight less": (change(lambda weights: weights.pop("norm.bias")), r"norm\.bias is missing"),
    "another shape": (other_shape, r"head\.bias has shape \(4,\) where the model has \(3,\)"),
    "another kernel": (transposed, r"patch_embed\.proj\.weight has shape"),
    "whole numbers": (quantised, r"head\.weight has torch\.int8 where the model has torch\.float32"),
    "NaN": (one_entry(torch.nan, "norm.bias"), r"NaN or infinity in norm\.bias"),
    "infinity": (one_entry(torch.inf, "blocks.1.mlp.fc1.weight"), r"NaN or infinity in blocks\.1\.mlp"),
}


@pytest.mark.parametrize(("damage", "expected"), SAFETENSORS.values(), ids=SAFETENSORS)
def test_a_damaged_checkpoint(root, tmp_path, damage, expected):
    path = shutil.copy(root / "tiny.safetensors", tmp_path / "weights.safetensors")
    damage(path)
    with refused(rf"model\.checkpoint: .*weights\.safetensors.*{expected}"):
        ImageModel("vit_tiny_patch16_224", path, TINY)


def torch_file(made):
    return lambda path: torch.save(made, path)


def plain_zip(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("weights.txt", "no weights")


def cut_torch_file(path):
    torch_file({"head.bias": torch.ones(1000)})(path)
    cut(0.6)(path)


PTH = {
    "empty": content(b""),
    "zeros": content(bytes(1000)),
    "page": content(b"<html>not found</html>"),
    # What is no pickle may still begin as one: each letter is another instruction.
    **{f"text beginning with {letter}": content(letter.encode() + b"ello\n") for letter in "hjqrtuRbQse("},
    "cut": cut_torch_file,
    "zip": plain_zip,
    "pickle": content(pickle.dumps({"head.bias": [1.0]}, protocol=2)),
    "list of tensors": torch_file([torch.ones(3)]),
    "numbers": torch_file({"head.bias": 1.0}),
    "nested": torch_file({"weights": {"head.bias": torch.ones(3)}}),
    "nothing": torch_file(None),
}


@pytest.mark.parametrize("damage", PTH.values(), ids=PTH)
def test_a_damaged_pth_file(tmp_path, damage):
    damage(tmp_path / "weights.pth")
    with refused(r"model\.checkpoint: .*weights\.pth (cannot be read as weights|holds no state dict)"):
        ImageModel("vit_tiny_patch16_224", tmp_path / "weights.pth", TINY)


def test_a_folder_for_a_checkpoint(configure, tmp_path):
    (tmp_path / "weights.safetensors").mkdir()
    with refused(r"model\.checkpoint: there is no file .*weights\.safetensors"):
        run(configure("perturbation", f"model.checkpoint={tmp_path / 'weights.safetensors'}"))


@pytest.fixture(scope="module")
def whole_bert(tmp_path_factory):
    return write_model(tmp_path_factory.mktemp("models") / "bert")


@pytest.fixture
def bert(whole_bert, tmp_path):
    return shutil.copytree(whole_bert, tmp_path / "bert")


def file(name: str, damage):
    return lambda folder: damage(folder / name)


def remove(*names: str):
    return lambda folder: [(folder / name).unlink() for name in names]


def configured(**changes):
    """Other values in config.json; one that is ``...`` is left out."""

    def damage(folder):
        config = json.loads((folder / "config.json").read_text()) | changes
        config = {key: value for key, value in config.items() if value is not ...}
        (folder / "config.json").write_text(json.dumps(config))

    return damage


def larger_vocabulary(folder):
    from transformers import BertTokenizerFast

    pieces = [*PIECES, *(f"v{i}" for i in range(50))]
    BertTokenizerFast(vocab={piece: i for i, piece in enumerate(pieces)}).save_pretrained(folder)


def pickled_weights(folder):
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()


THREE = {"0": "NEG", "1": "POS", "2": "NEUTRAL"}
FOLDER = {
    "nothing in it": (lambda folder: [f.unlink() for f in folder.iterdir()], "cannot be loaded"),
    "config missing": (remove("config.json"), "cannot be loaded"),
    "config empty": (file("config.json", content(b"")), "cannot be loaded"),
    "config cut": (file("config.json", cut(0.5)), "cannot be loaded"),
    "config is a list": (file("config.json", content(b"[]")), "cannot be loaded"),
    "config is not UTF-8": (file("config.json", content(b"\xff\xfe")), "cannot be loaded"),
    "config of no model": (file("config.json", content(b"{}")), "cannot be loaded"),
    "model unknown": (configured(model_type="no_such_model", architectures=...), "cannot be loaded"),
    "model of images": (configured(model_type="vit"), "cannot be loaded"),
    "heads do not divide the width": (configured(num_attention_heads=5), "cannot be loaded"),
    "width is text": (configured(hidden_size="wide"), "cannot be loaded"),
    "width is 0": (configured(hidden_size=0), "cannot be loaded"),
    "more layers than weights": (configured(num_hidden_layers=4), r"lacks bert\.encoder\.layer\.3"),
    "fewer positions": (configured(max_position_embeddings=16), "position_embeddings.* does not fit"),
    "three classes": (configured(id2label=THREE, label2id=...), "the shape of classifier"),
    "one class": (configured(id2label={"0": "NEG"}, label2id=...), "the shape of classifier"),
    "classes without names": (configured(id2label={"0": None, "1": None}, label2id=...), "calls its classes"),
    "classes of one name": (configured(id2label={"0": "NEG", "1": "NEG"}, label2id=...), "calls its classes"),
    "weights missing": (remove("model.safetensors"), "cannot be loaded"),
    "weights empty": (file("model.safetensors", content(b"")), "cannot be loaded"),
    "weights cut near their end": (file("model.safetensors", cut(0.99)), "cannot be loaded"),
    "weights are text": (file("model.safetensors", content(b"version https://git-lfs")), "cannot be loaded"),
    "weights as a pickle alone": (pickled_weights, "cannot be loaded"),
    "weights with NaN": (
        file("model.safetensors", one_entry(torch.nan, "classifier.weight")),
        r"NaN or infinity in classifier\.weight",
    ),
    "tokenizer missing": (remove("tokenizer.json", "tokenizer_config.json"), " has 5 words, the model 123"),
    "vocabulary missing": (remove("tokenizer.json"), " has 5 words, the model 123"),
    "vocabulary cut": (file("tokenizer.json", cut(0.5)), "cannot be loaded"),
    "vocabulary is an empty object": (file("tokenizer.json", content(b"{}")), "cannot be loaded"),
    "tokenizer's settings cut": (file("tokenizer_config.json", cut(0.5)), "cannot be loaded"),
    "vocabulary of a larger model": (larger_vocabulary, r" has 173 words, the model 123"),
}


@pytest.mark.parametrize(("damage", "expected"), FOLDER.values(), ids=FOLDER)
def test_a_damaged_folder(bert, damage, expected):
    damage(bert)
    with refused(rf"^model\.path: .*bert.*{expected}"):
        TextModel(bert).numbers(("NEG", "POS"))
