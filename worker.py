"""gunicorn's threaded worker, with deadlines, refusals in the contract's JSON, and a heap of bounded size."""

from __future__ import annotations

import ctypes
import errno
import ipaddress
import json
import os
import resource
import select
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final

from gunicorn import util
from gunicorn.glogging import Logger as GunicornLogger
from gunicorn.http import errors
from gunicorn.http.message import Request
from gunicorn.workers.gthread import TConn, ThreadWorker

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment
    from gunicorn.http.wsgi import Response

# mallopt(3)'s names for its parameters, from glibc's malloc.h.
_M_TRIM_THRESHOLD: Final = -1
_M_MMAP_THRESHOLD: Final = -3
_M_ARENA_MAX: Final = -8

#: The bytes that a worker may keep above its memory at the start, and the seconds between two checks.
_KEPT_BYTES: Final = 64 << 20
_GIVE_BACK_SECONDS: Final = 5.0


class _Heap:
    """glibc's heap of this process; without glibc, nothing changes.

    By default glibc returns large buffers to the kernel immediately, and requests them again, page by page,
    for the next picture. Here, blocks of up to 32 MiB stay in the heap: an upload of a WebP of 2 megapixels
    then takes about 34 ms of CPU time, and about 39 ms if only blocks of up to 8 MiB stay. glibc also keeps a
    heap for each thread by default; here all threads share one heap.

    Small blocks that remain in use keep the free blocks below them in the heap. So every few seconds
    ``give_back`` returns the pages of all free blocks to the kernel.
    """

    def __init__(self) -> None:
        libc = ctypes.CDLL(None)
        self._trim = getattr(libc, "malloc_trim", None)
        self._bound = _resident() + _KEPT_BYTES
        self._due = 0.0  # of time.monotonic()
        mallopt = getattr(libc, "mallopt", None)
        if mallopt is not None:
            mallopt(_M_ARENA_MAX, 1)
            mallopt(_M_MMAP_THRESHOLD, 32 << 20)  # the largest value that glibc accepts
            mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES)

    def give_back(self) -> None:
        """Returns free pages to the kernel if the process is large, at most once every few seconds."""
        now = time.monotonic()
        if self._trim is None or now < self._due:
            return
        self._due = now + _GIVE_BACK_SECONDS
        if _resident() > self._bound:
            self._trim(ctypes.c_size_t(0))


def _resident() -> int:
    """The memory of this process, in bytes: the resident set size; 0 if the kernel does not report it."""
    try:
        return int(Path("/proc/self/statm").read_bytes().split()[1]) * resource.getpagesize()
    except OSError:
        return 0


class Logger(GunicornLogger):
    """gunicorn's log without its access lines: the application writes a line for each request.

    ``accesslog = None`` does not suffice: gunicorn writes the lines if it has a ``logconfig_dict``.
    """

    access_log_enabled = False


class RequestTimeout(errors.ParseException):
    """A request did not arrive completely before its deadline."""


class AmbiguousRequest(errors.ParseException):
    """A request does not say which host it is for, or one of its headers names another path."""


#: Headers that would become variables of CGI (RFC 3875 section 4.1): they say where the application is.
_FORBIDDEN: Final = {"SCRIPT_NAME", "PATH_INFO"}


#: The answers to requests that fail before the application sees them: the first matching type decides.
_REFUSALS: Final[tuple[tuple[type[BaseException], int, str], ...]] = (
    (RequestTimeout, 408, "Request timeout"),
    (errors.LimitRequestLine, 414, "URI too long"),
    (errors.LimitRequestHeaders, 431, "Request header fields too large"),
    (errors.ExpectationFailed, 417, "Expectation failed"),
    (errors.UnsupportedTransferCoding, 501, "Not implemented"),
    (errors.ParseException, 400, "Bad request"),
    (BaseException, 500, "Internal server error"),
)


#: The errors of accept(2) when the process or the system lacks descriptors or memory, for now.
_EXHAUSTED: Final = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}
#: The pause after such an error, in seconds: without it the loop would spin, as the connection stays ready.
_EXHAUSTION_PAUSE: Final = 0.1
#: How long the head of a request may take to arrive, in seconds.
HEAD_DEADLINE: Final = 10.0
#: How long, in seconds, and for how many bytes a thread waits for the client to close after the last answer.
_LINGER: Final = 1.0
_MOST_DRAINED: Final = 1 << 16
#: The most bytes of a file that one call hands to the kernel.
_MOST_SENT: Final = 1 << 20
#: The events of a closed connection. Only Linux reports that a client closed it without a reset.
_HUNG_UP: Final = getattr(select, "POLLRDHUP", 0) | select.POLLHUP | select.POLLERR
#: The seconds between two warnings of refused connections.
_WARNING_PAUSE: Final = 60.0


