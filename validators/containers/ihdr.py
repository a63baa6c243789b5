"""The header of a PNG: PNG (W3C, third edition) section 11.2.1."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

from validators.base import corrupt

#: For each colour type, the number of channels and the allowed bit depths: table 11.1.
COLOR_TYPES: Final = {
    0: (1, (1, 2, 4, 8, 16)),
    2: (3, (8, 16)),
    3: (1, (1, 2, 4, 8)),
    4: (2, (8, 16)),
    6: (4, (8, 16)),
}
PALETTE: Final = 3
_MAX_SIDE: Final = 2**31 - 1


@dataclass(frozen=True, slots=True)
class PngHeader:
    """The fields of IHDR; ``width`` and ``height`` are the size of the canvas in pixels."""

    width: int
    height: int
    depth: int
    color: int
    interlaced: bool

    @property
    def bits_per_pixel(self) -> int:
        """The bits of all channels together."""
        return self.depth * COLOR_TYPES[self.color][0]

    def row_bytes(self, width: int) -> int:
        """Returns the size of a row of ``width`` pixels in bytes, uncompressed, with its filter type."""
        return 1 + -(-width * self.bits_per_pixel // 8)


def read_header(body: bytes) -> PngHeader:
    """Reads the 13 bytes of IHDR. Raises Rejected if a field has no defined value."""
    if len(body) != 13:
        raise corrupt("IHDR is not of 13 bytes")
    width, height, depth, color, compression, filtering, interlace = struct.unpack(">IIBBBBB", body)
    if not (0 < width <= _MAX_SIDE and 0 < height <= _MAX_SIDE):
        raise corrupt("a dimension is zero, or 2^31 or more")
    if color not in COLOR_TYPES or depth not in COLOR_TYPES[color][1]:
        raise corrupt("the colour type does not exist, or not in this depth")
    if compression or filtering or interlace > 1:
        raise corrupt("the compression, filter or interlace method does not exist")
    return PngHeader(width, height, depth, color, interlace == 1)
