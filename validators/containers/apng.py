"""The frames of an animated PNG: PNG (W3C, third edition) sections 11.3.6 and 14."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

from validators.containers.ihdr import PngHeader

ANIMATION_CHUNKS = (b"acTL", b"fcTL", b"fdAT")


class BrokenAnimation(Exception):
    """The animation chunks break a rule, so viewers show the still picture (section 11.3.6)."""


@dataclass(slots=True)
class PngPicture:
    """One compressed picture: its size in pixels, and where the pieces of its zlib stream are.

    Attributes:
        width, height: in pixels.
        spans: start and end of each piece in the file, without the sequence number of an fdAT.
        prefix: the bytes of a sequence number before each piece: 4 in fdAT, 0 in IDAT.
        ends_badly: whether the last chunk lacks bytes at its end, or has a wrong checksum.
    """

    width: int
    height: int
    spans: list[tuple[int, int]] = field(default_factory=list)
    prefix: int = 0
    ends_badly: bool = False

    @property
    def size(self) -> int:
        """The bytes in all pieces."""
        return sum(end - start for start, end in self.spans)


class Animation:
    """The frames, from their chunks in the order of the file. Every method raises BrokenAnimation."""

    def __init__(self, header: PngHeader) -> None:
        self._header = header
        #: The number of frames in acTL; 0 before it.
        self._declared = 0
        self._sequence = 0
        #: The frames so far. The last one takes the data that comes next.
        self.frames: list[PngPicture] = []
        self._has_image_data = False

    def read(self, kind: bytes, body: memoryview, start: int) -> None:
        """Reads a chunk whose data starts at ``start`` in the file."""
        if kind == b"acTL":
            self._declare(body)
        elif kind == b"fcTL":
            self._control(body)
        else:
            self._data(body, start)

    def start_image_data(self) -> PngPicture | None:
        """Returns the frame that the image data (IDAT) is; None if it is a picture outside the animation."""
        self._has_image_data = True
        if self.frames and not self._declared:
            raise BrokenAnimation("fcTL before the image data, and no acTL")
        return self.frames[0] if self.frames else None

    def finish(self) -> None:
        """Makes the checks that require the whole animation."""
        if self.frames:
            self._finish_frame()
        if len(self.frames) != self._declared:
            raise BrokenAnimation("acTL declares another number of frames")

    def _declare(self, body: memoryview) -> None:
        if self._declared or self._has_image_data or len(body) != 8:
            raise BrokenAnimation("acTL is malformed, repeated or out of place")
        self._declared = int.from_bytes(body[:4])
        if not self._declared:
            raise BrokenAnimation("acTL declares no frames")

    def _count(self, body: memoryview) -> None:
        if len(body) < 4 or int.from_bytes(body[:4]) != self._sequence:
            raise BrokenAnimation("a chunk is out of sequence")
        self._sequence += 1

    def _control(self, body: memoryview) -> None:
        self._count(body)
        if self.frames:
            self._finish_frame()
        if len(body) != 26:
            raise BrokenAnimation("fcTL is not of 26 bytes")
        width, height, left, top, _, _, dispose, blend = struct.unpack_from(">IIIIHHBB", body, 4)
        canvas = (self._header.width, self._header.height)
        if not (0 < width <= canvas[0] - left and 0 < height <= canvas[1] - top):
            raise BrokenAnimation("a frame extends over the canvas")
        if dispose > 2 or blend > 1:
            raise BrokenAnimation("a frame has an unknown way to dispose or blend")
        if not self._has_image_data and (width, height) != canvas:
            raise BrokenAnimation("the first frame does not fill the canvas")
        self.frames.append(PngPicture(width, height))

    def _data(self, body: memoryview, start: int) -> None:
        self._count(body)
        if not self._has_image_data or not self.frames:
            raise BrokenAnimation("fdAT without a frame")
        frame = self.frames[-1]
        if frame.spans and not frame.prefix:
            raise BrokenAnimation("fdAT for a frame that IDAT holds")
        frame.prefix = 4
        frame.spans.append((start + 4, start + len(body)))

    def _finish_frame(self) -> None:
        if not self.frames[-1].spans:
            raise BrokenAnimation("a frame without data")
