"""``python -m bench.embedded.train [--only images|texts]`` trains the embedded checkpoints again.

Writes ``checkpoints/vit_digits.safetensors``, ``checkpoints/bert_reviews/`` and, about both,
``checkpoints/training.json``. On two CPU cores this takes about three quarters of an hour. It needs a torch
that has the optimizer Muon.
"""

import argparse
import json
import platform
import time
from importlib.metadata import version

from bench.embedded import CHECKPOINTS

BOTH = ("images", "texts")


def main() -> None:
    parser = argparse.ArgumentParser(description="Train the embedded checkpoints again.")
    parser.add_argument("--only", choices=BOTH, help="train one of the two")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()

    from bench.embedded import train_images, train_texts  # --help needs nothing of them

    train = {"images": train_images.train, "texts": train_texts.train}
    record_path = CHECKPOINTS / "training.json"
    record = json.loads(record_path.read_text()) if record_path.exists() else {}
    for name in [arguments.only] if arguments.only else BOTH:
        started = time.monotonic()
        record[name] = {"seed": arguments.seed, **train[name](arguments.seed)}
        record[name]["minutes"] = round((time.monotonic() - started) / 60, 1)
        record[name]["versions"] = {p: version(p) for p in ("torch", "timm", "transformers", "scikit-learn")}
        record[name]["versions"]["python"] = platform.python_version()
        record_path.write_text(json.dumps(record, indent=2) + "\n")
        print(json.dumps(record[name], indent=2))


if __name__ == "__main__":
    main()
