"""The validator that checks the digests that the client declares."""

from __future__ import annotations

import base64
import binascii
import re

from validators.base import Limits, Rejected, Upload

# A member of a structured-field dictionary whose value is a byte sequence (RFC 8941 section 3.3.5).
_MEMBER = re.compile(r"\s*([a-z*][a-z0-9_.*-]*)=:([A-Za-z0-9+/]*={0,2}):\s*(?:;[^,]*)?")


def _parse(value: str) -> dict[str, bytes]:
    members = {}
    for text in value.split(","):
        match = _MEMBER.fullmatch(text)
        if match is None:
            raise Rejected("bad_digest", "Content-Digest is malformed", "not a dictionary of digests")
        try:
            members[match[1]] = base64.b64decode(match[2], validate=True)
        except binascii.Error:
            raise Rejected("bad_digest", "Content-Digest is malformed", "bad base64") from None
    return members


class DeclaredDigest:
    """Each ``sha-256`` in the part's Content-Digest and Repr-Digest is the digest of its bytes (RFC 9530).

    Other algorithms are ignored, as section 2 of the RFC allows. A part has no content coding, so its
    representation and its content are the same bytes, and the two headers mean the same.
    """

    name = "digest"

    def __call__(self, upload: Upload, limits: Limits) -> None:
        for value in upload.file.digests:
            declared = _parse(value).get("sha-256")
            if declared is not None and declared != upload.sha256:
                raise Rejected("bad_digest", "Content-Digest does not match the file", "sha-256 differs")
