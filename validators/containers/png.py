"""The chunks of a PNG, still or animated: PNG (W3C, third edition) sections 5 and 11."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

from validators.base import Limits, corrupt, too_many_parts
from validators.containers.apng import ANIMATION_CHUNKS, Animation, BrokenAnimation, PngPicture
from validators.containers.deflate import crc32
from validators.containers.ihdr import PALETTE, PngHeader, read_header
from validators.containers.png_ancillary import AncillaryChunks
from validators.containers.structure import Kept, Structure

SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"

#: A length, a type and a checksum (section 5.3).
_SMALLEST_CHUNK: Final = 12

#: A bound on the memory that inflating takes besides the file: the decompressor's window
#: and tables, and its steps.
_STEP_MEMORY: Final = 1 << 20


@dataclass(kw_only=True)
class PngStructure(Structure):
    """The structure of a PNG.

    Attributes:
        header: what IHDR says.
        pictures: the compressed pictures, in the order of the file.
        max_rewritten: the most bytes that a picture may take if it must be recompressed.
    """

    header: PngHeader
    pictures: list[PngPicture]
    max_rewritten: int


def png_chunk(kind: bytes, body: bytes) -> bytes:
    """Returns a chunk with its length and its checksum (section 5.3)."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", crc32(kind + body))


_END: Final = png_chunk(b"IEND", b"")


