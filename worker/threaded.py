"""gunicorn's threaded worker, as ``gunicorn.conf.py`` configures it."""

from __future__ import annotations

import socket
import threading
import time
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from gunicorn import util
from gunicorn.glogging import Logger as GunicornLogger
from gunicorn.http import errors
from gunicorn.http.body import ChunkedReader
from gunicorn.http.message import Request
from gunicorn.http.parser import RequestParser
from gunicorn.workers.gthread import TConn, ThreadWorker

from worker.admission import Admission
from worker.chunks import Chunks
from worker.heads import HEAD_DEADLINE, Heads
from worker.heap import Heap
from worker.networks import forwarded_network, network_of
from worker.refusals import AmbiguousRequest, answer, refusal
from worker.sockets import DeadlineSocket
from worker.waits import Waits

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment
    from gunicorn.http.wsgi import Response

#: Headers that would become variables of CGI (RFC 3875 section 4.1): they say where the application is.
_FORBIDDEN: Final = {"SCRIPT_NAME", "PATH_INFO"}

#: The pause after an error of accept(2), in seconds. The process or the system may lack descriptors or
#: memory: without the pause the loop would spin, as the connection stays ready.
_EXHAUSTION_PAUSE: Final = 0.1
#: A worker stops so many seconds before the arbiter would kill it, to record the usage that it has counted
#: (gunicorn.conf.py "worker_exit").
_TO_RECORD: Final = 3
#: The seconds between two warnings of the same kind.
_WARNING_PAUSE: Final = 60.0


class Logger(GunicornLogger):
    """gunicorn's log without its access lines: the application writes a line for each request.

    ``accesslog = None`` does not suffice: gunicorn writes the lines if it has a ``logconfig_dict``.
    """

    access_log_enabled = False


