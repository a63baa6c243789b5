"""A bound on the CPU time that decoding one file takes."""

from __future__ import annotations

from time import thread_time
from typing import Final

from validators.base import over_budget

#: The most CPU time for one file, in seconds. The largest pictures that encoders write take a third. A few
#: kilobytes of prefix codes or of empty blocks can take a decoder a second, and only decoding them shows
#: this.
MAX_SECONDS: Final = 2.0


class Clock:
    """Counts the CPU time of the current thread from now on."""

    def __init__(self) -> None:
        self._start = self._last = thread_time()
        self._longest = 0.0

    def check(self) -> None:
        """Begins a step of decoding, and ends the one before it.

        Raises:
            Rejected: the time would be over after another step like the longest one so far.
        """
        now = thread_time()
        self._longest = max(self._longest, now - self._last)
        self._last = now
        if now - self._start + self._longest > MAX_SECONDS:
            raise over_budget("decoding takes too long: far more codes or blocks than pixels demand")
