import os
from pathlib import Path

import pytest

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
