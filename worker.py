"""gunicorn's threaded worker, with deadlines, refusals in the contract's JSON, and a fit memory."""

from __future__ import annotations

import ctypes
import errno
import json
import socket
import time
from contextlib import suppress
from typing import Final

from gunicorn import util
from gunicorn.glogging import Logger as GunicornLogger
from gunicorn.http import errors
from gunicorn.http.message import Request
from gunicorn.workers.gthread import TConn, ThreadWorker

# mallopt(3)'s names for its parameters, from glibc's malloc.h.
_M_TRIM_THRESHOLD: Final = -1
_M_MMAP_THRESHOLD: Final = -3
_M_ARENA_MAX: Final = -8


def _keep_freed_memory() -> None:
    """Lets this process reuse the buffers of one decode for the next; without glibc, does nothing.

    By default glibc gives large buffers back to the kernel at once, and takes them anew, page by page,
    for the next picture: for a WebP of 2 megapixels that is two fifths of all CPU time. It also keeps
    a heap for each thread. One heap, of which up to 64 MiB stay when nothing is decoded, serves all.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_ARENA_MAX, 1)
        mallopt(_M_MMAP_THRESHOLD, 32 << 20)  # the most that glibc takes
        mallopt(_M_TRIM_THRESHOLD, 64 << 20)


class Logger(GunicornLogger):
    """gunicorn's log, without a line a request: the application writes that itself.

    ``accesslog = None`` does not suffice: with a ``logconfig_dict`` the lines are made all the same.
    """

    access_log_enabled = False


class RequestTimeout(errors.ParseException):
    """A request did not arrive whole within its time."""


#: What gunicorn's parser refuses before the application sees a request, by the first kind that fits.
_REFUSALS: Final[tuple[tuple[type[BaseException], int, str], ...]] = (
    (RequestTimeout, 408, "Request timeout"),
    (errors.LimitRequestLine, 414, "URI too long"),
    (errors.LimitRequestHeaders, 431, "Request header fields too large"),
    (errors.ExpectationFailed, 417, "Expectation failed"),
    (errors.UnsupportedTransferCoding, 501, "Not implemented"),
    (errors.ParseException, 400, "Bad request"),
    (BaseException, 500, "Internal server error"),
)


#: What accept(2) says when the process or the system is out of something, which others may give back.
_EXHAUSTED: Final = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}
#: For how long nothing else is done then: the connection is offered again at once, in seconds.
_EXHAUSTION_PAUSE: Final = 0.1


class DeadlineSocket(socket.socket):
    """A connection whose reads end at ``deadline``, all together; by itself it never waits for ever.

    A timeout of a socket is for one read: who sends a byte now and then is never too late for it.
    """

    deadline = 0.0  # of time.monotonic()

    def recv(self, size: int, flags: int = 0, /) -> bytes:
        """Reads what is there, or waits for it until the deadline.

        Raises:
            RequestTimeout: nothing came.
        """
        left = self.deadline - time.monotonic()
        try:
            self.settimeout(max(left, 0.001))
            return super().recv(size, flags)
        except TimeoutError:
            raise RequestTimeout from None


class Worker(ThreadWorker):
    """See the module."""

    #: How long a request may take to arrive, from its first byte to its last, in seconds.
    request_deadline = 60.0

    def accept(self, listener: socket.socket) -> None:
        """Takes a connection; without a descriptor or memory for it, leaves it waiting for a moment."""
        try:
            super().accept(listener)
        except OSError as error:
            if error.errno not in _EXHAUSTED:
                raise
            self.log.warning("no connection can be taken: %s", error.strerror)
            time.sleep(_EXHAUSTION_PAUSE)

    def enqueue_req(self, conn: TConn) -> None:
        """Hands a connection to a thread; one that is new gets its deadline here."""
        if not isinstance(conn.sock, DeadlineSocket):
            conn.sock = DeadlineSocket(fileno=conn.sock.detach())
        super().enqueue_req(conn)

    def handle(self, conn: TConn) -> bool:
        """Serves a request of a connection, in a thread."""
        if isinstance(conn.sock, DeadlineSocket):  # always, without TLS
            conn.sock.deadline = time.monotonic() + self.request_deadline
        return super().handle(conn)

    def init_process(self) -> None:
        """Runs in the new process, before it has threads."""
        _keep_freed_memory()
        # A setting is looked up dozens of times a request, each through a method of gunicorn's.
        vars(self.cfg).update({name: setting.get() for name, setting in self.cfg.settings.items()})
        super().init_process()

    def handle_error(
        self, req: Request | None, client: socket.socket, addr: object, exc: BaseException
    ) -> None:
        """Answers a request that failed outside the application, and logs it without its text."""
        status, error = next((status, text) for kind, status, text in _REFUSALS if isinstance(exc, kind))
        if isinstance(exc, errors.ParseException):
            self.log.info("refused a malformed request: %s", type(exc).__name__)
        else:
            self.log.error("error handling a request", exc_info=exc)
        body = json.dumps({"error": error})
        head = (
            f"HTTP/1.1 {status} {error}\r\nConnection: close\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        with suppress(OSError):  # the client may be gone
            util.write_nonblock(client, (head + body).encode())
