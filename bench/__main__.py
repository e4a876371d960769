"""Command line: ``python -m bench task=segmentation method=rollout``; ``--help`` lists every choice."""

import sys

import hydra
from omegaconf import DictConfig

import bench  # noqa: F401  first: see its docstring
from bench.config import resolved
from bench.errors import BenchError
from bench.run import run


@hydra.main(version_base="1.3", config_path="../conf", config_name="bench")
def main(cfg: DictConfig) -> dict[str, float] | None:
    """Run one cell; with ``-m`` one after the other."""
    try:
        return run(resolved(cfg))
    except BenchError as e:
        print(f"error: {e}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
