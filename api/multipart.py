"""Parses a multipart/form-data request (RFC 7578) into an Upload and the fields beside it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from flask import request
from multipart import MultipartError, MultipartSegment, PushMultipartParser
from werkzeug.exceptions import BadRequest, RequestEntityTooLarge
from werkzeug.http import parse_options_header

from api.body import read_body
from validators.base import MAX_IMAGE_BYTES, FilePart, Upload
from validators.presence import no_file
from validators.size import too_large

#: The most bytes of a form besides the file: boundaries, headers and small fields.
MAX_ENVELOPE: Final = 64 * 1024
_MAX_PARTS: Final = 32
#: RFC 2046 section 5.1.1 allows 70 characters; Werkzeug's test client generates boundaries of up to 72.
_MAX_BOUNDARY: Final = 100
_MALFORMED: Final = "Malformed multipart/form-data body"


def upload_size() -> int:
    """The most bytes of the current request's body that ``read_form`` would hold in memory."""
    most = MAX_IMAGE_BYTES + MAX_ENVELOPE
    return most if request.content_length is None else min(request.content_length, most)


class Form(NamedTuple):
    """What a request holds: the upload, and the values of its fields ``alt``."""

    upload: Upload
    alts: Sequence[bytes]


def read_form() -> Form:
    """Reads and parses the current request's form. The body is read once and parsed once.

    Raises:
        Rejected: the request is not a form, or too long to hold an image within the limit.
        BadRequest: the form is malformed, or shorter than its declared length.
    """
    boundary = request.mimetype_params.get("boundary", "")
    if request.mimetype != "multipart/form-data" or not boundary:
        raise no_file("the request is not multipart/form-data with a boundary")
    if len(boundary) > _MAX_BOUNDARY or not boundary.isascii():
        raise BadRequest(_MALFORMED)
    try:
        body = read_body(MAX_IMAGE_BYTES + MAX_ENVELOPE)
    except RequestEntityTooLarge as error:
        raise too_large("the body is too long for any image within the limit") from error
    if not body:
        raise no_file("the body is empty")
    try:
        return _parse(body, boundary)
    except MultipartError as error:
        if f"--{boundary}".encode() not in body:
            raise no_file("the body is not multipart") from error
        raise BadRequest(_MALFORMED) from error


def _parse(body: bytes, boundary: str) -> Form:
    files: list[FilePart] = []
    alts: list[bytes] = []
    fields_size = 0
    pieces: list[bytes] = []
    segment: MultipartSegment | None = None
    # As a context manager the parser requires the closing boundary. Latin-1 decodes every header: the server
    # does not use file names, so their encoding must not make it refuse a form.
    options = {"max_segment_count": _MAX_PARTS, "header_charset": "latin-1", "strict": True}
    with PushMultipartParser(boundary, **options) as parser:
        for event in parser.parse(body):
            if isinstance(event, MultipartSegment):
                segment, pieces = event, []
            elif event is not None:
                pieces.append(event)
            elif segment is not None and _has_filename(segment):
                files.append(_file_part(segment, b"".join(pieces)))
            else:
                fields_size += sum(map(len, pieces))
                if segment is not None and segment.name == "alt":
                    alts.append(b"".join(pieces))
    if fields_size > MAX_ENVELOPE:
        raise BadRequest(_MALFORMED)
    return Form(Upload(files), alts)


def _has_filename(segment: MultipartSegment) -> bool:
    if segment.filename is None:
        # Some clients send a non-ASCII name only as ``filename*`` (RFC 5987), which the parser ignores.
        _, options = parse_options_header(segment["Content-Disposition"])
        return bool(options.get("filename"))
    return bool(segment.filename)


def _file_part(segment: MultipartSegment, data: bytes) -> FilePart:
    digests = tuple(value for name, value in segment.headerlist if name in ("Content-Digest", "Repr-Digest"))
    return FilePart(segment.name or "", data, segment.content_type, digests)
