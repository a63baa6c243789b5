"""The chunks of a WebP: RFC 9649 section 2."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from validators.base import Limits, corrupt, too_many_parts
from validators.containers import vp8l
from validators.containers.exif import OrientationKeeper, kinds_in_xmp
from validators.containers.structure import Kept, Structure

_HEADER: Final = 12
_EXTENDED_SIZE: Final = 10
_FRAME_HEADER: Final = 16
# The flags of VP8X: section 2.7.
_PROFILE, _EXIF, _XMP, _ANIMATION = 0x20, 0x08, 0x04, 0x02

#: Bytes for a pixel of the canvas: the decoder keeps two canvases, and gives out a copy of one.
_CANVAS_BYTES: Final = 8
_OUTPUT_BYTES: Final = 4
#: Bytes for a column of a lossy picture: its rows of macroblocks, and what the decoder knows of each block.
_LOSSY_COLUMN_BYTES: Final = 512
_DECODER_BYTES: Final = 1 << 20  # whatever the picture
_LOSSLESS_HEADER: Final = 5


@dataclass(frozen=True, slots=True)
class _Chunk:
    """A chunk, or a sub-chunk of a frame: offsets of its start, its payload and the payload's end.

    ``after`` is where the next one starts: payloads of odd size have a byte of padding.
    """

    kind: bytes
    start: int
    body: int
    end: int
    after: int


def _encoded(kind: bytes, payload: bytes) -> bytes:
    return kind + len(payload).to_bytes(4, "little") + payload + b"\0" * (len(payload) % 2)


class _Walk:
    """One pass over one file."""

    def __init__(self, data: bytes, limits: Limits) -> None:
        self._data = data
        self._limits = limits
        self._end = 8 + int.from_bytes(data[4:8], "little")
        self._pieces: list[tuple[int, int] | bytes] = []
        self._removed: set[str] = set()
        self._orientation = OrientationKeeper()
        self._canvas = (0, 0)
        self._flags = 0
        self._kept_flags = 0
        self._frames = 0
        self._chunk_count = 0
        self._has_animation = False
        self._has_profile = False
        self._has_picture = False
        self._picture_bytes = 0  # what decoding one of the pictures takes at most, beside the canvases
        self._budget = vp8l.WorkBudget()

    def run(self) -> Structure:
        if self._end > len(self._data) or self._end < _HEADER + 8:
            raise corrupt("the RIFF container is cut off")
        chunks = self._chunks(_HEADER, self._end)
        first = next(chunks)
        if first.kind == b"VP8X":
            self._extended(first, chunks)
        else:
            self._canvas = self._bitstream(first)
            self._check_canvas()
            self._count_memory(first, None, self._canvas)
            self._keep(first)
            self._removed.update("other" for _ in chunks)
        if self._end < len(self._data):
            self._removed.add("trailer")
        return self._structure(first)

    def _chunks(self, position: int, end: int) -> Iterator[_Chunk]:
        """The chunks from ``position`` to ``end``. Those of the file and of all its frames count together."""
        data = self._data
        while position < end:
            self._chunk_count += 1
            if self._chunk_count > self._limits.max_chunks:
                raise too_many_parts(f"more chunks than MAX_IMAGE_CHUNKS, {self._limits.max_chunks}")
            body = position + 8
            payload_end = body + int.from_bytes(data[position + 4 : body], "little")
            if payload_end > end:
                raise corrupt("a chunk is cut off")
            # The padding of the last chunk is missing in some files, and in none is it needed.
            after = min(payload_end + (payload_end - body) % 2, end)
            yield _Chunk(data[position : position + 4], position, body, payload_end, after)
            position = after

    def _keep(self, chunk: _Chunk) -> None:
        self._pieces.append((chunk.start, chunk.after))
        if chunk.after - chunk.body < (chunk.end - chunk.body + 1) // 2 * 2:
            self._pieces.append(b"\0")

    # --- the coded pictures

    def _bitstream(self, chunk: _Chunk) -> tuple[int, int]:
        """The width and height that a picture's own header tells.

        VP8: RFC 6386 section 9.1; VP8L: RFC 9649 section 3.4.
        """
        head = self._data[chunk.body : min(chunk.end, chunk.body + 10)]
        if chunk.kind == b"VP8 ":
            # A key frame that is shown, and the start code.
            if len(head) < 10 or head[0] & 1 or head[3:6] != b"\x9d\x01\x2a":
                raise corrupt("the VP8 header is malformed")
            size = int.from_bytes(head[6:8], "little") & 0x3FFF, int.from_bytes(head[8:10], "little") & 0x3FFF
            if 0 in size:
                raise corrupt("a dimension is zero")
            return size
        if chunk.kind == b"VP8L":
            if len(head) < 5 or head[0] != 0x2F or head[4] >> 5:
                raise corrupt("the VP8L header is malformed")
            bits = int.from_bytes(head[1:5], "little")
            return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
        raise corrupt("a chunk that is no picture where one must be")

    def _check_canvas(self) -> None:
        """Refuses a canvas that is too large whatever pictures are on it, before they are read."""
        self._limits.check_pixels(self._canvas[0] * self._canvas[1])
        self._limits.check_decode_bytes(self._decode_bytes())

    def _count_memory(self, chunk: _Chunk, alpha: _Chunk | None, size: tuple[int, int]) -> None:
        """Takes the memory for a picture into account; the pictures are decoded one after the other."""
        view = memoryview(self._data)
        if chunk.kind == b"VP8L":
            stream = view[chunk.body + _LOSSLESS_HEADER : chunk.end]
            memory = vp8l.decode_bytes(stream, *size, self._budget)
        else:
            memory = _LOSSY_COLUMN_BYTES * size[0]
        if alpha is not None:
            memory += size[0] * size[1]
            if alpha.end > alpha.body and self._data[alpha.body] & 3:  # compressed
                memory += vp8l.decode_bytes(view[alpha.body + 1 : alpha.end], *size, self._budget)
        self._picture_bytes = max(self._picture_bytes, memory)

    # --- the extended format

    def _extended(self, first: _Chunk, chunks: Iterator[_Chunk]) -> None:
        if first.end - first.body < _EXTENDED_SIZE:
            raise corrupt("VP8X is cut off")
        header = self._data[first.body : first.body + _EXTENDED_SIZE]
        self._flags = header[0]
        self._kept_flags = self._flags & ~(_PROFILE | _EXIF | _XMP)
        self._canvas = 1 + int.from_bytes(header[4:7], "little"), 1 + int.from_bytes(header[7:10], "little")
        self._check_canvas()
        self._pieces.append(b"")  # VP8X, when its flags are known
        alpha: _Chunk | None = None
        for chunk in chunks:
            if alpha is not None and chunk.kind != b"VP8 ":
                raise corrupt("ALPH without VP8 after it")
            if chunk.kind == b"ALPH":
                alpha = chunk
            elif chunk.kind in (b"VP8 ", b"VP8L"):
                self._still(chunk, alpha)
                alpha = None
            else:
                self._other(chunk)
        if alpha is not None or not self._has_picture or bool(self._flags & _ANIMATION) != bool(self._frames):
            raise corrupt("the picture is missing")

    def _still(self, chunk: _Chunk, alpha: _Chunk | None) -> None:
        if self._flags & _ANIMATION or self._has_picture:
            raise corrupt("a second picture, or one outside the frames of an animation")
        if self._bitstream(chunk) != self._canvas:
            raise corrupt("canvas and picture differ in size")
        self._count_memory(chunk, alpha, self._canvas)
        self._has_picture = True
        if alpha is not None:
            self._keep(alpha)
        self._keep(chunk)

    def _other(self, chunk: _Chunk) -> None:
        if chunk.kind == b"ANIM":
            if self._has_animation or self._has_picture or chunk.end - chunk.body < 6:
                raise corrupt("ANIM is out of place")
            self._has_animation = True
            self._keep(chunk)
        elif chunk.kind == b"ANMF":
            self._frame(chunk)
        elif chunk.kind == b"ICCP":
            self._profile(chunk)
        elif chunk.kind == b"EXIF":
            self._exif(chunk)
        elif chunk.kind == b"XMP ":
            self._removed |= kinds_in_xmp(self._data[chunk.body : chunk.end])
        else:
            self._removed.add("other")

    def _frame(self, chunk: _Chunk) -> None:
        if not (self._flags & _ANIMATION and self._has_animation):
            raise corrupt("a frame without an animation")
        header = self._data[chunk.body : chunk.body + _FRAME_HEADER]
        if chunk.end - chunk.body < _FRAME_HEADER:
            raise corrupt("a frame is cut off")
        x, y, width, height = (int.from_bytes(header[at : at + 3], "little") for at in (0, 3, 6, 9))
        size = (width + 1, height + 1)
        if 2 * x + size[0] > self._canvas[0] or 2 * y + size[1] > self._canvas[1]:
            raise corrupt("a frame reaches over the canvas")
        self._frames += 1
        self._has_picture = True
        parts = list(self._chunks(chunk.body + _FRAME_HEADER, chunk.end))
        coded = [part for part in parts if part.kind in (b"ALPH", b"VP8 ", b"VP8L")]
        if [part.kind for part in coded] not in ([b"VP8 "], [b"VP8L"], [b"ALPH", b"VP8 "]):
            raise corrupt("a frame without exactly one picture")
        if self._bitstream(coded[-1]) != size:
            raise corrupt("frame and picture differ in size")
        self._count_memory(coded[-1], coded[0] if len(coded) > 1 else None, size)
        if coded == parts:
            self._keep(chunk)
        else:
            # A decoder passes over unknown sub-chunks, and so could anything be in them.
            self._removed.add("other")
            payload = (_encoded(part.kind, self._data[part.body : part.end]) for part in coded)
            self._pieces.append(_encoded(b"ANMF", header + b"".join(payload)))

    def _profile(self, chunk: _Chunk) -> None:
        small = chunk.end - chunk.body <= self._limits.max_icc_bytes
        # After the picture, or a second time, no viewer uses it.
        if self._has_picture or self._has_animation or self._has_profile or not small:
            self._removed.add("icc")
        else:
            self._has_profile = True
            self._kept_flags |= self._flags & _PROFILE
            self._keep(chunk)

    def _exif(self, chunk: _Chunk) -> None:
        block = self._data[chunk.body : chunk.end]
        # The JPEG segment's prefix is not part of the block, but many writers leave it.
        bare = block[6:] if block[:6] == b"Exif\0\0" else block
        smallest = self._orientation.replace(bare, self._removed)
        if smallest is not None:
            self._kept_flags |= self._flags & _EXIF
            if block == smallest:
                self._keep(chunk)
            else:
                self._pieces.append(_encoded(b"EXIF", smallest))

    # --- the end

    def _decode_bytes(self) -> int:
        """Two canvases, and a picture as it is decoded or the copy that is given out after it."""
        pixels = self._canvas[0] * self._canvas[1]
        pictures = max(pixels * _OUTPUT_BYTES, self._picture_bytes)
        return pixels * _CANVAS_BYTES + pictures + 2 * len(self._data) + _DECODER_BYTES

    def _structure(self, first: _Chunk) -> Structure:
        if first.kind == b"VP8X":
            header = self._data[first.body : first.body + _EXTENDED_SIZE]
            if self._kept_flags == self._flags and first.end - first.body == _EXTENDED_SIZE:
                self._pieces[0] = (first.start, first.after)
            else:
                self._pieces[0] = _encoded(b"VP8X", bytes((self._kept_flags,)) + header[1:])
        size = 4 + sum(len(p) if isinstance(p, bytes) else p[1] - p[0] for p in self._pieces)
        whole = size + 8 == self._end
        head = (0, _HEADER) if whole else b"RIFF" + size.to_bytes(4, "little") + b"WEBP"
        width, height = self._canvas
        return Structure(
            width=width,
            height=height,
            frames=max(1, self._frames),
            decode_bytes=self._decode_bytes(),
            kept=Kept.of(self._data, [head, *self._pieces]),
            removed=frozenset(self._removed),
        )


def read_webp(data: bytes, limits: Limits) -> Structure:
    """Goes over the chunks of the RIFF container.

    Kept are the pictures, the animation's structure, the profile and the orientation.

    Raises:
        Rejected
    """
    return _Walk(data, limits).run()
