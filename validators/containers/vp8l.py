"""The memory that decoding a lossless WebP bitstream takes: RFC 9649 sections 3.4 to 3.7.

Most of the memory follows from the size in pixels. The memory for the prefix codes does not: a picture can
have up to 65,536 groups of five codes, a decoder keeps 6 to 20 kB for each group, and a group can be written
in 20 bits. The number of groups depends on the bitstream's small images: those of the transforms, and the
entropy image, which gives the group of each block of pixels. This module reads the small images, but not the
picture.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Final

#: The sizes of the alphabets, without the color cache: green with lengths, red, blue, alpha, distance.
_ALPHABETS: Final = (256 + 24, 256, 256, 256, 40)
_LITERALS: Final = 256
_LENGTHS: Final = 24
#: The order in which the lengths of the code length code are stored (section 3.7.2.1.2).
_LENGTH_ORDER: Final = (17, 18, 0, 1, 2, 3, 4, 5, 16, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15)
_MAX_LENGTH: Final = 15
_ROOT_BITS: Final = 8
#: The cost of a copy beyond that of a literal, in symbols.
_COST_OF_COPY: Final = 2
#: The cost of building the table of a code, in symbols.
_COST_OF_CODE: Final = 40

#: libwebp's tables for the codes of one group, in bytes, by the bits of the color cache: the largest size
#: that codes of these alphabets can take with 8 bits of first-level lookup, in entries of 4 bytes.
_TABLE_BYTES: Final = tuple(
    4 * (2300 + green) for green in (654, 656, 658, 662, 670, 686, 718, 782, 912, 1168, 1680, 2704)
)
#: What libwebp keeps for a group besides the tables: pointers, flags and a table of 64 packed codes.
_GROUP_BYTES: Final = 600
#: The fewest bits of a group: five simple codes of one symbol, each of 4 bits (section 3.7.2.1.1).
_GROUP_BITS: Final = 20
_MAX_GROUPS: Final = 1 << 16
#: libwebp also keeps unused groups, as long as all group numbers are below this one.
_DENSE_GROUPS: Final = 1000
#: The smallest block that can have its own group or its own transform parameters has 4 × 4 pixels.
_MIN_BLOCK_BITS: Final = 2

#: Rows that libwebp keeps besides the picture: the previous row, and 16 rows of output.
_ROWS: Final = 17

#: Up to this many bytes the estimate uses the size alone: reading the small images costs more than it saves.
_SMALL: Final = 24 << 20


class Unread(Exception):
    """The small images can't be read: they are damaged, or too large for the budget."""


class WorkBudget:
    """The number of symbols that may be read from the small images of all bitstreams of one file.

    Encoders make these images small in relation to the picture. Reading a symbol takes about half a
    microsecond. The lengths of the codes and the tables built from them count too.

    Attributes:
        symbols: the number that is left.
    """

    def __init__(self) -> None:
        self.symbols = 100_000

    def extend(self, pixels: int) -> None:
        """Adds the symbols that a picture of this many pixels may have in its small images."""
        self.symbols += pixels // 64

    def spend(self, symbols: int) -> None:
        """Raises Unread if the budget is spent."""
        self.symbols -= symbols
        if self.symbols < 0:
            raise Unread


