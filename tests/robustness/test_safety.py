"""Nothing that lies in a data, model or results path is ever executed, written elsewhere or given away."""

import ast
import io
import json
import os
import pickle
import shutil
import tarfile
import time
from contextlib import suppress
from pathlib import Path

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import EpsImagePlugin
from safetensors.torch import load_file

from bench.config import PROJECT
from bench.data import HuggingFaceImages, ImageNetSegmentation, Movies
from bench.data.imagenet import decode_rgb
from bench.errors import BenchError
from bench.finetune.pretrained import load_classifier, load_tokenizer
from bench.models import ImageModel, TextModel, TransformersImageModel
from bench.runner.cell import run
from bench.store.cells import cells_folder, results
from bench.tables.table import table
from tests.support.damage import JPEG
from tests.support.refusals import read_all, refused
from tests.support.stored_rows import kept, segmentation, token_f1
from tests.support.tiny_images import TINY
from tests.support.tiny_texts import write_model, write_movies

SOURCES = [file for package in ("bench", "methods", "metrics") for file in (PROJECT / package).rglob("*.py")]


@pytest.fixture
def marker(tmp_path):
    """A file that appears when something is executed that must not be."""
    path = tmp_path / "executed"
    yield path
    assert not path.exists()


class Evil:
    """Touches a file when it is unpickled."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return Path.touch, (self.marker,)


def test_a_pickle_would_execute(tmp_path):
    """So that the tests below can fail."""
    pickle.loads(pickle.dumps(Evil(tmp_path / "touched")))
    assert (tmp_path / "touched").exists()


def calls(file: Path):
    """The calls in a source file: what is called, as it is written, and its keyword arguments."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), {k.arg: ast.unparse(k.value) for k in node.keywords}


@pytest.mark.parametrize("file", SOURCES, ids=lambda file: str(file.relative_to(PROJECT)))
def test_the_sources_call_nothing_that_executes_what_it_reads(file):
    for called, keywords in calls(file):
        assert called not in ("eval", "exec", "os.system", "os.popen", "yaml.load", "runpy.run_path"), called
        assert called.split(".")[0] not in ("pickle", "joblib", "marshal", "dill"), called
        assert called != "torch.load" or keywords.get("weights_only") == "True"
        assert keywords.get("allow_pickle", "False") == "False"
        assert keywords.get("shell", "False") == "False"
        assert keywords.get("trust_remote_code", "False") == "False"
        if called.endswith(".from_pretrained") and called.startswith("Auto"):
            assert "trust_remote_code" in keywords


@pytest.mark.parametrize("name", ["evil.pth", "evil.pt", "evil.bin", "evil.safetensors", "evil.npz"])
@pytest.mark.parametrize(
    "write", [torch.save, lambda made, path: path.write_bytes(pickle.dumps(made, protocol=2))]
)
def test_a_checkpoint_is_not_unpickled(tmp_path, marker, name, write):
    write({"model": Evil(marker)}, tmp_path / name)
    with refused(rf"{name} cannot be read as weights"):
        ImageModel("vit_tiny_patch16_224", tmp_path / name, TINY)


@pytest.fixture(scope="module")
def whole_bert(tmp_path_factory):
    return write_model(tmp_path_factory.mktemp("models") / "bert")


@pytest.fixture
def bert(whole_bert, tmp_path):
    return shutil.copytree(whole_bert, tmp_path / "bert")


def test_a_pickle_beside_the_weights_is_not_read(bert, marker):
    torch.save(Evil(marker), bert / "pytorch_model.bin")
    assert TextModel(bert).max_length == 32


def test_a_pickle_in_the_place_of_weights_is_not_read(bert, marker):
    torch.save(Evil(marker), bert / "pytorch_model.bin")
    (bert / "model.safetensors").unlink()
    with refused("model.path: .*no file named model.safetensors"):
        TextModel(bert)


@pytest.mark.parametrize("shard", ["shard.bin", "shard.safetensors", "../shard.bin"])
def test_a_pickle_that_an_index_names_is_not_read(bert, marker, shard):
    names = list(load_file(bert / "model.safetensors"))
    (bert / "model.safetensors").unlink()
    torch.save(Evil(marker), bert / shard)
    index = {"metadata": {}, "weight_map": dict.fromkeys(names, shard)}
    (bert / "model.safetensors.index.json").write_text(json.dumps(index))
    with refused("model.path: .*cannot be loaded"):
        TextModel(bert)


