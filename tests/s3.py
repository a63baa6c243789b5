"""S3 stores for tests: moto's server in a process, and a server whose answers a test scripts."""

from __future__ import annotations

import re
import secrets
import socket
import ssl
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final
from xml.sax.saxutils import escape

import requests

from storage.r2 import R2Storage
from storage.r2.client import S3Settings

PUBLIC_URL = "https://cdn.example.com"
START_TIMEOUT = 60


@contextmanager
def moto_server(folder: Path) -> Iterator[str]:
    """Runs moto's server on a free port. Yields its URL."""
    log = folder / "moto.log"
    with log.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", "0"],
            stdout=output,
            stderr=output,
        )
        try:
            yield _wait_for_url(process, log)
        finally:
            process.terminate()
            process.wait(10)


def _wait_for_url(process: subprocess.Popen[bytes], log: Path) -> str:
    end = time.monotonic() + START_TIMEOUT
    while time.monotonic() < end and process.poll() is None:
        if found := re.search(r"Running on (http://[0-9.:]+)", log.read_text()):
            return found[1]
        time.sleep(0.05)
    raise AssertionError(f"moto did not start: {log.read_text()}")


def new_bucket(endpoint_url: str) -> str:
    """Creates a bucket that the public may read, at ``<endpoint>/<bucket>/``. Returns its name.

    moto does not check signatures, so the request has none.
    """
    name = f"pictures-{secrets.token_hex(8)}"
    headers = {"x-amz-acl": "public-read"}
    requests.put(f"{endpoint_url}/{name}", headers=headers, timeout=10).raise_for_status()
    return name


#: Timeouts with which a test of a store that hangs or drips takes no time.
HASTY: Final[dict[str, Any]] = {"read_timeout": 0.2, "deadline": 0.6}


def r2_storage(
    endpoint_url: str, bucket: str = "pictures", *, public_url: str = PUBLIC_URL, **options: Any
) -> R2Storage:
    """A storage that waits for a busy machine. ``HASTY`` is for a store that never answers."""
    settings: dict[str, Any] = {
        "access_key_id": "not-a-key",
        "secret_access_key": "not-a-secret",
        "connect_timeout": 1.0,
        "read_timeout": 10.0,
        "deadline": 20.0,
        "retry_pause": 0.01,
    }
    s3 = S3Settings(endpoint_url=endpoint_url, bucket=bucket, **{**settings, **options})
    storage = R2Storage(s3, public_url=public_url)
    # On a busy machine boto3 takes longer to create a client than these timeouts allow for a call.
    assert storage._calls.client
    return storage


@dataclass
class Received:
    """A request that a ``ScriptedS3`` received."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


class Handler(BaseHTTPRequestHandler):
    """Reads a complete request, then passes itself to the scripted answer."""

    protocol_version = "HTTP/1.1"
    server: _Server

    def handle_expect_100(self) -> bool:
        return True  # R2 sends no interim answer either

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.server.script.requests.append(Received(self.command, self.path, headers, body))
        self.server.script.next_answer()(self)

    do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = _answer  # noqa: N815  # http.server's names

    def log_message(self, *_: object) -> None:
        pass


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    script: ScriptedS3

    def get_request(self) -> tuple[socket.socket, Any]:
        connection, address = super().get_request()
        self.script.connections.append(connection)
        return connection, address

    def handle_error(self, *_: object) -> None:
        """Ignores errors of connections that either side has closed early."""


Answer = Callable[[Handler], None]


@dataclass
class ScriptedS3:
    """A server that gives the scripted answers in order, and repeats the last one."""

    answers: list[Answer]
    requests: list[Received] = field(default_factory=list)
    connections: list[socket.socket] = field(default_factory=list)
    stopped: threading.Event = field(default_factory=threading.Event)
    url: str = ""

    def next_answer(self) -> Answer:
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]

    @property
    def methods(self) -> list[str]:
        return [request.method for request in self.requests]


@contextmanager
def scripted(*answers: Answer, port: int = 0, tls: ssl.SSLContext | None = None) -> Iterator[ScriptedS3]:
    """Runs a ``ScriptedS3``, by default on a free port."""
    script = ScriptedS3(list(answers))
    server = _Server(("127.0.0.1", port), Handler)
    server.script = script
    script.url = f"{'https' if tls else 'http'}://127.0.0.1:{server.server_port}"
    if tls:
        # The thread of the connection does the handshake.
        server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield script
    finally:
        script.stopped.set()
        server.shutdown()
        thread.join()
        server.server_close()
        for connection in script.connections:
            with suppress(OSError):  # the connection is already closed
                connection.shutdown(socket.SHUT_RDWR)


# --- answers


def success(body: bytes = b"", **headers: str) -> Answer:
    """A 200 with the headers of an object. A keyword argument names a header, with ``_`` for ``-``."""

    def answer(handler: Handler) -> None:
        handler.send_response(200)
        handler.send_header("ETag", '"0123456789abcdef0123456789abcdef"')
        handler.send_header("Last-Modified", "Wed, 21 Oct 2026 07:28:00 GMT")
        for name, value in {"Content_Length": str(len(body)), **headers}.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()
        if handler.command != "HEAD":
            handler.wfile.write(body)

    return answer


def web_page(handler: Handler) -> None:
    """The answer of a web server that is not an S3 store."""
    body = b"<html>It works!</html>"
    handler.send_response(200)
    handler.send_header("Content-Type", "text/html")
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body)


def error(
    status: int,
    code: str | None = None,
    message: str = "Of no help",
    *,
    headers: Mapping[str, str] | None = None,
    **elements: str,
) -> Answer:
    """An error with S3's XML body, or without a body if ``code`` is None.

    Args:
        status, code, message: of the error.
        headers: further headers of the answer.
        elements: further elements of the body.
    """

    def answer(handler: Handler) -> None:
        body = b""
        if code and handler.command != "HEAD":
            said = {"Code": code, "Message": message, **elements}
            inner = "".join(f"<{name}>{escape(text)}</{name}>" for name, text in said.items())
            body = f"<Error>{inner}</Error>".encode()
        handler.send_response_only(status)
        fixed = {"Content-Type": "application/xml", "Content-Length": str(len(body))}
        for name, text in {"Date": handler.date_time_string(), **fixed, **(headers or {})}.items():
            handler.send_header(name, text)
        handler.end_headers()
        handler.wfile.write(body)

    return answer


def reset(handler: Handler) -> None:
    """Closes the connection with a RST instead of an answer."""
    linger = struct.pack("ii", 1, 0)
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    handler.close_connection = True
    handler.rfile.close()
    handler.wfile.close()
    handler.connection.close()


def silence(handler: Handler) -> None:
    """Sends nothing until the test ends."""
    handler.close_connection = True
    handler.server.script.stopped.wait(START_TIMEOUT)


def drip(data: bytes) -> Answer:
    """Sends a byte of ``data`` every 10 ms, then zeros, until the client closes the connection."""

    def answer(handler: Handler) -> None:
        handler.close_connection = True
        left = iter(data)
        try:
            while not handler.server.script.stopped.wait(0.01):
                handler.wfile.write(bytes([next(left, 0x30)]))
        except OSError:
            handler.server.script.stopped.wait(0)

    return answer


def half(handler: Handler) -> None:
    """Sends less of a body than Content-Length says."""
    success(b"", Content_Length="1000")(handler)
    handler.wfile.write(b"half")
    handler.close_connection = True
