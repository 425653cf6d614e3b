"""The memory that passes through a network on a CPU free and ask for again."""

from __future__ import annotations

import ctypes
import os
import platform

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
"""Names of the settings in glibc's ``malloc.h``."""

_KEPT = 1 << 30
_SET_BY_USER = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES")


def keep_freed_memory() -> None:
    """Let this process keep up to 1 GiB of the memory that it frees, where its C library is glibc.

    By default glibc returns freed memory beyond a few megabytes to the system, and the next pass through the network
    waits for fresh pages to be mapped and zeroed, about two thousand for a gradient pass of a ResNet8 with 64 images.
    The next pass takes what the last one left. What the environment sets for glibc is respected.

    Source: mallopt(3), ``M_TRIM_THRESHOLD`` and ``M_MMAP_THRESHOLD``.
    """
    if platform.libc_ver()[0] != "glibc" or any(name in os.environ for name in _SET_BY_USER):
        return
    mallopt = ctypes.CDLL(None).mallopt
    for setting in (_TRIM_THRESHOLD, _MMAP_THRESHOLD):
        mallopt(setting, _KEPT)
