"""The ancillary chunks of a PNG that are stored: PNG (W3C, third edition) section 11.3."""

from __future__ import annotations

import struct
import zlib
from typing import Final

from validators.base import Limits
from validators.containers.exif import ExifKeeper
from validators.containers.icc import inflate_profile, read_profile
from validators.containers.ihdr import PALETTE, PngHeader
from validators.containers.png_text import TEXT_CHUNKS, TextReader
from validators.containers.xmp import PACKET_START, XmpKeeper, packet_of

#: The formats of the chunks about colours and the size of a pixel, and the largest value of each field:
#: viewers ignore a chunk with larger ones. These chunks come before the image data (table 5.3).
_COLOR_CHUNKS: Final = {
    b"cHRM": (">8I", (100_000,) * 8),  # chromaticities up to 1
    b"cICP": (">4B", (255, 255, 255, 1)),
    b"cLLI": (">2I", (100_000_000,) * 2),  # luminances up to 10,000 cd/m²
    b"gAMA": (">I", (2**31 - 1,)),
    b"mDCV": (">8H2I", (50_000,) * 8 + (100_000_000,) * 2),
    b"pHYs": (">2IB", (10_000_000, 10_000_000, 1)),  # pixels per metre
    b"sRGB": (">B", (3,)),
}
#: Sizes of chunks that depend on the colour type.
_SIGNIFICANT_BITS: Final = {0: 1, 2: 3, 3: 3, 4: 2, 6: 4}
_BACKGROUND: Final = {0: 2, 2: 6, 3: 1, 4: 2, 6: 6}
_TRANSPARENCY: Final = {0: 2, 2: 6}

#: Names that common programs (Pillow, libpng, ImageMagick, Photoshop) give to every profile. Any other name
#: could hold anything, and no viewer reads it.
_NEUTRAL_NAMES: Final = (b"ICC Profile", b"ICC profile", b"icc", b"Photoshop ICC profile")

#: Section 11.3.2.3 allows 79 bytes, Chromium one more.
_LONGEST_NAME: Final = 80

#: The start of an iTXt chunk of XMP: its keyword, no compression, no language (XMP Part 3 section 1.1.5).
_XMP_KEYWORD: Final = b"XML:com.adobe.xmp\0\0\0\0\0"

#: Names of what a dropped chunk holds.
_DROPPED: Final = {b"tIME": "time", b"iCCP": "icc", b"caBX": "c2pa"}


