"""The embedded default: stand-in data that the project makes itself, and small models trained on it."""

from pathlib import Path

VERSION = 1  # of the data; rises with every change of what is written, so that older data is made again

CHECKPOINTS = Path(__file__).parent / "checkpoints"

# The classes of the images, in the order of their labels.
NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
WNIDS = tuple(f"n{digit:08d}" for digit in range(10))

VIT = {
    "model_name": "vit_tiny_patch16_224",
    "embed_dim": 64,
    "depth": 6,
    "num_heads": 4,
    "num_classes": 10,
}
