"""A limit to the whole of an HTTP exchange, for urllib3 and so for botocore.

Their timeouts are for one read of the socket: a server that sends a byte a second is never too
late for them. Here a timer shuts the connections of a call down when its time is over, whatever they
wait for: the handshake, the sending, the head or the body of the answer.
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
    """The time that the calls inside a ``with`` block have together, in seconds."""

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
        """The seconds that are left; not less than 0."""
        return max(0.0, self._end - time.monotonic())

    @property
    def is_over(self) -> bool:
        """Whether connections were cut. An answer may then seem whole: http.client takes the end of
        the connection for the end of the head.
        """
        return self._over

    def connect(self, connect: Callable[[], socket.socket]) -> socket.socket:
        """Makes a connection, which is watched: also its name is looked up, and its addresses are tried
        one after the other, within the time, for which neither has a limit of its own.

        Raises:
            TimeoutError: the time is over. What may yet come of it is closed.
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
        """Shuts this socket down when the time is over.

        Raises:
            TimeoutError: it is over.
        """
        with self._lock:
            if self._over or not self.remaining:
                raise TimeoutError("the time for the call is over")
            # Another descriptor of the same connection: TLS takes the first one over for itself.
            self._sockets.append(socket.fromfd(sock.fileno(), sock.family, sock.type))

    def _expire(self) -> None:
        with self._lock:
            self._over = True
            for sock in self._sockets:
                with suppress(OSError):  # it may be closed by the other side
                    sock.shutdown(socket.SHUT_RDWR)
            self._close_sockets()

    def _close_sockets(self) -> None:
        while self._sockets:
            self._sockets.pop().close()


def _fulfil(made: Future[socket.socket], connect: Callable[[], socket.socket]) -> None:
    try:
        made.set_result(connect())
    except BaseException as error:  # noqa: BLE001  # for who waits
        made.set_exception(error)


def _close_late(made: Future[socket.socket]) -> None:
    with suppress(Exception):
        made.result().close()


class _Watched(HTTPConnection):
    """A connection that obeys the deadline of the call that uses it."""

    def _new_conn(self) -> socket.socket:
        deadline = _current.get()
        return deadline.connect(super()._new_conn) if deadline else super()._new_conn()

    def request(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401  # they are passed on
        if self.sock is not None and (deadline := _current.get()):  # from the pool
            deadline.watch(self.sock)
        super().request(*args, **kwargs)


class _WatchedTLS(_Watched, HTTPSConnection):
    """The same over TLS."""


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Watched


class _PoolTLS(HTTPSConnectionPool):
    ConnectionCls = _WatchedTLS


#: What urllib3 and botocore take for ``pool_classes_by_scheme``.
POOLS: Final[dict[str, type[HTTPConnectionPool]]] = {"http": _Pool, "https": _PoolTLS}