def _closable(app: WSGIApplication) -> WSGIApplication:
    """Gives ``app`` a function in ``environ["vetrina.close"]``, which ends the connection after the answer.

    PEP 3333 forbids an application to set the header ``Connection``, and gunicorn drops it. A body in chunks
    is in ``environ["vetrina.chunks"]``. The answer 401 is noted in the socket of the connection.
    """

    def call(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        response: Response = start_response.__self__  # type: ignore[attr-defined]  # a bound method
        environ["vetrina.close"] = response.force_close
        reader = environ["wsgi.input"].reader
        if isinstance(reader, Chunks):
            environ["vetrina.chunks"] = reader
        answer = app(environ, start_response)
        sock = environ["gunicorn.socket"]
        if response.status_code == HTTPStatus.UNAUTHORIZED and isinstance(sock, DeadlineSocket):
            sock.is_unauthorized = True
        return answer

    return call


class Worker(ThreadWorker):
    """gunicorn's threaded worker with deadlines, connection limits and JSON refusals."""

    #: How long a body may take to arrive, and an answer to be read, in seconds.
    request_deadline = 60.0
    #: The most connections that an address, or an IPv6 /64 network, has to this process; 0: any number.
    connections_per_address = 0
    #: The number of proxies in front of the server whose ``X-Forwarded-For`` is trusted.
    trusted_hops = 0
    #: The most threads that wait for clients, besides those of uploads that have a place (``turns.py``).
    slow_clients = 96

    def accept(self, listener: socket.socket) -> None:
        """Accepts a connection, and makes room for the next one.

        If a descriptor or memory is lacking, pauses and leaves the connection in the queue.
        """
        try:
            super().accept(listener)
        except OSError as error:
            self.log.warning("no connection can be taken: %s", error.strerror)
            time.sleep(_EXHAUSTION_PAUSE)
        if self.nr_conns >= self.worker_connections:
            self._make_room()

    def _make_room(self) -> None:
        """Closes a connection that no thread serves: of those that are idle, the oldest."""
        if self._heads.evict_ending():
            return
        if self.keepalived_conns:
            idle = self.keepalived_conns.popleft()
            self.poller.unregister(idle.sock)
            self._end(idle)
        elif not self._heads.evict_arriving():
            self._admission.evict()

    def enqueue_req(self, conn: TConn) -> None:
        """Waits for the head of the connection's next request. A new connection may be refused here."""
        if self.cfg.is_ssl:  # the bytes of the head are encrypted
            super().enqueue_req(conn)
            return
        sock = conn.sock
        if not isinstance(sock, DeadlineSocket):
            network = network_of(conn.client)
            admitted = self._admits(network)
            conn.sock = sock = self._wrap(conn, network, is_counted=admitted)
            if not admitted:
                self._refuse(conn, sock)
                return
        if isinstance(conn.parser, RequestParser):  # it may have read part of the next request
            sock.ahead += conn.parser.unreader.take_buffered()
        self._heads.await_head(conn, sock, min(HEAD_DEADLINE, self.request_deadline))

    def _admits(self, network: str) -> bool:
        """Whether this network may have one more connection."""
        limited = network and self.connections_per_address
        return not limited or self._connections[network] < self.connections_per_address

    def _wrap(self, conn: TConn, network: str, *, is_counted: bool) -> DeadlineSocket:
        if is_counted:
            with self._connections_lock:
                self._connections[network] += 1
        return DeadlineSocket(
            conn.sock.detach(),
            network,
            send_seconds=self.request_deadline,
            waits=self._waits,
            on_wait=self._report_wait,
            on_close=partial(self._count_out, network) if is_counted else None,
        )

    def _report_wait(self, sock: DeadlineSocket) -> None:
        """Tells the main thread that this thread begins to wait for its client."""
        self.method_queue.defer(self._admission.settle, sock)

    def _count_out(self, network: str) -> None:
        with self._connections_lock:
            self._connections[network] -= 1
            if not self._connections[network]:
                del self._connections[network]

    def _refuse(self, conn: TConn, sock: DeadlineSocket) -> None:
        self._warn(
            "%s has more than MAX_CONNECTIONS_PER_ADDRESS connections to a process; if it is a proxy, "
            "set TRUSTED_PROXY_HOPS",
            sock.network,
        )
        with suppress(
            OSError
        ):  # the request has usually arrived, and closing with unread bytes would reset the connection
            sock.setblocking(False)
            socket.socket.recv(sock, 1 << 16)
        self._heads.refuse(conn, sock, answer(429, "Too many connections", "Retry-After: 2"))

    def _warn(self, message: str, subject: str) -> None:
        """Logs a warning, at most one of each kind a minute."""
        now = time.monotonic()
        if now >= self._next_warnings.get(message, 0.0):
            self._next_warnings[message] = now + _WARNING_PAUSE
            self.log.warning(message, subject)

    def _report_cut(self, network: str) -> None:
        self._warn("too many clients send or read slowly; connections of %s are cut", network)

    def _end(self, conn: TConn) -> None:
        if isinstance(conn.sock, DeadlineSocket):
            if conn.sock.is_ended:
                return
            conn.sock.is_ended = True
        self.nr_conns -= 1
        conn.close()

    def _take(self, conn: TConn, sock: DeadlineSocket) -> None:
        """Takes a request whose head is complete. Behind a trusted proxy, it is of the proxy's client."""
        if self.trusted_hops:
            sock.network = forwarded_network(sock.ahead, self.trusted_hops) or network_of(conn.client)
        self._admission.add(conn, sock)

    def _hand_over(self, conn: TConn) -> None:
        """Gives a request to a thread; without one, it is answered 503."""
        try:
            super().enqueue_req(conn)
        except RuntimeError as error:  # the system has no more threads
            self._warn("no thread can be started: %s", str(error))
            if isinstance(conn.sock, DeadlineSocket):
                self._refuse_busy(conn, conn.sock)

    def _refuse_busy(self, conn: TConn, sock: DeadlineSocket) -> None:
        self._heads.refuse(conn, sock, answer(503, "Service temporarily unavailable", "Retry-After: 2"))

    def wait_for_and_dispatch_events(self, timeout: float | None) -> None:
        """Calls what waits for the events, in the main thread. An error in it does not end the worker.

        An event may be of a connection that an earlier one of the same batch has ended.
        """
        left = self._admission.seconds_left()
        for key, _ in self.poller.select(timeout if left is None else min(left, timeout or left)):
            if self.poller.get_map().get(key.fd) is not key:
                continue
            try:
                key.data(key.fileobj)
            except Exception:
                self.log.exception("an event of a connection failed")
        self._admission.advance()

    def handle(self, conn: TConn) -> bool:
        """Serves a request of a connection, in a thread."""
        if isinstance(conn.sock, DeadlineSocket):
            conn.sock.begin()
        return super().handle(conn)

    def handle_request(self, req: Request, conn: TConn) -> bool:
        """Answers a request whose head has arrived.

        Raises:
            AmbiguousRequest: it has no ``Host`` (RFC 9112 section 3.2), or a header of ``_FORBIDDEN``.
        """
        headers = dict(req.headers)
        if not headers.get("HOST") or _FORBIDDEN.intersection(headers):
            raise AmbiguousRequest
        if isinstance(conn.sock, DeadlineSocket):
            conn.sock.deadline = conn.sock.since + self.request_deadline
            if req.body is not None and isinstance(req.body.reader, ChunkedReader):
                req.body.reader = Chunks(req, req.unreader)
        return super().handle_request(req, conn)

    def finish_request(self, conn: TConn, fs: Future[bool]) -> None:
        """Takes a connection back from its thread, in the main thread.

        gunicorn would wait up to two seconds for the client to close the connection, in this thread.
        """
        if isinstance(conn.sock, DeadlineSocket):
            if conn.sock.is_unauthorized:
                self._admission.suspect(conn.sock.network)
            self._admission.settle(conn.sock)
        over = fs.cancelled() or fs.exception() is not None or fs.result() is False
        if over and isinstance(conn.sock, DeadlineSocket):
            self._heads.linger(conn, conn.sock)
        else:
            super().finish_request(conn, fs)

    def murder_pending(self) -> None:
        """Ends the connections whose deadline has passed; the main thread calls it once a second."""
        super().murder_pending()
        self._heads.expire(stopping=not self.alive)

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
        self._heap = Heap()
        # gunicorn closes some connections in their threads.
        self._connections: Counter[str] = Counter()
        self._connections_lock = threading.Lock()
        self._next_warnings: dict[str, float] = {}  # on the clock of time.monotonic()
        self._waits = Waits(self.slow_clients, self._report_cut)
        grace: int = self.cfg.graceful_timeout
        self.cfg.set("graceful_timeout", max(grace - _TO_RECORD, grace // 2))
        # gunicorn looks up dozens of settings per request, each through a method. Attributes are faster.
        vars(self.cfg).update({name: setting.get() for name, setting in self.cfg.settings.items()})
        super().init_process()

    def run(self) -> None:
        """Accepts connections until the worker stops."""
        self._admission = Admission(begin=self._hand_over, end=self._end, refuse=self._refuse_busy)
        self._heads = Heads(self.poller, complete=self._take, end=self._end)
        # Threads that end later write to its pipe, whose descriptor may belong to another file by then.
        self.method_queue.close = lambda: None  # type: ignore[method-assign]  # the process ends anyway
        super().run()

    def handle_error(
        self, req: Request | None, client: socket.socket, addr: object, exc: BaseException
    ) -> None:
        """Answers a request that failed outside the application, and logs it without its text."""
        if isinstance(exc, errors.ParseException):
            self.log.info("refused a malformed request: %s", type(exc).__name__)
        else:
            self.log.error("error handling a request", exc_info=exc)
        with suppress(OSError):  # the client may be gone
            util.write_nonblock(client, refusal(exc))
