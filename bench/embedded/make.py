"""``python -m bench.embedded.make [root]`` writes the embedded data, laid out like any other data root.

imagenet/class_index.json, imagenet/val/<wnid>/*.JPEG
imagenet_segmentation/gtsegs_ijcv.mat
movies/{train,val,test}.jsonl, movies/docs/<id>
embedded.json                                       version; its presence says that all is there
"""

import argparse
import json
import os
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

from tqdm import tqdm

from bench.embedded import VERSION
from bench.errors import BenchError

MARKER = "embedded.json"

# A seed and a size for every part; training and its evaluation use other seeds (see train.py).
CLASSIFICATION = {"seed": 101, "count": 120}
SEGMENTATION = {"seed": 102, "count": 100}
REVIEWS = {
    "train": {"seed": 103, "count": 1600},
    "val": {"seed": 104, "count": 200},
    "test": {"seed": 105, "count": 200},
}


def ensure(root: Path) -> Path:
    """Write the embedded data to ``root`` unless the current version is already there; returns ``root``.

    The data is written beside ``root`` and renamed at the end, so a run that is killed leaves no half of it.

    Raises:
        BenchError: ``root`` holds something that this command did not write.
    """
    root = Path(root)
    if _version(root) == VERSION:
        return root
    if root.exists() and _version(root) is None and (not root.is_dir() or any(root.iterdir())):
        raise BenchError(
            f"{root} exists but is not embedded data (it has no {MARKER}), so it is not overwritten. "
            "Name a folder that is empty or does not exist."
        )
    root.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{root.name}-", dir=root.parent) as scratch:
        made = Path(scratch) / "made"
        _write(made)
        if root.exists() and _version(root) != VERSION:
            os.replace(root, Path(scratch) / "replaced")
        try:
            os.replace(made, root)
        except OSError:
            if _version(root) != VERSION:  # else another job of a sweep was faster
                raise
    return root


def _version(root: Path) -> int | None:
    """The version of the embedded data at ``root``; None where there is none."""
    try:
        return json.loads((root / MARKER).read_text())["version"]
    except (OSError, ValueError, KeyError):
        return None


def _write(root: Path) -> None:
    # Drawing needs scikit-learn's digits; only once are they worth a second of every program's start.
    from bench.embedded.images import heldout, write_imagenet, write_segmentation
    from bench.embedded.reviews import reviews, write_movies

    def made(name: str, make: Callable, seed: int, count: int) -> Iterable:
        return tqdm(make(seed, count), f"embedded {name}", count, disable=None)  # not in a file

    write_imagenet(root / "imagenet", made("imagenet", heldout, **CLASSIFICATION))
    write_segmentation(
        root / "imagenet_segmentation" / "gtsegs_ijcv.mat", made("segmentation", heldout, **SEGMENTATION)
    )
    write_movies(
        root / "movies", {split: made(f"movies {split}", reviews, **size) for split, size in REVIEWS.items()}
    )
    (root / MARKER).write_text(json.dumps({"version": VERSION, "made_by": "python -m bench.embedded.make"}))


def main() -> None:
    parser = argparse.ArgumentParser(description="Write the embedded stand-in data.")
    parser.add_argument("root", nargs="?", default="data/embedded", type=Path)
    print(ensure(parser.parse_args().root))


if __name__ == "__main__":
    main()
