"""The answers to requests that fail before the application sees them."""

from __future__ import annotations

import json
from typing import Final

from gunicorn.http import errors


class RequestTimeout(errors.ParseException):
    """A request did not arrive completely before its deadline."""


class AmbiguousRequest(errors.ParseException):
    """A request does not say which host it is for, or one of its headers names another path."""


#: The status and the sentence for each error: the first matching type decides.
_REFUSALS: Final[tuple[tuple[type[BaseException], int, str], ...]] = (
    (RequestTimeout, 408, "Request timeout"),
    (errors.LimitRequestLine, 414, "URI too long"),
    (errors.LimitRequestHeaders, 431, "Request header fields too large"),
    (errors.ExpectationFailed, 417, "Expectation failed"),
    (errors.UnsupportedTransferCoding, 501, "Not implemented"),
    (errors.ParseException, 400, "Bad request"),
    (BaseException, 500, "Internal server error"),
)


def refusal(error: BaseException) -> bytes:
    """The whole answer to a request that failed with this error."""
    return next(answer(status, text) for kind, status, text in _REFUSALS if isinstance(error, kind))


def answer(status: int, error: str, *headers: str) -> bytes:
    """An answer after which the connection is closed."""
    body = json.dumps({"error": error})
    lines = [
        f"HTTP/1.1 {status} {error}",
        *("Connection: close", "Content-Type: application/json", f"Content-Length: {len(body)}", *headers),
    ]
    return ("\r\n".join(lines) + "\r\n\r\n" + body).encode()
