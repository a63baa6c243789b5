"""``/media/<key>``: the objects of a store that does not serve them itself, and the sizes of images.

A size that is missing is made for the first request for it (``sizes.py``). If the store serves its objects
itself, a request for a size is redirected to the store, and other objects are not found here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Final

from flask import Blueprint, Response, request
from werkzeug.exceptions import PreconditionFailed, RequestedRangeNotSatisfiable
from werkzeug.http import is_resource_modified
from werkzeug.wsgi import wrap_file

from api.conditional import make_conditional
from api.metrics import SIZES
from api.requests import note
from auth.requester import requester
from sizes import Sizes, width_of
from storage.base import ObjectNotFound, StorageBackend, StoredObject

PREFIX: Final = "/media"

#: The key of a picture or of one of its sizes.
_KEY: Final = re.compile(
    r"[0-9a-f]{24}/products/(?P<product>[0-9a-f]{24})/images/(?P<image>[0-9a-f]{32})"
    r"(?:_[1-9][0-9]{0,4}w)?\.[a-z]{3,4}"
)
_CHUNK: Final = 1 << 17
_HEADERS: Final = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; sandbox",
    "Cache-Control": "public, max-age=31536000, immutable",
    # The pictures are public: pages of any origin may show them, and read their pixels from a canvas.
    "Cross-Origin-Resource-Policy": "cross-origin",
    "Access-Control-Allow-Origin": "*",
}

#: The headers of a redirect to a size. The store could be emptied, so the redirect is kept for a day.
_REDIRECT: Final = {"Cache-Control": "public, max-age=86400"}


def media_blueprint(storage: StorageBackend, sizes: Sizes, accel_prefix: str = "") -> Blueprint:
    """Serves the objects of ``storage`` to anyone who knows a key.

    Args:
        storage: the store of the objects.
        sizes: makes those that are missing.
        accel_prefix: the nginx location that sends the files. If it is not empty, the answer has only
            headers, and ``X-Accel-Redirect`` tells nginx which file to send.
    """
    blueprint = Blueprint("media", __name__, url_prefix=PREFIX)

    @blueprint.get("/<path:key>")
    def get_object(key: str) -> Response:
        _note(key)
        stored = _open(storage, sizes, key)
        # The last segment of a key is generated, and consists of letters, digits, "-", "_" and one dot.
        headers = _HEADERS | {"Content-Disposition": f'inline; filename="{key.rpartition("/")[2]}"'}
        if accel_prefix:
            stored.stream.close()
            headers["X-Accel-Redirect"] = accel_prefix + key
            return Response(headers=headers, content_type=stored.info.content_type)
        try:
            return _response(stored, headers)
        except (PreconditionFailed, RequestedRangeNotSatisfiable):
            stored.stream.close()
            raise

    return blueprint


def redirects_blueprint(sizes: Sizes) -> Blueprint:
    """Redirects requests for sizes to a store that serves its objects itself."""
    blueprint = Blueprint("media", __name__, url_prefix=PREFIX)

    @blueprint.get("/<path:key>")
    def get_size(key: str) -> Response:
        _note(key)
        url = sizes.locate(key, is_gone=requester("").is_gone)
        SIZES.labels("served").inc()
        return Response(status=HTTPStatus.FOUND, headers=_HEADERS | _REDIRECT | {"Location": url})

    return blueprint


def _note(key: str) -> None:
    """Adds the ids of a key to the log line. Any other text of a client's URL stays out of the log."""
    if match := _KEY.fullmatch(key):
        note(productId=match["product"], imageId=match["image"])


def _open(storage: StorageBackend, sizes: Sizes, key: str) -> StoredObject:
    """Opens an object. A size that is missing is made."""
    try:
        stored = storage.open(key)
    except ObjectNotFound:
        sizes.require(key, is_gone=requester("").is_gone)
        stored = storage.open(key)
    if width_of(key):
        SIZES.labels("served").inc()
    return stored


def _response(stored: StoredObject, headers: Mapping[str, str]) -> Response:
    info = stored.info
    response = Response(headers=headers, content_type=info.content_type, direct_passthrough=True)
    response.content_length = info.size
    response.last_modified = info.modified
    response.set_etag(info.etag)
    # The server reads the stream while it sends the answer; for a 304 or a HEAD it does not read it. It
    # closes the stream together with the answer.
    response.response = wrap_file(request.environ, stored.stream, _CHUNK)
    range_ = _single_range(response, info.size)
    environ = request.environ | ({"HTTP_RANGE": range_} if range_ else {})
    make_conditional(response, environ, accept_ranges=range_ is not None, length=info.size)
    response.headers["Accept-Ranges"] = "bytes"
    return response


def _single_range(response: Response, size: int) -> str | None:
    """The one range to send, as a Range header; None if the whole object is to be sent, or a 304.

    Werkzeug refuses other units and several ranges, which RFC 9110 section 14.2 allows a server to ignore.
    It prefers a range to a 304, although If-None-Match comes first (section 13.2.2). It accepts a weak tag in
    If-Range, which never matches (section 13.1.5). It refuses a suffix that is longer than the object, which
    stands for the whole object (section 14.1.2).
    """
    asked = request.range
    if request.method != "GET" or asked is None or asked.units != "bytes" or len(asked.ranges) != 1:
        return None
    if request.headers.get("If-Range", "").startswith("W/"):
        return None
    etag, modified = response.headers["ETag"], response.last_modified
    if not is_resource_modified(request.environ, etag, None, modified):
        return None
    start, _ = asked.ranges[0]
    return "bytes=0-" if start is not None and -start > size else asked.to_header()
