"""Counters in the memory of this process, for the time when the shared storage does not answer."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from heapq import nsmallest
from typing import Final

#: The most counts that a process keeps. Beyond that, it deletes expired counts, then small ones.
_MOST: Final = 50_000


@dataclass(slots=True)
class _Count:
    """What this process knows about one count.

    Attributes:
        stored: the last value that the storage returned, less the hits that it has taken back since.
        missed: the hits since then that the storage has not counted.
        until: when it expires, in seconds of the clock.
    """

    stored: int
    missed: int
    until: float

    @property
    def value(self) -> int:
        return self.stored + self.missed


class LocalCounters:
    """What one process knows about the counts, each within a fixed window.

    Args:
        clock: a monotonic clock, in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._counts: dict[str, _Count] = {}

    def read(self, key: str) -> int:
        """The count; 0 if there is none or it has expired."""
        with self._lock:
            count = self._live(key)
            return count.value if count else 0

    def miss(self, key: str, expiry: float) -> int:
        """Counts a hit that the storage has not counted. Returns the count.

        Args:
            expiry: the length of the window, which begins now if there is no count, in seconds.
        """
        with self._lock:
            count = self._get(key, expiry)
            count.missed += 1
            return count.value

    def learn(self, key: str, stored: int, expiry: float) -> int:
        """Records the value that the storage returned. Returns it plus the hits that the storage missed."""
        with self._lock:
            count = self._get(key, expiry)
            if stored < count.stored // 2:  # the storage has started a new window
                count.missed = 0
                count.until = self._clock() + expiry
                count.stored = stored
            count.stored = max(count.stored, stored)
            return stored + count.missed

    def give_back_missed(self, key: str) -> bool:
        """Takes back a hit that the storage has not counted. Returns whether there was one."""
        with self._lock:
            count = self._live(key)
            if count is None or not count.missed:
                return False
            count.missed -= 1
            return True

    def give_back_stored(self, key: str) -> None:
        """Records that the storage has taken back a hit."""
        with self._lock:
            if count := self._live(key):
                count.stored -= 1

    def expire_in(self, key: str, seconds: float) -> None:
        """Makes a count expire in ``seconds``."""
        with self._lock:
            if count := self._counts.get(key):
                count.until = self._clock() + seconds

    def _live(self, key: str) -> _Count | None:
        count = self._counts.get(key)
        return count if count is not None and self._clock() < count.until else None

    def _get(self, key: str, expiry: float) -> _Count:
        count = self._live(key)
        if count is None:
            self._make_room()
            count = self._counts[key] = _Count(0, 0, self._clock() + expiry)
        return count

    def _make_room(self) -> None:
        """Deletes some of the counts if there are too many; large counts are kept longest."""
        if len(self._counts) < _MOST:
            return
        now = self._clock()
        self._counts = {key: count for key, count in self._counts.items() if now < count.until}
        surplus = len(self._counts) - _MOST * 9 // 10
        for key in nsmallest(surplus, self._counts, key=lambda key: self._counts[key].value):
            del self._counts[key]
