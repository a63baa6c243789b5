"""Turns: divides a scarce resource of a process fairly between owners, with bounded waiting.

The owner of a request is its workspace; that of a sign-in is the network of its client. These resources are
divided: the places of uploads (``UPLOADS``), other writes (``write_turn``), the reading of containers
(``validators/structure.py``), the memory of decodes (``validators/decoding/memory.py``), the work of making
sizes (``sizes.py``) and lists (``api/answers.py``), and that of checking passwords (``auth/sessions.py``,
``auth/passwords.py``). A request asks for its turn before it holds anything. Requests of one owner are served
in the order of their arrival, and the owners take turns (round robin), so an owner with many waiting requests
delays another by at most one of its requests.
"""

from __future__ import annotations

import math
import os
import threading
import time
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Final

from errors import DomainError, Unavailable

#: How often a waiting request checks whether its client is still connected, in seconds.
_LOOK: Final = 0.25


#: How long a request may wait for a thread and for all its turns together, in seconds. With the work between
#: these, a refusal comes within two seconds.
PATIENCE: Final = 1.25


class ServerBusy(Unavailable):
    """The process has too many requests, or no turn came within the time that a request may wait.

    Args:
        reason: see DomainError.
        of: what the answer says there are too many of.
    """

    code = "server_busy"
    message = "Too many uploads at the moment. Try again later."
    retry_after = 2

    def __init__(self, reason: str = "", *, of: str = "uploads") -> None:
        super().__init__(reason)
        self.message = f"Too many {of} at the moment. Try again later."


class ShareUsed(DomainError):
    """The owner itself has as many requests in the process as one owner may have.

    Args:
        reason, of: see ServerBusy.
    """

    code = "share_used"
    message = "Too many uploads of this workspace at once. Try again later."
    retry_after = 2

    def __init__(self, reason: str = "", *, of: str = "uploads") -> None:
        super().__init__(reason)
        self.message = f"Too many {of} of this workspace at once. Try again later."


class ClientGone(DomainError):
    """The client closed its connection; nobody reads the answer."""

    code = "client_gone"
    message = "Client closed the connection"


def never() -> bool:
    """``is_gone`` of a requester that has no connection."""
    return False


def _tell_nobody() -> None:
    """``on_wait`` of a requester that has no connection."""


@dataclass(slots=True)
class Requester:
    """The request that asks for turns.

    Attributes:
        owner: whose turn it is: a workspace or a network; empty for commands and tests.
        is_gone: returns whether the client has closed its connection.
        patience: the seconds for which the request may wait, for all its turns together. It goes down as the
            request waits.
        rank: requests of a lower rank are served first, and displace waiting ones of a higher rank.
        on_wait: called when a turn does not come at once.
    """

    owner: str = ""
    is_gone: Callable[[], bool] = never
    patience: float = math.inf
    rank: int = 0
    on_wait: Callable[[], None] = _tell_nobody


#: The requester of the current thread's work. Decodes take turns, but validators know nothing about requests.
REQUESTER: Final[ContextVar[Requester]] = ContextVar("requester", default=Requester())  # noqa: B039  # endless patience stays endless


@contextmanager
def asking_as(requester: Requester) -> Iterator[None]:
    """Makes this the requester of the current thread's work while the block runs."""
    token = REQUESTER.set(requester)
    try:
        yield
    finally:
        REQUESTER.reset(token)


@dataclass(frozen=True, slots=True)
class Bounds:
    """The bounds of the requests that hold a turn or wait for one.

    Attributes:
        requests: the most requests of all owners that hold a turn or wait.
        own_requests: the most requests of one owner that hold a turn or wait.
        own_turns: the most turns that one owner holds at a time.
        seconds: the longest wait for one turn, of a request that has more patience.
        share: the part of what the other owners leave free that one owner may take: of the limit (with the
            turns that it holds), and of ``requests``. With 0.5, the first owner gets a half, and the second a
            quarter, so a few owners together do not take everything.
        queue: the total size of one owner's waiting requests, in multiples of the limit. So few large
            requests can wait, or many small ones.
        first_waits: whether the first request of an owner that holds no turn waits on when its patience has
            ended. So an owner with one request waits for the long turn of another.
    """

    requests: int
    own_requests: int
    own_turns: int
    seconds: float
    share: float = 1.0
    queue: int = 20
    first_waits: bool = False


@dataclass(slots=True, eq=False)
class _Waiter:
    """A request that waits.

    Attributes:
        owner, rank: those of its requester.
        size, limit: the size that it takes, and the most that all requests may take together.
        opened: a lock that is released when the wait is over.
        refused: whether its place in the queue was given to another owner.
    """

    owner: str
    rank: int
    size: int
    limit: int
    opened: threading.Lock = field(default_factory=threading.Lock)
    refused: bool = False


