"""The frames of an animated PNG: PNG (W3C, third edition) sections 11.3.6 and 14."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

from validators.base import corrupt
from validators.containers.ihdr import PngHeader


@dataclass(slots=True)
class PngPicture:
    """One compressed picture: its size in pixels, and where the pieces of its zlib stream are."""

    width: int
    height: int
    #: Start and end in the file, without the sequence number of an fdAT.
    spans: list[tuple[int, int]] = field(default_factory=list)
    #: The bytes of a sequence number before each piece: 4 in fdAT, 0 in IDAT.
    prefix: int = 0

    @property
    def size(self) -> int:
        """The bytes in all pieces."""
        return sum(end - start for start, end in self.spans)


class Animation:
    """The frames, as their chunks tell of them in the order of the file."""

    def __init__(self, header: PngHeader) -> None:
        self._header = header
        #: How many frames acTL says that there are; 0 before it.
        self.declared = 0
        self.frames = 0
        self._sequence = 0
        self._open: PngPicture | None = None

    def declare(self, body: memoryview) -> None:
        """Reads acTL."""
        if self.declared or len(body) != 8 or not (declared := int.from_bytes(body[:4])):
            raise corrupt("acTL is malformed, or not the only one")
        self.declared = declared

    def _next(self, body: memoryview) -> None:
        if len(body) < 4 or int.from_bytes(body[:4]) != self._sequence:
            raise corrupt("a frame is out of sequence")
        self._sequence += 1

    def control(self, body: memoryview, *, before_data: bool) -> PngPicture:
        """Reads an fcTL; returns the picture that it announces."""
        self._next(body)
        self.close()
        if len(body) != 26:
            raise corrupt("fcTL has not 26 bytes")
        width, height, left, top, _, _, dispose, blend = struct.unpack_from(">IIIIHHBB", body, 4)
        canvas = (self._header.width, self._header.height)
        if not (0 < width <= canvas[0] - left and 0 < height <= canvas[1] - top) or dispose > 2 or blend > 1:
            raise corrupt("a frame reaches over the canvas, or is composed in no known way")
        if before_data and (width, height) != canvas:
            raise corrupt("the first frame does not fill the canvas")
        self.frames += 1
        self._open = PngPicture(width, height)
        return self._open

    def data(self, body: memoryview, start: int) -> None:
        """Reads an fdAT whose data starts at ``start`` in the file."""
        self._next(body)
        if self._open is None:
            raise corrupt("frame data without a frame")
        self._open.prefix = 4
        self._open.spans.append((start + 4, start + len(body)))

    def close(self) -> None:
        """The frame that is open must have data."""
        if self._open is not None and not self._open.spans:
            raise corrupt("a frame without data")
