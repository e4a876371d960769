"""Command line: ``python -m bench task=segmentation method=rollout``; ``--help`` lists every choice."""

import sys

import hydra
from omegaconf import DictConfig

import bench  # noqa: F401  first: see its docstring
from bench.config import resolved
from bench.errors import BenchError
from bench.run import run

failures: list[BenchError] = []


@hydra.main(version_base="1.3", config_path="../conf", config_name="bench")
def main(cfg: DictConfig) -> dict[str, float] | None:
    """Run one cell; with ``-m`` one after the other, whatever becomes of the one before."""
    try:
        return run(resolved(cfg))
    except BenchError as e:
        print(f"error: {e}", file=sys.stderr)
        failures.append(e)
        return None


if __name__ == "__main__":
    if sys.argv[1:2] == ["explain"]:
        from bench.explain.command import main as explain

        sys.exit(explain(sys.argv[2:]))
    main()
    sys.exit(2 if failures else 0)
