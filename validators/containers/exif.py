"""Reads Exif blocks, and builds minimal ones that hold only what browsers apply: orientation and density.

An Exif block is a TIFF file of tags without a picture: CIPA DC-008 (Exif 3.0) section 4.5, TIFF 6.0
section 2. Cameras and editors write damaged blocks, so nothing here raises: a tag that can't be read counts
as absent.

Browsers show a picture at its density-corrected natural size (HTML Standard, section 4.8.4.3, "Images") if
its block states a density and the size that follows from it.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

_ORIENTATION: Final = 0x0112
_X_RESOLUTION, _Y_RESOLUTION, _RESOLUTION_UNIT = 0x011A, 0x011B, 0x0128
_EXIF_DIRECTORY: Final = 0x8769
_GPS: Final = 0x8825
_PIXEL_WIDTH, _PIXEL_HEIGHT = 0xA002, 0xA003
_SHORT, _LONG, _RATIONAL = 3, 4, 5
_ENTRY: Final = 12
_INCH: Final = 2
#: The resolution, in pixels per inch, at which browsers show a picture at one CSS pixel per pixel.
_DEFAULT_RESOLUTION: Final = 72
#: The largest side that is kept: up to it, browsers' single-precision numbers represent integers exactly.
_MAX_SIDE: Final = 1 << 20

#: The values of the tag that turn or mirror the picture; 1 leaves it unchanged.
_TURNED: Final = range(2, 9)

#: The types that browsers accept for each tag that they use.
_TYPES: Final = {
    _ORIENTATION: (_SHORT,),
    _X_RESOLUTION: (_RATIONAL,),
    _Y_RESOLUTION: (_RATIONAL,),
    _RESOLUTION_UNIT: (_SHORT,),
    _EXIF_DIRECTORY: (_LONG,),
    _PIXEL_WIDTH: (_SHORT, _LONG),
    _PIXEL_HEIGHT: (_SHORT, _LONG),
}


def _single(value: float) -> float:
    """Rounds to single precision."""
    (rounded,) = struct.unpack("f", struct.pack("f", value))
    return float(rounded)


@dataclass(frozen=True, slots=True)
class Density:
    """A density, and the size of the picture that it leads to.

    Attributes:
        resolution: pixels per inch, across and down.
        size: width and height in CSS pixels, before the picture is turned.
    """

    resolution: tuple[Fraction, Fraction]
    size: tuple[int, int]

    def applies(self, coded: tuple[int, int]) -> bool:
        """Whether browsers show a picture of ``coded`` width and height, in pixels, at ``size``.

        They do if the size that the density leads to is the stated one, rounded. It has no effect if the
        stated size is that of the coded picture.
        """
        if self.size == coded or not all(0 < side <= _MAX_SIDE for side in (*self.size, *coded)):
            return False
        return all(
            int(_single(_single(pixels * _DEFAULT_RESOLUTION) / _single(float(dpi))) + 0.5) == side
            for pixels, dpi, side in zip(coded, self.resolution, self.size, strict=True)
        )


@dataclass(frozen=True, slots=True)
class Exif:
    """The fields of an Exif block that matter for display and for privacy.

    Attributes:
        orientation: 2 to 8; None if it is absent, 1 or invalid.
        density: None if it is absent or incomplete.
        holds: names of the kinds of metadata in the block.
    """

    orientation: int | None
    density: Density | None
    holds: frozenset[str]


class _Directories:
    """The first of each tag that browsers use, from the first directory and the Exif directory."""

    def __init__(self, block: bytes | memoryview, order: str) -> None:
        self._block = block
        self._order = order
        self.numbers: dict[int, int] = {}
        self.ratios: dict[int, Fraction] = {}
        self._seen: set[int] = set()
        self.holds = {"exif"}

    def _long(self, at: int) -> int:
        (value,) = struct.unpack_from(f"{self._order}I", self._block, at)
        return int(value)

    def read(self, at: int) -> None:
        """Reads the directory at an offset."""
        if at + 2 > len(self._block):
            return
        (count,) = struct.unpack_from(f"{self._order}H", self._block, at)
        start = at + 2
        whole = min(count, (len(self._block) - start) // _ENTRY)
        # A file can have 400,000 entries in many directories. This takes 0.2 µs for each.
        entries = struct.iter_unpack(f"{self._order}HHI4x", self._block[start : start + _ENTRY * whole])
        for number, (tag, kind, values) in enumerate(entries):
            if tag == _GPS:
                self.holds.add("gps")
            elif tag in _TYPES and values == 1 and kind in _TYPES[tag] and tag not in self._seen:
                self._seen.add(tag)
                self._take(tag, kind, start + _ENTRY * number + 8)

    def _take(self, tag: int, kind: int, field: int) -> None:
        if kind == _SHORT:
            (self.numbers[tag],) = struct.unpack_from(f"{self._order}H", self._block, field)
            return
        value = self._long(field)
        if kind == _LONG:
            self.numbers[tag] = value
        elif value + 8 <= len(self._block):
            above, below = self._long(value), self._long(value + 4)
            if above and below:
                self.ratios[tag] = Fraction(above, below)

    def density(self) -> Density | None:
        across, down = self.ratios.get(_X_RESOLUTION), self.ratios.get(_Y_RESOLUTION)
        if self.numbers.get(_RESOLUTION_UNIT) != _INCH or across is None or down is None:
            return None
        size = (self.numbers.get(_PIXEL_WIDTH, 0), self.numbers.get(_PIXEL_HEIGHT, 0))
        return Density((across, down), size)


def read_exif(block: bytes | memoryview) -> Exif:
    """Reads a block that starts with its TIFF header."""
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(bytes(block[:4]))
    if order is None or len(block) < 10:
        return Exif(None, None, frozenset({"exif"}))
    (first,) = struct.unpack_from(f"{order}I", block, 4)
    directories = _Directories(block, order)
    directories.read(first)
    if _EXIF_DIRECTORY in directories.numbers:
        directories.read(directories.numbers[_EXIF_DIRECTORY])
    if first + 2 <= len(block):
        (count,) = struct.unpack_from(f"{order}H", block, first)
        # The second directory describes the thumbnail.
        end = first + 2 + _ENTRY * count
        if end + 4 <= len(block) and block[end : end + 4] != b"\0\0\0\0":
            directories.holds.add("thumbnail")
    orientation = directories.numbers.get(_ORIENTATION)
    return Exif(
        orientation if orientation in _TURNED else None, directories.density(), frozenset(directories.holds)
    )


def exif_of_orientation(orientation: int) -> bytes:
    """Returns a block, starting with its TIFF header, that has only this tag."""
    return struct.pack(">4sIHHHIHxxI", b"MM\0*", 8, 1, _ORIENTATION, _SHORT, 1, orientation, 0)


def exif_of_density(orientation: int | None, coded: tuple[int, int], size: tuple[int, int]) -> bytes:
    """Returns the block that makes browsers show a picture of ``coded`` pixels at ``size``.

    The resolution is calculated from the two sizes, so the block holds no other information.
    """
    count = 4 if orientation is None else 5
    ratios_at = 8 + 2 + _ENTRY * count + 4
    entries = [] if orientation is None else [_short(_ORIENTATION, orientation)]
    entries += [
        struct.pack(">HHII", _X_RESOLUTION, _RATIONAL, 1, ratios_at),
        struct.pack(">HHII", _Y_RESOLUTION, _RATIONAL, 1, ratios_at + 8),
        _short(_RESOLUTION_UNIT, _INCH),
        struct.pack(">HHII", _EXIF_DIRECTORY, _LONG, 1, ratios_at + 16),
    ]
    ratios = [Fraction(pixels * _DEFAULT_RESOLUTION, side) for pixels, side in zip(coded, size, strict=True)]
    return b"".join(
        (
            struct.pack(">4sIH", b"MM\0*", 8, count),
            *entries,
            bytes(4),
            *(struct.pack(">II", ratio.numerator, ratio.denominator) for ratio in ratios),
            struct.pack(
                ">HHHIIHHIII", 2, _PIXEL_WIDTH, _LONG, 1, size[0], _PIXEL_HEIGHT, _LONG, 1, size[1], 0
            ),
        )
    )


def _short(tag: int, value: int) -> bytes:
    return struct.pack(">HHIHxx", tag, _SHORT, 1, value)


class ExifKeeper:
    """Keeps the orientation of a file's Exif blocks, and the density if it has an effect.

    Browsers read only the first block, even if it has neither.

    Attributes:
        orientation: 1 to 8, from the first block; 1 before it.
    """

    def __init__(self) -> None:
        self._has_block = False
        self.orientation = 1

    def replace(self, block: bytes | memoryview, coded: tuple[int, int], removed: set[str]) -> bytes | None:
        """Returns the block that replaces ``block``, or None if it is dropped.

        Args:
            block: the block, starting with its TIFF header.
            coded: width and height of the coded picture, in pixels.
            removed: receives the names of the metadata in the block, unless it is stored unchanged.
        """
        exif = read_exif(block)
        first, self._has_block = not self._has_block, True
        smallest = _smallest(exif, coded) if first else None
        if first:
            self.orientation = exif.orientation or 1
        if smallest is None or block != smallest:
            removed |= exif.holds
        return smallest


def _smallest(exif: Exif, coded: tuple[int, int]) -> bytes | None:
    if exif.density is not None and exif.density.applies(coded):
        return exif_of_density(exif.orientation, coded, exif.density.size)
    return None if exif.orientation is None else exif_of_orientation(exif.orientation)


def kinds_in_xmp(packet: bytes | memoryview) -> set[str]:
    """Returns the names of the kinds of metadata in an XMP packet (ISO 16684-1)."""
    text = bytes(packet)
    kinds = {"xmp"}
    if b"exif:GPS" in text:
        kinds.add("gps")
    if b":Thumbnails" in text:
        kinds.add("thumbnail")
    return kinds