def decode_bytes(stream: memoryview, width: int, height: int, budget: WorkBudget) -> int:
    """Returns an upper bound of the memory that decoding takes, in bytes, without the output.

    Args:
        stream: the bitstream without its header of 5 bytes; in ALPH it has none (section 2.7.1.2).
        width, height: the dimensions of the picture, in pixels.
        budget: what is left of the file's budget.
    """
    blocks = _subsampled(width, _MIN_BLOCK_BITS) * _subsampled(height, _MIN_BLOCK_BITS)
    # Four bytes a pixel: the picture, the images of two transforms, and the entropy image.
    picture = 4 * (width * (height + _ROWS) + 3 * blocks)
    most = min(_MAX_GROUPS, max(blocks, _DENSE_GROUPS), 8 * len(stream) // _GROUP_BITS + 1)
    groups = most * (_TABLE_BYTES[-1] + _GROUP_BYTES)
    budget.extend(width * height)
    if groups > _SMALL:
        with suppress(Unread):
            groups = _Reader(stream, budget).group_bytes(width, height)
    return picture + groups


def _subsampled(size: int, bits: int) -> int:
    return -(-size >> bits)


class _Code:
    """A canonical prefix code. Its bits are read from the lowest to the highest (section 3.7.2.1).

    Attributes:
        single: the symbol, if the code has only one and so takes no bits; otherwise None.
        table: for each value of the next 8 bits, the symbol and the length of its code; -1 for longer codes.
        long: the symbols of codes of more than 8 bits, by length and code.
    """

    def __init__(self, lengths: Sequence[int]) -> None:
        used = sorted((length, symbol) for symbol, length in enumerate(lengths) if length)
        self.single = used[0][1] if len(used) == 1 else None
        self.long: dict[tuple[int, int], int] = {}
        default = (0, -1) if self.single is None else (self.single, 0)
        self.table: list[tuple[int, int]] = [default] * (1 << _ROOT_BITS)
        if self.single is not None:
            return
        if sum(1 << (_MAX_LENGTH - length) for length, _ in used) != 1 << _MAX_LENGTH:
            raise Unread
        code = last = 0
        for length, symbol in used:
            code <<= length - last
            last = length
            reverse = int(f"{code:0{length}b}"[::-1], 2)
            code += 1
            if length > _ROOT_BITS:
                self.long[length, reverse] = symbol
            else:
                entries = len(range(reverse, 1 << _ROOT_BITS, 1 << length))
                self.table[reverse :: 1 << length] = [(symbol, length)] * entries


class _Reader:
    """Reads a bitstream up to the prefix codes of the picture itself. Every method can raise Unread."""

    def __init__(self, stream: memoryview, budget: WorkBudget) -> None:
        self._data = stream
        self._position = 0
        self._budget = budget

    def group_bytes(self, width: int, height: int) -> int:
        """Returns the memory that the prefix codes of all groups take, in bytes."""
        width = self._skip_transforms(width, height)
        cache_bits = self._cache_bits()
        groups = 1
        if self._bits(1):
            bits = _MIN_BLOCK_BITS + self._bits(3)
            groups = self._groups(_subsampled(width, bits) * _subsampled(height, bits))
        return groups * (_TABLE_BYTES[cache_bits] + _GROUP_BYTES)

    def _bits(self, count: int) -> int:
        at = self._position
        self._position = at + count
        if self._position > 8 * len(self._data):
            raise Unread
        return int.from_bytes(self._data[at >> 3 : (at >> 3) + 5], "little") >> (at & 7) & ((1 << count) - 1)

    def _skip_transforms(self, width: int, height: int) -> int:
        """Returns the width of the coded picture, in which a pixel can hold several pixels (section 4.4)."""
        seen = set()
        while self._bits(1):
            kind = self._bits(2)
            if kind in seen:
                raise Unread
            seen.add(kind)
            if kind < 2:  # predictor and color transform
                bits = _MIN_BLOCK_BITS + self._bits(3)
                self._image(_subsampled(width, bits) * _subsampled(height, bits))
            elif kind == 3:  # color indexing
                colors = self._bits(8) + 1
                self._image(colors)
                width = _subsampled(
                    width, 3 if colors <= 2 else 2 if colors <= 4 else 1 if colors <= 16 else 0
                )
        return width

    def _groups(self, blocks: int) -> int:
        """The number of groups that libwebp keeps for this entropy image."""
        used = {0, *self._image(blocks)}
        return len(used) if max(used) >= _DENSE_GROUPS else max(used) + 1

    def _cache_bits(self) -> int:
        if not self._bits(1):
            return 0
        bits = self._bits(4)
        if not 1 <= bits <= 11:
            raise Unread
        return bits

    def _image(self, pixels: int) -> set[int]:
        """Reads a small image; returns the values of its pixels in red and green, as one number.

        A pixel that is copied or comes from the color cache has the value of an earlier pixel, or zero.
        """
        cache_bits = self._cache_bits()
        cache = 1 << cache_bits if cache_bits else 0
        green, red, blue, alpha, distance = (
            self._code(size + (0 if number else cache)) for number, size in enumerate(_ALPHABETS)
        )
        literal = (green, red, blue, alpha)
        if all(code.single is not None for code in literal) and self._symbol(green) < _LITERALS:
            return {self._symbol(red) << 8 | self._symbol(green)}  # all pixels are equal and take no bits
        values: set[int] = set()
        cost = 1 + sum(code.single is None for code in (red, blue, alpha))
        while pixels > 0:
            pixels -= self._short_literals(literal, pixels, cost, values)
            if pixels <= 0:
                break
            self._budget.spend(cost)
            symbol = self._symbol(green)
            if symbol < _LITERALS:
                values.add(self._symbol(red) << 8 | symbol)
                self._symbol(blue)
                self._symbol(alpha)
                pixels -= 1
            elif symbol < _LITERALS + _LENGTHS:
                self._budget.spend(_COST_OF_COPY)
                pixels -= self._prefixed(symbol - _LITERALS)
                self._prefixed(self._symbol(distance))
            else:
                pixels -= 1
        return values

    def _short_literals(self, codes: Sequence[_Code], pixels: int, cost: int, values: set[int]) -> int:
        """Reads pixels up to the first that is not a literal or has a long code; returns their number.

        Most pixels are such literals. Their codes take up to 32 bits together, which one look at the data
        finds.
        """
        green, red = (code.table for code in codes[:2])
        others = [code.table for code in codes[2:] if code.single is None]
        data, at, read = self._data, self._position, 0
        limit = min(pixels, self._budget.symbols // cost)
        while read < limit:
            window = int.from_bytes(data[at >> 3 : (at >> 3) + 5], "little") >> (at & 7)
            symbol, length = green[window & 255]
            if length < 0 or symbol >= _LITERALS:
                break
            window >>= length
            used = length
            red_symbol, length = red[window & 255]
            for table in others:
                if length < 0:
                    break
                window >>= length
                used += length
                _, length = table[window & 255]
            if length < 0:
                break
            at += used + length
            values.add(red_symbol << 8 | symbol)
            read += 1
        self._position = at
        if at > 8 * len(data):
            raise Unread
        self._budget.spend(cost * read)
        return read

    def _prefixed(self, symbol: int) -> int:
        """A length or a distance: section 3.6.2.2."""
        if symbol < 4:
            return symbol + 1
        extra = (symbol - 2) >> 1
        return ((2 + (symbol & 1)) << extra) + self._bits(extra) + 1

    def _symbol(self, code: _Code) -> int:
        if code.single is not None:
            return code.single
        at = self._position
        window = int.from_bytes(self._data[at >> 3 : (at >> 3) + 4], "little") >> (at & 7)
        symbol, length = code.table[window & 255]
        if length < 0:
            for length in range(_ROOT_BITS + 1, _MAX_LENGTH + 1):
                found = code.long.get((length, window & ((1 << length) - 1)))
                if found is not None:
                    symbol = found
                    break
            else:
                raise Unread
        self._position = at + length
        if self._position > 8 * len(self._data):
            raise Unread
        return symbol

    def _code(self, alphabet: int) -> _Code:
        lengths = [0] * max(alphabet, 256)
        self._budget.spend(_COST_OF_CODE)
        if self._bits(1):  # a simple code
            second = self._bits(1)
            lengths[self._bits(8 if self._bits(1) else 1)] = 1
            if second:
                lengths[self._bits(8)] = 1
        else:
            self._read_lengths(lengths, alphabet)
        if not any(lengths[:alphabet]):
            raise Unread
        self._budget.spend(alphabet - lengths[:alphabet].count(0))
        return _Code(lengths[:alphabet])

    def _read_lengths(self, lengths: list[int], alphabet: int) -> None:
        """Reads the code lengths of a normal code; a prefix code codes them too (section 3.7.2.1.2)."""
        of_lengths = [0] * len(_LENGTH_ORDER)
        for number in range(self._bits(4) + 4):
            if number >= len(_LENGTH_ORDER):
                raise Unread
            of_lengths[_LENGTH_ORDER[number]] = self._bits(3)
        if not any(of_lengths):
            raise Unread
        code = _Code(of_lengths)
        stored = 2 + self._bits(2 + 2 * self._bits(3)) if self._bits(1) else alphabet
        at, previous = 0, 8
        while at < alphabet and stored:
            stored -= 1
            self._budget.spend(2)
            symbol = self._symbol(code)
            if symbol < 16:
                lengths[at] = symbol
                previous = symbol or previous
                at += 1
                continue
            extra, least = ((2, 3), (3, 3), (7, 11))[symbol - 16]
            count = least + self._bits(extra)
            if at + count > alphabet:
                raise Unread
            if symbol == 16:
                lengths[at : at + count] = [previous] * count
            at += count
