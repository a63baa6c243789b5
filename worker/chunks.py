"""Bodies in chunks (RFC 9112 section 7.1), with a bound on the work that their framing causes."""

from __future__ import annotations

from typing import Final

from gunicorn.http.body import ChunkedReader
from gunicorn.http.errors import InvalidChunkSize
from gunicorn.http.message import Request
from gunicorn.http.unreader import Unreader

#: So many chunks may have any size. Those of a longer body must have so many bytes on average.
_FREE: Final = 10_000
_LEAST_AVERAGE: Final = 16


class Chunks(ChunkedReader):
    """Reads a body in chunks, and refuses many small ones.

    Each chunk takes about 2 µs to parse, whatever its size: 12 s of CPU time for 5 MB in chunks of one byte.
    """

    def __init__(self, req: Request, unreader: Unreader) -> None:
        super().__init__(req, unreader)
        self._left = _FREE * _LEAST_AVERAGE

    @property
    def is_read(self) -> bool:
        """Whether everything has been read, and the end found."""
        return self.parser is None

    def parse_chunk_size(self, unreader: Unreader, data: bytes | None = None) -> tuple[int, bytes | None]:
        """Reads the size of the next chunk. Returns it, and the bytes that follow.

        Raises:
            InvalidChunkSize: there are too many small chunks, or the size is malformed.
        """
        size, rest = super().parse_chunk_size(unreader, data=data)
        self._left += size - _LEAST_AVERAGE
        if self._left < 0:
            raise InvalidChunkSize(b"too many small chunks")
        return size, rest
