"""What an upload is, what a validator is, and how one says no.

A validator answers one question about an upload. It returns nothing when the upload passes, writes
down on the upload what it found out (later validators and the store use it), and raises
``Rejected`` when it does not pass. It does no I/O and keeps no state, so one instance serves all
threads.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final, Protocol

from validators.containers.structure import Structure

#: The most bytes of one image, inclusive: docs/contract.md "Upload one image".
MAX_IMAGE_BYTES: Final = 5 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class ImageType:
    """One of the accepted types: its media type and its file extension."""

    content_type: str
    extension: str


PNG: Final = ImageType("image/png", "png")
JPEG: Final = ImageType("image/jpeg", "jpg")
WEBP: Final = ImageType("image/webp", "webp")


class Rejected(Exception):
    """The upload is refused.

    Attributes:
        code: a stable name of the reason; ``api/errors.py`` maps it to a status.
        message: the sentence that the client is told.
        reason: what exactly was wrong, for the log alone.
    """

    def __init__(self, code: str, message: str, reason: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.reason = reason


def corrupt(reason: str) -> Rejected:
    """The refusal of a file that has the right type but is not a whole picture."""
    return Rejected("corrupt_image", "Image is corrupt or incomplete", reason)


def over_budget(reason: str) -> Rejected:
    """The refusal of a picture that would cost too much to decode."""
    return Rejected("too_many_pixels", "Image has too many pixels", reason)


def too_many_parts(reason: str) -> Rejected:
    """The refusal of a picture that is cut into more chunks, segments or scans than the budget allows."""
    return Rejected("too_many_parts", "Image has too many chunks, segments or scans", reason)


@dataclass(frozen=True, slots=True)
class Limits:
    """What pictures may cost.

    Attributes:
        max_pixels: width × height × frames of one picture.
        max_decode_bytes: the memory that decoding one picture may take, in bytes.
        max_decode_bytes_in_flight: the same for all pictures that a process decodes at a time.
        max_jpeg_scans: the scans of one JPEG; ordinary progressive ones have 10 to 20.
        max_chunks: the segments or chunks of one file.
        max_icc_bytes: a colour profile, inflated; a larger one is not kept.
    """

    max_pixels: int = 50_000_000
    max_decode_bytes: int = 400_000_000
    max_decode_bytes_in_flight: int = 400_000_000
    max_jpeg_scans: int = 100
    max_chunks: int = 20_000
    max_icc_bytes: int = 4 * 1024 * 1024

    def check_pixels(self, pixels: int) -> None:
        """Raises Rejected if ``pixels``, all frames together, are more than the budget."""
        if pixels > self.max_pixels:
            raise over_budget(f"{pixels} pixels, MAX_IMAGE_PIXELS is {self.max_pixels}")

    def check_decode_bytes(self, size: int) -> None:
        """Raises Rejected if a decode that takes ``size`` bytes takes too many."""
        if size > self.max_decode_bytes:
            raise over_budget(f"{size} bytes to decode, MAX_DECODE_MEMORY is {self.max_decode_bytes}")


@dataclass(frozen=True, slots=True)
class FilePart:
    """One file of a multipart form, as it came.

    Attributes:
        field: the form field's name.
        data: the file's bytes.
        declared_type: the part's Content-Type in lower case without parameters; None if it had none.
        digests: the values of the part's Content-Digest and Repr-Digest headers (RFC 9530).
    """

    field: str
    data: bytes
    declared_type: str | None = None
    digests: Sequence[str] = ()


@dataclass
class Upload:
    """What one request brought, and what the chain has found out about it so far.

    Attributes:
        files: every file part of the form.
        image_type: what the bytes are; set by ``signature``.
        structure: what its container tells; set by ``structure``.
    """

    files: Sequence[FilePart]
    image_type: ImageType = field(init=False)
    structure: Structure = field(init=False)

    @property
    def file(self) -> FilePart:
        """The one file; only after ``presence`` has passed."""
        return self.files[0]

    @cached_property
    def sha256(self) -> bytes:
        """The 32-byte digest of the bytes that the client sent, computed once."""
        return hashlib.sha256(self.file.data).digest()


class Validator(Protocol):
    """One question about an upload. ``name`` is what logs and metrics call it."""

    @property
    def name(self) -> str: ...

    def __call__(self, upload: Upload, limits: Limits) -> None:
        """Passes, or raises Rejected."""
