"""The chunks of a PNG, still or animated: PNG (W3C, third edition) sections 5 and 11."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from typing import Final

from validators.base import Limits, corrupt, over_budget
from validators.containers.apng import Animation, PngPicture
from validators.containers.deflate import crc32
from validators.containers.exif import OrientationKeeper, kinds_in_xmp
from validators.containers.ihdr import PALETTE, PngHeader, read_header
from validators.containers.structure import Kept, Structure

SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
#: Sizes of the chunks that say how colours are meant, and how large a pixel is to be shown; they come
#: before the picture: sections 11.3.2 and 11.3.4, table 5.3.
_COLOR_CHUNKS: Final = {
    b"cHRM": 32,
    b"cICP": 4,
    b"cLLI": 8,
    b"gAMA": 4,
    b"mDCV": 24,
    b"pHYs": 9,
    b"sRGB": 1,
}
#: The same for chunks whose size follows the colour type.
_SIGNIFICANT_BITS: Final = {0: 1, 2: 3, 3: 3, 4: 2, 6: 4}
_BACKGROUND: Final = {0: 2, 2: 6, 3: 1, 4: 2, 6: 6}
_TRANSPARENCY: Final = {0: 2, 2: 6}

#: The bound of what inflating takes beside the file: the decompressor's window and tables, and its steps.
_STEP_MEMORY: Final = 1 << 20

_TEXTS: Final = (b"tEXt", b"zTXt", b"iTXt")
#: Texts that carry another kind of metadata: the keywords of ImageMagick, ExifTool and Adobe.
_TEXT_KINDS: Final = {
    b"XML:com.adobe.xmp": "xmp",
    b"Raw profile type xmp": "xmp",
    b"Raw profile type exif": "exif",
    b"Raw profile type APP1": "exif",
    b"Raw profile type iptc": "iptc",
    b"Raw profile type 8bim": "iptc",
}


@dataclass(kw_only=True)
class PngStructure(Structure):
    """The structure of a PNG.

    Attributes:
        header: what IHDR says.
        pictures: the compressed pictures, in the order of the file.
        max_rewritten: the most bytes that a picture may take if it has to be compressed anew.
    """

    header: PngHeader
    pictures: list[PngPicture]
    max_rewritten: int


def png_chunk(kind: bytes, body: bytes) -> bytes:
    """A chunk as it stands in a file."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", crc32(kind + body))


