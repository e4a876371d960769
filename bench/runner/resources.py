"""What a run has and uses: devices, memory, time, versions."""

import ctypes
import os
import platform
import resource
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import version
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
        BenchError: if it is not available.
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
            f"device={name}: not available here ({reason}); use device=auto or device=cpu"
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


# The numbers that glibc's malloc.h gives these options of mallopt.
_TRIM_THRESHOLD, _MMAP_MAX = -1, -4
_CGROUP = Path("/sys/fs/cgroup")
RESERVE = 0.8  # of the memory that is there may be used


def keep_freed_memory() -> None:
    """Let the C library keep freed blocks, however large, instead of returning them to the kernel.

    The kernel clears every page it hands out again, which for tensors of tens of megabytes takes several
    times as long as what is computed in them. Does nothing where the C library is not glibc.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_MMAP_MAX, 0)
        mallopt(_TRIM_THRESHOLD, -1)


def is_out_of_memory(error: Exception) -> bool:
    """Whether an error says that memory ran out, on a GPU or on the CPU."""
    return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or "can't allocate memory" in str(error)


class Memory:
    """The memory that a process uses on a device, from now on."""

    def __init__(self, device: torch.device):
        self.device = device
        self.release()
        self._forget_peak()
        self.before = self._used()

    @property
    def _is_gpu(self) -> bool:
        return self.device.type == "cuda"

    def peak(self) -> int:
        """The most that was used at a time, in bytes: allocated on a GPU, or resident on the CPU."""
        if self._is_gpu:
            return torch.cuda.max_memory_allocated(self.device)
        try:
            # Not ru_maxrss: a process that was just started has that of the one that started it.
            return _kilobytes("/proc/self/status", "VmHWM")
        except OSError:  # not Linux
            return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    def has_room_for_twice(self) -> bool:
        """Whether twice of what was used beyond the beginning would fit."""
        return self.before + 2 * (self.peak() - self.before) <= RESERVE * (self._used() + self.free())

    def release(self) -> None:
        """Give back what the device's allocator holds for later."""
        if self._is_gpu:
            torch.cuda.empty_cache()
        elif (trim := getattr(ctypes.CDLL(None), "malloc_trim", None)) is not None:
            trim(0)

    def _forget_peak(self) -> None:
        """Let the peak be that of what comes, not that of a cell before in the same process."""
        if self._is_gpu:
            torch.cuda.reset_peak_memory_stats(self.device)
        else:
            with suppress(OSError):  # not Linux
                Path("/proc/self/clear_refs").write_text("5")

    def _used(self) -> int:
        if self._is_gpu:
            return torch.cuda.memory_allocated(self.device)
        try:
            return _kilobytes("/proc/self/status", "VmRSS")
        except OSError:
            return 0

    def free(self) -> int:
        """How much more there is, in bytes."""
        if self._is_gpu:
            held = torch.cuda.memory_reserved(self.device) - torch.cuda.memory_allocated(self.device)
            return torch.cuda.mem_get_info(self.device)[0] + held
        try:
            available = _kilobytes("/proc/meminfo", "MemAvailable")
        except OSError:
            available = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
        try:
            allowed = int((_CGROUP / "memory.max").read_text())
            return min(available, allowed - int((_CGROUP / "memory.current").read_text()))
        except (OSError, ValueError):  # no such group, or no limit
            return available


def _kilobytes(file: str, name: str) -> int:
    """An entry of one of the kernel's tables, in bytes."""
    lines = Path(file).read_text().splitlines()
    return 1024 * int(next(line for line in lines if line.startswith(f"{name}:")).split()[1])


PHASES = ("load", "explain", "evaluate")


@dataclass
class Meter:
    """Seconds by phase. A phase within another counts for itself alone."""

    device: torch.device
    seconds: dict[str, float] = field(default_factory=lambda: dict.fromkeys(PHASES, 0.0))
    _within: float = 0.0

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Count what is done meanwhile for a phase."""
        started, outside, self._within = self._now(), self._within, 0.0
        try:
            yield
        finally:
            took = self._now() - started
            self.seconds[name] += took - self._within
            self._within = outside + took

    def during(self, name: str, items: Iterator) -> Iterator:
        """The items; the time until each is there counts for a phase."""
        while True:
            with self.phase(name):
                try:
                    item = next(items)
                except StopIteration:
                    return
            yield item

    def take(self) -> dict[str, float]:
        """What was counted since the last time."""
        taken, self.seconds = self.seconds, dict.fromkeys(PHASES, 0.0)
        return {phase: round(seconds, 6) for phase, seconds in taken.items()}

    def _now(self) -> float:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)  # it computes on while Python goes ahead
        return time.perf_counter()


CODE = ("bench", "methods", "metrics", "conf")  # folders
TRIALS = 5  # to ask git for the commit
PACKAGES = (
    "transformer-explanation-bench",
    "torch",
    "torchvision",
    "timm",
    "transformers",
    "numpy",
    "pandas",
    "pyarrow",
    "pillow",
    "scipy",
    "scikit-learn",
    "tokenizers",
)


@cache
def versions() -> dict[str, str]:
    """The versions of Python and of the packages that rows depend on, and the commit of this project."""
    return {
        "python": platform.python_version(),
        **{package: version(package) for package in PACKAGES},
        "commit": _commit(),
    }


def _commit() -> str:
    """The last commit of this project that changed code or settings, and whether they were changed since.

    Commits of tables, documentation or tests change no number, and so are not told apart.
    """
    commit = _git("log", "-1", "--format=%h", "--abbrev=12", "--", *CODE)
    return f"{commit}-dirty" if commit and _git("status", "--porcelain", "--", *CODE) else commit or "unknown"


def _git(*arguments: str) -> str:
    """What git prints in the project's folder; nothing where it fails."""
    command = ["git", "-C", str(Path(__file__).parents[2]), *arguments]
    for _ in range(TRIALS):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode >= 0:  # else killed: a cluster signals all processes of a job
            break
    return done.stdout.strip()
