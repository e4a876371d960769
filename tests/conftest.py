import os
from pathlib import Path

import pytest

import bench  # noqa: F401  first: it mends torchvision
from bench.config import configuration

# No test may depend on a network; read once, when huggingface_hub is first imported.
os.environ["HF_HUB_OFFLINE"] = "1"


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


@pytest.fixture(scope="session")
def root(tmp_path_factory) -> Path:
    """The data root of a tiny image suite (``tests/tiny_images.py``)."""
    from tests.tiny_images import write

    return write(tmp_path_factory.mktemp("root"))


@pytest.fixture
def configure(root, tmp_path):
    """Compose a cell of the tiny data; results go to a folder of the test's own."""

    from tests.tiny_images import OPTIONS

    def configure(task="perturbation", *overrides):
        dataset = {"perturbation": "imagenet", "segmentation": "imagenet_segmentation"}[task]
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
