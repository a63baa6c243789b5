"""Does a PNG hold all that it declares?

Pillow takes a PNG whose compressed data ends early, and leaves the missing rows black.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from typing import Final

from validators.base import corrupt

_CHANNELS: Final = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
# Adam7's passes as (first column, first row, column step, row step): PNG third edition, section 8.1.
_ADAM7: Final = (
    (0, 0, 8, 8),
    (4, 0, 8, 8),
    (0, 4, 4, 8),
    (2, 0, 4, 4),
    (0, 2, 2, 4),
    (1, 0, 2, 2),
    (0, 1, 1, 2),
)
_STEP: Final = 1 << 16


def _chunks(data: bytes) -> Iterator[tuple[bytes, memoryview]]:
    """The chunks up to and with IEND, each as its type and its data."""
    view = memoryview(data)
    position, kind = 8, b""
    while kind != b"IEND":
        end = position + 12 + int.from_bytes(view[position : position + 4])
        if end > len(data):
            raise corrupt("the last chunk is cut off, or there is no IEND")
        kind = bytes(view[position + 4 : position + 8])
        yield kind, view[position + 8 : end - 4]
        position = end


def _bytes_of_rows(width: int, height: int, bits_per_pixel: int, *, interlaced: bool) -> int:
    passes = _ADAM7 if interlaced else ((0, 0, 1, 1),)
    total = 0
    for left, top, across, down in passes:
        columns = -(-(width - left) // across)
        rows = -(-(height - top) // down)
        if columns > 0 and rows > 0:
            total += rows * (1 + -(-columns * bits_per_pixel // 8))
    return total


class _Picture:
    """The compressed data of one frame, and how many bytes it must inflate to."""

    def __init__(self, expected: int) -> None:
        self.missing = expected
        self._inflate = zlib.decompressobj()

    def feed(self, data: memoryview) -> None:
        pending: bytes | memoryview = data
        while pending and self.missing > 0 and not self._inflate.eof:
            self.missing -= len(self._inflate.decompress(pending, _STEP))
            pending = self._inflate.unconsumed_tail

    def finish(self) -> None:
        while self.missing > 0 and (rest := self._inflate.decompress(b"", _STEP)):
            self.missing -= len(rest)
        if self.missing > 0:
            raise corrupt(f"{self.missing} bytes of pixel data are missing")


def check_end(data: bytes) -> None:
    """Raises Rejected if the chunks do not reach IEND whole; Pillow does without it."""
    for _ in _chunks(data):
        pass


def check_rows(data: bytes) -> None:
    """Inflates each frame of a PNG, and counts; nothing is kept, and excess is not inflated.

    Sources: PNG (W3C, third edition) sections 7.2, 11.2.1, 11.3.4 and 13.2.

    Raises:
        Rejected: a frame holds fewer bytes than its rows need.
        zlib.error, struct.error: the data is damaged.
    """
    pictures: list[_Picture] = []
    bits_per_pixel, interlaced, size = 0, False, (0, 0)
    after_frame_control = False
    for kind, body in _chunks(data):
        if kind == b"IHDR":
            width, height, depth, color, _, _, method = struct.unpack(">IIBBBBB", body)
            size = (width, height)
            bits_per_pixel, interlaced = depth * _CHANNELS.get(color, 0), method == 1
        elif kind == b"fcTL":
            size = struct.unpack_from(">II", body, 4)
            after_frame_control = True
        elif kind in (b"IDAT", b"fdAT"):
            if after_frame_control or not pictures:
                expected = _bytes_of_rows(*size, bits_per_pixel, interlaced=interlaced)
                pictures.append(_Picture(expected))
            after_frame_control = False
            pictures[-1].feed(body if kind == b"IDAT" else body[4:])
    for picture in pictures:
        picture.finish()
