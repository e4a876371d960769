"""What was measured on: names for tables and files."""

import platform
import sys
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import torch

from bench.runner.resources import versions

PROJECT = Path(__file__).resolve().parents[2]
FOLDER = PROJECT / "results" / "speed"


def device_name(device: torch.device) -> str:
    """A GPU's own name, or the number of threads."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    if device.type != "cpu":
        return device.type.upper()
    count = torch.get_num_threads()
    return f"{count} CPU thread{'s' if count > 1 else ''}"


def file_name(device: torch.device) -> str:
    """What tables of a device are called: ``cpu``, ``nvidia_h100_80gb_hbm3``."""
    return "cpu" if device.type == "cpu" else device_name(device).lower().replace(" ", "_").replace("/", "_")


def processor() -> str:
    """The CPU's name."""
    try:
        info = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.partition(":")[2].strip() for line in info if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.machine()


def made_by(command: str, device: torch.device) -> str:
    """A sentence: the command with its arguments, the machine, the version of torch, and the commit."""
    arguments = f" (`{' '.join(sys.argv[1:])}`)" if sys.argv[1:] else ""
    try:
        commit = versions()["commit"]
    except PackageNotFoundError:  # a checkout that is not installed, beside few packages
        commit = "unknown"
    where = f"{device_name(device)}, {processor()}"
    return f"Made by `{command}`{arguments} on {where}, torch {torch.__version__}, commit {commit}."
