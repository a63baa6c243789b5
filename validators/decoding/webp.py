"""Checks that a WebP holds the data of every picture and no superfluous data.

libwebp's incremental decoder shows both: it gets the data of a picture up to a few bytes before the end, and
then the rest. If the picture is complete before the rest, no decoder needs the rest, and it is not stored.

Pillow's own interface has no incremental decoder. Its extension module is linked with libwebp, and this
module calls libwebp's public functions (``webp/decode.h``) through it.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Final

from PIL import _webp

from validators.base import corrupt
from validators.containers.webp import CodedPicture, WebpStructure
from validators.containers.webp_chunks import ALPHA, LOSSLESS, Chunk
from validators.decoding.clock import Clock

#: An encoder writes up to this many bytes at the end to empty its registers (RFC 6386 section 7.3).
_FLUSHED: Final = 4
# VP8StatusCode
_OK: Final = 0
_OUT_OF_MEMORY: Final = 1
_MODE_RGBA: Final = 1
#: The first step back, in bytes, of the search for superfluous bytes; each further one is eight times larger.
_FIRST_STEP: Final = 8
#: The most work that the search may take for one file.
_MAX_COST: Final = 400_000_000
_COST_OF_BYTE: Final = 8


def _library() -> ctypes.CDLL:
    library = ctypes.CDLL(_webp.__file__)
    pointer, size, integer = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int
    library.WebPINewRGB.restype = pointer
    library.WebPINewRGB.argtypes = [integer, pointer, size, integer]
    library.WebPINewYUVA.restype = pointer
    library.WebPINewYUVA.argtypes = [pointer, size, integer] * 4
    library.WebPIUpdate.restype = integer
    library.WebPIUpdate.argtypes = [pointer, ctypes.c_char_p, size]
    library.WebPIDelete.restype = None
    library.WebPIDelete.argtypes = [pointer]
    return library


_LIBWEBP: Final = _library()


class _Decoder:
    """An incremental decoder of one picture. The caller must close it."""

    def __init__(self, kind: bytes, payload: memoryview) -> None:
        size, padding = len(payload), len(payload) % 2
        sizes = [number.to_bytes(4, "little") for number in (12 + size + padding, size)]
        # One copy of the payload: more would exceed the estimate for a small picture in a large file.
        self._file = b"".join((b"RIFF", sizes[0], b"WEBP", kind, sizes[1], payload, b"\0" * padding))
        self._header = 20
        # The output has the bitstream's own colour format, to save conversion: the pixels are not used.
        if kind == LOSSLESS:
            self._decoder = _LIBWEBP.WebPINewRGB(_MODE_RGBA, None, 0, 0)
        else:
            self._decoder = _LIBWEBP.WebPINewYUVA(*[None, 0, 0] * 4)
        if not self._decoder:
            raise MemoryError

    def status(self, size: int) -> int:
        """Returns libwebp's status after the first ``size`` bytes of the payload; sizes must ascend.

        Raises:
            MemoryError: there is not enough memory.
        """
        status: int = _LIBWEBP.WebPIUpdate(self._decoder, self._file, self._header + size)
        if status == _OUT_OF_MEMORY:
            raise MemoryError
        return status

    def close(self) -> None:
        _LIBWEBP.WebPIDelete(self._decoder)
        self._file = b""


class _Reader:
    """Finds how many bytes a decoder needs of each picture of one file.

    The search for superfluous bytes decodes a picture several times, so its work is bounded for the file.
    """

    def __init__(self) -> None:
        self._cost = 0
        self._clock = Clock()
        #: The superfluous bytes of the last picture that had some: encoders append the same to each.
        self._tail = _FLUSHED

    def needed(self, kind: bytes, payload: memoryview, pixels: int) -> int:
        """Returns the number of bytes that a decoder needs, plus those that encoders append.

        Raises:
            Rejected: the data ends early or is damaged, or the search takes too long.
        """
        size = len(payload)
        high = max(0, size - _FLUSHED - 1)
        with self._step(kind, payload) as decoder:
            likely = size - self._tail
            if 0 < likely - 1 < high and decoder.status(likely - 1) != _OK and decoder.status(likely) == _OK:
                return likely
            if decoder.status(high) != _OK:
                if status := decoder.status(size):
                    raise corrupt(f"a picture is damaged, or its data ends early: status {status}")
                return size
        needed = self._least(kind, payload, high, pixels)
        self._tail = size - needed
        return needed

    @contextmanager
    def _step(self, kind: bytes, payload: memoryview) -> Iterator[_Decoder]:
        """A decoder for one step of the search.

        Raises:
            Rejected: the decodes so far take too long for a further one.
        """
        self._clock.check()
        with closing(_Decoder(kind, payload)) as decoder:
            yield decoder

    def _least(self, kind: bytes, payload: memoryview, high: int, pixels: int) -> int:
        """Returns the least number of bytes that are a whole picture; ``high`` bytes are one."""
        size, low = len(payload), max(0, high - _FIRST_STEP)
        while low and (found := self._whole(kind, payload, range(low, low + 1), pixels)):
            high, low = found, max(0, size - _FIRST_STEP * (size - low))
        while high - low > _FIRST_STEP:
            middle = (low + high) // 2
            if self._whole(kind, payload, range(middle, middle + 1), pixels):
                high = middle
            else:
                low = middle
        return self._whole(kind, payload, range(low + 1, high), pixels) or high

    def _whole(self, kind: bytes, payload: memoryview, sizes: range, pixels: int) -> int:
        """Returns the first of the ascending sizes that is a whole picture; 0 if none is.

        A decoder that lacks data continues when it has more, so further sizes cost little; if not, as with
        data that is all prefix codes, the clock bounds the work.
        """
        if not sizes:
            return 0
        self._cost += pixels + _COST_OF_BYTE * sizes.stop
        if self._cost > _MAX_COST:
            raise corrupt("superfluous data in too many places")
        # libwebp does not begin before it has an eighth of the chunk, so the chunk ends with the last size.
        with self._step(kind, payload[: sizes.stop - 1]) as decoder:
            return next((size for size in sizes if decoder.status(size) == _OK), 0)

    def needed_alpha(self, payload: memoryview, width: int, height: int) -> int:
        """Does the same as ``needed`` for the payload of an ALPH chunk (RFC 9649 section 2.7.1.2)."""
        if not payload:
            raise corrupt("an alpha channel without data")
        if payload[0] & 3 == 0:
            if len(payload) < 1 + width * height:
                raise corrupt("the data of an alpha channel ends early")
            return 1 + width * height
        # The compressed channel is a lossless bitstream without its header. The last bits of the header are
        # the version.
        header = b"\x2f" + ((width - 1) | (height - 1) << 14).to_bytes(4, "little")
        stream = memoryview(b"".join((header, payload[1:])))
        return self.needed(LOSSLESS, stream, width * height) - len(header) + 1

    def end(self, picture: CodedPicture, part: Chunk, file: memoryview) -> int:
        """Returns where the bytes of a chunk that a decoder needs end in the file."""
        payload = file[part.body : part.end]
        if part.kind == ALPHA:
            return part.body + self.needed_alpha(payload, picture.width, picture.height)
        return part.body + self.needed(part.kind, payload, picture.width * picture.height)


def decode_webp(structure: WebpStructure, file: bytes) -> None:
    """Decodes every picture, and removes bytes that no decoder reads from what is stored.

    Raises:
        Rejected: the data of a picture ends early, or is damaged.
        MemoryError: there is not enough memory.
    """
    reader, view = _Reader(), memoryview(file)
    trimmed: dict[int, list[bytes]] = {}
    for number, picture in enumerate(structure.pictures):
        ends = [reader.end(picture, part, view) for part in picture.parts]
        if any(end < part.end for end, part in zip(ends, picture.parts, strict=True)):
            trimmed[number] = [file[part.body : end] for end, part in zip(ends, picture.parts, strict=True)]
    if trimmed:
        structure.replace_payloads(trimmed)
        structure.removed |= {"trailer"}
