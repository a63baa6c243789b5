"""What would it cost to decode, by its headers alone?"""

from __future__ import annotations

from typing import Final

from validators.base import JPEG, PNG, WEBP, ImageType, Limits, Upload, corrupt, over_budget

#: Bytes of memory that Pillow takes for a pixel of the canvas, by measurement: WebP keeps several
#: canvases at once; JPEG, decoded small, keeps the coefficients of a progressive file.
DECODE_BYTES_PER_PIXEL: Final[dict[ImageType, int]] = {PNG: 4, JPEG: 6, WEBP: 15}

_JPEG_WITHOUT_LENGTH = {0x01, *range(0xD0, 0xD9)}
_JPEG_FRAME_HEADERS = set(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_JPEG_END_OF_HEADERS = {0xD9, 0xDA}


def _png_size(data: bytes) -> tuple[int, int]:
    """IHDR is the first chunk: PNG (W3C, third edition) sections 5.6 and 11.2.1."""
    if data[8:16] != b"\x00\x00\x00\rIHDR" or len(data) < 33:
        raise corrupt("IHDR is not the first chunk")
    return int.from_bytes(data[16:20]), int.from_bytes(data[20:24])


def _jpeg_size(data: bytes) -> tuple[int, int]:
    """The first frame header (SOF): ITU-T T.81 sections B.1.1.4 and B.2.2."""
    position = 2
    while position + 4 <= len(data):
        if data[position] != 0xFF:
            raise corrupt("a marker is missing")
        marker = data[position + 1]
        if marker == 0xFF:  # a fill byte
            position += 1
        elif marker in _JPEG_WITHOUT_LENGTH:
            position += 2
        elif marker in _JPEG_FRAME_HEADERS:
            if position + 9 > len(data):
                break
            height = int.from_bytes(data[position + 5 : position + 7])
            return int.from_bytes(data[position + 7 : position + 9]), height
        elif marker in _JPEG_END_OF_HEADERS:
            break
        else:
            position += 2 + int.from_bytes(data[position + 2 : position + 4])
    raise corrupt("no frame header")


def _webp_size(data: bytes) -> tuple[int, int]:
    """The canvas of the first chunk: RFC 9649 sections 2.5 to 2.7, and 3.4 for lossless."""
    if len(data) < 30:
        raise corrupt("no room for a first chunk")
    kind = data[12:16]
    if kind == b"VP8X":
        return 1 + int.from_bytes(data[24:27], "little"), 1 + int.from_bytes(data[27:30], "little")
    if kind == b"VP8L":
        bits = int.from_bytes(data[21:25], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    if kind == b"VP8 ":
        width = int.from_bytes(data[26:28], "little")
        return width & 0x3FFF, int.from_bytes(data[28:30], "little") & 0x3FFF
    raise corrupt("the first chunk is not an image's")


_SIZE = {PNG: _png_size, JPEG: _jpeg_size, WEBP: _webp_size}


def check_pixels(pixels: int, limits: Limits) -> None:
    """Raises Rejected if ``pixels``, all frames together, are more than the budget."""
    if pixels > limits.max_pixels:
        raise over_budget(f"{pixels} pixels, MAX_IMAGE_PIXELS is {limits.max_pixels}")


class PixelBudget:
    """The declared dimensions are not zero, and their pixels and decode memory are affordable.

    Nothing is decoded, or even opened, before this has passed: opening a WebP already allocates its
    canvas.
    """

    name = "pixels"

    def __call__(self, upload: Upload, limits: Limits) -> None:
        width, height = _SIZE[upload.image_type](upload.file.data)
        if not width or not height:
            raise corrupt("a dimension is zero")
        check_pixels(width * height, limits)
        memory = width * height * DECODE_BYTES_PER_PIXEL[upload.image_type]
        if memory > limits.max_decode_bytes:
            raise over_budget(f"{memory} bytes to decode, the limit is {limits.max_decode_bytes}")
        upload.width, upload.height = width, height
