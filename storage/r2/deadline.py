"""A time limit for a whole HTTP exchange, for urllib3 and therefore for botocore.

Their timeouts limit one read of the socket, so a server that sends a byte every second never exceeds them.
Here a timer shuts down the connections of a call when its time is over, in every phase: the handshake, the
sending, the head and the body of the answer.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from contextvars import ContextVar
from types import TracebackType
from typing import Any, Final, Self

from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

_current: Final[ContextVar[Deadline | None]] = ContextVar("deadline", default=None)


class Deadline:
    """The time limit of all calls inside a ``with`` block together, in seconds."""

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds
        self._lock = threading.Lock()
        self._sockets: list[socket.socket] = []
        self._over = False
        self._timer = threading.Timer(seconds, self._expire)
        self._timer.daemon = True

    def __enter__(self) -> Self:
        self._token = _current.set(self)
        self._timer.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._timer.cancel()
        _current.reset(self._token)
        with self._lock:
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
                raise TimeoutError("the time for the call is over")
            # A second descriptor of the same connection, because TLS detaches the first one.
            self._sockets.append(socket.fromfd(sock.fileno(), sock.family, sock.type))

    def _expire(self) -> None:
        with self._lock:
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


class _Watched(HTTPConnection):
    """A connection that obeys the deadline of the call that is using it."""

    def _new_conn(self) -> socket.socket:
        deadline = _current.get()
        return deadline.connect(super()._new_conn) if deadline else super()._new_conn()

    def request(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401  # passed on as they are
        if self.sock is not None and (deadline := _current.get()):  # from the pool
            deadline.watch(self.sock)
        super().request(*args, **kwargs)


class _WatchedTLS(_Watched, HTTPSConnection):
    """The same over TLS."""


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Watched


class _PoolTLS(HTTPSConnectionPool):
    ConnectionCls = _WatchedTLS


#: The value of ``pool_classes_by_scheme`` in urllib3 and botocore.
POOLS: Final[dict[str, type[HTTPConnectionPool]]] = {"http": _Pool, "https": _PoolTLS}
