"""The segments of a JPEG: ITU-T T.81 annex B.

Also JFIF (ITU-T T.871), Exif (CIPA DC-008 section 4.7), Adobe's APP14 (Technical Note 5116, which
T.872 section 6.5.3 took over), ICC profiles (ICC.1 annex B.4) and several pictures in one file (CIPA DC-007).
"""

from __future__ import annotations

import re
from typing import Final

from validators.base import Limits, corrupt, too_many_parts
from validators.containers.exif import OrientationKeeper, kinds_in_xmp
from validators.containers.structure import Kept, Structure

_SOI, _EOI, _SOS, _DNL, _COM, _APP0 = 0xD8, 0xD9, 0xDA, 0xDC, 0xFE, 0xE0
#: Baseline, extended and progressive, by Huffman or arithmetic code. Lossless and hierarchical ones
#: are shown by no browser.
_FRAMES: Final = {0xC0, 0xC1, 0xC2, 0xC9, 0xCA}
_PROGRESSIVE: Final = {0xC2, 0xCA}
_TABLES: Final = {0xC4, 0xCC, 0xDB, 0xDD}  # Huffman, arithmetic, quantization, restart interval
_WITHOUT_LENGTH: Final = {0x01, *range(0xD0, 0xD8)}

#: The next marker. What stands before it is 0xFF again, as filling, or junk; decoders pass over both.
_MARKER: Final = re.compile(rb"\xff[^\x00\xff]", re.DOTALL)
#: The next marker after entropy-coded bytes: 0xFF00 is a coded 0xFF, RST0 to RST7 belong to the data.
_AFTER_SCAN: Final = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]", re.DOTALL)

_EXIF: Final = (b"Exif\0\0", b"Exif\0\xff")
_XMP: Final = (b"http://ns.adobe.com/xap/1.0/\0", b"http://ns.adobe.com/xmp/extension/\0")
_ICC: Final = b"ICC_PROFILE\0"
_JFIF_SIZE: Final = 14  # without a thumbnail
_ADOBE_SIZE: Final = 12
_COEFFICIENT_BYTES: Final = 2


def _segment(marker: int, body: bytes) -> bytes:
    return bytes((0xFF, marker)) + (len(body) + 2).to_bytes(2) + body


