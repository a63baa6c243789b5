"""Uploads, validators, the refusal that a validator raises, and the limits.

A validator answers one question about an upload. It returns None if the upload passes, and raises
``Rejected`` if not. It stores what it finds out on the upload, for later validators and for the store. It
does no I/O and keeps no state, so one instance serves all threads.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final, Protocol

from errors import DomainError, Unavailable
from validators.containers.structure import KeepMetadata, Structure

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


class Rejected(DomainError):
    """The upload is refused.

    Args:
        code: a stable name of the refusal; ``api/errors.py`` maps it to a status.
        message: the sentence in the answer to the client.
        reason: the details, for the log only.

    Attributes:
        validator: the name of the validator that refused it; ``form`` before the chain runs.
    """

    validator = "form"

    def __init__(self, code: str, message: str, reason: str = "") -> None:
        super().__init__(reason)
        self.code = code
        self.message = message


class DecoderUnavailable(Unavailable):
    """The picture can't be decoded now, for a reason that is not in the picture: the client may try again."""

    code = "decoder_unavailable"


def corrupt(reason: str) -> Rejected:
    """Returns the refusal of a file that has an accepted type but is not a whole picture."""
    return Rejected("corrupt_image", "Image is corrupt or incomplete", reason)


def over_budget(reason: str) -> Rejected:
    """Returns the refusal of a picture that has too many pixels, or needs too much memory to decode."""
    return Rejected("too_many_pixels", "Image has too many pixels", reason)


def too_many_parts(reason: str) -> Rejected:
    """Returns the refusal of a picture with more chunks, segments or scans than the limits allow."""
    return Rejected("too_many_parts", "Image has too many chunks, segments or scans", reason)


@dataclass(frozen=True, slots=True)
class Limits:
    """The most that one picture may cost.

    Attributes:
        max_pixels: width × height × frames.
        max_decode_bytes: the memory for decoding, in bytes.
        max_decode_bytes_in_flight: the memory for all decodes that a process runs at a time, in bytes.
        max_jpeg_scans: the scans of a JPEG; ordinary progressive ones have 10 to 20.
        max_chunks: the segments or chunks of a file, those of all its frames together.
        keep_metadata: what is kept of XMP: nothing, how the picture was made, or this and the rights.
        max_icc_bytes: the size of a colour profile, inflated, in bytes; a larger one is not kept.
    """

    max_pixels: int = 50_000_000
    max_decode_bytes: int = 400_000_000
    max_decode_bytes_in_flight: int = 400_000_000
    max_jpeg_scans: int = 100
    max_chunks: int = 20_000
    max_icc_bytes: int = 4 * 1024 * 1024
    keep_metadata: KeepMetadata = "source"

    def check_pixels(self, pixels: int) -> None:
        """Raises Rejected if ``pixels``, the sum of all frames, exceed the limit."""
        if pixels > self.max_pixels:
            raise over_budget(f"{pixels} pixels, MAX_IMAGE_PIXELS is {self.max_pixels}")

    def check_decode_bytes(self, size: int) -> None:
        """Raises Rejected if a decode that takes ``size`` bytes of memory exceeds the limit."""
        if size > self.max_decode_bytes:
            raise over_budget(f"{size} bytes to decode, MAX_DECODE_MEMORY is {self.max_decode_bytes}")


@dataclass(frozen=True, slots=True)
class FilePart:
    """One file of a multipart form, as it was received.

    Attributes:
        field: the form field's name.
        data: the file's bytes.
        declared_type: the part's Content-Type in lower case without parameters; None if it has none.
        digests: the values of the part's Content-Digest and Repr-Digest headers (RFC 9530).
    """

    field: str
    data: bytes
    declared_type: str | None = None
    digests: Sequence[str] = ()


@dataclass
class Upload:
    """The files of one request, and what the chain has found out about them so far.

    Attributes:
        files: every file part of the form.
        image_type: the type that the bytes have; set by the validator ``signature``.
        structure: what the container says of the picture; set by the validator ``structure``.
    """

    files: Sequence[FilePart]
    image_type: ImageType = field(init=False)
    structure: Structure = field(init=False)

    @property
    def file(self) -> FilePart:
        """The only file. Valid once the validator ``presence`` has passed."""
        return self.files[0]

    @cached_property
    def sha256(self) -> bytes:
        """The SHA-256 digest (32 bytes) of the bytes that the client sent, computed once."""
        return hashlib.sha256(self.file.data).digest()


class Validator(Protocol):
    """One question about an upload. Logs and metrics use ``name``."""

    @property
    def name(self) -> str: ...

    def __call__(self, upload: Upload, limits: Limits) -> None:
        """Returns if the upload passes.

        Raises:
            Rejected: it does not pass.
            Unavailable: the server can't find out now.
        """
