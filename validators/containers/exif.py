"""What an Exif block tells, and the smallest one that tells a picture's orientation.

An Exif block is a TIFF file of tags without a picture: CIPA DC-008 (Exif 3.0) section 4.5, TIFF 6.0
section 2. Cameras and editors write damaged blocks, so nothing here raises: a tag that can't be read counts
as absent.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

_ORIENTATION: Final = 0x0112
_GPS: Final = 0x8825
_SHORT: Final = 3
_ENTRY: Final = 12

#: The values of the tag that turn or mirror the picture; 1 is "as it is".
_TURNED: Final = range(2, 9)


@dataclass(frozen=True, slots=True)
class Exif:
    """What an Exif block tells.

    Attributes:
        orientation: 2 to 8, or None where it is absent, 1 or no valid value.
        holds: names of what identifies people or places in it.
    """

    orientation: int | None
    holds: frozenset[str]


def read_exif(block: bytes | memoryview) -> Exif:
    """Reads a block that starts with its TIFF header."""
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(bytes(block[:4]))
    holds = {"exif"}
    if order is None or len(block) < 10:
        return Exif(None, frozenset(holds))
    (first,) = struct.unpack_from(f"{order}I", block, 4)
    if first + 2 > len(block):
        return Exif(None, frozenset(holds))
    (count,) = struct.unpack_from(f"{order}H", block, first)
    end = first + 2 + _ENTRY * count
    entries = block[first + 2 : min(end, len(block) - (len(block) - first - 2) % _ENTRY)]
    orientation = None
    for tag, kind, values, value in struct.iter_unpack(f"{order}HHIH2x", entries):
        if tag == _GPS:
            holds.add("gps")
        elif tag == _ORIENTATION and orientation is None and kind == _SHORT and values == 1:
            orientation = value
    # The second directory describes the thumbnail.
    if end + 4 <= len(block) and block[end : end + 4] != b"\0\0\0\0":
        holds.add("thumbnail")
    return Exif(orientation if orientation in _TURNED else None, frozenset(holds))


def exif_of_orientation(orientation: int) -> bytes:
    """The block, from its TIFF header on, that has this one tag."""
    return struct.pack(">4sIHHHIHxxI", b"MM\0*", 8, 1, _ORIENTATION, _SHORT, 1, orientation, 0)


class OrientationKeeper:
    """What stays of all Exif blocks of a file: the orientation.

    Browsers read the first block and no other, even if the first one has no orientation.

    Attributes:
        orientation: 1 to 8, of the blocks that were replaced so far.
    """

    def __init__(self) -> None:
        self._has_block = False
        self.orientation = 1

    def replace(self, block: bytes | memoryview, removed: set[str]) -> bytes | None:
        """Returns what stands in the place of a block, if anything; adds to ``removed`` what goes."""
        exif = read_exif(block)
        first, self._has_block = not self._has_block, True
        if exif.orientation is None or not first:
            removed |= exif.holds
            return None
        self.orientation = exif.orientation
        smallest = exif_of_orientation(exif.orientation)
        if block != smallest:
            removed |= exif.holds
        return smallest


def kinds_in_xmp(packet: bytes | memoryview) -> set[str]:
    """Names of what an XMP packet (ISO 16684-1) holds."""
    text = bytes(packet)
    kinds = {"xmp"}
    if b"exif:GPS" in text:
        kinds.add("gps")
    if b":Thumbnails" in text:
        kinds.add("thumbnail")
    return kinds
