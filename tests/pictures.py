"""The pictures of the documentation: ``python -m tests.pictures [METHOD …]`` draws those of all or some methods again.

One image of the embedded data, as every method explains it: a small picture for the page of each in
``docs/pictures/methods``. Methods that refuse images, or this model, have none.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from bench.catalogue import PROJECT, Catalogue
from bench.config import configuration
from bench.errors import BenchError
from bench.explain import ImageExplainer
from bench.heatmaps import overlay
from bench.runner.cell import dataset_of

FOLDER = PROJECT / "docs" / "pictures" / "methods"
SAMPLE = 26  # a six with a small two beside it
SIDE = 160  # pixels
QUALITY = 80  # of JPEG


def all_methods() -> list[str]:
    """The names of the methods that have a page."""
    facts = Catalogue()
    return [
        n for n in facts.names("method") if facts.read("method", n).get("_target_", "").startswith("methods.")
    ]


def draw(names: Sequence[str], folder: Path = FOLDER) -> list[str]:
    """Draw the pictures of the methods that explain the image; returns what the others say."""
    image = dataset_of(configuration(["task=segmentation"]))[SAMPLE].image
    refused: list[str] = []
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        try:
            explanation = ImageExplainer("embedded", methods=[name])(image)
        except BenchError as e:
            refused.append(f"{name}: {e}")
            continue
        picture = overlay(explanation.image, explanation.maps[name]).resize((SIDE, SIDE))
        picture.save(folder / f"{name}.jpg", quality=QUALITY, optimize=True)
    return refused


if __name__ == "__main__":
    print("\n".join(draw(sys.argv[1:] or all_methods())), file=sys.stderr)
