import os
from pathlib import Path

import pytest
import torch

import bench  # first: it mends torchvision
from bench.config import configuration, quoted
from tests.support.composing import composing_once

# No test may depend on a network; read once, when huggingface_hub is first imported.
os.environ["HF_HUB_OFFLINE"] = "1"
# Tiny tensors gain nothing by more threads, and these change the order of adding; tests.cpus asks for them.
if "OMP_NUM_THREADS" not in os.environ:
    torch.set_num_threads(1)


@pytest.fixture
def one_thread():
    """Compute with one thread in this process, as forked and started processes of the test do."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory) -> None:
    """Digests of data and weights are remembered in a folder of the tests' own."""
    os.environ["BENCH_CACHE"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session", autouse=True)
def composing() -> None:
    """Command lines that differ in the folder of their results alone are composed once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bench.config, "_composed", composing_once(bench.config._composed))
        yield


@pytest.fixture
def real_data() -> Path:
    """The data root in BENCH_DATA: real inputs in the layout that the readers expect."""
    if not os.environ.get("BENCH_DATA"):
        pytest.skip("BENCH_DATA names no data root with real inputs")
    return Path(os.environ["BENCH_DATA"])


@pytest.fixture
def datasets_cache(tmp_path, monkeypatch) -> Path:
    """Hugging Face ``datasets`` with a cache of its own."""
    import datasets

    cache = tmp_path / "hf_cache"
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", cache)
    return cache


@pytest.fixture
def wandb_folder(tmp_path, monkeypatch) -> Path:
    """Where wandb writes in this test; it reads the environment once in a process, so it must forget."""
    import wandb

    monkeypatch.setenv("WANDB_DIR", str(tmp_path))
    monkeypatch.setenv("WANDB_SILENT", "true")
    wandb.teardown()
    yield tmp_path / "wandb"
    wandb.teardown()


@pytest.fixture
def vit():
    """A ViT of 3 blocks for the images of :func:`images` (``tests/support/small_models.py``)."""
    from tests.support.small_models import make_vit  # timm takes seconds to import, and most tests need none

    return make_vit()


@pytest.fixture(params=["sdpa", "eager"])
def bert(request):
    """A BERT classifier of 3 layers, with fused and with written-out attention."""
    from tests.support.small_models import make_bert

    return make_bert(request.param)


@pytest.fixture
def images():
    from tests.support.small_models import IMAGES

    return IMAGES.clone()


@pytest.fixture(scope="session")
def root(tmp_path_factory) -> Path:
    """The data root of a tiny image suite (``tests/support/tiny_images.py``)."""
    from tests.support.tiny_images import write

    return write(tmp_path_factory.mktemp("root"))


@pytest.fixture(scope="session")
def small_report(tmp_path_factory) -> Path:
    """The page of a small embedded suite; ``tests/support/small_report.py`` says where the rest is."""
    from tests.support.small_report import make_report

    return make_report(tmp_path_factory.mktemp("report"))


@pytest.fixture
def configure(root, tmp_path):
    """Compose a cell of the tiny data; results go to a folder of the test's own."""

    from tests.support.tiny_images import OPTIONS

    def configure(task="perturbation", *overrides):
        masks = task in ("segmentation", "localisation")
        dataset = "imagenet_segmentation" if masks else "imagenet"
        return configuration(
            [
                f"task={task}",
                f"dataset={dataset}",
                "model=timm",
                "model.architecture=vit_tiny_patch16_224",
                f"model.checkpoint={root / 'tiny.safetensors'}",
                OPTIONS,
                "protocol.images.size=32",
                f"paths.data={root}",
                f"paths.results={tmp_path / 'results'}",
                "batch_size=4",
                "device=cpu",
                *overrides,
            ]
        )

    return configure


@pytest.fixture
def keep(tmp_path):
    """Put finished cells of given rows into a store and return their configuration."""

    from tests.support.stored_rows import COLUMN_OF, store

    def keep(method, rows, *overrides, checksum="a" * 64, record=None):
        task = next(task for task, column in COLUMN_OF.items() if column in rows)
        results = f"paths.results={quoted(tmp_path)}"
        config = configuration([f"task={task}", f"method={method}", results, *overrides])
        store(config, rows, checksum, record=record)
        return config

    return keep
