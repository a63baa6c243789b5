"""The chunks of a WebP, and the headers of the pictures in them: RFC 9649 sections 2.3 to 2.6."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from validators.base import corrupt, too_many_parts

CHUNK_HEADER: Final = 8
LOSSY, LOSSLESS, ALPHA = b"VP8 ", b"VP8L", b"ALPH"
#: The last chunk may exceed the size in the RIFF header by this many bytes.
_SIZE_SLACK: Final = 8


@dataclass(frozen=True, slots=True)
class Chunk:
    """A chunk, or a sub-chunk of a frame: offsets of its start, its payload and the payload's end.

    ``after`` is where the next chunk starts: a payload of odd size has a byte of padding.
    """

    kind: bytes
    start: int
    body: int
    end: int
    after: int

    @property
    def size(self) -> int:
        """The bytes of the payload."""
        return self.end - self.body

    @property
    def padding_is_missing(self) -> bool:
        return self.after - self.body < self.size + self.size % 2


class Chunks:
    """The chunks of a file. The limit applies to the chunks of the file and of all its frames together."""

    def __init__(self, data: bytes, limit: int) -> None:
        self._data = data
        self._limit = limit
        self._count = 0

    def between(self, position: int, end: int) -> Iterator[Chunk]:
        """Yields the chunks that start between ``position`` and ``end``, up to the first that is cut off.

        Decoders show a picture if the file is cut off after it, or if the RIFF size is slightly wrong.

        Raises:
            Rejected: there are too many chunks, or a picture is cut off.
        """
        data = self._data
        while position + CHUNK_HEADER <= min(end, len(data)):
            self._count += 1
            if self._count > self._limit:
                raise too_many_parts(f"more chunks than MAX_IMAGE_CHUNKS, {self._limit}")
            kind, body = data[position : position + 4], position + CHUNK_HEADER
            payload_end = body + int.from_bytes(data[position + 4 : body], "little")
            if payload_end > min(end + _SIZE_SLACK, len(data)):
                if kind in (b"ANMF", LOSSY, LOSSLESS, ALPHA):
                    raise corrupt("a chunk is cut off")
                return
            # Some files lack the padding of the last chunk. Decoders do not need it.
            after = min(payload_end + (payload_end - body) % 2, len(data))
            yield Chunk(kind, position, body, payload_end, after)
            position = after


def encoded(kind: bytes, payload: bytes) -> bytes:
    """A chunk with its header and padding."""
    return kind + len(payload).to_bytes(4, "little") + payload + b"\0" * (len(payload) % 2)


def picture_size(data: bytes, chunk: Chunk) -> tuple[int, int]:
    """Returns the width and height in the header of a picture's bitstream.

    VP8: RFC 6386 section 9.1; VP8L: RFC 9649 section 3.4.

    Raises:
        Rejected: the header is malformed.
    """
    head = data[chunk.body : min(chunk.end, chunk.body + 10)]
    if chunk.kind == LOSSY:
        # The frame must be a key frame and have the start code.
        if len(head) < 10 or head[0] & 1 or head[3:6] != b"\x9d\x01\x2a":
            raise corrupt("the VP8 header is malformed")
        size = int.from_bytes(head[6:8], "little") & 0x3FFF, int.from_bytes(head[8:10], "little") & 0x3FFF
        if 0 in size:
            raise corrupt("a dimension is zero")
        return size
    if chunk.kind == LOSSLESS:
        if len(head) < 5 or head[0] != 0x2F or head[4] >> 5:
            raise corrupt("the VP8L header is malformed")
        bits = int.from_bytes(head[1:5], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    raise corrupt("a chunk that is no picture where one must be")