class AncillaryChunks:
    """Decides for each ancillary chunk of one file what is stored of it.

    Attributes:
        removed: names of the kinds of metadata that were dropped.
    """

    def __init__(self, header: PngHeader, limits: Limits) -> None:
        self._header = header
        self._limits = limits
        self._seen: set[bytes] = set()
        self._xmp = XmpKeeper(limits.keep_metadata)
        self._texts = TextReader(self._xmp)
        self._stored_packet: bytes | None = None
        self._exif = ExifKeeper()
        self.removed: set[str] = set()

    @property
    def orientation(self) -> int:
        """How a viewer turns and mirrors the picture: see Structure."""
        return self._exif.orientation

    def stored(
        self, kind: bytes, body: memoryview, *, palette_entries: int, before_data: bool
    ) -> bytes | memoryview | None:
        """Returns the body that is stored: ``body`` itself, another one, or None if the chunk is dropped.

        Args:
            kind, body: the type and data of the chunk, whose checksum is right.
            palette_entries: the number of entries in PLTE; 0 before it.
            before_data: whether the chunk comes before the first IDAT.
        """
        if kind in TEXT_CHUNKS:
            return self._text(kind, body)
        if kind == b"eXIf":
            smallest = self._exif.replace(body, (self._header.width, self._header.height), self.removed)
            unchanged = smallest is not None and bytes(body[: len(smallest) + 1]) == smallest
            return body if unchanged else smallest
        if not before_data or kind in self._seen:
            self._drop(kind)
            return None
        if kind == b"iCCP":
            self._seen.add(kind)  # viewers ignore a second one, even if the first is invalid
            return self._profile(body)
        used = self._transparency_size(body, palette_entries) if kind == b"tRNS" else len(body)
        if not used or not self._is_valid(kind, body):
            self._drop(kind)
            return None
        self._seen.add(kind)
        if used < len(body):
            self.removed.add("other")
        return body if used == len(body) else body[:used]

    def _text(self, kind: bytes, body: memoryview) -> memoryview | None:
        """Drops a text, unless it is the first that is exactly a packet of the kept XMP properties."""
        packet = bytes(body[len(_XMP_KEYWORD) :])
        if (
            self._stored_packet is None
            and kind == b"iTXt"
            and bytes(body[: len(_XMP_KEYWORD)]) == _XMP_KEYWORD
            and packet.startswith(PACKET_START)
            and packet == packet_of(self._xmp.read(packet))
        ):
            self._stored_packet = packet
            self._xmp.add(packet)
            return body
        self.removed |= self._texts.kinds(kind, body)
        return None

    def finish_xmp(self) -> tuple[str | None, bytes]:
        """Returns how the picture was made, and the body of the iTXt chunk to add; empty if none is added."""
        statements = self._xmp.statements()
        if self._stored_packet is not None:
            return self._xmp.read(self._stored_packet).digital_source_type, b""
        packet = packet_of(statements)
        return statements.digital_source_type, _XMP_KEYWORD + packet if packet else b""

    def drop_damaged(self, kind: bytes) -> None:
        """Notes a chunk that is dropped unread: its checksum is wrong, or its type is no valid name."""
        self.removed.add("comment" if kind in TEXT_CHUNKS else "exif" if kind == b"eXIf" else _name_of(kind))

    def _drop(self, kind: bytes) -> None:
        self.removed.add(_name_of(kind))

    def _transparency_size(self, body: memoryview, palette_entries: int) -> int:
        """The bytes of tRNS that are used: Chromium accepts a longer chunk, and ignores its surplus."""
        if self._header.color == PALETTE:
            return min(len(body), palette_entries) if len(body) <= 256 else 0
        size = _TRANSPARENCY.get(self._header.color, 0)
        return size if size <= len(body) else 0

    def _is_valid(self, kind: bytes, body: memoryview) -> bool:
        color, size = self._header.color, len(body)
        if kind == b"tRNS":
            return True
        if kind in (b"sBIT", b"bKGD"):
            return size == (_SIGNIFICANT_BITS if kind == b"sBIT" else _BACKGROUND)[color]
        layout, largest = _COLOR_CHUNKS.get(kind, ("", ()))
        if not largest or size != struct.calcsize(layout):
            return False
        return all(value <= most for value, most in zip(struct.unpack(layout, body), largest, strict=True))

    def _profile(self, body: memoryview) -> bytes | memoryview | None:
        """An iCCP chunk with a neutral name and a clean stream; None without a profile that viewers use."""
        name, _, rest = bytes(body[: _LONGEST_NAME + 2]).partition(b"\0")
        if not name or rest[:1] != b"\0":
            self._drop(b"iCCP")
            return None
        stream = body[len(name) + 2 :]
        inflated, clean = inflate_profile(stream, self._limits.max_icc_bytes)
        profile = read_profile(inflated)
        if profile is None:
            self._drop(b"iCCP")
            return None
        self.removed |= profile.removed
        if clean and profile.data is inflated:
            if name in _NEUTRAL_NAMES:
                return body
            self.removed.add("other")
            return _NEUTRAL_NAMES[0] + b"\0\0" + stream
        if not clean or name not in _NEUTRAL_NAMES:
            self.removed.add("other")
        return _NEUTRAL_NAMES[0] + b"\0\0" + zlib.compress(profile.data)


def _name_of(kind: bytes) -> str:
    return _DROPPED.get(kind, "other")
