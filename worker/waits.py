"""The threads that wait for slow clients, in bounded number."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, Protocol


class Slow(Protocol):
    """A connection for which a thread may wait.

    Attributes:
        network: the address of the client, or its network.
        since: how late the client is: when the current request, or its answer, would have begun if the client
            were no slower than it may be, on the clock of ``time.monotonic()``.
    """

    network: str
    since: float

    def cut(self) -> None:
        """Ends the wait by cutting the connection."""


class Waits:
    """The waits of a process. If there are too many, one of them is cut.

    The wait that is cut belongs to the network with the most waits, so an attacker with many connections
    displaces only its own. Among the waits of that network, or of several that have as many, the one whose
    client is latest is cut: a slow line is not as late as a client that sends a byte now and then.

    Args:
        most: the number of waits.
        report: called with the network of each connection that is cut.
    """

    def __init__(self, most: int, report: Callable[[str], None]) -> None:
        self._most: Final = most
        self._report = report
        self._lock = threading.Lock()
        self._networks: dict[str, set[Slow]] = {}
        self._count = 0

    @contextmanager
    def waiting(self, connection: Slow) -> Iterator[None]:
        """A block in which a thread waits for the client of this connection."""
        with self._lock:
            self._networks.setdefault(connection.network, set()).add(connection)
            self._count += 1
            victim = self._take_victim() if self._count > self._most else None
            if victim is not None:
                victim.cut()  # within the lock: its thread can't leave the wait and close the connection
        if victim is not None:
            self._report(victim.network)
        try:
            yield
        finally:
            with self._lock:
                self._remove(connection)

    def _take_victim(self) -> Slow:
        most = max(map(len, self._networks.values()))
        candidates = (each for waits in self._networks.values() if len(waits) == most for each in waits)
        victim = min(candidates, key=lambda each: each.since)
        self._remove(victim)
        return victim

    def _remove(self, connection: Slow) -> None:
        waits = self._networks.get(connection.network, set())
        if connection in waits:  # a victim has been removed before its thread notices
            waits.remove(connection)
            self._count -= 1
            if not waits:
                del self._networks[connection.network]
