"""Counters in the memory of this process: what is counted while the shared storage does not answer."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from heapq import nsmallest
from typing import Final

#: The most counts that a process keeps; beyond it, expired and then small counts are forgotten.
_MOST: Final = 50_000


@dataclass(slots=True)
class _Count:
    """A count, and when it expires, in seconds of the clock."""

    value: int
    until: float


class LocalCounters:
    """Counts of one process, each within a fixed window that begins with its first hit.

    Args:
        clock: seconds that never go back.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._counts: dict[str, _Count] = {}

    def hit(self, key: str, expiry: float) -> int:
        """Counts one hit and returns the count. A new count expires after ``expiry`` seconds."""
        with self._lock:
            count = self._live(key)
            if count is None:
                self._make_room()
                count = self._counts[key] = _Count(0, self._clock() + expiry)
            count.value += 1
            return count.value

    def read(self, key: str) -> int:
        """The count; 0 if there is none or it has expired."""
        with self._lock:
            count = self._live(key)
            return count.value if count else 0

    def raise_to(self, key: str, value: int, seconds: float) -> None:
        """Sets the count to at least ``value``, and lets it expire in ``seconds``."""
        with self._lock:
            count = self._counts.setdefault(key, _Count(0, 0.0))
            count.value = max(count.value, value)
            count.until = self._clock() + seconds

    def _live(self, key: str) -> _Count | None:
        count = self._counts.get(key)
        return count if count is not None and self._clock() < count.until else None

    def _make_room(self) -> None:
        """Forgets a part of the counts when there are too many; large counts are kept longest."""
        if len(self._counts) < _MOST:
            return
        now = self._clock()
        self._counts = {key: count for key, count in self._counts.items() if now < count.until}
        surplus = len(self._counts) - _MOST * 9 // 10
        for key in nsmallest(surplus, self._counts, key=lambda key: self._counts[key].value):
            del self._counts[key]
