"""The segments of a JPEG: ITU-T T.81 annex B.

Also JFIF (ITU-T T.871), Exif (CIPA DC-008 section 4.7), Adobe's APP14 (Technical Note 5116, which
T.872 section 6.5.3 took over), ICC profiles (ICC.1 annex B.4) and several pictures in one file (CIPA DC-007).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from validators.base import Limits, Rejected, corrupt, too_many_parts
from validators.containers.jpeg_application import ApplicationSegments, Piece, segment
from validators.containers.jpeg_frame import FRAMES, Frame
from validators.containers.jpeg_tables import TABLES, Tables
from validators.containers.structure import Kept, Structure

_EOI, _SOS, _DAC, _DNL, _COM, _APP0 = 0xD9, 0xDA, 0xCC, 0xDC, 0xFE, 0xE0
_WITHOUT_LENGTH: Final = {0x01, *range(0xD0, 0xD8)}
END_OF_IMAGE: Final = b"\xff\xd9"

#: The next marker. Fill bytes (0xFF) or junk can precede it; decoders skip both.
_MARKER: Final = re.compile(rb"\xff[^\x00\xff]", re.DOTALL)
#: The next marker after entropy-coded data. 0xFF00 encodes a data byte 0xFF, and RST0 to RST7 are part of
#: the data.
_AFTER_SCAN: Final = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]", re.DOTALL)
#: In a sequential picture a decoder reads all 64 coefficients, whatever range the scan header states.
_SEQUENTIAL: Final = b"\x00\x3f\x00"


@dataclass(frozen=True, slots=True)
class Scan:
    """One scan.

    Attributes:
        head: the segments that a decoder reads between the data of the previous scan and that of this one.
        start, end: the offsets of its entropy-coded data in the file, restart markers included.
    """

    head: bytes
    start: int
    end: int


@dataclass(kw_only=True)
class JpegStructure(Structure):
    """The structure of a JPEG.

    Attributes:
        components: the number of colour components: 1, 3 or 4.
        coded: the scans, in order; in ``kept`` the data of each scan is one part of the file.
        coefficient_bytes: the memory that all coefficients take, in bytes.
        decoded_in_one_pass: whether a decoder keeps no coefficients.
    """

    components: int
    coded: Sequence[Scan]
    coefficient_bytes: int
    decoded_in_one_pass: bool


class _Walk:
    """One pass over one file."""

    def __init__(self, data: bytes, limits: Limits) -> None:
        self._data = data
        self._limits = limits
        self._removed: set[str] = set()
        #: The parts that are kept: start and end in the file, or bytes that replace a part of it.
        self._pieces: list[Piece] = [(0, 2)]
        self._scans: list[int] = []  # for each scan, the index of its data in _pieces
        self._tables = Tables(limits)
        self._application = ApplicationSegments(self._pieces, self._removed, limits)
        self._frame: Frame | None = None

    def run(self) -> JpegStructure:
        position, segments = 2, 0
        while True:
            segments += 1
            if segments > self._limits.max_chunks:
                raise too_many_parts(f"more segments than MAX_IMAGE_CHUNKS, {self._limits.max_chunks}")
            found = _MARKER.search(self._data, position)
            if found is None:
                return self._end_without_marker(position, "the end marker is missing")
            start = found.start()
            if self._data[position:start].strip(b"\xff"):
                self._removed.add("other")
            marker, position = self._data[found.end() - 1], found.end()
            if marker == _EOI:
                return self._finish((start, position), position)
            if marker in _WITHOUT_LENGTH:
                continue
            try:
                position = self._step(marker, start, position)
            except Rejected as rejected:
                if rejected.code != "corrupt_image":
                    raise
                return self._end_without_marker(start, rejected.reason)

    def _step(self, marker: int, start: int, position: int) -> int:
        """Takes the segment whose marker ends at ``position``; returns where the next one starts.

        Raises:
            Rejected: decoders stop at this segment. No part of it is kept then.
        """
        end = position + int.from_bytes(self._data[position : position + 2])
        without_picture = marker == _COM or _APP0 <= marker < _APP0 + 16
        if without_picture and position + 2 <= len(self._data):
            # Decoders treat a length below 2 as 2.
            end = max(end, position + 2)
        if end < position + 2 or end > len(self._data):
            raise corrupt("a segment is cut off")
        body = self._data[position + 2 : end]
        if marker == _SOS:
            return self._scan(body, start, end)
        if marker in FRAMES:
            self._take_frame(marker, body)
            self._pieces.append((start, end))
        elif marker in TABLES:
            self._tables.define(len(self._pieces), marker, body)
            self._pieces.append((start, end))
        elif marker == _COM:
            self._removed.add("comment")
        elif without_picture:
            # Decoders choose the colour conversion when the first scan starts.
            self._application.take(marker - _APP0, body, start, end, in_header=not self._scans)
        elif marker in (_DAC, _DNL):
            # A Huffman decoder does not use DAC. DNL repeats the height, and decoders ignore it.
            self._removed.add("other")
        else:
            raise corrupt(f"marker 0x{marker:02x}")
        return end

    def _take_frame(self, marker: int, body: bytes) -> None:
        if self._frame is not None:
            raise corrupt("a second frame header")
        frame = Frame(marker, body)
        self._limits.check_pixels(frame.width * frame.height)
        self._frame = frame

    def _scan(self, body: bytes, start: int, end: int) -> int:
        if self._frame is None:
            raise corrupt("a scan before the frame header")
        if len(self._scans) >= self._limits.max_jpeg_scans:
            raise too_many_parts(f"more scans than MAX_JPEG_SCANS, {self._limits.max_jpeg_scans}")
        self._tables.use(self._frame.take_scan(body))
        if self._frame.progressive or body[-3:] == _SEQUENTIAL:
            self._pieces.append((start, end))
        else:
            self._pieces.append(self._data[start : end - 3] + _SEQUENTIAL)
        found = _AFTER_SCAN.search(self._data, end)
        after = found.start() if found else len(self._data)
        # An 0xFF directly before a marker is a fill byte: 0x00 follows an 0xFF of the data.
        coded = end + len(self._data[end:after].rstrip(b"\xff"))
        self._scans.append(len(self._pieces))
        self._pieces.append((end, coded))
        return after

    # --- the end

    def _end_without_marker(self, position: int, reason: str) -> JpegStructure:
        """Ends the picture at ``position`` if its scans are complete, or refuses the file."""
        if self._frame is None or not self._frame.complete:
            raise corrupt(reason)
        return self._finish(END_OF_IMAGE, position)

    def _finish(self, end_marker: Piece, end: int) -> JpegStructure:
        frame = self._frame
        if frame is None or not self._scans:
            raise corrupt("no picture before the end marker")
        if not frame.consistent:
            raise corrupt("scans are missing")
        self._pieces.append(end_marker)
        if end < len(self._data):
            several = self._application.several_pictures
            several = several or self._data.find(b"\xff\xd8\xff", end, end + 65536) >= 0
            self._removed.add("pictures" if several else "trailer")
        self._drop_unused_tables()
        coded = self._coded()
        self._application.finish((frame.width, frame.height))
        return JpegStructure(
            width=frame.width,
            height=frame.height,
            scans=len(self._scans),
            decode_bytes=self._decode_bytes(frame),
            kept=Kept.of(self._data, self._pieces),
            removed=frozenset(self._removed),
            components=frame.components,
            coded=coded,
            digital_source_type=self._application.digital_source_type,
            orientation=self._application.orientation,
            coefficient_bytes=frame.coefficient_bytes(),
            decoded_in_one_pass=frame.decoded_in_one_pass,
        )

    def _drop_unused_tables(self) -> None:
        for index, body in self._tables.reduced():
            start = self._pieces[index][0]
            self._pieces[index] = segment(self._data[start + 1], body) if body else b""
            self._removed.add("other")

    def _coded(self) -> list[Scan]:
        scans: list[Scan] = []
        head = b""
        data_of_scans = set(self._scans)
        for index, piece in enumerate(self._pieces[:-1]):
            if index in self._application.indices:
                continue
            if isinstance(piece, bytes):
                head += piece
            elif index in data_of_scans:
                scans.append(Scan(head, *piece))
                head = b""
            else:
                head += self._data[slice(*piece)]
        return scans

    def _decode_bytes(self, frame: Frame) -> int:
        """The picture at 1/8 of its size (4 bytes a pixel), and with several scans all coefficients."""
        memory = 4 * (frame.width // 8 + 1) * (frame.height // 8 + 1) + 2 * len(self._data)
        return memory if frame.decoded_in_one_pass else memory + frame.coefficient_bytes()


def read_jpeg(data: bytes, limits: Limits) -> JpegStructure:
    """Reads the segments up to the first end marker, which ends the first picture.

    It keeps the frame, the tables, the scans, the colour information (JFIF, Adobe, ICC), the orientation and
    the density.

    If decoders can't read on, but the scans so far are complete, the picture ends there and gets an end
    marker.

    Raises:
        Rejected
    """
    return _Walk(data, limits).run()
