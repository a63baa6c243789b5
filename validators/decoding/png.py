"""Checks that a PNG holds all the rows that it declares.

A compressed picture is whole if its zlib stream inflates to as many bytes as the header demands, the
stream's checksum is right, and each row starts with a known filter type (PNG, third edition, sections 7.2,
9.2 and 10). Every such picture decodes: the filters add modulo 256, which is defined for all values. So the
data is only inflated, in steps of bounded memory.

Viewers ignore the bytes after the last row, in the stream or after it. These bytes are not stored.
"""

from __future__ import annotations

from typing import Final

from validators.base import corrupt
from validators.containers.apng import PngPicture
from validators.containers.deflate import ZlibStream, compressobj
from validators.containers.ihdr import PngHeader
from validators.containers.png import PngStructure, png_chunk
from validators.decoding.clock import Clock

#: Adam7's passes as (first column, first row, column step, row step): section 8.1.
_ADAM7: Final = (
    (0, 0, 8, 8),
    (4, 0, 8, 8),
    (0, 4, 4, 8),
    (2, 0, 4, 4),
    (0, 2, 2, 4),
    (1, 0, 2, 2),
    (0, 1, 1, 2),
)
_WHOLE: Final = ((0, 0, 1, 1),)
_FILTER_TYPES: Final = bytes(range(5))

#: The most bytes that all pictures of a file may inflate to beyond their rows.
MAX_SURPLUS: Final = 64 << 20
#: The level for recompressing a picture: its searches are short, which bounds the work.
_LEVEL: Final = 1


class _Rows:
    """Counts the rows of a picture while its zlib stream is inflated.

    Attributes:
        missing: the bytes that are still to come.
        surplus: the bytes that came after the last row.
    """

    def __init__(self, header: PngHeader, picture: PngPicture) -> None:
        #: The size of a row and the bytes to come, for each pass; the current pass is the last entry.
        self._passes: list[tuple[int, int]] = []
        for left, top, across, down in reversed(_ADAM7 if header.interlaced else _WHOLE):
            columns = -(-(picture.width - left) // across)
            rows = -(-(picture.height - top) // down)
            if columns > 0 and rows > 0:  # a pass without pixels has no bytes at all
                size = header.row_bytes(columns)
                self._passes.append((size, rows * size))
        self.missing = sum(size for _, size in self._passes)
        self.surplus = 0

    def take(self, data: bytes) -> None:
        """Counts the next bytes, and checks the filter types among them.

        Raises:
            Rejected: a row has no known filter type.
        """
        at = 0
        while self._passes and at < len(data):
            row, left = self._passes.pop()
            end = min(len(data), at + left)
            # The rest of a started row, if any, and then whole rows remain.
            if data[at + left % row : end : row].translate(None, _FILTER_TYPES):
                raise corrupt("a row has an unknown filter type")
            if left > end - at:
                self._passes.append((row, left - (end - at)))
            self.missing -= end - at
            at = end
        self.surplus += len(data) - at


def _check(
    header: PngHeader, picture: PngPicture, file: memoryview, allowed: int, clock: Clock
) -> tuple[int, int]:
    """Inflates a picture; returns the length of its zlib stream, and the bytes beyond its rows.

    Raises:
        Rejected: rows are missing, a filter type is unknown, more than ``allowed`` bytes follow the rows, or
            inflating takes too long.
        Exception: the stream is damaged.
    """
    rows, stream = _Rows(header, picture), ZlibStream(clock.check)
    for piece in stream.steps(file[start:end] for start, end in picture.spans):
        rows.take(piece)
        if rows.surplus > allowed:
            raise corrupt("far more pixel data than the header demands")
    if rows.missing or not stream.ended:
        raise corrupt(f"{rows.missing} bytes of pixel data are missing, or the checksum is")
    return stream.length, rows.surplus


def _compressed_rows(
    header: PngHeader, picture: PngPicture, file: memoryview, limit: int, clock: Clock
) -> bytes:
    """Returns a zlib stream of the rows alone.

    Raises:
        Rejected: it has more than ``limit`` bytes, or compressing it takes too long.
    """
    missing = _Rows(header, picture).missing
    compress = compressobj(_LEVEL)
    packed = bytearray()
    for piece in ZlibStream(clock.check).steps(file[start:end] for start, end in picture.spans):
        packed += compress.compress(piece[:missing])
        missing -= min(missing, len(piece))
        if len(packed) > limit:
            raise corrupt("too large without the pixel data that the header does not demand")
        if not missing:
            break
    packed += compress.flush()
    return bytes(packed)


def _replace_stream(structure: PngStructure, picture: PngPicture, file: bytes, stream: bytes) -> None:
    """Puts a zlib stream into the chunks of a picture, in place of what they hold.

    Chunks of the image data that hold nothing then go. Those of a frame stay, since they are numbered.
    """
    at = 0
    for start, end in picture.spans:
        last = (start, end) == picture.spans[-1]
        part = stream[at:] if last else stream[at : at + end - start]
        at += len(part)
        if part == file[start:end] and not (last and picture.ends_badly):
            continue
        begin = start - picture.prefix
        body = file[begin:start] + part
        chunk_end = min(end + 4, len(file))  # the file can end within the checksum
        structure.kept.replace(
            begin - 8, chunk_end, png_chunk(file[begin - 4 : begin], body) if body else b""
        )


def decode_png(structure: PngStructure, file: bytes) -> None:
    """Inflates every compressed picture: the image data, and each frame of an animation.

    Raises:
        Rejected: a picture lacks rows, holds far more data than its rows, or takes too long.
        Exception: a zlib stream is damaged; the type is the decompressor's own.
    """
    view, clock = memoryview(file), Clock()
    allowed = MAX_SURPLUS
    for picture in structure.pictures:
        length, surplus = _check(structure.header, picture, view, allowed, clock)
        allowed -= surplus
        if surplus:
            stream = _compressed_rows(structure.header, picture, view, structure.max_rewritten, clock)
            _replace_stream(structure, picture, file, stream)
        elif length < picture.size or picture.ends_badly:
            stream = b"".join(view[start:end] for start, end in picture.spans)[:length]
            _replace_stream(structure, picture, file, stream)
        if surplus or length < picture.size:
            structure.removed |= {"trailer"}
