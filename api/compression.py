"""Responses with a body that is constant while the process runs: compressed once, with an entity tag."""

from __future__ import annotations

import gzip
import hashlib
from functools import lru_cache

from flask import Response, request

from api.conditional import make_conditional


@lru_cache(maxsize=32)
def _gzipped(body: bytes) -> bytes:
    return gzip.compress(body, mtime=0)


@lru_cache(maxsize=64)
def _tag(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()[:32]


def constant_response(body: bytes, content_type: str) -> Response:
    """Returns the body, or a 304 if the client has it. Compressed if the request accepts gzip: RFC 9110
    section 12.5.3.

    Args:
        body: the constant body. Its compressed form and its tag stay in a cache.
        content_type: the type of the uncompressed body.

    Raises:
        PreconditionFailed
    """
    compresses = request.accept_encodings["gzip"] > 0
    sent = _gzipped(body) if compresses else body
    response = Response(sent, content_type=content_type)
    if compresses:
        response.content_encoding = "gzip"
    response.vary.add("Accept-Encoding")
    response.set_etag(_tag(sent))
    make_conditional(response, request.environ)
    return response
