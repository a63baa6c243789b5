"""The validator that determines the type of the file from its first bytes."""

from __future__ import annotations

from validators.base import JPEG, PNG, WEBP, ImageType, Limits, Upload
from validators.declared_type import unsupported


def image_type(data: bytes) -> ImageType | None:
    """Returns the type that the signature identifies, or None.

    Sources: PNG (W3C, third edition) section 5.2; JPEG, ITU-T T.81 section B.2.1 (SOI, then the
    first byte of another marker); WebP, RFC 9649 section 2.4.
    """
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return PNG
    if data.startswith(b"\xff\xd8\xff"):
        return JPEG
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return WEBP
    return None


class Signature:
    """The file starts like a PNG, a JPEG or a WebP, whatever its name and its declared type."""

    name = "signature"

    def __call__(self, upload: Upload, limits: Limits) -> None:
        found = image_type(upload.file.data)
        if found is None:
            raise unsupported("no known signature")
        upload.image_type = found
