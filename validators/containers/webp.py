"""The chunks of a WebP: RFC 9649 section 2."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from validators.base import Limits, corrupt
from validators.containers import vp8l
from validators.containers.exif import ExifKeeper, kinds_in_xmp
from validators.containers.icc import read_profile
from validators.containers.structure import Kept, Structure
from validators.containers.webp_chunks import (
    ALPHA,
    CHUNK_HEADER,
    LOSSLESS,
    LOSSY,
    Chunk,
    Chunks,
    encoded,
    picture_size,
)
from validators.containers.xmp import XmpKeeper, packet_of

_HEADER: Final = 12
_EXTENDED_SIZE: Final = 10
_FRAME_HEADER: Final = 16
_ANIMATION_SIZE: Final = 6
# The flags of VP8X: section 2.7.
_PROFILE, _ALPHA, _EXIF, _XMP, _ANIMATION = 0x20, 0x10, 0x08, 0x04, 0x02

#: Bytes for a pixel of the canvas: the decoder keeps two canvases, and returns a copy of one.
_CANVAS_BYTES: Final = 8
_OUTPUT_BYTES: Final = 4
#: Bytes for a column of a lossy picture: the rows of macroblocks, and the decoder's state for each block.
_LOSSY_COLUMN_BYTES: Final = 512
_DECODER_BYTES: Final = 1 << 20  # the same for every picture
_LOSSLESS_HEADER: Final = 5


Piece = tuple[int, int] | bytes


@dataclass(frozen=True, slots=True)
class CodedPicture:
    """A picture in the file: a still picture, or a frame of an animation.

    Attributes:
        width, height: its size in pixels.
        parts: its chunks: the bitstream, preceded by the alpha channel if a lossy picture has one.
        frame: the header of the frame that holds the chunks; None for a still picture.
        pieces: the position of the chunks, or of the frame, in the list of stored pieces.
    """

    width: int
    height: int
    parts: Sequence[Chunk]
    frame: bytes | None
    pieces: slice


@dataclass(kw_only=True)
class WebpStructure(Structure):
    """The structure of a WebP.

    Attributes:
        pictures: the coded pictures, in order.
        picture_bytes: an upper bound of the memory that decoding any one picture takes, without the canvases
            and the file, in bytes.
    """

    pictures: Sequence[CodedPicture]
    picture_bytes: int
    _data: bytes
    _pieces: list[Piece]

    def replace_payloads(self, payloads: Mapping[int, Sequence[bytes]]) -> None:
        """Stores these payloads in the chunks of pictures; the keys are the numbers of the pictures."""
        for number in sorted(payloads, reverse=True):
            picture = self.pictures[number]
            content = b"".join(
                encoded(part.kind, payload)
                for part, payload in zip(picture.parts, payloads[number], strict=True)
            )
            piece = content if picture.frame is None else encoded(b"ANMF", picture.frame + content)
            self._pieces[picture.pieces] = [piece]
        self.kept = _riff(self._data, self._pieces)


def _riff(data: bytes, pieces: Sequence[Piece]) -> Kept:
    """Returns the pieces after a RIFF header with the right size: the file's own header if it is right."""
    size = 4 + sum(len(piece) if isinstance(piece, bytes) else piece[1] - piece[0] for piece in pieces)
    header = b"RIFF" + size.to_bytes(4, "little") + b"WEBP"
    return Kept.of(data, [(0, _HEADER) if data[:_HEADER] == header else header, *pieces])