class _Walk:
    """One pass over one file."""

    def __init__(self, data: bytes, limits: Limits) -> None:
        self._data = data
        self._limits = limits
        #: What stays: where it starts and ends, or what stands in its place.
        self._pieces: list[tuple[int, int] | bytes] = [(0, 2)]
        self._profile: list[tuple[int, bytes]] = []  # index into _pieces, number and count
        self._profile_bytes = 0
        self._removed: set[str] = set()
        self._orientation = OrientationKeeper()
        self._size: tuple[int, int] | None = None
        self._samples: list[tuple[int, int]] = []  # horizontal and vertical, of each component
        self._progressive = False
        self._interleaved = False  # the first scan has all components
        self._scans = 0
        self._has_jfif = False
        self._several = False

    def run(self) -> Structure:
        position, chunks = 2, 0
        while True:
            chunks += 1
            if chunks > self._limits.max_chunks:
                raise too_many_parts(f"more segments than MAX_IMAGE_CHUNKS, {self._limits.max_chunks}")
            found = _MARKER.search(self._data, position)
            if found is None:
                raise corrupt("the end marker is missing")
            start = found.start()
            if self._data[position:start].strip(b"\xff"):
                self._removed.add("other")
            marker, position = self._data[found.end() - 1], found.end()
            if marker == _EOI:
                return self._finish(start, position)
            if marker in _WITHOUT_LENGTH:
                continue
            position = self._step(marker, start, position)

    def _step(self, marker: int, start: int, position: int) -> int:
        """Takes the segment whose marker ends at ``position``; returns where the next one starts."""
        end = position + int.from_bytes(self._data[position : position + 2])
        if end < position + 2 or end > len(self._data):
            raise corrupt("a segment is cut off")
        body = self._data[position + 2 : end]
        if marker == _SOS:
            return self._scan(body, start, end)
        if marker in _FRAMES:
            self._frame(marker, body)
            self._pieces.append((start, end))
        elif marker in _TABLES:
            self._pieces.append((start, end))
        elif marker == _COM:
            self._removed.add("comment")
        elif _APP0 <= marker < _APP0 + 16:
            self._application(marker, body, start, end)
        else:
            # DNL too: it follows a frame header without height, whose cost can't be judged.
            raise corrupt(f"marker 0x{marker:02x}")
        return end

    def _frame(self, marker: int, body: bytes) -> None:
        if self._size is not None:
            raise corrupt("a second frame header")
        if len(body) < 6 or len(body) != 6 + 3 * body[5] or body[0] != 8:
            raise corrupt("the frame header is malformed, or not of 8 bits")
        self._size = int.from_bytes(body[3:5]), int.from_bytes(body[1:3])
        if 0 in self._size:
            raise corrupt("a dimension is zero")
        self._limits.check_pixels(self._size[0] * self._size[1])
        self._samples = [(factors >> 4, factors & 15) for factors in body[7::3]]
        if len(self._samples) not in (1, 3, 4) or not all(
            0 < h <= 4 and 0 < v <= 4 for h, v in self._samples
        ):
            raise corrupt("components that no decoder takes")
        self._progressive = marker in _PROGRESSIVE

    def _scan(self, body: bytes, start: int, end: int) -> int:
        if self._size is None:
            raise corrupt("a scan before the frame header")
        if not body or len(body) != 4 + 2 * body[0]:
            raise corrupt("a scan header is malformed")
        if self._scans == 0:
            self._interleaved = body[0] == len(self._samples)
        self._scans += 1
        if self._scans > self._limits.max_jpeg_scans:
            raise too_many_parts(f"more scans than MAX_JPEG_SCANS, {self._limits.max_jpeg_scans}")
        found = _AFTER_SCAN.search(self._data, end)
        if found is None:
            raise corrupt("a scan is cut off")
        self._pieces.append((start, found.start()))
        return found.start()

    # --- application segments

    def _application(self, marker: int, body: bytes, start: int, end: int) -> None:
        kind = marker - _APP0
        # Decoders settle on the colours when the first scan starts.
        in_header = self._scans == 0
        if kind == 0:
            self._jfif(body, start, end, in_header=in_header)
        elif kind == 1:
            self._exif_or_xmp(body, start, end)
        elif kind == 2 and body[:12] == _ICC and len(body) > 14 and in_header:
            self._profile.append((len(self._pieces), body[12:14]))
            self._profile_bytes += len(body) - 14
            self._pieces.append((start, end))
        elif kind == 2 and body[:4] == b"MPF\0":
            self._removed.add("pictures")
            self._several = True
        elif kind == 13 and body[:14] == b"Photoshop 3.0\0":
            self._removed.add("iptc")
        elif kind == 14 and body[:5] == b"Adobe" and len(body) >= _ADOBE_SIZE and in_header:
            self._pieces.append(self._cut(marker, body, _ADOBE_SIZE, (start, end)))
        else:
            self._removed.add("other")

    def _cut(self, marker: int, body: bytes, size: int, span: tuple[int, int]) -> bytes | tuple[int, int]:
        """A segment with no more than the first ``size`` bytes of its body."""
        if len(body) == size:
            return span
        self._removed.add("other")
        return _segment(marker, body[:size])

    def _jfif(self, body: bytes, start: int, end: int, *, in_header: bool) -> None:
        if body[:5] == b"JFIF\0" and len(body) >= _JFIF_SIZE and in_header and not self._has_jfif:
            self._has_jfif = True
            if body[12:14] == b"\0\0":
                self._pieces.append(self._cut(_APP0, body, _JFIF_SIZE, (start, end)))
            else:
                self._pieces.append(_segment(_APP0, body[:12] + b"\0\0"))
                self._removed.add("thumbnail")
        else:
            self._removed.add("thumbnail" if body[:5] == b"JFXX\0" else "other")

    def _exif_or_xmp(self, body: bytes, start: int, end: int) -> None:
        if body[:6] in _EXIF:
            smallest = self._orientation.replace(body[6:], self._removed)
            if smallest is not None:
                unchanged = body[6:] == smallest
                self._pieces.append((start, end) if unchanged else _segment(0xE1, b"Exif\0\0" + smallest))
        elif body.startswith(_XMP):
            self._removed |= kinds_in_xmp(body)
        else:
            self._removed.add("other")

    # --- the end

    def _finish(self, start: int, end: int) -> Structure:
        if self._size is None or self._scans == 0:
            raise corrupt("no picture before the end marker")
        self._pieces.append((start, end))
        if end < len(self._data):
            several = self._several or self._data.find(b"\xff\xd8\xff", end, end + 65536) >= 0
            self._removed.add("pictures" if several else "trailer")
        self._drop_broken_profile()
        width, height = self._size
        return Structure(
            width=width,
            height=height,
            scans=self._scans,
            decode_bytes=self._decode_bytes(width, height),
            kept=Kept.of(self._data, self._pieces),
            removed=frozenset(self._removed),
        )

    def _drop_broken_profile(self) -> None:
        """No viewer uses a profile of which a part is missing; one that comes twice stays once."""
        parts: dict[int, int] = {}
        for index, (number, count) in self._profile:
            if number not in parts and count == self._profile[0][1][1]:
                parts[number] = index
        whole = bool(parts) and sorted(parts) == list(range(1, self._profile[0][1][1] + 1))
        stays = set(parts.values()) if whole and self._profile_bytes <= self._limits.max_icc_bytes else set()
        for index, _ in self._profile:
            if index not in stays:
                self._pieces[index] = b""
                self._removed.add("icc")

    def _decode_bytes(self, width: int, height: int) -> int:
        """The picture at 1/8 (four bytes a pixel), and every coefficient where scans build on others."""
        memory = 4 * (width // 8 + 1) * (height // 8 + 1) + 2 * len(self._data)
        if self._interleaved and not self._progressive:
            return memory
        widest = max(h for h, _ in self._samples)
        tallest = max(v for _, v in self._samples)
        across, down = -(-width // (8 * widest)), -(-height // (8 * tallest))
        blocks = sum(across * h * down * v for h, v in self._samples)
        return memory + blocks * 64 * _COEFFICIENT_BYTES


def read_jpeg(data: bytes, limits: Limits) -> Structure:
    """Goes over the segments up to the first end marker, which ends the first picture.

    Kept are frame, tables, scans, the colour information (JFIF, Adobe, ICC) and the orientation.

    Raises:
        Rejected
    """
    return _Walk(data, limits).run()
