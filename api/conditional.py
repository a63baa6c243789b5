"""Conditional answers to GET and HEAD: RFC 9110 section 13."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask import Response
from werkzeug.exceptions import PreconditionFailed
from werkzeug.http import parse_date

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment


def make_conditional(
    response: Response, environ: WSGIEnvironment, *, accept_ranges: bool = False, length: int | None = None
) -> None:
    """Turns an answer into a 304 or a part of it, as the request's conditions and range demand.

    Werkzeug answers an If-Match that does not hold with the whole content, which has the headers of a 200:
    caches could keep it. Every error is JSON (docs/contract.md "Errors"), so this function raises instead.
    Werkzeug also refuses ``*``, which everything that exists matches (section 13.1.1), and passes over
    If-Unmodified-Since, which counts without If-Match (section 13.1.4).

    Args:
        response: a 200 with an entity tag.
        environ: the WSGI environment of the request.
        accept_ranges: whether a range is honoured.
        length: the length of the whole content, in bytes.

    Raises:
        PreconditionFailed: If-Match does not name the entity tag, or the content is newer than
            If-Unmodified-Since.
        RequestedRangeNotSatisfiable
    """
    since = parse_date(environ.get("HTTP_IF_UNMODIFIED_SINCE"))
    modified = response.last_modified
    if since and modified and modified > since and "HTTP_IF_MATCH" not in environ:
        raise PreconditionFailed
    if environ.get("HTTP_IF_MATCH", "").strip() == "*":
        environ = environ | {"HTTP_IF_MATCH": ""}
    response.make_conditional(environ, accept_ranges=accept_ranges, complete_length=length)
    if response.status_code == PreconditionFailed.code:
        raise PreconditionFailed