class _Walk:
    """One pass over one file."""

    def __init__(self, data: bytes, limits: Limits) -> None:
        self._data = data
        self._limits = limits
        self._end = 8 + int.from_bytes(data[4:8], "little")
        self._chunks = Chunks(data, limits.max_chunks)
        self._xmp = XmpKeeper(limits.keep_metadata)
        self._xmp_kinds: set[str] = set()
        self._xmp_pieces: list[int] = []
        self._after = 0  # the end of the last chunk
        self._pieces: list[Piece] = []
        self._pictures: list[CodedPicture] = []
        self._removed: set[str] = set()
        self._exif_keeper = ExifKeeper()
        self._canvas = (0, 0)
        self._flags = 0
        self._kept_flags = 0
        self._frames = 0
        self._has_control = False
        self._has_profile = False
        self._has_picture = False
        self._picture_bytes = 0  # the most memory that decoding one picture takes, besides the canvases
        self._budget = vp8l.WorkBudget()

    def run(self) -> WebpStructure:
        if self._end < _HEADER + CHUNK_HEADER:
            raise corrupt("the RIFF container is cut off")
        found = self._chunks.between(_HEADER, self._end)
        first = next(found, None)
        if first is None:
            raise corrupt("the RIFF container is cut off")
        self._after = first.after
        if first.kind == b"VP8X":
            self._extended(first, found)
        else:
            self._canvas = picture_size(self._data, first)
            self._check_canvas()
            self._take_picture([first], self._canvas)
            for chunk in found:
                self._after = chunk.after
                self._removed.add("other")
        if self._after < len(self._data):
            self._removed.add("trailer")
        return self._structure(first)

    def _keep(self, chunk: Chunk) -> None:
        self._pieces.append((chunk.start, chunk.after))
        if chunk.padding_is_missing:
            self._pieces.append(b"\0")

    # --- the coded pictures

    def _take_picture(
        self, parts: Sequence[Chunk], size: tuple[int, int], frame: Chunk | None = None
    ) -> None:
        """Keeps the chunks of a picture. A frame is kept with these chunks only."""
        self._count_memory(parts[-1], parts[0] if len(parts) > 1 else None, size)
        self._has_picture = True
        start, header = len(self._pieces), None
        if frame is None:
            for part in parts:
                self._keep(part)
        else:
            header = self._data[frame.body : frame.body + _FRAME_HEADER]
            content = b"".join(encoded(part.kind, self._data[part.body : part.end]) for part in parts)
            if self._data[frame.body + _FRAME_HEADER : frame.end] == content:
                self._keep(frame)
            else:
                # Decoders skip unknown sub-chunks and the bytes after the last sub-chunk.
                self._removed.add("other")
                self._pieces.append(encoded(b"ANMF", header + content))
        self._pictures.append(CodedPicture(*size, parts, header, slice(start, len(self._pieces))))

    def _check_canvas(self) -> None:
        """Refuses a canvas that is too large by itself, before the pictures on it are read."""
        self._limits.check_pixels(self._canvas[0] * self._canvas[1])
        self._limits.check_decode_bytes(self._decode_bytes())

    def _count_memory(self, chunk: Chunk, alpha: Chunk | None, size: tuple[int, int]) -> None:
        """Adds a picture to the memory estimate. Pictures are decoded in turn, so the largest one counts."""
        view = memoryview(self._data)
        if chunk.kind == LOSSLESS:
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

    def _extended(self, first: Chunk, found: Iterable[Chunk]) -> None:
        if first.size < _EXTENDED_SIZE:
            raise corrupt("VP8X is cut off")
        header = self._data[first.body : first.body + _EXTENDED_SIZE]
        self._flags = header[0]
        self._kept_flags = self._flags & (_ALPHA | _ANIMATION)
        self._canvas = 1 + int.from_bytes(header[4:7], "little"), 1 + int.from_bytes(header[7:10], "little")
        self._check_canvas()
        self._pieces.append(b"")  # the place of VP8X, which is written when its flags are known
        alpha: Chunk | None = None
        for chunk in found:
            self._after = chunk.after
            if alpha is not None and chunk.kind != LOSSY:
                raise corrupt("ALPH without VP8 after it")
            if chunk.kind == ALPHA:
                alpha = chunk
            elif chunk.kind in (LOSSY, LOSSLESS):
                self._still(chunk, alpha)
                alpha = None
            else:
                self._other(chunk)
        if alpha is not None or not self._has_picture or bool(self._flags & _ANIMATION) != bool(self._frames):
            raise corrupt("the picture is missing")

    def _still(self, chunk: Chunk, alpha: Chunk | None) -> None:
        if self._flags & _ANIMATION or self._has_picture:
            raise corrupt("a second picture, or one outside the frames of an animation")
        if picture_size(self._data, chunk) != self._canvas:
            raise corrupt("canvas and picture differ in size")
        self._take_picture([chunk] if alpha is None else [alpha, chunk], self._canvas)

    def _other(self, chunk: Chunk) -> None:
        if chunk.kind == b"ANIM":
            self._control(chunk)
        elif chunk.kind == b"ANMF":
            self._frame(chunk)
        elif chunk.kind == b"ICCP":
            self._profile(chunk)
        elif chunk.kind == b"EXIF":
            self._exif(chunk)
        elif chunk.kind == b"XMP ":
            packet = self._data[chunk.body : chunk.end]
            self._xmp_kinds |= kinds_in_xmp(packet)
            self._xmp.add(packet)
            self._xmp_pieces.append(len(self._pieces))
            self._pieces.append(
                encoded(b"XMP ", packet) if chunk.padding_is_missing else (chunk.start, chunk.after)
            )
        elif chunk.kind == b"C2PA":
            self._removed.add("c2pa")
        else:
            self._removed.add("other")

    def _control(self, chunk: Chunk) -> None:
        """Keeps the first six bytes of the first ANIM chunk of an animation.

        Decoders ignore further bytes, further ANIM chunks, and every ANIM chunk of a still picture.
        """
        if not self._flags & _ANIMATION or self._has_control:
            self._removed.add("other")
            return
        if self._has_picture or chunk.size < _ANIMATION_SIZE:
            raise corrupt("ANIM is out of place")
        self._has_control = True
        if chunk.size == _ANIMATION_SIZE:
            self._keep(chunk)
        else:
            self._removed.add("other")
            self._pieces.append(encoded(b"ANIM", self._data[chunk.body : chunk.body + _ANIMATION_SIZE]))

    def _frame(self, chunk: Chunk) -> None:
        if not (self._flags & _ANIMATION and self._has_control):
            raise corrupt("a frame without an animation")
        header = self._data[chunk.body : chunk.body + _FRAME_HEADER]
        if chunk.size < _FRAME_HEADER:
            raise corrupt("a frame is cut off")
        x, y, width, height = (int.from_bytes(header[at : at + 3], "little") for at in (0, 3, 6, 9))
        size = (width + 1, height + 1)
        if 2 * x + size[0] > self._canvas[0] or 2 * y + size[1] > self._canvas[1]:
            raise corrupt("a frame reaches over the canvas")
        self._frames += 1
        # The budget for reading small images grows with the pixels, so these are bounded first.
        self._limits.check_pixels(self._frames * self._canvas[0] * self._canvas[1])
        within = self._chunks.between(chunk.body + _FRAME_HEADER, chunk.end)
        parts = [part for part in within if part.kind in (ALPHA, LOSSY, LOSSLESS)]
        if [part.kind for part in parts] not in ([LOSSY], [LOSSLESS], [ALPHA, LOSSY]):
            raise corrupt("a frame without exactly one picture")
        if parts[-1].end > chunk.end or picture_size(self._data, parts[-1]) != size:
            raise corrupt("frame and picture differ in size")
        self._take_picture(parts, size, chunk)

    def _profile(self, chunk: Chunk) -> None:
        """Keeps the first profile in its place. Browsers use it there, and ignore any further profile."""
        first, self._has_profile = not self._has_profile, True
        payload = self._data[chunk.body : chunk.end]
        profile = read_profile(payload) if chunk.size <= self._limits.max_icc_bytes else None
        if not first or not self._flags & _PROFILE or profile is None:
            self._removed.add("icc")
            return
        self._kept_flags |= _PROFILE
        if profile.data == payload:
            self._keep(chunk)
        else:
            self._removed |= profile.removed
            self._pieces.append(encoded(b"ICCP", profile.data))

    def _exif(self, chunk: Chunk) -> None:
        block = self._data[chunk.body : chunk.end]
        # The prefix of the JPEG segment is not part of the block, but many writers include it.
        bare = block[6:] if block[:6] == b"Exif\0\0" else block
        smallest = self._exif_keeper.replace(bare, self._canvas, self._removed)
        if smallest is not None:
            self._kept_flags |= self._flags & _EXIF
            if block == smallest:
                self._keep(chunk)
            else:
                self._pieces.append(encoded(b"EXIF", smallest))

    # --- the end

    def _decode_bytes(self) -> int:
        """Two canvases, and the larger of the decoder's memory for a picture and the copy that it returns."""
        pixels = self._canvas[0] * self._canvas[1]
        pictures = max(pixels * _OUTPUT_BYTES, self._picture_bytes)
        return pixels * _CANVAS_BYTES + pictures + 2 * len(self._data) + _DECODER_BYTES

    def _add_xmp(self) -> None:
        """Appends one packet of the kept properties after the picture."""
        packet = packet_of(self._xmp.statements())
        if packet:
            self._kept_flags |= _XMP
        if packet and self._xmp.is_stored(packet):
            return
        self._removed |= self._xmp_kinds
        for index in self._xmp_pieces:
            self._pieces[index] = b""
        if packet:
            self._pieces.append(encoded(b"XMP ", packet))

    def _structure(self, first: Chunk) -> WebpStructure:
        self._add_xmp()
        if first.kind == b"VP8X":
            header = self._data[first.body : first.end]
            kept = bytes((self._kept_flags, 0, 0, 0)) + header[4:_EXTENDED_SIZE]
            self._pieces[0] = (first.start, first.after) if header == kept else encoded(b"VP8X", kept)
        width, height = self._canvas
        return WebpStructure(
            width=width,
            height=height,
            frames=max(1, self._frames),
            decode_bytes=self._decode_bytes(),
            kept=_riff(self._data, self._pieces),
            removed=frozenset(self._removed),
            digital_source_type=self._xmp.statements().digital_source_type,
            orientation=self._exif_keeper.orientation,
            pictures=self._pictures,
            picture_bytes=self._picture_bytes + _DECODER_BYTES,
            _data=self._data,
            _pieces=self._pieces,
        )


def read_webp(data: bytes, limits: Limits) -> WebpStructure:
    """Reads the chunks of the RIFF container.

    It keeps the pictures, the structure of the animation, the profile, the orientation and the density.

    Raises:
        Rejected
    """
    return _Walk(data, limits).run()