CODE = """
import pathlib
pathlib.Path({marker!r}).touch()
from transformers import BertConfig as Config, BertForSequenceClassification as Model
from transformers import BertTokenizerFast as Tokenizer
"""
CLASSES = {
    "AutoConfig": "evil.Config",
    "AutoModelForSequenceClassification": "evil.Model",
    "AutoModelForImageClassification": "evil.Model",
}
LOAD = {
    "model": TextModel,
    "model of images": TransformersImageModel,
    "tokenizer to start from": lambda path: load_tokenizer(str(path)),
    "classifier to start from": lambda path: load_classifier(str(path), None, 123, ("NEG", "POS")),
}


@pytest.fixture(params=["bert", "unheard_of"])
def with_code(request, bert, marker):
    """A model that brings code along, of a type that transformers knows and of one that it does not."""
    (bert / "evil.py").write_text(CODE.format(marker=str(marker)))
    changes = {
        "config.json": {"model_type": request.param, "auto_map": CLASSES},
        "tokenizer_config.json": {
            "tokenizer_class": "Tokenizer",
            "auto_map": {"AutoTokenizer": [None, "evil.Tokenizer"]},
        },
    }
    processor = {"image_processor_type": "Processor", "auto_map": {"AutoImageProcessor": "evil.Config"}}
    (bert / "preprocessor_config.json").write_text(json.dumps(processor))
    for name, change in changes.items():
        (bert / name).write_text(json.dumps(json.loads((bert / name).read_text()) | change))
    return bert


@pytest.mark.parametrize("load", LOAD.values(), ids=LOAD)
def test_code_of_a_model_is_not_executed(with_code, load):
    """Whether it loads without its code or not is for transformers to say; the marker says what happened."""
    with suppress(BenchError):
        load(with_code)


@pytest.mark.parametrize("beside", ["nothing", "parquet", "images"])
def test_a_loading_script_is_not_executed(tmp_path, datasets_cache, marker, beside):
    folder = tmp_path / "pictures"
    (folder / "validation" / "n01440764").mkdir(parents=True)
    (folder / "pictures.py").write_text(CODE.format(marker=str(marker)))
    if beside == "images":
        (folder / "validation" / "n01440764" / "a.JPEG").write_bytes(JPEG)
        read_all(HuggingFaceImages(folder))
        return
    if beside == "parquet":
        rows = pa.table({"image": [{"bytes": JPEG, "path": "a.JPEG"}], "label": [0]})
        pq.write_table(rows, folder / "validation.parquet")
    with refused(r"pictures \(split validation\)"):
        read_all(HuggingFaceImages(folder))


def test_objects_in_an_hdf5_file_are_not_unpickled(root, tmp_path, marker):
    mat = shutil.copy(root / "imagenet_segmentation" / "gtsegs_ijcv.mat", tmp_path / "gtsegs_ijcv.mat")
    evil = np.frombuffer(pickle.dumps(Evil(marker)), np.uint8)
    with h5py.File(mat, "r+") as file:
        masks = file.create_dataset("new", (36, 40), h5py.vlen_dtype(np.uint8))
        masks[0, 0] = evil
        masks.attrs["pickled"] = np.void(evil.tobytes())
        file["r/c1"][0, 0] = masks.ref
    with refused("entry 1: .*the mask"):
        read_all(ImageNetSegmentation(mat))


