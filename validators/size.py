"""The validator that checks the size of the file."""

from __future__ import annotations

from validators.base import MAX_IMAGE_BYTES, Limits, Rejected, Upload


def too_large(reason: str) -> Rejected:
    """Returns the refusal of a file over the limit, or of a body that can only contain such a file."""
    return Rejected("too_large", "Image must be under 5MB", reason)


class Size:
    """At most ``MAX_IMAGE_BYTES``, inclusive; the multipart envelope does not count."""

    name = "size"

    def __call__(self, upload: Upload, limits: Limits) -> None:
        if len(upload.file.data) > MAX_IMAGE_BYTES:
            raise too_large(f"{len(upload.file.data)} bytes")