class Turns:
    """Divides a quantity, such as bytes of memory, within a limit.

    A request that alone exceeds the limit gets its turn when no other turn is held. One that alone exceeds
    its owner's share gets it when its owner holds no other. In a forked child, nothing is held.

    Args:
        bounds: the bounds of the requests.
        of: the requests, as the refusals name them.
    """

    def __init__(self, bounds: Bounds, *, of: str = "uploads") -> None:
        self._bounds = bounds
        self._of = of
        self._start_process()
        os.register_at_fork(after_in_child=self._start_process)

    def _start_process(self) -> None:
        self._lock = threading.Lock()
        self._held: Counter[str] = Counter()
        self._requests: Counter[str] = Counter()
        # The owners in the order in which their next turns come, within a rank.
        self._queues: OrderedDict[str, deque[_Waiter]] = OrderedDict()

    @property
    def waiting(self) -> int:
        """The number of requests that wait."""
        with self._lock:
            return sum(map(len, self._queues.values()))

    @property
    def held(self) -> int:
        """The sum of the sizes that are held at the moment."""
        return self._held.total()

    @contextmanager
    def turn(self, size: int, limit: int) -> Iterator[None]:
        """Waits until ``size`` fits under ``limit``, and holds it while the block runs.

        The turn is for the request in ``REQUESTER``.

        Raises:
            ShareUsed: there was no room or no turn in time because of what the owner itself has under way.
            ServerBusy: the same, because of others.
            ClientGone: the client closed the connection before the turn came.
        """
        requester = REQUESTER.get()
        waiter = _Waiter(requester.owner, requester.rank, size, limit)
        waiter.opened.acquire()
        with self._lock:
            self._enter(waiter)
            self._admit()
            self._check_queue(waiter)
        try:
            self._wait(waiter, requester)
            yield
        finally:
            with self._lock:
                self._leave(waiter)
                self._admit()

    def _wait(self, waiter: _Waiter, requester: Requester) -> None:
        if waiter.opened.locked():
            requester.on_wait()
        begun = time.monotonic()
        end = begun + self._bounds.seconds
        until = min(end, begun + requester.patience)
        while not waiter.opened.acquire(timeout=max(0.0, min(_LOOK, until - time.monotonic()))):
            if requester.is_gone():
                raise ClientGone
            now = time.monotonic()
            if now >= until:
                if now >= end or not (self._bounds.first_waits and self._is_first(waiter)):
                    raise self._overdue(waiter)
                until = min(end, now + _LOOK)
        requester.patience -= time.monotonic() - begun
        if waiter.refused:
            raise self._refusal(own=True)
        if requester.is_gone():
            raise ClientGone

    def _is_first(self, waiter: _Waiter) -> bool:
        """Whether its owner holds no turn, and no other request of its owner waits before this one."""
        with self._lock:
            queue = self._queues.get(waiter.owner)
            if not queue or waiter not in queue:  # its wait has just ended
                return True
            return queue[0] is waiter and not self._held[waiter.owner]

    def _overdue(self, waiter: _Waiter) -> ShareUsed | ServerBusy:
        """The refusal of a request whose turn did not come in time."""
        with self._lock:
            queue = self._queues.get(waiter.owner)
            return self._refusal(own=queue is not None and self._uses_share(queue[0]))

    def _refusal(self, *, own: bool) -> ShareUsed | ServerBusy:
        """The refusal of a request, by whether its owner's own requests are in the way."""
        return ShareUsed(of=self._of) if own else ServerBusy(of=self._of)

    def _enter(self, waiter: _Waiter) -> None:
        """Queues the request, or raises ShareUsed or ServerBusy. The caller holds the lock."""
        own = self._requests[waiter.owner]
        free = self._bounds.requests - self._requests.total()
        if own >= self._bounds.own_requests or (
            free > 0 and own and own + 1 > self._bounds.share * (own + free)
        ):
            raise self._refusal(own=True)
        if free <= 0 and not self._make_room(waiter):
            raise self._refusal(own=False)
        self._requests[waiter.owner] += 1
        self._queues.setdefault(waiter.owner, deque()).append(waiter)

    def _check_queue(self, waiter: _Waiter) -> None:
        """Refuses the request if its owner's waiting requests are too large. The caller holds the lock.

        Raises:
            ShareUsed: the owner's own requests are in the way.
            ServerBusy: those of others are.
        """
        queue = self._queues.get(waiter.owner, ())
        if waiter in queue and sum(other.size for other in queue) > self._bounds.queue * waiter.limit:
            is_own_fault = len(queue) > 1 or self._uses_share(waiter)
            self._forget(waiter)
            raise self._refusal(own=is_own_fault)

    def _make_room(self, newcomer: _Waiter) -> bool:
        """Refuses a waiting request of the highest rank, and there of the owner with the most requests.

        Returns:
            Whether it did: only for a newcomer of a lower rank, or if that owner still has more requests than
            the newcomer's owner afterwards.
        """

        def excess(owner: str) -> tuple[int, int]:
            return self._queues[owner][-1].rank, self._requests[owner]

        owner = max(self._queues, key=excess, default=None)
        if owner is None or excess(owner) <= (newcomer.rank, self._requests[newcomer.owner] + 1):
            return False
        last = self._queues[owner][-1]
        last.refused = True
        self._forget(last)
        last.opened.release()
        return True

    def _forget(self, waiter: _Waiter) -> None:
        queue = self._queues[waiter.owner]
        queue.remove(waiter)
        if not queue:
            del self._queues[waiter.owner]
        self._count_out(waiter.owner)

    def _count_out(self, owner: str) -> None:
        self._requests[owner] -= 1
        if not self._requests[owner]:
            del self._requests[owner]

    def _leave(self, waiter: _Waiter) -> None:
        if waiter.refused:
            return
        if waiter in self._queues.get(waiter.owner, ()):  # the wait ended without a turn
            self._forget(waiter)
            return
        self._count_out(waiter.owner)
        self._held[waiter.owner] -= waiter.size
        if not self._held[waiter.owner]:
            del self._held[waiter.owner]

    def _admit(self) -> None:
        """Gives turns to the requests that fit. The caller holds the lock.

        A request that does not fit under the limit blocks those behind it, so that small ones do not overtake
        a large one forever. One that exceeds its owner's share blocks only its owner.
        """
        for owner in self._order():
            waiter = self._queues[owner][0]
            if self._uses_share(waiter):
                continue
            held = self._held.total()
            if held and held + waiter.size > waiter.limit:
                return
            self._queues[owner].popleft()
            self._held[owner] += waiter.size
            if self._queues[owner]:
                self._queues.move_to_end(owner)
            else:
                del self._queues[owner]
            waiter.opened.release()

    def _uses_share(self, waiter: _Waiter) -> bool:
        """Whether a turn for this request would exceed what its owner may hold."""
        own = self._held[waiter.owner]
        turns = self._requests[waiter.owner] - len(self._queues[waiter.owner])
        others = self._held.total() - own
        too_much = bool(own) and own + waiter.size > self._bounds.share * (waiter.limit - others)
        return too_much or turns >= self._bounds.own_turns

    def _order(self) -> Iterator[str]:
        """The owners that wait, by rank and in turn, until none of them got a turn in a whole round."""
        while True:
            before = sum(map(len, self._queues.values()))
            yield from sorted(self._queues, key=lambda owner: self._queues[owner][0].rank)
            if before == sum(map(len, self._queues.values())):
                return


