"""Memory that has been freed is kept for what comes next."""

import ctypes

# The numbers that glibc's malloc.h gives these options of mallopt.
_TRIM_THRESHOLD, _MMAP_MAX = -1, -4


def keep_freed_memory() -> None:
    """Let the C library keep freed blocks, however large, instead of returning them to the kernel.

    The kernel clears every page it hands out again, which for tensors of tens of megabytes takes several
    times as long as what is computed in them. Does nothing where the C library is not glibc.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_MMAP_MAX, 0)
        mallopt(_TRIM_THRESHOLD, -1)
