"""Memory: what was used, whether there is more, and keeping what was freed."""

import ctypes
import os
import resource
from contextlib import suppress
from pathlib import Path

import torch

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
