"""Does a PNG hold all that it declares?

Pillow takes a picture whose compressed data ends early, leaves the missing rows as they were, and
passes over the checksum of the data where it can. So that no row is missed and none is inflated twice,
each compressed picture is decoded in a way that tells the difference:

* It is decoded into an image of one row more, filled with a colour of its own beforehand. Of a whole
  picture the last row is painted over, and the row after it is not.
* The last byte of the zlib stream, which is the end of its checksum, is handed over on its own, and
  ones after it. If the decoder comes back for more each time, the checksum was right and nothing
  stands behind it. Before the end of a stream, enough ones are an error, or more than a row: a code is
  at most 15 bits long, and no block and no checksum is all ones.

Where that proof fails, the data is inflated and counted, which is slower but always right.
"""

from __future__ import annotations

import io
import struct
import zlib
from typing import Final

from PIL import Image

from validators.base import corrupt
from validators.containers.apng import PngPicture
from validators.containers.ihdr import PngHeader
from validators.containers.png import SIGNATURE, PngStructure, png_chunk

#: A colour that the last row of few pictures has throughout; for those the proof fails.
_FILLING: Final[dict[str, int | tuple[int, ...]]] = {
    "1": 0,
    "L": 0xA7,
    "P": 0xA7,
    "I;16": 0xA75C,
    "LA": (0xA7, 0x5C),
    "RGB": (0xA7, 0x5C, 0x33),
    "RGBA": (0xA7, 0x5C, 0x33, 0xD1),
}

# Adam7's passes as (first column, first row, column step, row step): PNG third edition, section 8.1.
_ADAM7: Final = (
    (0, 0, 8, 8),
    (4, 0, 8, 8),
    (0, 4, 4, 8),
    (2, 0, 4, 4),
    (0, 2, 2, 4),
    (1, 0, 2, 2),
    (0, 1, 1, 2),
)
_STEP: Final = 1 << 16
_LOOK: Final = 256
_ONES: Final = b"\xff" * _STEP


class _AllTaken(Exception):
    """The decoder took the whole stream without an error, and asks for more."""


class _Stream:
    """A zlib stream, given out up to its last byte, then that byte, then more ones than fill a row."""

    def __init__(self, data: bytes, row: int) -> None:
        self._rest = [data[-1:], data[:-1]]
        self._ones = 2 + 2 * row // len(_ONES)

    def read(self, _: int) -> bytes:
        if self._rest:
            return self._rest.pop()
        if not self._ones:
            raise _AllTaken
        self._ones -= 1
        return _ONES


def _open(header: PngHeader, width: int, height: int) -> Image.Image:
    """A PNG without data: nothing but a header, and nothing else for Pillow to interpret."""
    fields = (width, height, header.depth, header.color, 0, 0, int(header.interlaced))
    chunks = (b"IHDR", struct.pack(">IIBBBBB", *fields)), (b"IDAT", b""), (b"IEND", b"")
    file = SIGNATURE + b"".join(png_chunk(kind, body) for kind, body in chunks)
    return Image.open(io.BytesIO(file), formats=("PNG",))


def _is_whole(header: PngHeader, picture: PngPicture, data: bytes) -> bool:
    """Decodes a picture; returns whether that proves that nothing is missing and nothing too much."""
    extra = not header.interlaced
    with _open(header, picture.width, picture.height + extra) as image:
        filling = _FILLING[image.mode]
        row = header.row_bytes(picture.width)
        image.im = Image.new(image.mode, image.size, filling).im
        image.load_read = _Stream(data, row).read  # type: ignore[attr-defined]  # of files in pieces
        try:
            image.load()
        except _AllTaken:
            pass
        else:
            return False
        if header.interlaced:  # the last row is not the last to be decoded
            return False
        image.tile = []  # type: ignore[attr-defined]  # what load() would decode again
        width = min(picture.width, _LOOK)  # a row is painted whole or not at all
        rows = image.crop((0, picture.height - 1, width, picture.height + 1)).tobytes()
        empty = Image.new(image.mode, (width, 1), filling).tobytes()
        return rows[: len(empty)] != empty and rows[len(empty) :] == empty


def _bytes_of_rows(header: PngHeader, picture: PngPicture) -> int:
    """What the data must inflate to: sections 7.2 and 8.1."""
    total = 0
    for left, top, across, down in _ADAM7 if header.interlaced else ((0, 0, 1, 1),):
        columns = -(-(picture.width - left) // across)
        rows = -(-(picture.height - top) // down)
        if columns > 0 and rows > 0:
            total += rows * header.row_bytes(columns)
    return total


def _inflate(header: PngHeader, picture: PngPicture, data: bytes) -> int:
    """Inflates a picture, keeping nothing; returns the length of its zlib stream.

    Raises:
        Rejected: it is not as long as its rows, or its end is missing.
        zlib.error: it is damaged.
    """
    missing = _bytes_of_rows(header, picture)
    inflate = zlib.decompressobj()
    pending = data
    while not inflate.eof and missing >= 0:
        piece = inflate.decompress(pending, _STEP)
        pending = inflate.unconsumed_tail
        missing -= len(piece)
        if not piece and not pending:
            break
    if missing or not inflate.eof:
        raise corrupt(f"{missing} bytes of pixel data are missing, or its end is")
    return len(data) - len(inflate.unused_data)


def _cut(structure: PngStructure, picture: PngPicture, file: bytes, length: int) -> None:
    """Cuts what stands behind the zlib stream out of the chunks that are kept."""
    for start, end in picture.spans:
        size = min(end - start, length)
        length -= size
        if size < end - start:
            begin = start - picture.prefix
            chunk = png_chunk(file[begin - 4 : begin], file[begin : start + size])
            structure.kept.replace(begin - 8, end + 4, chunk)
    structure.removed |= {"trailer"}


def decode_png(structure: PngStructure, file: bytes) -> None:
    """Decodes every compressed picture, the frames of an animation on their own.

    Raises:
        Rejected: a picture holds less or more than its rows.
        Exception: any that Pillow or zlib raises on damaged data.
    """
    view = memoryview(file)
    for picture in structure.pictures:
        data = b"".join(view[start:end] for start, end in picture.spans)
        if not _is_whole(structure.header, picture, data):
            length = _inflate(structure.header, picture, data)
            if length < len(data):
                _cut(structure, picture, file, length)
