"""The tables of a JPEG: ITU-T T.81 section B.2.4. Those that no scan uses are not stored."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from validators.base import Limits, corrupt, too_many_parts
from validators.containers.jpeg_frame import RESTART_INTERVAL, Table

_HUFFMAN, _QUANTIZATION, _RESTART = 0xC4, 0xDB, 0xDD
TABLES: Final = frozenset({_HUFFMAN, _QUANTIZATION, _RESTART})
_DESTINATIONS: Final = 4


@dataclass(slots=True)
class _Definition:
    content: bytes
    used: bool = False


def _huffman(body: bytes) -> Iterator[tuple[Table, bytes]]:
    at = 0
    while at < len(body):
        # A byte with class and destination, 16 counts, and as many values as the counts add up to.
        end = at + 17 + sum(body[at + 1 : at + 17])
        if end > len(body) or end - at > 17 + 256 or body[at] >> 4 > 1 or body[at] & 15 >= _DESTINATIONS:
            raise corrupt("a Huffman table is malformed")
        yield ("ac" if body[at] >> 4 else "dc", body[at] & 15), body[at:end]
        at = end


def _quantization(body: bytes) -> Iterator[tuple[Table, bytes]]:
    at = 0
    while at < len(body):
        end = at + 1 + (128 if body[at] >> 4 else 64)
        if end > len(body) or body[at] & 15 >= _DESTINATIONS:
            raise corrupt("a quantization table is malformed")
        yield ("quantization", body[at] & 15), body[at:end]
        at = end


def _restart(body: bytes) -> Iterator[tuple[Table, bytes]]:
    if len(body) != 2:
        raise corrupt("the restart interval is malformed")
    yield RESTART_INTERVAL, body


_READERS: Final = {_HUFFMAN: _huffman, _QUANTIZATION: _quantization, _RESTART: _restart}


class Tables:
    """The tables that are defined so far, and which of their definitions the scans use.

    Each definition counts as one part of the file: a segment can have thousands of them.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._count = 0
        self._current: dict[Table, _Definition] = {}
        #: For each segment, the caller's key and its definitions.
        self._segments: list[tuple[int, list[_Definition]]] = []

    def define(self, key: int, marker: int, body: bytes) -> None:
        """Takes the segment that the caller calls ``key``.

        Raises:
            Rejected: decoders stop at it, or the file has too many tables.
        """
        definitions = []
        for table, content in _READERS[marker](body):
            self._count += 1
            if self._count > self._limits.max_chunks:
                raise too_many_parts(f"more tables than MAX_IMAGE_CHUNKS, {self._limits.max_chunks}")
            definitions.append(_Definition(content))
            self._current[table] = definitions[-1]
        self._segments.append((key, definitions))

    def use(self, tables: set[Table]) -> None:
        """Notes that a scan uses these tables, as they are defined now."""
        for table in tables & self._current.keys():
            self._current[table].used = True

    def reduced(self) -> Iterator[tuple[int, bytes]]:
        """The key and the new body of each segment with unused definitions; the body can be empty."""
        for key, definitions in self._segments:
            if not all(definition.used for definition in definitions) or not definitions:
                yield key, b"".join(d.content for d in definitions if d.used)