def test_postscript_under_an_images_name_starts_no_interpreter(tmp_path, monkeypatch, marker):
    interpreter = tmp_path / "gs"
    interpreter.write_text(f"#!/bin/sh\ntouch {marker}\n")
    interpreter.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(EpsImagePlugin, "gs_binary", None)  # it looks for one once in a process
    with refused("picture.JPEG: cannot be decoded"):
        decode_rgb(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n", "picture.JPEG")


@pytest.fixture
def archive(tmp_path):
    """ERASER movies whose archive has members that lead out of it, and a link for the second document."""
    movies = write_movies(tmp_path / "inside" / "movies")
    secret = tmp_path / "secret"
    secret.write_text("good film w1 w2 w3 w4 w5 good plots")
    (movies / "docs" / "b").unlink()

    def pack(*links):
        with tarfile.open(tmp_path / "inside" / "movies.tar.gz", "w:gz") as tar:
            tar.add(movies, "movies")
            for name in ("../escaped", str(tmp_path / "escaped"), "movies/docs/../../../../escaped"):
                member = tarfile.TarInfo(name)
                member.size = 4
                tar.addfile(member, io.BytesIO(b"evil"))
            for kind, target in links:
                member = tarfile.TarInfo("movies/docs/b")
                member.type, member.linkname = kind, target
                tar.addfile(member)
        shutil.rmtree(movies)
        return tmp_path / "inside" / "movies.tar.gz"

    return pack


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE])
@pytest.mark.parametrize("target", ["../../../secret", "{}/secret"])
def test_an_archive_reads_and_writes_nothing_outside(archive, tmp_path, kind, target):
    path = archive((kind, target.format(tmp_path)))
    before = sorted(tmp_path.rglob("*"))
    dataset = Movies(path)
    assert dataset[0].words[:2] == ["the", "plot"]
    with refused("docs/b is missing"):
        dataset[1]
    assert sorted(tmp_path.rglob("*")) == before


def draw(config):
    from bench.figures.program import write

    write(config)


@pytest.mark.parametrize(("rows", "make"), [(segmentation, table), (token_f1, table), (token_f1, draw)])
def test_what_a_result_names_is_not_called(keep, marker, rows, make):
    keep("lrp", rows())
    config = keep("rollout", rows())
    evil = {"_target_": "os.system", "command": f"touch {marker}"}
    for kind in ("mask_overlap", "rationale_overlap", "predictions"):
        for result in results(cells_folder(config), kind):
            record = result.record | {"method": evil | {"name": "rollout"}}
            for section in ("method", "task", "dataset", "model", "protocol", "suite", "paths"):
                record["config"][section] = record["config"][section] | evil
            # What readers compare with the command line stays, or they would not look any further.
            record["identity"]["code"] = record["identity"]["_target_"] = "os.system"
            result.path.write_text(json.dumps(record))
    with suppress(BenchError):
        make(config)


@pytest.mark.parametrize("part", ["target", "code", "settings"])
@pytest.mark.parametrize(("rows", "make"), [(segmentation, table), (token_f1, draw)])
def test_what_an_identity_names_is_not_called(keep, marker, rows, make, part):
    config = keep("rollout", rows())
    evil = {"_target_": "os.system", "command": f"touch {marker}"}
    for kind in ("mask_overlap", "rationale_overlap", "predictions"):
        for result in results(cells_folder(config), kind):
            record = dict(result.record)
            if "method" in record["identity"]:
                record["identity"]["method"] |= {part: "os.system" if part == "target" else evil}
            result.path.write_text(json.dumps(record))
    with suppress(BenchError):
        make(config)


KEY = "0123456789abcdef" * 2 + "01234567"


def test_an_api_key_is_left_nowhere(configure, wandb_folder, tmp_path, monkeypatch, capfd):
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    run(configure("segmentation", "wandb.mode=offline", "method=rollout"))
    (log,) = wandb_folder.glob("offline-run-*/*.wandb")
    deadline = time.monotonic() + 60  # a process of wandb's own writes it
    while b"pixel_accuracy" not in log.read_bytes():
        assert time.monotonic() < deadline
        time.sleep(0.1)
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {path.suffix for path in written} >= {".parquet", ".json", ".wandb"}
    assert not [path for path in written if KEY.encode() in path.read_bytes()]
    assert KEY not in "".join(capfd.readouterr())


def test_an_api_key_in_the_configuration_is_refused_and_not_repeated(configure, tmp_path):
    with refused(r"wandb\.api_key: .*WANDB_API_KEY") as raised:
        run(configure("segmentation", f"+wandb.api_key={KEY}"))
    assert KEY not in str(raised.value)
    assert not kept(tmp_path / "results")
