"""Lossless WebP bitstreams of a given structure, written bit by bit: RFC 9649 section 3.

Encoders write bitstreams that are cheap to decode. These bitstreams make a decoder take much more memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

#: The order in which the lengths of the code length code are stored (section 3.7.2.1.2).
_LENGTH_ORDER: Final = (17, 18, 0, 1, 2, 3, 4, 5, 16, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15)


class BitWriter:
    """Writes bits to bytes. The first bit is the lowest of its byte."""

    def __init__(self) -> None:
        self._text: list[str] = []

    def bits(self, value: int, count: int) -> None:
        if count:
            self._text.append(f"{value:0{count}b}"[::-1])

    def code(self, code: int, length: int) -> None:
        """Writes a prefix code. Its highest bit comes first."""
        if length:
            self._text.append(f"{code:0{length}b}")

    def repeat(self, other: BitWriter, count: int) -> None:
        self._text.append("".join(other._text) * count)

    def data(self) -> bytes:
        text = "".join(self._text)
        text += "0" * (-len(text) % 8)
        return int(text[::-1], 2).to_bytes(len(text) // 8, "little") if text else b""


def single(out: BitWriter, symbol: int = 0) -> None:
    """Writes the definition of a code with one symbol, 0 or 1, which takes no bits in the data."""
    out.bits(0b001, 3)
    out.bits(symbol, 1)


def single_copy(out: BitWriter) -> None:
    """Writes the definition of a code for green with one symbol: a copy of one pixel."""
    out.bits(0, 1)
    number = _LENGTH_ORDER.index(1) + 1
    out.bits(number - 4, 4)
    for symbol in _LENGTH_ORDER[:number]:
        out.bits(1 if symbol in (1, 18) else 0, 3)
    out.bits(1, 1)  # not all lengths are stored
    out.bits(1, 3)
    out.bits(1, 4)  # but three
    for zeros in (138, 118):
        out.code(1, 1)
        out.bits(zeros - 11, 7)
    out.code(0, 1)


def flat(out: BitWriter, length: int) -> None:
    """Writes the definition of a code whose first 2^length symbols have codes of this length."""
    out.bits(0, 1)
    number = _LENGTH_ORDER.index(length) + 1
    out.bits(number - 4, 4)
    for symbol in _LENGTH_ORDER[:number]:
        out.bits(1 if symbol == length else 0, 3)
    out.bits(1, 1)  # not all lengths are stored
    out.bits(5, 3)
    out.bits(2**length - 2, 12)


def entropy_image(out: BitWriter, groups: Sequence[int], *, with_cache: bool = False) -> None:
    """Writes an entropy image, whose pixels have these group numbers in red and green."""
    out.bits(int(with_cache), 1)
    if with_cache:
        out.bits(1, 4)
    flat(out, 8)
    flat(out, 8)
    single(out)
    single(out)
    single(out)
    for group in groups:
        out.code(group & 255, 8)
        out.code(group >> 8, 8)


def uniform_image(out: BitWriter) -> None:
    """Writes a small image whose pixels are all zero."""
    out.bits(0, 1)
    for _ in range(5):
        single(out)


def stream(
    width: int,
    height: int,
    groups: Sequence[int] = (),
    *,
    block_bits: int = 2,
    cache_bits: int = 0,
    green_length: int = 0,
    transforms: Sequence[int] = (),
    colors: int = 256,
) -> bytes:
    """The bitstream of a picture without detail, after its header.

    Args:
        width, height: in pixels.
        groups: the group number of each block of pixels; empty for one group without an entropy image.
        block_bits: the size of a block, 2 to 9.
        cache_bits: the size of the color cache, 0 or 1 to 11.
        green_length: the length of the codes for green in each group; 0 for a single symbol.
        transforms: types of transforms: 0 predictor, 1 color, 2 subtract green, 3 color indexing.
        colors: the number of colors of the color indexing transform.
    """
    out = BitWriter()
    coded_width = width
    for kind in transforms:
        out.bits(1, 1)
        out.bits(kind, 2)
        if kind < 2:
            out.bits(0, 3)
            uniform_image(out)
        elif kind == 3:
            out.bits(colors - 1, 8)
            uniform_image(out)
            per_pixel = 8 if colors <= 2 else 4 if colors <= 4 else 2 if colors <= 16 else 1
            coded_width = -(-width // per_pixel)
    out.bits(0, 1)
    out.bits(int(cache_bits > 0), 1)
    out.bits(cache_bits, 4 if cache_bits else 0)
    out.bits(int(bool(groups)), 1)
    if groups:
        out.bits(block_bits - 2, 3)
        entropy_image(out, groups)
    codes = BitWriter()
    if green_length:
        flat(codes, green_length)
    else:
        single(codes)
    for _ in range(4):
        single(codes)
    out.repeat(codes, max(groups, default=0) + 1)
    pixel = BitWriter()
    pixel.code(0, green_length)
    out.repeat(pixel, coded_width * height)
    return out.data() + bytes(8)


def header(width: int, height: int) -> bytes:
    """The header of a VP8L chunk."""
    return b"\x2f" + ((width - 1) | (height - 1) << 14 | 1 << 28).to_bytes(4, "little")


def every_block(width: int, height: int, block_bits: int = 2) -> list[int]:
    """A separate group for each block of pixels. The numbers repeat after 65,536 blocks."""
    blocks = -(-width >> block_bits) * -(-height >> block_bits)
    return [number % 65_536 for number in range(blocks)]
