"""What rows are computed with."""

import os
import platform
import subprocess
from importlib.metadata import version

PACKAGES = (
    "transformer-explanation-bench",
    "torch",
    "timm",
    "transformers",
    "numpy",
    "pandas",
    "pyarrow",
    "pillow",
)


def versions() -> dict[str, str]:
    """The versions of Python and of the packages that rows depend on, and the commit of this project."""
    git = ["git", "-C", os.path.dirname(__file__), "describe", "--always", "--dirty", "--abbrev=12"]
    described = subprocess.run(git, capture_output=True, text=True, check=False)
    return {
        "python": platform.python_version(),
        **{package: version(package) for package in PACKAGES},
        "commit": described.stdout.strip() or "unknown",
    }