class _Walk:
    """One pass over one file.

    Args:
        animated: whether the animation chunks are stored; otherwise they are dropped unread.
    """

    def __init__(self, data: bytes, limits: Limits, *, animated: bool) -> None:
        self._data = data
        self._view = memoryview(data)
        self._limits = limits
        self._kept = Kept(data)
        self._header = self._read_header()
        self._palette_entries = 0
        self._ancillary = AncillaryChunks(self._header, limits)
        self._removed = self._ancillary.removed
        self._animation = Animation(self._header) if animated else None
        self._has_damaged_frame = False
        #: The image data: a frame of the animation, or a separate picture. None before the first IDAT.
        self._still: PngPicture | None = None
        self._last = b""

    def run(self) -> PngStructure:
        position, size = len(SIGNATURE) + 25, len(self._data)
        for _ in range(self._limits.max_chunks):
            end = position + 12 + int.from_bytes(self._data[position : position + 4])
            kind = self._data[position + 4 : position + 8]
            if kind == b"IEND" and end <= size:  # its body and its checksum are rewritten
                return self._finish(position, is_cut=False)
            whole = end <= size and (
                crc32(self._view[position + 4 : end - 4]) == int.from_bytes(self._data[end - 4 : end])
            )
            if kind == b"IDAT" and not whole and size - end < _SMALLEST_CHUNK:
                self._image_data(position, end, whole=False)
                return self._finish(min(end, size), is_cut=True)
            if end > size:
                return self._finish(position, is_cut=True)
            if not kind[0] & 0x20:  # critical: section 5.4
                self._critical(kind, position, end, whole=whole)
            elif kind in ANIMATION_CHUNKS:
                self._animated(kind, position, end, whole=whole)
            else:
                self._ancillary_chunk(kind, position, end, whole=whole)
            self._last = kind
            position = end
        raise too_many_parts(f"more chunks than MAX_IMAGE_CHUNKS, {self._limits.max_chunks}")

    def _read_header(self) -> PngHeader:
        start = len(SIGNATURE)
        end = start + 25
        chunk = self._data[start:end]
        if chunk[:8] != b"\0\0\0\x0dIHDR" or len(chunk) != 25:
            raise corrupt("IHDR is not the first chunk, or not of 13 bytes")
        if crc32(chunk[4:-4]) != int.from_bytes(chunk[-4:]):
            raise corrupt("the checksum of a critical chunk is wrong")
        header = read_header(chunk[8:-4])
        self._limits.check_pixels(header.width * header.height)
        self._kept.keep(0, end)
        return header

    # --- critical chunks

    def _critical(self, kind: bytes, start: int, end: int, *, whole: bool) -> None:
        if not whole:
            raise corrupt("the checksum of a critical chunk is wrong")
        if kind == b"PLTE":
            self._palette(start, end)
        elif kind == b"IDAT":
            self._image_data(start, end, whole=True)
        else:
            raise corrupt("a second IHDR, or an unknown critical chunk")

    def _palette(self, start: int, end: int) -> None:
        body = self._view[start + 8 : end - 4]
        if self._header.color != PALETTE:
            self._removed.add("other")  # a suggestion (section 11.2.2) that viewers do not follow
            return
        if self._still is not None:
            self._removed.add("other")  # it follows the image data, whose palette precedes it
            return
        if self._palette_entries:
            raise corrupt("a second PLTE")
        if not 3 <= len(body) <= 768 or len(body) % 3:
            raise corrupt("PLTE is malformed")
        self._palette_entries = min(len(body) // 3, 2**self._header.depth)
        if 3 * self._palette_entries == len(body):
            self._kept.keep(start, end)
        else:  # no pixel can use the further entries
            self._removed.add("other")
            self._kept.add(png_chunk(b"PLTE", bytes(body[: 3 * self._palette_entries])))

    def _image_data(self, start: int, end: int, *, whole: bool) -> None:
        if self._still is None:
            if self._header.color == PALETTE and not self._palette_entries:
                raise corrupt("PLTE is missing")
            frame = self._animation.start_image_data() if self._animation else None
            self._still = frame or PngPicture(self._header.width, self._header.height)
        elif self._last != b"IDAT":
            self._removed.add("other")  # viewers stop at the first other chunk
            return
        stop = min(end, len(self._data))
        self._still.spans.append((start + 8, min(end - 4, stop)))
        self._still.ends_badly = not whole
        self._kept.keep(start, stop)

    # --- ancillary chunks

    def _animated(self, kind: bytes, start: int, end: int, *, whole: bool) -> None:
        if self._animation is None:
            self._removed.add("other")
            return
        if not whole:
            if kind != b"fdAT":
                raise BrokenAnimation("the checksum of a chunk is wrong")
            self._has_damaged_frame = True
        self._animation.read(kind, self._view[start + 8 : end - 4], start + 8)
        self._kept.keep(start, end)

    def _ancillary_chunk(self, kind: bytes, start: int, end: int, *, whole: bool) -> None:
        if not whole or not kind.isalpha():
            self._ancillary.drop_damaged(kind)
            return
        body = self._view[start + 8 : end - 4]
        stored = self._ancillary.stored(
            kind, body, palette_entries=self._palette_entries, before_data=self._still is None
        )
        if stored is body:
            self._kept.keep(start, end)
        elif stored is not None:
            self._kept.add(png_chunk(kind, bytes(stored)))

    # --- the end

    def _finish(self, end: int, *, is_cut: bool) -> PngStructure:
        """Ends the file at IEND, or at a chunk that is cut off; ``end`` is where it starts."""
        if self._still is None:
            raise corrupt("the file ends before the image data")
        pictures = self._pictures(is_cut=is_cut)
        size = len(self._data)
        if self._data[end : end + len(_END)] == _END:
            self._kept.keep(end, end + len(_END))
            if end + len(_END) < size:
                self._removed.add("trailer")
        else:
            self._kept.add(_END)
            if not _END.startswith(self._data[end:]):
                self._removed.add("trailer")
        source, xmp = self._ancillary.finish_xmp()
        if xmp:  # after IHDR: its checksum is replaced by the same checksum and the chunk
            self._kept.replace(29, 33, self._data[29:33] + png_chunk(b"iTXt", xmp))
        max_rewritten = 2 * size + _STEP_MEMORY
        return PngStructure(
            width=self._header.width,
            height=self._header.height,
            frames=len(pictures),
            decode_bytes=2 * (size + max_rewritten) + _STEP_MEMORY,
            kept=self._kept,
            removed=frozenset(self._removed),
            digital_source_type=source,
            orientation=self._ancillary.orientation,
            header=self._header,
            pictures=pictures,
            max_rewritten=max_rewritten,
        )

    def _pictures(self, *, is_cut: bool) -> list[PngPicture]:
        """All compressed pictures. If the file is cut off, missing frames are no broken rule."""
        still = [self._still] if self._still else []
        if self._animation is None:
            return still
        try:
            self._animation.finish()
        except BrokenAnimation:
            if is_cut:
                raise corrupt("the file ends within an animation") from None
            raise
        if self._has_damaged_frame:
            raise corrupt("the checksum of a frame is wrong")
        frames = self._animation.frames
        return frames if frames and frames[0] is self._still else still + frames


def read_png(data: bytes, limits: Limits) -> PngStructure:
    """Reads the chunks up to IEND, and checks the checksum of each.

    It keeps the critical chunks, the animation, the chunks about colours, and the orientation. It drops other
    chunks and damaged ancillary ones: viewers do not need them. It also drops an animation that breaks a
    rule, because viewers then show the still picture.

    A missing or damaged end is rewritten: IEND, and the checksum of an IDAT after which no whole chunk
    fits. Whether the image data is complete is judged by its own zlib stream (``decoding/png.py``).

    Raises:
        Rejected: a critical chunk is missing, damaged or out of order, or a budget is exceeded.
    """
    try:
        return _Walk(data, limits, animated=True).run()
    except BrokenAnimation:
        return _Walk(data, limits, animated=False).run()
