"""Decides which request gets a thread next: few begin at a time, and the networks of clients take turns.

A network of which a key or a password was wrong comes after the others for a minute. So a flood of such
requests from many networks does not keep a client waiting that has no part in it.
"""

from __future__ import annotations

import time
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final
from weakref import WeakSet

from gunicorn.workers.gthread import TConn

from worker.sockets import DeadlineSocket

#: The most young requests: those that began a moment ago, have not ended, and have not waited for their
#: clients or a turn. Only one thread of a process runs Python code at a time. If hundreds try, each one waits
#: for the others after every call to the kernel, and so does the thread that accepts connections.
_MOST_YOUNG: Final = 8
#: How long a request is young if no other one runs, in seconds. One that takes longer usually waits for a
#: store, and another one may begin.
_YOUNG: Final = 0.05
#: With this many requests that run, the time doubles, with twice as many it triples, and so on: they may wait
#: for the processors. So fewer begin than a busy machine can serve, and their number does not grow.
_MANY: Final = 16
#: How long a request may wait for a thread, in seconds.
_LONGEST_WAIT: Final = 1.0
#: How often the waits are checked if something else happens, in seconds.
_CHECKS: Final = 0.1
#: For how long, in seconds, a network comes after the others because a key or a password of it was wrong, and
#: the most such networks that are remembered.
_SUSPECT: Final = 60.0
_MOST_SUSPECTS: Final = 10_000


@dataclass(frozen=True, slots=True)
class _Queued:
    """A request that waits for a thread; ``since`` is on the clock of time.monotonic()."""

    conn: TConn
    sock: DeadlineSocket
    since: float


class Admission:
    """The requests of a process that wait for a thread. Only the main thread uses it.

    Args:
        begin: gives a request to a thread.
        end: closes the connection of a request whose client is gone.
        refuse: answers a request that there is no room or no time for.
    """

    def __init__(
        self,
        *,
        begin: Callable[[TConn], None],
        end: Callable[[TConn], None],
        refuse: Callable[[TConn, DeadlineSocket], None],
    ) -> None:
        self._begin = begin
        self._end = end
        self._refuse = refuse
        # In the order in which they began, with the time of that.
        self._young: dict[DeadlineSocket, float] = {}
        # Those that have begun, and neither ended nor waited for their clients or a turn.
        self._running: WeakSet[DeadlineSocket] = WeakSet()
        # The networks in the order of their turns. None of the queues is empty.
        self._queues: OrderedDict[str, deque[_Queued]] = OrderedDict()
        # In the order of the times until which they are suspect.
        self._suspects: OrderedDict[str, float] = OrderedDict()
        self._next_check = 0.0

    def suspect(self, network: str) -> None:
        """Lets the requests of a network wait for those of others for a while: one was unauthorized."""
        self._suspects[network] = time.monotonic() + _SUSPECT
        self._suspects.move_to_end(network)
        if len(self._suspects) > _MOST_SUSPECTS:
            self._suspects.popitem(last=False)

    def add(self, conn: TConn, sock: DeadlineSocket) -> None:
        """Takes a request whose head is complete. It begins at once, or waits for its turn."""
        if len(self._young) < _MOST_YOUNG:
            self._start(conn, sock, 0.0)
        elif sock.is_hung_up():
            self._end(conn)
        else:
            self._queues.setdefault(sock.network, deque()).append(_Queued(conn, sock, time.monotonic()))

    def settle(self, sock: DeadlineSocket) -> None:
        """Lets another request begin: this one has ended, or waits for its client or a turn."""
        self._young.pop(sock, None)
        self._running.discard(sock)
        self.advance()

    def advance(self) -> None:
        """Lets requests begin, of each network in turn, and refuses those that have waited too long.

        A request whose client is gone is dropped.
        """
        now = time.monotonic()
        while self._young and self._oldest_until() <= now:
            del self._young[next(iter(self._young))]
        while self._suspects and next(iter(self._suspects.values())) <= now:
            self._suspects.popitem(last=False)
        while self._queues and len(self._young) < _MOST_YOUNG:
            queued = self._take(self._next())
            if queued.sock.is_hung_up():
                self._end(queued.conn)
            else:
                self._start(queued.conn, queued.sock, now - queued.since)
        if now >= self._next_check:
            self._next_check = now + _CHECKS
            self._refuse_since(now - _LONGEST_WAIT)

    def _next(self) -> str:
        """The network whose turn is next."""
        first = next(iter(self._queues))
        return next((network for network in self._queues if network not in self._suspects), first)

    def seconds_left(self) -> float | None:
        """The seconds until ``advance`` may let another request begin; None if none waits."""
        if not self._queues:
            return None
        return max(0.0, self._oldest_until() - time.monotonic()) if self._young else 0.0

    def _oldest_until(self) -> float:
        """When the oldest of the young requests is no longer young."""
        return next(iter(self._young.values())) + _YOUNG * (1 + len(self._running) / _MANY)

    def _refuse_since(self, latest: float) -> None:
        """Refuses the requests that have waited since ``latest``, or longer."""
        for network in list(self._queues):
            while network in self._queues and self._queues[network][0].since <= latest:
                queued = self._take(network)
                self._refuse(queued.conn, queued.sock)

    def evict(self) -> bool:
        """Refuses the newest request of the network with the most, of a suspect one if there is any.

        Returns:
            False if none waits.
        """
        if not self._queues:
            return False
        network = max(self._queues, key=lambda each: (each in self._suspects, len(self._queues[each])))
        queued = self._queues[network].pop()
        if not self._queues[network]:
            del self._queues[network]
        self._refuse(queued.conn, queued.sock)
        return True

    def _take(self, network: str) -> _Queued:
        """Takes the oldest request of a network, whose next turn comes after those of all others."""
        queue = self._queues[network]
        queued = queue.popleft()
        if queue:
            self._queues.move_to_end(network)
        else:
            del self._queues[network]
        return queued

    def _start(self, conn: TConn, sock: DeadlineSocket, waited: float) -> None:
        sock.waited = waited
        self._running.add(sock)
        self._young[sock] = time.monotonic()
        self._begin(conn)
