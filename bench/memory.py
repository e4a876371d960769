"""Memory: what was used, whether there is more, and keeping what was freed."""

import ctypes
import os
import resource
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
        if self._is_gpu:
            torch.cuda.reset_peak_memory_stats(device)
        self.before = self._used()

    @property
    def _is_gpu(self) -> bool:
        return self.device.type == "cuda"

    def peak(self) -> int:
        """The most that was used at a time, in bytes: allocated on a GPU, or resident on the CPU."""
        if self._is_gpu:
            return torch.cuda.max_memory_allocated(self.device)
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

    def has_room_for_twice(self) -> bool:
        """Whether twice of what was used beyond the beginning would fit."""
        return self.before + 2 * (self.peak() - self.before) <= RESERVE * (self._used() + self._free())

    def release(self) -> None:
        """Give back what the device's allocator holds for later."""
        if self._is_gpu:
            torch.cuda.empty_cache()

    def _used(self) -> int:
        if self._is_gpu:
            return torch.cuda.memory_allocated(self.device)
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def _free(self) -> int:
        if self._is_gpu:
            held = torch.cuda.memory_reserved(self.device) - torch.cuda.memory_allocated(self.device)
            return torch.cuda.mem_get_info(self.device)[0] + held
        available = (
            int(
                next(
                    s for s in Path("/proc/meminfo").read_text().splitlines() if s.startswith("MemAvailable")
                ).split()[1]
            )
            * 1024
        )
        try:
            allowed = int((_CGROUP / "memory.max").read_text())
            return min(available, allowed - int((_CGROUP / "memory.current").read_text()))
        except (OSError, ValueError):  # no such group, or no limit
            return available
