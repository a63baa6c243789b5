"""Reads a request's body once, into memory of a bounded size."""

from __future__ import annotations

import json
import re
import time
from itertools import islice
from typing import IO, Final

from flask import g, request
from werkzeug.exceptions import BadRequest, RequestEntityTooLarge, RequestTimeout
from werkzeug.exceptions import NotImplemented as HTTPNotImplemented

from errors import InvalidFields

MAX_JSON_BODY: Final = 1 << 20

#: The most values of any kind that a field of a JSON body has.
MAX_VALUES: Final = 2000
#: The most commas and opening brackets of a JSON body, outside its strings: each value can be a pair of
#: brackets. Parsing a megabyte of brackets takes a second and 100 MB.
_MAX_MARKS: Final = 5000
_MARKS: Final = b",[{"
#: A string, or one that the end of the text cuts off, so that no text is searched twice.
_STRING: Final = re.compile(rb'"(?:[^"\\]++|\\.)*+["\\]?', re.DOTALL)
_TOKEN: Final = re.compile(_STRING.pattern + rb"|[][{},:]", re.DOTALL)
#: The longest name of a field that an answer repeats.
_MAX_NAME: Final = 64

_STEP: Final = 1 << 20


class TooManyValues(BadRequest):
    """A JSON body with far more values than any call takes, in no single field."""

    def __init__(self) -> None:
        super().__init__("Request body has too many values")


def read_body(limit: int) -> bytes:
    """Reads the body of the current request.

    It reads directly from ``wsgi.input``: Werkzeug's stream enforces the same limit, but copies each byte
    three more times.

    Raises:
        RequestEntityTooLarge: the body, or its declared length, is longer than ``limit`` bytes.
        BadRequest: the body is shorter than its declared length, or its framing is broken.
        RequestTimeout: the body does not arrive in time.
        NotImplemented: the transfer coding is not ``chunked``.
    """
    if request.headers.get("Transfer-Encoding", "chunked").strip().lower() != "chunked":
        raise HTTPNotImplemented  # gunicorn also accepts "gzip, chunked", and does not decompress it
    declared = request.content_length
    if declared is None and not request.environ.get("wsgi.input_terminated"):
        return b""  # no body, or one whose end the server does not detect
    if declared is not None and declared > limit:
        raise RequestEntityTooLarge
    stream = request.environ["wsgi.input"]
    if declared is None:  # chunked: one byte beyond the limit shows that it is too long
        body = _read(stream, limit + 1, step=_STEP)
    else:
        body = _read(stream, declared, step=declared)
    if len(body) > limit:
        raise RequestEntityTooLarge
    if declared is not None and len(body) < declared:
        raise BadRequest("The body is shorter than its Content-Length")
    return body


def _is_late() -> bool:
    """Whether the deadline that ``worker/`` sets for the request to arrive has passed."""
    deadline: float | None = getattr(request.environ.get("gunicorn.socket"), "deadline", None)
    return deadline is not None and time.monotonic() >= deadline


def json_body() -> bytes:
    """Reads the body of the current request, which should be JSON. Later calls return the same bytes.

    Raises:
        RequestEntityTooLarge: it has more than 1 MB.
        BadRequest: it does not arrive whole.
        InvalidFields: a field has far more values than ``MAX_VALUES``.
        TooManyValues: the body has.
    """
    if "json_body" not in g:
        try:
            body = read_body(MAX_JSON_BODY)
        except RequestEntityTooLarge as error:
            raise RequestEntityTooLarge("Request body must be under 1MB") from error
        if _marks(body) > _MAX_MARKS and _marks(_STRING.sub(b"", body)) > _MAX_MARKS:
            raise _too_many_values(body)
        g.json_body = body
    known: bytes = g.json_body
    return known


def _marks(text: bytes) -> int:
    return len(text) - len(text.translate(None, _MARKS))


def _too_many_values(body: bytes) -> InvalidFields | TooManyValues:
    name = _crowded_field(body)
    return InvalidFields({name: [f"Must have at most {MAX_VALUES} values"]}) if name else TooManyValues()


def _crowded_field(body: bytes) -> str | None:
    """The name of the field of a JSON object that has too many marks, if it begins near the start."""
    depth = marks = 0
    last = name = b""
    for token in islice((match[0] for match in _TOKEN.finditer(body)), 4 * _MAX_MARKS):
        if token == b":" and depth == 1:
            name, marks = last, 0
        elif token in (b"]", b"}"):
            depth -= 1
        elif token in (b",", b"[", b"{"):
            depth += token != b","
            marks += 1
            if marks > _MAX_MARKS and depth > 1:
                return _text(name)
        last = token
    return None


def _text(string: bytes) -> str | None:
    """The text of a JSON string; None if it is malformed, empty or long."""
    try:
        text = json.loads(string)
    except ValueError:
        return None
    return text if isinstance(text, str) and 0 < len(text) <= _MAX_NAME else None


def _read(stream: IO[bytes], size: int, *, step: int) -> bytes:
    """Reads until the end, or ``size`` bytes. If a single read returns everything, nothing is copied."""
    pieces: list[bytes] = []
    missing = size
    try:
        while missing > 0 and (piece := stream.read(min(step, missing))):
            pieces.append(piece)
            missing -= len(piece)
    except Exception as error:
        # PEP 3333 does not specify which exception a server raises for a broken connection or a malformed
        # chunk, and servers differ. After any exception the body can't be read.
        if _is_late():
            raise RequestTimeout("Request timeout") from error
        raise BadRequest("The body can't be read") from error
    return b"".join(pieces)
