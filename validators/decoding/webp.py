"""Does a WebP hold the data of every picture, and nothing behind it?

libwebp's incremental decoder tells both: it gets the data of a picture up to a few bytes before the end, and
then byte by byte until the picture is whole. What it did not need belongs to nobody and is not stored.

Pillow's own interface has no incremental decoder. Its extension module is linked with libwebp, whose public
functions are called through it (``webp/decode.h``).
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterable
from typing import Final

from PIL import _webp

from validators.base import corrupt
from validators.containers.webp import CodedPicture, WebpStructure
from validators.containers.webp_chunks import ALPHA, LOSSLESS, Chunk, encoded

#: An encoder writes up to this many bytes at the end to empty its registers (RFC 6386 section 7.3).
_FLUSHED: Final = 4
_OK, _SUSPENDED = 0, 5  # VP8StatusCode
_MODE_RGBA: Final = 1
#: The search for superfluous bytes goes in this many steps, then in as many within the right one.
_STEPS: Final = 64


def _library() -> ctypes.CDLL:
    library = ctypes.CDLL(_webp.__file__)
    pointer, size, integer = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int
    library.WebPINewRGB.restype = pointer
    library.WebPINewRGB.argtypes = [integer, pointer, size, integer]
    library.WebPINewYUVA.restype = pointer
    library.WebPINewYUVA.argtypes = [pointer, size, integer] * 4
    library.WebPIUpdate.restype = integer
    library.WebPIUpdate.argtypes = [pointer, ctypes.c_char_p, size]
    library.WebPIDelete.restype = None
    library.WebPIDelete.argtypes = [pointer]
    return library


_LIBWEBP: Final = _library()


class _Decoder:
    """An incremental decoder of one picture. It is to be closed."""

    def __init__(self, kind: bytes, payload: bytes) -> None:
        self._file = encoded(b"RIFF", b"WEBP" + encoded(kind, payload))
        self._header = 20
        # The colours that the bitstream has: nothing is converted, since nobody looks at the pixels.
        if kind == LOSSLESS:
            self._decoder = _LIBWEBP.WebPINewRGB(_MODE_RGBA, None, 0, 0)
        else:
            self._decoder = _LIBWEBP.WebPINewYUVA(*[None, 0, 0] * 4)
        if not self._decoder:
            raise MemoryError

    def is_whole(self, size: int) -> bool:
        """Whether the first ``size`` bytes are the whole picture; sizes must ascend.

        Raises:
            Rejected: the data is damaged.
            MemoryError: there is not enough memory.
        """
        status = _LIBWEBP.WebPIUpdate(self._decoder, self._file, self._header + size)
        if status == 1:
            raise MemoryError
        if status not in (_OK, _SUSPENDED):
            raise corrupt(f"libwebp's status {status}")
        return bool(status == _OK)

    def close(self) -> None:
        _LIBWEBP.WebPIDelete(self._decoder)


def _first_whole(kind: bytes, payload: bytes, sizes: Iterable[int]) -> int | None:
    """The first of the sizes with which the picture is whole, or None."""
    decoder = _Decoder(kind, payload)
    try:
        return next((size for size in sizes if decoder.is_whole(size)), None)
    finally:
        decoder.close()


def _needed(kind: bytes, payload: bytes) -> int:
    """The bytes of a bitstream that a decoder needs; those that encoders write at the end count too.

    Raises:
        Rejected: it needs more than there are, or the data is damaged.
    """
    size = len(payload)
    first = max(0, size - _FLUSHED - 1)
    needed = _first_whole(kind, payload, range(first, size + 1))
    if needed is None:
        raise corrupt("the data of a picture ends early")
    if needed > first or needed == 0:
        return size
    low, high = 0, first
    while low < high:
        step = max(1, (high - low) // _STEPS)
        found = _first_whole(kind, payload, [*range(low, high, step), high])
        # Without an answer, this decoder and the one before disagree: nothing is cut off.
        if found is None:
            return size
        low, high = max(low, found - step + 1), found
    # The decoder starts when it has an eighth of a lossless chunk, so with a long tail it starts too late.
    return _needed(kind, payload[:high])


def _needed_alpha(payload: bytes, width: int, height: int) -> int:
    """The same for the payload of an ALPH chunk (RFC 9649 section 2.7.1.2)."""
    if not payload:
        raise corrupt("an alpha channel without data")
    if payload[0] & 3 == 0:
        if len(payload) < 1 + width * height:
            raise corrupt("the data of an alpha channel ends early")
        return 1 + width * height
    # The compressed channel is a lossless bitstream without its header, whose last bits are the version.
    header = b"\x2f" + ((width - 1) | (height - 1) << 14).to_bytes(4, "little")
    return _needed(LOSSLESS, header + payload[1:]) - len(header) + 1


def _trimmed(picture: CodedPicture, part: Chunk, file: bytes) -> bytes:
    payload = file[part.body : part.end]
    if part.kind == ALPHA:
        return payload[: _needed_alpha(payload, picture.width, picture.height)]
    return payload[: _needed(part.kind, payload)]


def decode_webp(structure: WebpStructure, file: bytes) -> None:
    """Decodes every picture, and takes what no decoder reads out of what is stored.

    Raises:
        Rejected: the data of a picture ends early, or is damaged.
        MemoryError: there is not enough memory.
    """
    trimmed: dict[int, list[bytes]] = {}
    for number, picture in enumerate(structure.pictures):
        payloads = [_trimmed(picture, part, file) for part in picture.parts]
        if any(len(payload) < part.size for payload, part in zip(payloads, picture.parts, strict=True)):
            trimmed[number] = payloads
    if trimmed:
        structure.replace_payloads(trimmed)
        structure.removed |= {"trailer"}
