"""Reading a request's body, once, into memory that has a bound."""

from __future__ import annotations

from typing import Final

from flask import request
from werkzeug.exceptions import BadRequest, HTTPException

#: A megabyte at a time: gunicorn copies what it has read ahead at every call.
_STEP: Final = 1 << 20


def read_body(limit: int) -> bytes:
    """The body of the current request.

    Raises:
        RequestEntityTooLarge: it is, or says that it is, longer than ``limit`` bytes.
        BadRequest: it is shorter than it says, or its framing is broken.
    """
    request.max_content_length = limit  # enforced by Werkzeug
    declared = request.content_length
    pieces: list[bytes] = []
    missing = declared if declared is not None else limit + 1
    try:
        while missing > 0 and (piece := request.stream.read(min(_STEP, missing))):
            pieces.append(piece)
            missing -= len(piece)
    except HTTPException:
        raise
    except Exception as error:
        # PEP 3333 does not say what a server raises for a connection that broke or a chunk that is
        # malformed, and each raises its own. Whatever it is, the body can't be had.
        raise BadRequest("The body can't be read") from error
    if declared is not None and missing:
        raise BadRequest("The body is shorter than its Content-Length")
    return b"".join(pieces)