#: The most bytes of upload bodies that a process holds. A form is parsed into a second copy, and the stored
#: file may be a third.
BODIES: Final = 160_000_000
#: A worker has 320 threads (gunicorn.conf.py): uploads leave at least 192 to all other requests. A slow
#: sender holds its place until its deadline, so a place for a small body costs little and there are many.
UPLOADS: Final = Turns(Bounds(requests=128, own_requests=64, own_turns=64, seconds=5, share=0.5))


@contextmanager
def upload_place(requester: Requester, size: int) -> Iterator[None]:
    """Holds a place for an upload whose body has ``size`` bytes, while the block runs.

    Raises:
        ShareUsed, ServerBusy, ClientGone
    """
    with asking_as(requester), UPLOADS.turn(size, BODIES):
        yield


#: The writes that a process makes at a time, besides uploads. Many writes of one workspace at a time would
#: make those of the others wait in the catalog, which takes them in no fair order.
_WRITERS: Final = 32
_WRITES: Final = Turns(
    Bounds(requests=128, own_requests=64, own_turns=8, seconds=0.8, share=0.5), of="changes"
)


@contextmanager
def write_turn(requester: Requester) -> Iterator[None]:
    """Holds a turn for a write other than an upload, while the block runs.

    Raises:
        ShareUsed, ServerBusy, ClientGone
    """
    with asking_as(requester), _WRITES.turn(1, _WRITERS):
        yield
