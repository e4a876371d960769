"""Where to compute: which device, and how many processes a machine takes."""

import os
import tempfile
from pathlib import Path

import torch
from filelock import FileLock, Timeout

from bench.errors import BenchError

CORES_PER_PROCESS = 4  # beyond a few threads, small models gain more from another process
# Locks of the GPUs that this process has claimed, by index. The system lets go of them when it ends.
_claims: dict[int, FileLock] = {}


def device_of(name: str) -> torch.device:
    """The device of a name; ``auto`` is a GPU where there is one.

    Of several GPUs it is one that no other process of this user has: the first call claims it, for as long
    as the process lives. If all are claimed, they are shared.

    Raises:
        BenchError: if it is not to be had.
    """
    if name == "auto":
        name = _gpu() if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(str(name))
        torch.empty(0, device=device)
        if device.type == "meta":
            raise RuntimeError("it computes nothing")
    except (RuntimeError, AssertionError, NotImplementedError) as e:
        reason = str(e).splitlines()[0]
        raise BenchError(
            f"device={name}: not to be had here ({reason}); use device=auto or device=cpu"
        ) from e
    return device


def processes() -> int:
    """How many processes compute side by side on this machine: one per GPU, else one per four cores."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return torch.cuda.device_count() or max(1, cores // CORES_PER_PROCESS)


def _gpu() -> str:
    count = torch.cuda.device_count()
    if count < 2:
        return "cuda"
    if not _claims:
        _claim_one_of(count)
    return f"cuda:{next(iter(_claims), os.getpid() % count)}"


def _claim_one_of(count: int) -> None:
    # By its UUID: the index depends on what CUDA_VISIBLE_DEVICES shows of the machine to a process.
    for index in range(count):
        uuid = torch.cuda.get_device_properties(index).uuid
        lock = FileLock(Path(tempfile.gettempdir()) / f"bench-{os.getuid()}-gpu-{uuid}.lock")
        try:
            lock.acquire(blocking=False)
        except Timeout:
            continue
        _claims[index] = lock
        return