class DeadlineSocket(socket.socket):
    """A connection with one deadline for all reads of a request, and a separate one for the answer.

    The timeout of a socket applies to each call separately. A client that sends or reads single bytes slowly
    never exceeds it.
    """

    deadline = 0.0  # of time.monotonic()
    #: How long the client may take to read the answer, in seconds.
    send_seconds = 60.0
    _send_deadline: float | None = None
    #: If True, reads return no data. gunicorn's main thread may still read, and an exception there would make
    #: it count the connection out twice.
    _is_over = False
    #: Called once, when the connection is closed.
    on_close: Callable[[], None] | None = None

    def recv(self, size: int, flags: int = 0, /) -> bytes:
        """Reads the bytes that have arrived, or waits for some until the deadline.

        Raises:
            RequestTimeout: nothing arrived.
        """
        if self._is_over:
            return b""
        left = self.deadline - time.monotonic()
        self._send_deadline = (
            None  # the time of an answer starts at its first byte, also after a "100 Continue"
        )
        try:
            self.settimeout(max(left, 0.001))
            return super().recv(size, flags)
        except TimeoutError:
            raise RequestTimeout from None

    def begin(self, deadline: float) -> None:
        """Starts a request, which must arrive before ``deadline``."""
        self.deadline = deadline

    def _time_to_send(self) -> float:
        if self._send_deadline is None:
            self._send_deadline = time.monotonic() + self.send_seconds
        return max(self._send_deadline - time.monotonic(), 0.001)

    def sendall(self, data: ReadableBuffer, flags: int = 0, /) -> None:
        """Sends everything. Raises ConnectionResetError if the client does not read it in time."""
        self.settimeout(self._time_to_send())
        try:
            super().sendall(data, flags)
        except TimeoutError:
            raise _not_read() from None

    def sendfile(self, file: IO[bytes], offset: int = 0, count: int | None = None) -> int:  # type: ignore[override]  # a file with a descriptor
        """Sends ``count`` bytes of a file, or all. Raises ConnectionResetError, as ``sendall`` does."""
        self.setblocking(False)
        writable = select.poll()
        writable.register(self, select.POLLOUT)
        sent = 0
        while count is None or sent < count:
            if not writable.poll(1000 * self._time_to_send()):
                raise _not_read()
            with suppress(BlockingIOError):
                left = _MOST_SENT if count is None else min(count - sent, _MOST_SENT)
                done = os.sendfile(self.fileno(), file.fileno(), offset + sent, left)
                if not done:
                    break
                sent += done
        return sent

    def is_hung_up(self) -> bool:
        """Whether the client is known to have closed the connection, or only its sending half."""
        state = select.poll()
        state.register(self, _HUNG_UP)
        return bool(state.poll(0))

    def linger(self) -> None:
        """Ends the answer, and waits up to a second for the client to close.

        gunicorn would wait for two seconds in the thread that accepts all connections. A connection that
        is closed with unread bytes is reset, and the client may lose the answer (RFC 9112 section 9.6).
        """
        self.deadline = time.monotonic() + _LINGER
        with suppress(OSError, RequestTimeout):
            self.shutdown(socket.SHUT_WR)
            drained = 0
            while (
                drained < _MOST_DRAINED and time.monotonic() < self.deadline and (piece := self.recv(1 << 16))
            ):
                drained += len(piece)
        self._is_over = True

    def close(self) -> None:
        """Closes the connection and reports it to ``on_close``."""
        super().close()
        if self.on_close is not None:
            self.on_close()
            self.on_close = None


def _not_read() -> OSError:
    return ConnectionResetError(errno.ECONNRESET, "the client does not read its answer")


def _network(address: object) -> str:
    """The address of a client, or the /64 network of an IPv6 address: one customer has all of it."""
    host = str(address[0]) if isinstance(address, tuple) and address else ""
    try:
        ip = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:  # a Unix socket
        return ""
    if isinstance(ip, ipaddress.IPv4Address):
        return str(ip)
    return str(ip.ipv4_mapped or ipaddress.ip_network((ip, 64), strict=False))


def _answer(status: int, error: str, *headers: str) -> bytes:
    body = json.dumps({"error": error})
    lines = [
        f"HTTP/1.1 {status} {error}",
        *("Connection: close", "Content-Type: application/json", f"Content-Length: {len(body)}", *headers),
    ]
    return ("\r\n".join(lines) + "\r\n\r\n" + body).encode()


