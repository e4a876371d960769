"""Choose and pin the newest versions that go together: ``python -m tests.constraints`` (needs uv).

Writes ``bench/constraints.txt``: one version of every package that ``pip install '.[dev]'`` takes, with markers where
Python 3.11 to 3.13 need different ones. It names no host and no build: ``torch==2.13.0`` admits that for CPUs
(2.13.0+cpu) and for any CUDA. What a build of torch brings along itself (nvidia-*, cuda-*, triton) is left to it.
"""

import re
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]
FILE = ROOT / "bench" / "constraints.txt"
OLDEST = "3.11"
HEADER = "# Made by make constraints. With these versions make setup installs what the results were computed with.\n"
OF_TORCH = re.compile(r"(nvidia|cuda|triton)\b", re.IGNORECASE)
LINE = re.compile(r"[A-Za-z0-9][\w.-]*==[\w.!]+( ; [^#]+)?")


def pinned(lines: Iterable[str]) -> list[str]:
    """The lines of a resolution that are kept.

    Raises:
        ValueError: for one that is no version of a package, such as an address.
    """
    kept = []
    for line in (line.strip() for line in lines):
        if not line or line.startswith("#") or OF_TORCH.match(line):
            continue
        line = re.sub(r"(==[^ ;+]+)\+[^ ;]+", r"\1", line)  # a build
        if not LINE.fullmatch(line):
            raise ValueError(f"{line}: expected name==version, with a marker or without")
        kept.append(line)
    return kept


def resolved() -> Sequence[str]:
    """What uv chooses for all supported versions of Python."""
    command = [
        "pip",
        "compile",
        "pyproject.toml",
        "--extra",
        "dev",
        "--universal",
        "--python-version",
        OLDEST,
    ]
    quiet = [
        "--quiet",
        "--no-annotate",
        "--no-header",
        "--no-emit-index-url",
        "--no-emit-find-links",
        "--upgrade",
    ]
    done = subprocess.run(
        [sys.executable, "-m", "uv", *command, *quiet], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(done.stderr)
    return done.stdout.splitlines()


if __name__ == "__main__":
    FILE.write_text(HEADER + "\n".join(pinned(resolved())) + "\n")
    print(f"{FILE.relative_to(ROOT)}: {len(FILE.read_text().splitlines()) - 1} packages")
