"""Compresses the console's scripts and style sheets. Pages are not compressed: they hold CSRF tokens.

The length of a compressed page that also holds what others can choose could disclose its secrets (BREACH:
https://www.breachattack.com/).
"""

from __future__ import annotations

import gzip
from functools import lru_cache
from typing import Final

from flask import Response, request

_TYPES: Final = frozenset({"text/css", "text/javascript", "image/svg+xml"})
_OK: Final = 200


@lru_cache(maxsize=128)  # more than there are files
def _compressed(content: bytes) -> bytes:
    return gzip.compress(content, mtime=0)


def compress(response: Response) -> None:
    """Compresses the answer with a static file, if its type is text and the client accepts gzip."""
    if response.mimetype not in _TYPES:
        return
    response.vary.add("Accept-Encoding")
    etag, _ = response.get_etag()
    if etag:  # the same for both forms, so a weak one: RFC 9110 section 8.8.1
        response.set_etag(etag, weak=True)
    if response.status_code == _OK and request.accept_encodings["gzip"]:
        response.direct_passthrough = False
        response.set_data(_compressed(response.get_data()))
        response.content_encoding = "gzip"
        del response.headers["Accept-Ranges"]