def _closable(app: WSGIApplication) -> WSGIApplication:
    """Gives ``app`` a function in ``environ["vetrina.close"]``, which ends the connection after the answer.

    PEP 3333 forbids an application to set the header ``Connection``, and gunicorn drops it.
    """

    def call(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        response: Response = start_response.__self__  # type: ignore[attr-defined]  # a bound method
        environ["vetrina.close"] = response.force_close
        return app(environ, start_response)

    return call


class Worker(ThreadWorker):
    """gunicorn's threaded worker with deadlines, connection limits and JSON refusals."""

    #: How long a request may take to arrive, from its first byte to its last, in seconds.
    request_deadline = 60.0
    #: The most connections that an address, or an IPv6 /64 network, has to this process; 0: any number.
    connections_per_address = 0
    _next_warning = 0.0  # of time.monotonic()

    def accept(self, listener: socket.socket) -> None:
        """Accepts a connection. If a descriptor or memory is lacking, pauses and leaves it in the queue."""
        try:
            super().accept(listener)
        except OSError as error:
            if error.errno not in _EXHAUSTED:
                raise
            self.log.warning("no connection can be taken: %s", error.strerror)
            time.sleep(_EXHAUSTION_PAUSE)

    def enqueue_req(self, conn: TConn) -> None:
        """Hands a connection to a thread; a new one gets its deadlines here, or is refused."""
        if not isinstance(conn.sock, DeadlineSocket):
            conn.sock = sock = DeadlineSocket(fileno=conn.sock.detach())
            sock.send_seconds = self.request_deadline
            if not self._admit(conn, sock):
                return
        super().enqueue_req(conn)

    def _admit(self, conn: TConn, sock: DeadlineSocket) -> bool:
        """Counts a new connection for its address. Answers and closes it if the address has too many."""
        network = _network(conn.client)
        limited = network and self.connections_per_address
        if limited and self._connections[network] >= self.connections_per_address:
            self._refuse(conn, network)
            return False
        self._connections[network] += 1
        sock.on_close = partial(self._count_out, network)
        return True

    def _count_out(self, network: str) -> None:
        self._connections[network] -= 1
        if not self._connections[network]:
            del self._connections[network]

    def _refuse(self, conn: TConn, network: str) -> None:
        now = time.monotonic()
        if now >= self._next_warning:
            self._next_warning = now + _WARNING_PAUSE
            self.log.warning(
                "%s has more than MAX_CONNECTIONS_PER_ADDRESS connections to a process; if it is a proxy, "
                "set TRUSTED_PROXY_HOPS",
                network,
            )
        with suppress(OSError, RequestTimeout):  # runs in the accepting thread, so it must not block
            conn.sock.setblocking(False)
            with suppress(BlockingIOError):
                socket.socket.recv(conn.sock, 1 << 16)
            conn.sock.send(_answer(429, "Too many connections", "Retry-After: 2"))
        self.nr_conns -= 1
        conn.sock.close()

    def handle(self, conn: TConn) -> bool:
        """Serves a request of a connection, in a thread."""
        sock = conn.sock
        if not isinstance(sock, DeadlineSocket):  # with TLS
            return super().handle(conn)
        begun = time.monotonic()
        sock.begin(begun + min(HEAD_DEADLINE, self.request_deadline))
        keep = super().handle(conn)
        if keep is False:
            sock.linger()
        return keep

    def handle_request(self, req: Request, conn: TConn) -> bool:
        """Answers a request whose head has arrived.

        Raises:
            AmbiguousRequest: it has no ``Host`` (RFC 9112 section 3.2), or a header of ``_FORBIDDEN``.
        """
        headers = dict(req.headers)
        if not headers.get("HOST") or _FORBIDDEN.intersection(headers):
            raise AmbiguousRequest
        if isinstance(conn.sock, DeadlineSocket):
            head = min(HEAD_DEADLINE, self.request_deadline)
            conn.sock.deadline += self.request_deadline - head
        return super().handle_request(req, conn)

    def notify(self) -> None:
        """Reports to the arbiter, in the main thread: at least once a second."""
        super().notify()
        self._heap.give_back()

    def load_wsgi(self) -> None:
        """Loads the application, and lets it end the connection of a request (``_closable``)."""
        super().load_wsgi()
        self.wsgi = _closable(self.wsgi)  # type: ignore[assignment,arg-type]  # gunicorn's stubs have narrower types

    def init_process(self) -> None:
        """Runs in the new process, before it has threads."""
        self._heap = _Heap()
        self._connections: Counter[str] = Counter()  # only the main thread uses it: it opens and closes
        # gunicorn looks up dozens of settings per request, each through a method. Attributes are faster.
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
        with suppress(OSError):  # the client may be gone
            util.write_nonblock(client, _answer(status, error))
