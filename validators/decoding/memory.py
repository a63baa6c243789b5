"""The memory that decoding takes, bounded for a whole process."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final


@dataclass(slots=True, eq=False)
class _Turn:
    """A decode that waits: the memory that it takes, and a lock that opens when it may start."""

    size: int
    limit: int
    opened: threading.Lock = field(default_factory=threading.Lock)


class DecodeMemory:
    """Lets decodes start while their memory, all together, is within a limit.

    Who comes first goes first, so a large picture is not passed by small ones for ever. One that is
    larger than the limit decodes alone. Threads wait; a forked child starts with nothing in flight.
    """

    def __init__(self) -> None:
        self._start_process()
        os.register_at_fork(after_in_child=self._start_process)

    def _start_process(self) -> None:
        self._lock = threading.Lock()
        self._in_flight = 0
        self._waiting: deque[_Turn] = deque()

    @property
    def waiting(self) -> int:
        """How many decodes wait."""
        return len(self._waiting)

    @contextmanager
    def reserve(self, size: int, limit: int) -> Iterator[None]:
        """Waits until ``size`` bytes fit under ``limit``, and holds them for the block."""
        turn = _Turn(size, limit)
        turn.opened.acquire()
        with self._lock:
            self._waiting.append(turn)
            self._admit()
        try:
            turn.opened.acquire()
            yield
        finally:
            self._leave(turn)

    def _leave(self, turn: _Turn) -> None:
        with self._lock:
            if turn in self._waiting:  # it was interrupted as it waited
                self._waiting.remove(turn)
            else:
                self._in_flight -= turn.size
            self._admit()

    def _admit(self) -> None:
        """Opens the turns that fit, in order; the caller holds the lock."""
        while self._waiting:
            turn = self._waiting[0]
            if self._in_flight and self._in_flight + turn.size > turn.limit:
                return
            self._waiting.popleft()
            self._in_flight += turn.size
            turn.opened.release()


#: Of this process.
DECODE_MEMORY: Final = DecodeMemory()
