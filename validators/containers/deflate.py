"""zlib streams (RFC 1950): inflating in steps of bounded memory, and compressing. Also CRC-32.

ISA-L is several times as fast as zlib. It has wheels for x86-64 and 64-bit ARM; other platforms use zlib.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Iterator
from typing import Final, Protocol

#: The most input and output bytes of one step: both fit into a processor's cache.
STEP_INPUT: Final = 1 << 15
STEP_OUTPUT: Final = 1 << 16
#: The largest CINFO (RFC 1950 section 2.2): a window of 32 KiB.
_MAX_WINDOW: Final = 7


class Decompressor(Protocol):
    """What zlib and ISA-L have in common: the interface of ``zlib.decompressobj()``."""

    @property
    def eof(self) -> bool: ...

    @property
    def unused_data(self) -> bytes: ...

    @property
    def unconsumed_tail(self) -> bytes: ...

    def decompress(self, data: bytes | memoryview, max_length: int, /) -> bytes: ...


class Compressor(Protocol):
    """The interface of ``zlib.compressobj()``."""

    def compress(self, data: bytes | memoryview, /) -> bytes: ...

    def flush(self) -> bytes: ...


decompressobj: Callable[[], Decompressor]
#: Takes the level; 1 is fast for both.
compressobj: Callable[[int], Compressor]
crc32: Callable[[bytes | memoryview], int]
try:
    from isal import isal_zlib
except ImportError:
    decompressobj, compressobj, crc32 = zlib.decompressobj, zlib.compressobj, zlib.crc32
else:
    decompressobj, compressobj, crc32 = isal_zlib.decompressobj, isal_zlib.compressobj, isal_zlib.crc32


class ZlibStream:
    """One zlib stream, which may be divided into pieces.

    Args:
        on_step: is called after each step, which has at most ``STEP_INPUT`` bytes of input.

    Attributes:
        length: the bytes of the stream that are inflated so far, including its header and checksum.
    """

    def __init__(self, on_step: Callable[[], None] = lambda: None) -> None:
        self._inflate = decompressobj()
        self._on_step = on_step
        self.length = 0

    @property
    def ended(self) -> bool:
        """Whether the stream is inflated to its end, and its checksum is right."""
        return self._inflate.eof

    def steps(self, pieces: Iterable[memoryview]) -> Iterator[bytes]:
        """Inflates the pieces up to the end of the stream; yields at most ``STEP_OUTPUT`` bytes at a time.

        It does not read the bytes after the stream.

        Raises:
            Exception: the stream is damaged, or its checksum is wrong; the type is the decompressor's own.
        """
        for piece in pieces:
            for start in range(0, len(piece), STEP_INPUT):
                part = piece[start : start + STEP_INPUT]
                if not self.length and part[0] >> 4 > _MAX_WINDOW:
                    raise ValueError("the window is larger than deflate's")  # ISA-L does not check it
                yield from self._step(part)
                self._on_step()
                self.length += len(part) - len(self._inflate.unused_data)
                if self.ended:
                    return

    def _step(self, pending: bytes | memoryview) -> Iterator[bytes]:
        while True:
            inflated = self._inflate.decompress(pending, STEP_OUTPUT)
            if inflated:
                yield inflated
            pending = self._inflate.unconsumed_tail
            # After a full step the decompressor can hold further output.
            if self.ended or (not pending and len(inflated) < STEP_OUTPUT):
                return
