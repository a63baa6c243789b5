"""Reading a request's body, once, into memory that has a bound."""

from __future__ import annotations

import time
from typing import IO, Final

from flask import g, request
from werkzeug.exceptions import BadRequest, RequestEntityTooLarge, RequestTimeout
from werkzeug.exceptions import NotImplemented as HTTPNotImplemented

MAX_JSON_BODY: Final = 1 << 20

_STEP: Final = 1 << 20


def read_body(limit: int) -> bytes:
    """The body of the current request.

    It is taken from the server's input as it is: Werkzeug's stream, which enforces the same limit,
    copies each byte three more times.

    Raises:
        RequestEntityTooLarge: it is, or says that it is, longer than ``limit`` bytes.
        BadRequest: it is shorter than it says, or its framing is broken.
        RequestTimeout: it does not come in time.
        NotImplemented: it is encoded for the way otherwise than in chunks.
    """
    if request.headers.get("Transfer-Encoding", "chunked").strip().lower() != "chunked":
        raise HTTPNotImplemented  # gunicorn takes "gzip, chunked" too, and leaves the gzip to us
    declared = request.content_length
    if declared is None and not request.environ.get("wsgi.input_terminated"):
        return b""  # no body, or none whose end the server would find for us
    if declared is not None and declared > limit:
        raise RequestEntityTooLarge
    stream = request.environ["wsgi.input"]
    if declared is None:  # chunked: the limit and a byte more tell whether it is too long
        body = _read(stream, limit + 1, step=_STEP)
    else:
        body = _read(stream, declared, step=declared)
    if len(body) > limit:
        raise RequestEntityTooLarge
    if declared is not None and len(body) < declared:
        raise BadRequest("The body is shorter than its Content-Length")
    return body


def _is_late() -> bool:
    """Whether the request has not arrived within the time that ``worker.py`` gives it."""
    deadline: float | None = getattr(request.environ.get("gunicorn.socket"), "deadline", None)
    return deadline is not None and time.monotonic() >= deadline


def json_body() -> bytes:
    """The body of the current request, which is to be JSON; read once, however often it is asked for.

    Raises:
        RequestEntityTooLarge, BadRequest
    """
    if "json_body" not in g:
        try:
            g.json_body = read_body(MAX_JSON_BODY)
        except RequestEntityTooLarge as error:
            raise RequestEntityTooLarge("Request body must be under 1MB") from error
    body: bytes = g.json_body
    return body


def _read(stream: IO[bytes], size: int, *, step: int) -> bytes:
    """Reads until the end, or ``size`` bytes; what a single call brings is not copied again."""
    pieces: list[bytes] = []
    missing = size
    try:
        while missing > 0 and (piece := stream.read(min(step, missing))):
            pieces.append(piece)
            missing -= len(piece)
    except Exception as error:
        # PEP 3333 does not say what a server raises for a connection that broke or a chunk that is
        # malformed, and each raises its own. Whatever it is, the body can't be had.
        if _is_late():
            raise RequestTimeout("Request timeout") from error
        raise BadRequest("The body can't be read") from error
    return b"".join(pieces)
