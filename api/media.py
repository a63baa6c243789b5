"""``/media/<key>``: the public bytes of a store that has no web server of its own."""

from __future__ import annotations

from typing import Final

from flask import Blueprint, Response, request
from werkzeug.exceptions import RequestedRangeNotSatisfiable
from werkzeug.wsgi import wrap_file

from storage.base import StorageBackend, StoredObject

PREFIX: Final = "/media"

_CHUNK: Final = 1 << 17
_HEADERS: Final = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; sandbox",
    "Cache-Control": "public, max-age=31536000, immutable",
    # The pictures are public: pages of any origin may show them.
    "Cross-Origin-Resource-Policy": "cross-origin",
}


def media_blueprint(storage: StorageBackend, accel_prefix: str = "") -> Blueprint:
    """Serves the objects of ``storage`` to anyone who knows a key.

    Args:
        storage: whose objects are served.
        accel_prefix: if it is not empty, only the headers are ours: nginx, which stands before us, is told
            by ``X-Accel-Redirect`` to send the file from its location of this name.
    """
    blueprint = Blueprint("media", __name__, url_prefix=PREFIX)

    @blueprint.get("/<path:key>")
    def get_object(key: str) -> Response:
        stored = storage.open(key)
        if accel_prefix:
            stored.stream.close()
            accel = {"X-Accel-Redirect": accel_prefix + key}
            return Response(headers={**_HEADERS, **accel}, content_type=stored.info.content_type)
        try:
            return _response(stored)
        except RequestedRangeNotSatisfiable:
            stored.stream.close()
            raise

    return blueprint


def _response(stored: StoredObject) -> Response:
    info = stored.info
    response = Response(headers=_HEADERS, content_type=info.content_type, direct_passthrough=True)
    response.content_length = info.size
    response.last_modified = info.modified
    response.set_etag(info.etag)
    # The stream is read as the answer is sent, not at all for a 304 or a HEAD, and closed with it.
    response.response = wrap_file(request.environ, stored.stream, _CHUNK)
    response.make_conditional(request, accept_ranges=_asks_for_one_range(), complete_length=info.size)
    response.headers["Accept-Ranges"] = "bytes"
    return response


def _asks_for_one_range() -> bool:
    # Any other Range is passed over, as RFC 9110 section 14.2 has it, where Werkzeug would refuse it.
    asked = request.range
    return asked is not None and asked.units == "bytes" and len(asked.ranges) == 1
