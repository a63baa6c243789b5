"""The validator that checks that the request contains exactly one file."""

from __future__ import annotations

from validators.base import Limits, Rejected, Upload

FIELD = "file"


def no_file(reason: str) -> Rejected:
    """Returns the refusal of a request without a file where one is expected."""
    return Rejected(
        "no_file",
        "No file provided. Send as multipart/form-data with field name 'file'.",
        reason,
    )


class Presence:
    """One file part, in the field ``file``, with at least one byte."""

    name = "presence"

    def __call__(self, upload: Upload, limits: Limits) -> None:
        if not any(part.field == FIELD for part in upload.files):
            raise no_file("no file part has the field name")
        if len(upload.files) > 1:
            raise Rejected(
                "several_files",
                "Send exactly one file per request, in the field 'file'.",
                f"{len(upload.files)} file parts",
            )
        if not upload.file.data:
            raise no_file("the file is empty")
