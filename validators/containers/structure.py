"""What a container tells of its picture, and the parts of the file that are stored."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Self


class Kept:
    """The parts of a file that stay, in order. Neighbours become one, and nothing is copied before
    ``join``; of a file that stays whole, nothing is ever copied.
    """

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._pieces: list[tuple[int, int] | bytes] = []

    @classmethod
    def of(cls, data: bytes, pieces: Iterable[tuple[int, int] | bytes]) -> Self:
        """These parts of the file, and bytes that stand in the place of others."""
        kept = cls(data)
        for piece in pieces:
            if isinstance(piece, bytes):
                kept.add(piece)
            else:
                kept.keep(*piece)
        return kept

    def keep(self, start: int, end: int) -> None:
        """The bytes from ``start`` up to ``end`` stay."""
        if self._pieces and isinstance(last := self._pieces[-1], tuple) and last[1] == start:
            self._pieces[-1] = (last[0], end)
        else:
            self._pieces.append((start, end))

    def add(self, piece: bytes) -> None:
        """Bytes that stand in the place of others."""
        self._pieces.append(piece)

    def replace(self, start: int, end: int, piece: bytes) -> None:
        """Puts a piece in the place of bytes that were to stay."""
        # From the end: who replaces several goes through the file in order.
        index = next(
            number
            for number in reversed(range(len(self._pieces)))
            if isinstance(kept := self._pieces[number], tuple) and kept[0] <= start
        )
        first, last = self._pieces[index]
        self._pieces[index : index + 1] = [(first, start), piece, (end, last)]

    def join(self) -> bytes:
        """What stays, as one file; the very object that came if all of it stays."""
        if self._pieces == [(0, len(self._data))]:
            return self._data
        view = memoryview(self._data)
        return b"".join(piece if isinstance(piece, bytes) else view[slice(*piece)] for piece in self._pieces)


@dataclass(kw_only=True)
class Structure:
    """What the container of a picture tells, before anything is decoded.

    Attributes:
        width, height: of the whole canvas, in pixels.
        frames: how many pictures of that size a viewer composes.
        scans: how often a JPEG's decoder goes over the picture.
        decode_bytes: the memory that decoding takes, in bytes, by measurement.
        kept: the file without metadata.
        removed: names of the kinds of metadata that ``kept`` lacks.
    """

    width: int
    height: int
    frames: int = 1
    scans: int = 1
    decode_bytes: int
    kept: Kept
    removed: frozenset[str]

    @cached_property
    def stripped(self) -> bytes:
        """The file without metadata; the client's own object if it had none."""
        return self.kept.join()
