"""A TLS front for a server, in which tests inject faults."""

from __future__ import annotations

import http.client
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import trustme

#: What a fault does in place of the answer.
Fault = Callable[["Handler"], None]

#: The names for which the certificate is valid.
NAMES = ("localhost", "127.0.0.1", "cdn.example.com", "*.cdn.example.com")


@dataclass
class Relay:
    """The front.

    Attributes:
        port: on the loopback interface.
        backend: the port of the server behind it; 0: there is none.
        files: bodies that the front serves itself, by their paths.
        faults: pairs of a part of a path and a fault. Each happens once, at the first request with the part.
        seen: the path and the Authorization header of each request.
        before: is called with the path before each answer.
    """

    port: int = 0
    backend: int = 0
    files: dict[str, bytes] = field(default_factory=dict)
    faults: list[tuple[str, Fault]] = field(default_factory=list)
    seen: list[tuple[str, str | None]] = field(default_factory=list)
    before: Callable[[str], object] = len
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def url(self) -> str:
        return f"https://localhost:{self.port}"

    def cdn(self, path: str) -> str:
        """A URL of another host that the front is, too."""
        return f"https://cdn.example.com:{self.port}{path}"

    def reset(self) -> None:
        self.faults, self.seen, self.before = [], [], len

    def fault_for(self, path: str) -> Fault | None:
        with self.lock:
            for fault in self.faults:
                if fault[0] in path:
                    self.faults.remove(fault)
                    return fault[1]
        return None

    def paths(self, part: str) -> list[str]:
        return [path for path, _ in self.seen if part in path]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    relay: Relay

    def do_GET(self) -> None:
        self.relay.seen.append((self.path, self.headers.get("Authorization")))
        self.relay.before(self.path)
        if fault := self.relay.fault_for(self.path):
            fault(self)
        elif (body := self.relay.files.get(self.path)) is not None:
            self.answer(200, body)
        else:
            self.pass_on()

    def pass_on(self) -> None:
        backend = http.client.HTTPConnection("127.0.0.1", self.relay.backend, timeout=30)
        sent = {"Authorization": value} if (value := self.headers.get("Authorization")) else {}
        backend.request("GET", self.path, headers=sent)
        answer = backend.getresponse()
        self.answer(answer.status, answer.read(), **{"Content-Type": answer.getheader("Content-Type", "")})
        backend.close()

    def answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        for name, value in {"Content-Length": str(len(body)), **named}.items():
            self.send_header(name, value)
        self.end_headers()
        with suppress(OSError):
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


def status(code: int, **headers: str) -> Fault:
    return lambda handler: handler.answer(code, b"{}", **headers)


def moved(location: str) -> Fault:
    return lambda handler: handler.answer(302, Location=location)


def reset(handler: Handler) -> None:
    """The connection is closed in place of an answer, without the end that TLS and TCP have."""
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    handler.close_connection = True


def cut(handler: Handler) -> None:
    """The body ends before its declared length."""
    handler.send_response(200)
    handler.send_header("Content-Length", "5000")
    handler.end_headers()
    handler.wfile.write(b"\xff\xd8\xff")
    handler.close_connection = True


def hang(handler: Handler) -> None:
    """Nothing is answered until the client closes the connection."""
    handler.close_connection = True
    with suppress(OSError):
        handler.connection.recv(1)


def endless(handler: Handler) -> None:
    """A body without a length and without an end."""
    handler.send_response(200)
    handler.end_headers()
    handler.close_connection = True
    with suppress(OSError):
        while True:
            handler.wfile.write(bytes(1 << 16))


def dripping_head(handler: Handler) -> None:
    """A head that never ends, and whose sender is never silent."""
    drip(handler, b"HTTP/1.1 200 OK\r\nX-Slow: ")


def dripping_body(handler: Handler) -> None:
    """A body that never ends, likewise."""
    drip(handler, b"HTTP/1.1 200 OK\r\n\r\n")


def drip(handler: Handler, start: bytes) -> None:
    handler.close_connection = True
    with suppress(OSError):
        handler.wfile.write(start)
        while not threading.Event().wait(0.02):
            handler.wfile.write(b"x")


@contextmanager
def relay(authority: trustme.CA) -> Iterator[Relay]:
    """Runs a front until the block ends."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*NAMES).configure_cert(context)
    front = Relay()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("BoundHandler", (Handler,), {"relay": front}))
    server.daemon_threads = True
    server.handle_error = lambda *_: None  # type: ignore[method-assign]  # clients may hang up
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    front.port = server.server_port
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield front
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
