"""Reads the heads of requests in the main thread, so that a head that arrives slowly holds no thread."""

from __future__ import annotations

import math
import selectors
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Final

from gunicorn.http import errors
from gunicorn.workers.gthread import TConn

from worker.refusals import RequestTimeout, refusal
from worker.sockets import DeadlineSocket

#: How long the head of a request may take to arrive, in seconds.
HEAD_DEADLINE: Final = 10.0
#: The most bytes of a head, and of its first line.
_MOST_HEAD: Final = 32 << 10
_MOST_LINE: Final = 4096
#: How long a worker that stops still waits for heads, in seconds.
_STOP_GRACE: Final = 2.0
#: How long, in seconds, and for how many bytes the client may still send after the last answer.
_LINGER: Final = 1.0
_MOST_DRAINED: Final = 64 << 10


@dataclass(slots=True, eq=False)
class _Waiting:
    """A connection that the main thread watches.

    Attributes:
        conn: gunicorn's record of it.
        sock: its socket.
        deadline: the end of the wait, on the clock of time.monotonic().
        drained: the number of bytes that were read after the last answer.
    """

    conn: TConn
    sock: DeadlineSocket
    deadline: float
    drained: int = 0


class Heads:
    """The connections of a worker that no thread serves, apart from the kept-alive ones.

    Only the main thread uses it. A connection waits for the head of its next request, or, after its last
    answer, for the client to close it. A connection that is closed with unread bytes is reset, and the client
    may lose the answer (RFC 9112 section 9.6).

    Args:
        poller: the poller of the main thread.
        complete: takes a connection whose head is complete.
        end: closes a connection for good.
    """

    def __init__(
        self,
        poller: selectors.BaseSelector,
        *,
        complete: Callable[[TConn, DeadlineSocket], None],
        end: Callable[[TConn], None],
    ) -> None:
        self._poller = poller
        self._complete = complete
        self._end = end
        # In the order of their deadlines, because all of one kind wait equally long.
        self._arriving: dict[_Waiting, None] = {}
        self._ending: dict[_Waiting, None] = {}
        self._stop = math.inf  # the end of all waits for heads, on the clock of time.monotonic()

    def await_head(self, conn: TConn, sock: DeadlineSocket, seconds: float) -> None:
        """Hands the connection on when the head of its next request is complete.

        Args:
            conn: the connection.
            sock: its socket.
            seconds: how long the head may take. After that the answer is 408, or the connection is closed
                without one if no byte has arrived.
        """
        sock.setblocking(False)
        waiting = _Waiting(conn, sock, time.monotonic() + seconds)
        follow = self._read(sock)
        if follow is not None:
            follow(waiting)
            return
        self._watch(waiting, self._arriving, self._on_readable)

    def refuse(self, conn: TConn, sock: DeadlineSocket, answer: bytes) -> None:
        """Answers without blocking, and ends the connection as ``linger`` does."""
        with suppress(OSError):  # the client may be gone
            sock.setblocking(False)
            socket.socket.send(sock, answer)
        self.linger(conn, sock)

    def linger(self, conn: TConn, sock: DeadlineSocket) -> None:
        """Ends the answer, and closes the connection when the client does, or after a second."""
        try:
            sock.setblocking(False)
            sock.shutdown(socket.SHUT_WR)
        except OSError:  # the client is gone
            self._end(conn)
            return
        waiting = _Waiting(conn, sock, time.monotonic() + _LINGER)
        self._watch(waiting, self._ending, self._on_ending)

    def expire(self, *, stopping: bool) -> None:
        """Ends the connections whose deadline has passed.

        When the worker begins to stop, the connections that wait for a head have two more seconds, as the
        kept-alive ones have in gunicorn: a request may be on its way.
        """
        now = time.monotonic()
        if stopping:
            self._stop = min(self._stop, now + _STOP_GRACE)
        while (oldest := next(iter(self._ending), None)) and oldest.deadline <= now:
            self._close(oldest)
        while (oldest := next(iter(self._arriving), None)) and min(oldest.deadline, self._stop) <= now:
            if oldest.sock.ahead:
                self._forget(oldest)
                self.refuse(oldest.conn, oldest.sock, refusal(RequestTimeout()))
            else:
                self._close(oldest)

    def evict_ending(self) -> bool:
        """Closes the oldest connection that has its last answer. Returns False if there is none."""
        oldest = next(iter(self._ending), None)
        if oldest is not None:
            self._close(oldest)
        return oldest is not None

    def evict_arriving(self) -> bool:
        """Closes the connection that waits longest for a head, unless it is the only one."""
        if len(self._arriving) < 2:  # noqa: PLR2004  # the newest one needs time for its head
            return False
        self._close(next(iter(self._arriving)))
        return True

    def _watch(
        self,
        waiting: _Waiting,
        group: dict[_Waiting, None],
        on_readable: Callable[[_Waiting, object], None],
    ) -> None:
        try:
            self._poller.register(waiting.sock, selectors.EVENT_READ, partial(on_readable, waiting))
        except OSError:  # the kernel lacks memory, or watches as many descriptors as it may
            self._end(waiting.conn)
        else:
            group[waiting] = None

    def _forget(self, waiting: _Waiting) -> None:
        if waiting in self._arriving or waiting in self._ending:
            self._poller.unregister(waiting.sock)
            self._arriving.pop(waiting, None)
            self._ending.pop(waiting, None)

    def _close(self, waiting: _Waiting) -> None:
        self._forget(waiting)
        self._end(waiting.conn)

    def _on_readable(self, waiting: _Waiting, _: object) -> None:
        follow = self._read(waiting.sock)
        if follow is not None:
            follow(waiting)

    def _read(self, sock: DeadlineSocket) -> Callable[[_Waiting], None] | None:
        """Reads what has arrived. Returns what follows, or None if the head is incomplete."""
        ahead = sock.ahead
        try:
            while (length := _length(ahead)) is None and len(ahead) <= _MOST_HEAD:
                piece = socket.socket.recv(sock, _MOST_HEAD + 1 - len(ahead))
                if not piece:
                    return self._close
                ahead += piece
        except BlockingIOError:
            return None
        except OSError:
            return self._close
        return self._hand_on if length is not None and length <= _MOST_HEAD else self._refuse_long

    def _hand_on(self, waiting: _Waiting) -> None:
        self._forget(waiting)
        waiting.conn.data_ready = True  # otherwise its thread would wait for data
        self._complete(waiting.conn, waiting.sock)

    def _refuse_long(self, waiting: _Waiting) -> None:
        self._forget(waiting)
        is_line = b"\n" not in waiting.sock.ahead[:_MOST_LINE]
        error = errors.LimitRequestLine(0, 0) if is_line else errors.LimitRequestHeaders("")
        self.refuse(waiting.conn, waiting.sock, refusal(error))

    def _on_ending(self, waiting: _Waiting, _: object) -> None:
        try:
            piece = socket.socket.recv(waiting.sock, _MOST_DRAINED)
        except BlockingIOError:
            return
        except OSError:
            piece = b""
        waiting.drained += len(piece)
        if not piece or waiting.drained > _MOST_DRAINED:
            self._close(waiting)


def _length(head: bytearray) -> int | None:
    """The bytes up to the point where gunicorn's parser can answer, or None.

    That is the empty line after the head. A line that does not end with CRLF is refused by the parser before
    the head is complete. The parser ignores one empty line before the first line (RFC 9112 section 2.2).
    """
    start = 2 if head.startswith(b"\r\n") else 0
    end = head.find(b"\r\n\r\n", start)
    if end >= 0:
        return end
    return 0 if head.count(b"\n") != head.count(b"\r\n") else None
