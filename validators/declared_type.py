"""The validator that checks the type that the client declares."""

from __future__ import annotations

from validators.base import JPEG, PNG, WEBP, Limits, Rejected, Upload

#: Declarations that name no type: the bytes decide.
UNSPECIFIC = (None, "", "application/octet-stream")
ACCEPTED = tuple(kind.content_type for kind in (PNG, JPEG, WEBP))


def unsupported(reason: str) -> Rejected:
    """Returns the refusal of a type outside the three."""
    return Rejected(
        "unsupported_type",
        "Unsupported MIME type — accepts image/png, image/jpeg, image/webp",
        reason,
    )


class DeclaredType:
    """The part's Content-Type is absent, unspecific or one of the three.

    It may differ from the type of the bytes, which determine the type of the file.
    """

    name = "declared_type"

    def __call__(self, upload: Upload, limits: Limits) -> None:
        declared = upload.file.declared_type
        if declared not in UNSPECIFIC and declared not in ACCEPTED:
            raise unsupported("declared as another type")
