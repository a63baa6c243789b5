"""Handling that all requests share: the request id, the log line, and draining an unread body."""

from __future__ import annotations

import logging
import re
import secrets
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

from flask import Flask, Response, g, request
from werkzeug.wsgi import ClosingIterator

import logs
from auth.acting import stop_acting

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

#: The limits of draining: how much of a refused body the server reads, and for how long.
MAX_DRAIN_BYTES: Final = 32 * 1024 * 1024
MAX_DRAIN_SECONDS: Final = 10.0
_STEP: Final = 1 << 16

access = logging.getLogger("vetrina.access")

_ID: Final = re.compile(r"[0-9a-f]{24}")
# The id is logged, so this pattern rejects API keys, which a client may send in the wrong header.
_REQUEST_ID: Final = re.compile(r"(?!tp_|vp_)[A-Za-z0-9._-]{1,64}")


def register_request_log(app: Flask) -> None:
    """Gives every request an id, in ``g.request_id`` and in the ``X-Request-Id`` of its answer, and a line in
    the log.

    If the client or a proxy sends a well-formed id, the request keeps it. The line names the route, not the
    path, so that a client can't write into the log through the URL; of the path, only the ids of a product
    and an image are logged. The line names the credential, the user, the product and the image, as far as
    they are known, and the outcome: ``ok``, or the code of the error. Good answers to probes and scrapes have
    the level DEBUG, and 5xx answers the level WARNING.
    """

    @app.before_request
    def begin() -> None:
        sent = request.headers.get("X-Request-Id", "")
        g.request_id = sent if _REQUEST_ID.fullmatch(sent) else secrets.token_hex(8)
        g.started = time.monotonic()
        g.noted = {}
        if _ID.fullmatch(product_id := (request.view_args or {}).get("product_id", "")):
            note(productId=product_id)
        logs.request_id.set(g.request_id)

    @app.after_request
    def end(response: Response) -> Response:
        response.headers["X-Request-Id"] = g.request_id
        _close_after_a_cut_body(response)
        route = request.url_rule.rule if request.url_rule else "(none)"
        fields = {
            "method": request.method,
            "route": route,
            "status": response.status_code,
            "durationMs": round(1000 * (time.monotonic() - g.started), 1),
            "bytes": response.content_length,
            "bytesReceived": request.content_length,
            "client": request.remote_addr,
            "outcome": "ok" if response.status_code < HTTPStatus.BAD_REQUEST else "error",
            **g.noted,
        }
        access.log(
            _level(route, response.status_code),
            *("%s %s %d", request.method, route, response.status_code),
            extra={"fields": fields},
        )
        return response

    @app.teardown_request
    def forget(_: BaseException | None) -> None:
        logs.request_id.set(None)
        stop_acting()


#: The routes that monitoring requests many times a minute.
_MONITORING: Final = {"/healthz", "/readyz", "/metrics"}


def _level(route: str, status: int) -> int:
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return logging.WARNING
    return logging.DEBUG if route in _MONITORING and status == HTTPStatus.OK else logging.INFO


def note(**fields: str | None) -> None:
    """Adds fields to the log line of the current request. A later value replaces an earlier one."""
    g.noted.update(fields)


def _close_after_a_cut_body(response: Response) -> None:
    """Ends the connection after a request whose body may be longer than its ``Content-Length``.

    A form or a JSON text that is cut off at its declared length is answered with a 400. The bytes after that
    length are the rest of the body, and the server would parse them as the next request.
    """
    if response.status_code == HTTPStatus.BAD_REQUEST and request.method not in ("GET", "HEAD"):
        close: Callable[[], None] | None = request.environ.get("vetrina.close")
        if close is not None:  # only worker/ sets it
            close()


@contextmanager
def body_of_a_place() -> Iterator[None]:
    """A block that reads the body of a request that has a place (``turns.py``).

    Its thread does not count among those that wait for slow clients, so nobody else's slow uploads cut it.
    """
    connection: Any = request.environ.get("gunicorn.socket")
    if connection is None:  # a server without deadlines, or a test without a connection
        yield
        return
    connection.has_place = True
    try:
        yield
    finally:
        connection.has_place = False


class DrainUnreadBody:
    """WSGI middleware: once the answer is sent, reads the rest of the body, within limits.

    If a server closes a connection that has unread bytes, the kernel sends a reset, and the client may lose
    the answer (RFC 9112 section 9.6). Clients that send the whole body before they read the answer, such as
    curl and Python's, would never see a 413. Beyond the limits the server closes the connection.
    """

    def __init__(self, app: WSGIApplication) -> None:
        self._app = app

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        answer = self._app(environ, start_response)
        # If the server does not end the input where the body ends, a read could block forever.
        if not environ.get("wsgi.input_terminated") or not _has_body(environ):
            return answer
        if (chunks := environ.get("vetrina.chunks")) is not None:  # only worker/ sets it
            if chunks.is_read:
                return answer
            environ["vetrina.close"]()
        return ClosingIterator(answer, lambda: _drain(environ))


def _has_body(environ: WSGIEnvironment) -> bool:
    return environ.get("CONTENT_LENGTH", "0") != "0" or "HTTP_TRANSFER_ENCODING" in environ


def _drain(environ: WSGIEnvironment) -> None:
    body = environ["wsgi.input"]
    connection: Any = environ.get("gunicorn.socket")
    deadline = time.monotonic() + MAX_DRAIN_SECONDS
    if connection is not None:  # a worker.DeadlineSocket
        connection.deadline = min(deadline, connection.deadline)
    drained = 0
    try:
        if "vetrina.chunks" in environ:  # their framing takes long to parse, and the connection ends anyway
            connection.discard(MAX_DRAIN_BYTES)
            return
        while drained < MAX_DRAIN_BYTES and time.monotonic() < deadline:
            piece = body.read(_STEP)
            if not piece:
                break
            drained += len(piece)
    except Exception:  # noqa: BLE001  # the answer is sent, and each server raises other exceptions
        return
