"""A bound of the memory that all decodes of a process take together."""

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
    """A decode that waits.

    Attributes:
        size: the memory that it takes, in bytes.
        limit: the most that all decodes may take together, in bytes.
        opened: a lock that is released when the decode may start.
    """

    size: int
    limit: int
    opened: threading.Lock = field(default_factory=threading.Lock)


class DecodeMemory:
    """Lets decodes start while the sum of their memory is within a limit.

    They start in the order of their arrival, so that small pictures do not overtake a large one for ever. A
    picture that is larger than the limit is decoded alone. Threads wait for their turn; a forked child starts
    with an empty account.
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
        """The number of decodes that wait."""
        return len(self._waiting)

    @contextmanager
    def reserve(self, size: int, limit: int) -> Iterator[None]:
        """Waits until ``size`` bytes fit under ``limit``, and holds them while the block runs."""
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
            if turn in self._waiting:  # an exception interrupted the wait
                self._waiting.remove(turn)
            else:
                self._in_flight -= turn.size
            self._admit()

    def _admit(self) -> None:
        """Releases the turns that fit, in order. The caller holds the lock."""
        while self._waiting:
            turn = self._waiting[0]
            if self._in_flight and self._in_flight + turn.size > turn.limit:
                return
            self._waiting.popleft()
            self._in_flight += turn.size
            turn.opened.release()


#: The account of this process.
DECODE_MEMORY: Final = DecodeMemory()
