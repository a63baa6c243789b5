"""The structure of a container, and the parts of the file that are stored."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Final, Literal, Self

#: What is kept of XMP: nothing, how the picture was made, or this and the rights.
KeepMetadata = Literal["none", "source", "rights"]

#: The orientations that show the rows of a picture as columns.
_QUARTER_TURNS: Final = range(5, 9)


class Kept:
    """The parts of a file that are stored, in order.

    Adjacent parts are merged, and nothing is copied before ``join``. A file that is kept whole is never
    copied.
    """

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._pieces: list[tuple[int, int] | bytes] = []
        #: By its start in the file, the end of a part that ``replace`` drops, and the bytes in its place.
        self._replaced: dict[int, tuple[int, bytes]] = {}

    @classmethod
    def of(cls, data: bytes, pieces: Iterable[tuple[int, int] | bytes]) -> Self:
        """Returns the parts of ``data`` with these starts and ends, and other bytes between them."""
        kept = cls(data)
        for piece in pieces:
            if isinstance(piece, bytes):
                kept.add(piece)
            else:
                kept.keep(*piece)
        return kept

    def keep(self, start: int, end: int) -> None:
        """Appends the bytes of the file from ``start`` up to ``end``."""
        if self._pieces and isinstance(last := self._pieces[-1], tuple) and last[1] == start:
            self._pieces[-1] = (last[0], end)
        else:
            self._pieces.append((start, end))

    def add(self, piece: bytes) -> None:
        """Appends bytes that are not in the file."""
        self._pieces.append(piece)

    def replace(self, start: int, end: int, piece: bytes) -> None:
        """Puts ``piece`` in the place of bytes that one call of ``keep`` covered. Parts must not overlap."""
        self._replaced[start] = (end, piece)

    def _final_pieces(self) -> Iterator[tuple[int, int] | bytes]:
        starts = sorted(self._replaced)
        for piece in self._pieces:
            if isinstance(piece, bytes):
                yield piece
                continue
            at, end = piece
            for start in starts[bisect_left(starts, at) : bisect_left(starts, end)]:
                yield at, start
                at, replacement = self._replaced[start]
                yield replacement
            yield at, end

    def join(self) -> bytes:
        """Returns the parts as one file: the file's own object if all of it is kept."""
        if self._pieces == [(0, len(self._data))] and not self._replaced:
            return self._data
        view = memoryview(self._data)
        return b"".join(
            piece if isinstance(piece, bytes) else view[slice(*piece)] for piece in self._final_pieces()
        )


@dataclass(kw_only=True)
class Structure:
    """The properties of a picture that its container states, read without decoding.

    Attributes:
        width, height: the size of the canvas as it is stored, in pixels.
        orientation: how a viewer turns and mirrors the canvas: 1 (not at all) to 8, as in Exif (CIPA DC-008
            section 4.6.5.1.6).
        frames: the number of pictures that a viewer composes on the canvas.
        scans: the number of passes that a JPEG decoder makes over the picture.
        decode_bytes: an upper bound of the memory that decoding takes, in bytes.
        kept: the parts of the file that are stored.
        digital_source_type: how the picture was made: a term of IPTC's vocabulary, or None if the file does
            not say it.
        removed: names of the kinds of metadata that ``kept`` lacks.
    """

    width: int
    height: int
    frames: int = 1
    scans: int = 1
    decode_bytes: int
    kept: Kept
    removed: frozenset[str]
    digital_source_type: str | None = None
    orientation: int = 1

    @property
    def display_size(self) -> tuple[int, int]:
        """The width and height of the picture as a viewer sees it, in pixels."""
        return (self.height, self.width) if self.orientation in _QUARTER_TURNS else (self.width, self.height)

    @cached_property
    def stripped(self) -> bytes:
        """The file as it is stored; the client's own object if nothing is removed."""
        return self.kept.join()
