"""The connection to a client, with one deadline for a request and one for its answer."""

from __future__ import annotations

import errno
import os
import select
import socket
import time
from collections.abc import Callable
from contextlib import nullcontext, suppress
from typing import IO, TYPE_CHECKING, Final

from worker.refusals import RequestTimeout
from worker.waits import Waits

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

#: The most bytes of a file that one call hands to the kernel.
_MOST_SENT: Final = 1 << 20
#: The most bytes that are read at once to be discarded.
_MOST_DISCARDED: Final = 1 << 16
#: The slowest body that is read to its end, in bytes a second, and by how many seconds it may fall behind.
SLOWEST_BODY: Final = 2000
PATIENCE: Final = 10.0
#: The events of a closed connection. Only Linux reports that a client closed it without a reset.
_HUNG_UP: Final = getattr(select, "POLLRDHUP", 0) | select.POLLHUP | select.POLLERR


class DeadlineSocket(socket.socket):
    """A connection with one deadline for all reads of a request, and a separate one for the answer.

    The timeout of a socket applies to each call separately. A client that sends or reads single bytes slowly
    never exceeds it. A body also has a minimum rate, as in Apache's mod_reqtimeout: its client is given up
    when it is ``PATIENCE`` seconds behind ``SLOWEST_BODY``. Being ahead of it counts for nothing.

    Args:
        descriptor: the file descriptor of the accepted connection.
        network: of the client, or of the proxy before it. See ``worker/networks.py``.
        send_seconds: how long the client may take to read an answer.
        waits: where a thread that waits for the client is counted.
        on_wait: called when a thread begins to wait for the client or a turn, at most once a request.
        on_close: called once, when the connection is closed.
    """

    def __init__(  # noqa: PLR0913  # what it reports, and to whom
        self,
        descriptor: int,
        network: str,
        *,
        send_seconds: float,
        waits: Waits,
        on_wait: Callable[[DeadlineSocket], None] = lambda _: None,
        on_close: Callable[[], None] | None,
    ) -> None:
        super().__init__(fileno=descriptor)
        #: The network of the client of the current request.
        self.network = network
        #: When the request, or its answer, would have begun if the client had kept to ``SLOWEST_BODY``.
        self.since = 0.0
        #: Whether another bound than that of ``waits`` limits how many such requests wait for their bodies.
        self.has_place = False
        #: When the request must have arrived, on the clock of time.monotonic().
        self.deadline = 0.0
        #: Whether the current request was answered 401.
        self.is_unauthorized = False
        #: How long the current request waited for its thread, in seconds.
        self.waited = 0.0
        #: Whether the worker has counted the connection out.
        self.is_ended = False
        #: The bytes of the request that the main thread has read.
        self.ahead = bytearray()
        self._send_seconds = send_seconds
        self._send_deadline: float | None = None
        self._waits = waits
        self._on_wait = on_wait
        self._has_waited = False
        self._on_close = on_close

    def begin(self) -> None:
        """Starts a request whose head is in ``ahead``. The deadline is now, because the head is complete."""
        self.since = self.deadline = time.monotonic()
        self.has_place = self.is_unauthorized = self._has_waited = False
        self._send_deadline = None

    def recv(self, size: int, flags: int = 0, /) -> bytes:
        """Reads the bytes that have arrived, or waits for some until the deadline.

        The first call returns all of ``ahead``, even if it is more than ``size``: gunicorn keeps the
        bytes that it does not need yet, and looks for the next request among them, not here.

        Raises:
            RequestTimeout: nothing arrived in time. It can't be read any more.
        """
        if self.ahead:
            data = bytes(self.ahead)
            self.ahead.clear()
            return data
        # The time of an answer starts at its first byte, also after a "100 Continue".
        self._send_deadline = None
        while True:
            try:
                data = super().recv(size, flags | socket.MSG_DONTWAIT)
            except BlockingIOError:
                if not self._wait(select.POLLIN, min(self.deadline, self.since + PATIENCE)):
                    self.deadline = 0.0
                    raise RequestTimeout from None
            else:
                self._advance(len(data))
                return data

    def sendall(self, data: ReadableBuffer, flags: int = 0, /) -> None:
        """Sends everything. Raises ConnectionResetError if the client does not read it in time."""
        left = memoryview(data).cast("B")
        while left:
            left = left[self.send(left, flags) :]

    def send(self, data: ReadableBuffer, flags: int = 0, /) -> int:
        """Sends what there is room for, at least a byte, and returns its size. Raises as ``sendall`` does."""
        while True:
            try:
                sent = super().send(data, flags | socket.MSG_DONTWAIT)
            except BlockingIOError:
                self._wait_to_send()
            else:
                self._advance(sent)
                return sent

    def sendfile(self, file: IO[bytes], offset: int = 0, count: int | None = None) -> int:  # type: ignore[override]  # a file with a descriptor
        """Sends ``count`` bytes of a file, or all. Raises ConnectionResetError, as ``sendall`` does."""
        self.setblocking(False)
        sent = 0
        while count is None or sent < count:
            left = _MOST_SENT if count is None else min(count - sent, _MOST_SENT)
            try:
                done = os.sendfile(self.fileno(), file.fileno(), offset + sent, left)
            except BlockingIOError:
                self._wait_to_send()
                continue
            if not done:
                break
            self._advance(done)
            sent += done
        return sent

    def _advance(self, size: int) -> None:
        self.since = min(self.since + size / SLOWEST_BODY, time.monotonic())

    def _wait_to_send(self) -> None:
        if self._send_deadline is None:
            self.since = time.monotonic()
            self._send_deadline = self.since + self._send_seconds
        if not self._wait(select.POLLOUT, self._send_deadline):
            raise ConnectionResetError(errno.ECONNRESET, "the client does not read its answer")

    def report_wait(self) -> None:
        """Calls ``on_wait``, unless the thread of this request has waited before."""
        if not self._has_waited:
            self._has_waited = True
            self._on_wait(self)

    def _wait(self, event: int, deadline: float) -> bool:
        """Waits for an event. Returns False at the deadline, or if the connection is cut."""
        left = deadline - time.monotonic()
        if left <= 0:
            return False
        self.report_wait()
        ready = select.poll()
        ready.register(self, event)
        is_bounded = self.has_place and event == select.POLLIN
        with nullcontext() if is_bounded else self._waits.waiting(self):
            return bool(ready.poll(1000 * left)) and self.deadline > 0

    def cut(self) -> None:
        """Ends the connection while another thread waits for it. No answer can be sent any more."""
        self.deadline = self._send_deadline = 0.0
        with suppress(OSError):  # the client may be gone
            self.shutdown(socket.SHUT_RDWR)

    def discard(self, most: int) -> None:
        """Ends the answer, and reads what the client still sends, until it closes the connection.

        Args:
            most: the most bytes to read.

        Raises:
            RequestTimeout: the deadline has passed.
            OSError: the connection broke.
        """
        self.shutdown(socket.SHUT_WR)
        while most > 0 and (piece := self.recv(_MOST_DISCARDED)):
            most -= len(piece)
            if time.monotonic() >= self.deadline:
                raise RequestTimeout

    def is_hung_up(self) -> bool:
        """Whether the client is known to have closed the connection, or only its sending half."""
        state = select.poll()
        state.register(self, _HUNG_UP)
        return bool(state.poll(0))

    def close(self) -> None:
        """Closes the connection and reports it to ``on_close``."""
        super().close()
        if self._on_close is not None:
            self._on_close()
            self._on_close = None
