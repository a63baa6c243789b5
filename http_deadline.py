"""A time limit for a whole HTTP exchange, for urllib3 and therefore for botocore.

Their timeouts limit one read of the socket, so a server that sends a byte every second never exceeds them.
Here a timer shuts down the connections of a call when its time is over, in every phase: the handshake, the
sending, the head and the body of the answer.

The time in which a body moves does not count, as long as it is not slower than ``SLOWEST_TRANSFER``. So a
transfer over a slow line succeeds, and a store that hangs is given up as early as with a small object.
"""

from __future__ import annotations

import array
import fcntl
import select
import socket
import termios
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

if TYPE_CHECKING:
    from http.client import _DataType

#: The slowest transfer of a body that succeeds, in bytes a second: 1 Mbit/s.
SLOWEST_TRANSFER: Final = 125_000
#: How often the kernel is asked how much of a body it has still to send, in seconds.
_POLL: Final = 0.02
#: Replaces ``Deadline.patience``, in seconds, if something has arrived while the body is being sent.
_PATIENCE_WITH_ANSWER: Final = 0.5

_current: Final[ContextVar[Deadline | None]] = ContextVar("deadline", default=None)


class Deadline:
    """The time limit of all calls inside a ``with`` block together.

    Args:
        seconds: the time, without that of transfers.
        patience: the seconds without progress after which a transfer is given up.
    """

    def __init__(self, seconds: float, *, patience: float) -> None:
        self.patience = patience
        self._end = time.monotonic() + seconds
        self._spare = 0.0
        self._lock = threading.Lock()
        self._sockets: list[socket.socket] = []
        self._over = False
        self._is_left = False

    def __enter__(self) -> Self:
        self._token = _current.set(self)
        with self._lock:
            self._set_timer()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _current.reset(self._token)
        with self._lock:
            self._is_left = True
            self._timer.cancel()
            self._close_sockets()

    @property
    def remaining(self) -> float:
        """The seconds that are left, at least 0."""
        return max(0.0, self._end - time.monotonic())

    @property
    def is_over(self) -> bool:
        """Whether connections were cut. An answer can then look complete, because http.client takes the end
        of the connection for the end of the head.
        """
        return self._over

    @contextmanager
    def transfer(self, size: int) -> Iterator[None]:
        """A block in which ``size`` bytes are sent or received, whose time does not count.

        Only as much time is left out as the bytes of this block and of earlier ones take at
        ``SLOWEST_TRANSFER``.
        """
        self._spare += size / SLOWEST_TRANSFER
        begun = time.monotonic()
        self._move(self._spare)
        try:
            yield
        finally:
            used = min(time.monotonic() - begun, self._spare)
            self._move(used - self._spare)
            self._spare -= used

    def _move(self, seconds: float) -> None:
        """Moves the end. A timer that expires before the new end needs no change: see ``_expire``."""
        with self._lock:
            self._end += seconds
            if self._end < self._expires and not self._is_left:
                self._timer.cancel()
                self._set_timer()

    def _set_timer(self) -> None:
        self._expires = self._end
        self._timer = threading.Timer(self.remaining, self._expire)
        self._timer.daemon = True
        self._timer.start()

    def connect(self, connect: Callable[[], socket.socket]) -> socket.socket:
        """Opens a connection and watches it. The name look-up and the attempts at each address, which have no
        time limit of their own, must end within the time too.

        Raises:
            TimeoutError: the time is over. A connection that is established later is closed.
            Exception: what ``connect`` raises.
        """
        made: Future[socket.socket] = Future()
        threading.Thread(target=_fulfil, args=(made, connect), daemon=True).start()
        try:
            sock = made.result(self.remaining)
        except TimeoutError:
            made.add_done_callback(_close_late)
            raise
        try:
            self.watch(sock)
        except TimeoutError:
            sock.close()
            raise
        return sock

    def watch(self, sock: socket.socket) -> None:
        """Makes sure that this socket is shut down when the time is over.

        Raises:
            TimeoutError: the time is over already.
        """
        with self._lock:
            if self._over or not self.remaining:
                raise TimeoutError("the call exceeded its deadline")
            # A second descriptor of the same connection, because TLS detaches the first one.
            self._sockets.append(socket.fromfd(sock.fileno(), sock.family, sock.type))

    def _expire(self) -> None:
        with self._lock:
            if self._is_left:
                return
            if self.remaining:  # the end has moved
                self._set_timer()
                return
            self._over = True
            for sock in self._sockets:
                with suppress(OSError):  # the other side may have closed it
                    sock.shutdown(socket.SHUT_RDWR)
            self._close_sockets()

    def _close_sockets(self) -> None:
        while self._sockets:
            self._sockets.pop().close()


def _fulfil(made: Future[socket.socket], connect: Callable[[], socket.socket]) -> None:
    try:
        made.set_result(connect())
    except BaseException as error:  # noqa: BLE001  # raised in the thread that waits
        made.set_exception(error)


def _close_late(made: Future[socket.socket]) -> None:
    with suppress(Exception):
        made.result().close()


def _unsent(sock: socket.socket) -> int:
    """The bytes that the kernel has taken and the other side has not acknowledged; 0 if it does not tell.

    See SIOCOUTQ in tcp(7). Its number is that of TIOCOUTQ.
    """
    count = array.array("i", [0])
    try:
        fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, count)
    except OSError:
        return 0
    return count[0]


def _wait_until_sent(sock: socket.socket, deadline: Deadline) -> None:
    """Waits until the kernel has sent everything, or makes no progress for too long.

    The kernel takes megabytes at once. Without this wait, the time that they take on a slow line would count
    as time in which the store does not answer.
    """
    readable = select.poll()
    readable.register(sock, select.POLLIN)
    left, since = _unsent(sock), time.monotonic()
    while left and not deadline.is_over:
        # What has arrived may be a refusal, after which the store reads no more, or a message of TLS.
        arrived = readable.poll(1000 * _POLL)
        before, left = left, _unsent(sock)
        if left < before:
            since = time.monotonic()
        elif time.monotonic() - since > (_PATIENCE_WITH_ANSWER if arrived else deadline.patience):
            return
        if left and arrived:  # the poll does not wait any more
            time.sleep(_POLL)


class _Watched(HTTPConnection):
    """A connection that obeys the deadline of the call that is using it."""

    def _new_conn(self) -> socket.socket:
        deadline = _current.get()
        return deadline.connect(super()._new_conn) if deadline else super()._new_conn()

    def request(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401  # passed on as they are
        deadline = _current.get()
        if self.sock is not None and deadline:  # from the pool
            deadline.watch(self.sock)
        super().request(*args, **kwargs)
        if self.sock is not None and deadline:
            with deadline.transfer(0):
                _wait_until_sent(self.sock, deadline)

    def send(self, data: _DataType | str) -> None:
        """Sends the head or a block of the body."""
        deadline = _current.get()
        if deadline is None or not isinstance(data, bytes):
            super().send(data)
            return
        if self.sock is None:
            self.connect()
        self.sock.settimeout(deadline.patience)
        with deadline.transfer(len(data)):
            super().send(data)


class _WatchedTLS(_Watched, HTTPSConnection):
    """The same over TLS."""


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Watched


class _PoolTLS(HTTPSConnectionPool):
    ConnectionCls = _WatchedTLS


#: The value of ``pool_classes_by_scheme`` in urllib3 and botocore.
POOLS: Final[dict[str, type[HTTPConnectionPool]]] = {"http": _Pool, "https": _PoolTLS}