class _Walk:
    """One pass over one file."""

    def __init__(self, data: bytes, limits: Limits) -> None:
        self._data = data
        self._view = memoryview(data)
        self._limits = limits
        self._kept = Kept(data)
        self._removed: set[str] = set()
        self._orientation = OrientationKeeper()
        self._seen: set[bytes] = set()
        self._header: PngHeader | None = None
        self._palette_entries = 0
        self._animation: Animation | None = None
        self._frame_control = (0, 0)  # of the first frame
        self._still: PngPicture | None = None
        self._pictures: list[PngPicture] = []
        self._last = b""

    def run(self) -> PngStructure:
        position, size, count = len(SIGNATURE), len(self._data), 0
        self._kept.keep(0, position)
        while True:
            count += 1
            if count > self._limits.max_chunks:
                raise over_budget(f"more chunks than MAX_IMAGE_CHUNKS, {self._limits.max_chunks}")
            end = position + 12 + int.from_bytes(self._data[position : position + 4])
            if end > size:
                raise corrupt("a chunk is cut off, or IEND is missing")
            kind = self._data[position + 4 : position + 8]
            whole = crc32(self._view[position + 4 : end - 4]) == int.from_bytes(self._data[end - 4 : end])
            self._chunk(kind, position, end, whole=whole)
            if kind == b"IEND":
                return self._finish(end)
            self._last = kind
            position = end

    def _chunk(self, kind: bytes, start: int, end: int, *, whole: bool) -> None:
        if not kind.isalpha():
            raise corrupt("a chunk without a name")
        if not kind[0] & 0x20:  # critical
            if not whole:
                raise corrupt("the checksum of a critical chunk is wrong")
            self._critical(kind, start, end)
        elif self._header is None:
            raise corrupt("IHDR is not the first chunk")
        elif kind in (b"acTL", b"fcTL", b"fdAT"):
            self._animated(kind, start, end, whole=whole)
        elif kind in _TEXTS or kind == b"eXIf":
            self._metadata(kind, start, end, whole=whole)
        elif whole and self._is_wanted(kind, self._view[start + 8 : end - 4]):
            self._seen.add(kind)
            self._kept.keep(start, end)
        else:
            self._removed.add({b"tIME": "time", b"iCCP": "icc"}.get(kind, "other"))

    def _critical(self, kind: bytes, start: int, end: int) -> None:
        body = self._view[start + 8 : end - 4]
        if (kind == b"IHDR") != (self._header is None):
            raise corrupt("IHDR is not the first chunk, or not the only one")
        if kind == b"IHDR":
            self._header = read_header(body)
            self._limits.check_pixels(self._canvas_pixels)
        elif kind == b"PLTE":
            self._palette(body)
        elif kind == b"IDAT":
            self._picture_data(start + 8, end - 4)
        elif kind != b"IEND":
            raise corrupt("an unknown critical chunk")
        elif len(body) or self._still is None:
            raise corrupt("IEND is not empty, or comes before the picture")
        self._kept.keep(start, end)

    def _palette(self, body: memoryview) -> None:
        if self._still is not None or self._palette_entries:
            raise corrupt("PLTE is out of place")
        if not 3 <= len(body) <= 768 or len(body) % 3:
            raise corrupt("PLTE is malformed")
        self._palette_entries = len(body) // 3

    def _picture_data(self, start: int, end: int) -> None:
        header = self._known_header
        if self._still is None:
            self._end_animation_without_control()
            if header.color == PALETTE and not self._palette_entries:
                raise corrupt("PLTE is missing")
            # After an fcTL it is the first frame, otherwise a picture of its own.
            self._still = self._pictures[0] if self._pictures else PngPicture(header.width, header.height)
            self._pictures[:1] = [self._still]
        elif self._last != b"IDAT":
            raise corrupt("the IDAT chunks do not follow each other")
        self._still.spans.append((start, end))

    @property
    def _known_header(self) -> PngHeader:
        if self._header is None:
            raise corrupt("IHDR is not the first chunk")
        return self._header

    @property
    def _canvas_pixels(self) -> int:
        return self._known_header.width * self._known_header.height

    # --- ancillary chunks

    def _animated(self, kind: bytes, start: int, end: int, *, whole: bool) -> None:
        body = self._view[start + 8 : end - 4]
        if self._still is None and self._animation is None and kind != b"fdAT":
            self._animation = Animation(self._known_header)
        if self._animation is None:
            self._removed.add("other")
            return
        belongs = {b"acTL": self._still is None, b"fdAT": self._still is not None}.get(kind, True)
        if not whole or not belongs:
            raise corrupt("an animation chunk is damaged or out of place")
        if kind == b"acTL":
            self._animation.declare(body)
            self._limits.check_pixels(self._animation.declared * self._canvas_pixels)
        elif kind == b"fdAT":
            self._animation.data(body, start + 8)
        elif self._pictures and self._still is None:
            raise corrupt("two frames before the picture")
        else:
            self._pictures.append(self._animation.control(body, before_data=self._still is None))
            self._frame_control = (start, end)
        self._kept.keep(start, end)

    def _end_animation_without_control(self) -> None:
        """Without an acTL before the picture, the other chunks mean nothing: viewers show a still."""
        if self._animation is not None and not self._animation.declared:
            self._kept.replace(*self._frame_control, b"")
            self._removed.add("other")
            self._pictures, self._animation = [], None

    def _metadata(self, kind: bytes, start: int, end: int, *, whole: bool) -> None:
        body = self._view[start + 8 : end - 4]
        if kind == b"eXIf":
            smallest = self._orientation.replace(body, self._removed) if whole else None
            if smallest is None:
                self._removed.add("exif")
            elif body == smallest:
                self._kept.keep(start, end)
            else:
                self._kept.add(png_chunk(kind, smallest))
            return
        keyword = bytes(body[:80]).partition(b"\0")[0]
        name = _TEXT_KINDS.get(keyword, "comment")
        self._removed |= kinds_in_xmp(body) if name == "xmp" else {name}

    def _is_wanted(self, kind: bytes, body: memoryview) -> bool:
        header = self._known_header
        if kind == b"tRNS":
            return self._is_transparency(header, body)
        if kind in self._seen or self._still is not None:
            return False
        if kind == b"iCCP":
            return self._is_profile(body)
        sizes = {
            b"sBIT": _SIGNIFICANT_BITS[header.color],
            b"bKGD": _BACKGROUND[header.color],
            **_COLOR_CHUNKS,
        }
        return len(body) == sizes.get(kind)

    def _is_transparency(self, header: PngHeader, body: memoryview) -> bool:
        if header.color in (4, 6):  # these have an alpha channel
            return False
        if b"tRNS" in self._seen or self._still is not None:
            raise corrupt("tRNS is out of place")
        if header.color == PALETTE:
            good = 0 < len(body) <= self._palette_entries
        else:
            good = len(body) == _TRANSPARENCY[header.color]
        if not good:
            raise corrupt("tRNS is malformed, or before PLTE")
        return True

    def _is_profile(self, body: memoryview) -> bool:
        """Whether an iCCP has a name, the one method, and a whole profile that is not too large."""
        data = bytes(body)
        end = data.find(b"\0", 1, 80)
        if end < 0 or data[end + 1 : end + 2] != b"\0":
            return False
        inflate = zlib.decompressobj()
        try:
            profile = inflate.decompress(data[end + 2 :], self._limits.max_icc_bytes + 1)
        except zlib.error:
            return False
        return inflate.eof and not inflate.unused_data and len(profile) <= self._limits.max_icc_bytes

    # --- the end

    def _finish(self, end: int) -> PngStructure:
        header, size = self._known_header, len(self._data)
        max_rewritten = 2 * size + _STEP_MEMORY
        frames = 1
        if self._animation is not None:
            self._animation.close()
            if self._animation.frames != self._animation.declared:
                raise corrupt("acTL and the frames differ in number")
            frames = len(self._pictures)
        if end < len(self._data):
            self._removed.add("trailer")
        return PngStructure(
            width=header.width,
            height=header.height,
            frames=frames,
            decode_bytes=2 * (size + max_rewritten) + _STEP_MEMORY,
            kept=self._kept,
            removed=frozenset(self._removed),
            header=header,
            pictures=self._pictures,
            max_rewritten=max_rewritten,
        )


def read_png(data: bytes, limits: Limits) -> PngStructure:
    """Goes over the chunks up to IEND, and checks the checksum of each.

    Kept are the critical chunks, the animation, what says how colours are meant, and the orientation.
    Other chunks, and ancillary ones that are damaged, go: a viewer does without them.

    Raises:
        Rejected
    """
    return _Walk(data, limits).run()
