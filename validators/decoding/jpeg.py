"""Checks that a JPEG holds the data of its whole picture and no superfluous data.

A strict decode shows both. libjpeg warns of "premature end" where a scan has too few bytes, and of
"extraneous bytes" where bytes follow the last block of a scan or of a restart interval. Such bytes are
harmless, but no decoder reads them, so they are not stored. The decoder runs at 1/8 of the size, which reads
every entropy-coded byte.

A decode reports only its first warning. So a file with superfluous bytes is decoded again after each cut, and
the place of a cut is found by decoding truncated files.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from typing import Final

import simplejpeg

from validators.base import DecoderUnavailable, Limits, corrupt
from validators.containers.jpeg import END_OF_IMAGE, JpegStructure
from validators.containers.structure import Kept
from validators.decoding.memory import DECODE_MEMORY

#: The smallest scale at which libjpeg decodes: each block becomes one pixel, and all entropy-coded bytes are
#: read.
JPEG_SHRINK: Final = 8
_SOI: Final = b"\xff\xd8"
#: With JFIF, the colours are YCbCr whatever the component identifiers, so the decoder can
#: convert them to grey.
_JFIF: Final = b"\xff\xe0\0\x10JFIF\0\1\1\0\0\1\0\1\0\0"

#: Superfluous bytes at the end of a scan; a restart marker (0xD0 to 0xD7) may not follow them.
_SURPLUS: Final = re.compile(r"(\d+) extraneous bytes before marker 0x(?!d[0-7])")
_LACKING: Final = re.compile("premature end", re.IGNORECASE)
#: The decoder reads up to eight bytes ahead of the bits that it uses, twice as many with 0x00 after each
#: 0xFF, and does not report these as superfluous.
_READ_AHEAD: Final = 16

#: The most work that finding superfluous bytes may take, in the unit of ``_Decodes.problem``: about a second.
_MAX_COST: Final = 1_500_000_000
_COST_OF_BYTE: Final = 8
_COST_OF_DECODE: Final = 50_000
#: The most pixels of a picture that is re-encoded, which takes about a second.
_MAX_REPACKED_PIXELS: Final = 8_000_000


def _decode(data: bytes, components: int, *, strict: bool) -> str | None:
    """Returns the decoder's first error, or with ``strict`` its first warning or error; None without one."""
    colours = "CMYK" if components == 4 else "GRAY"
    try:
        simplejpeg.decode_jpeg(
            data, colours, min_height=1, min_width=1, min_factor=JPEG_SHRINK, strict=strict
        )
    except ValueError as problem:
        return str(problem)
    return None


class _Decodes:
    """Decodes the scans of one file without its application segments, and finds superfluous bytes.

    Attributes:
        ends: where the data of each scan ends, after the cuts so far.
    """

    def __init__(self, structure: JpegStructure, file: bytes) -> None:
        self._structure = structure
        self._file = memoryview(file)
        self._cost = 0
        self.ends = [scan.end for scan in structure.coded]

    def coded(self, count: int | None = None) -> bytes:
        """Returns a file of the first ``count`` scans."""
        pieces: list[bytes | memoryview] = [_SOI, _JFIF]
        for scan, end in zip(self._structure.coded[:count], self.ends[:count], strict=True):
            pieces += scan.head.removeprefix(_SOI), self._file[scan.start : end]
        return b"".join([*pieces, END_OF_IMAGE])

    def problem(self, count: int | None = None) -> str | None:
        """Returns the first problem of a file of the first ``count`` scans.

        Raises:
            Rejected: the decodes so far exceed the work that finding superfluous bytes may take.
        """
        if self._cost > _MAX_COST:
            raise corrupt("superfluous data in too many places")
        data = self.coded(count)
        passes = len(self.ends[:count])
        self._cost += self._structure.width * self._structure.height * passes
        self._cost += _COST_OF_BYTE * len(data) + _COST_OF_DECODE
        return _decode(data, self._structure.components, strict=True)

    def cut(self) -> None:
        """Cuts superfluous bytes off the end of the first scan that has some."""
        count = _first(1, len(self.ends), lambda scans: _surplus(self.problem(scans)) > 0)
        scan, full = count - 1, self.ends[count - 1]
        start = self._structure.coded[scan].start

        def is_whole(end: int) -> bool:
            self.ends[scan] = end
            return not _LACKING.search(self.problem(count) or "")

        near = max(start, full - _surplus(self.problem(count)))
        # The number in the warning can include bytes that the decoder dropped earlier, at restart markers.
        if is_whole(near):
            self.ends[scan] = _first(max(start, near - _READ_AHEAD), near, is_whole)
        else:
            self.ends[scan] = _first(near, full, is_whole)
        if self.ends[scan] == full:
            raise corrupt("superfluous data in a place that was not found")


def _surplus(problem: str | None) -> int:
    """Returns the number of superfluous bytes that a problem reports."""
    found = _SURPLUS.search(problem or "")
    return int(found[1]) if found else 0


def _first(low: int, high: int, holds: Callable[[int], bool]) -> int:
    """Returns the lowest number from which on ``holds`` is true; it must be true up to ``high``."""
    while low < high:
        middle = (low + high) // 2
        if holds(middle):
            high = middle
        else:
            low = middle + 1
    return low


def decode_jpeg(structure: JpegStructure, file: bytes, limits: Limits) -> None:
    """Decodes a JPEG, and removes bytes that no decoder reads from what is stored.

    Raises:
        Rejected: the data of a scan ends early, or the decoder refuses the file.
        DecoderUnavailable: the system can't start the process that re-encodes the file.
    """
    with DECODE_MEMORY.turn(structure.decode_bytes, limits.max_decode_bytes_in_flight):
        decodes = _Decodes(structure, file)
        while _surplus(problem := decodes.problem()):
            decodes.cut()
        if problem is not None and (
            _LACKING.search(problem) or _decode(decodes.coded(), structure.components, strict=False)
        ):
            raise corrupt(problem)
    for scan, end in zip(structure.coded, decodes.ends, strict=True):
        if end < scan.end:
            structure.kept.replace(end, scan.end, b"")
            structure.removed |= {"trailer"}
    if problem is not None:
        _repack(structure, limits)


#: Re-encodes the JPEG on its input. The arguments are the memory limit and the module search path.
_OPTIMIZE: Final = """
import resource, sys
limit, *sys.path = sys.argv[1:]
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
resource.setrlimit(resource.RLIMIT_CPU, (5, 5))
try:
    resource.setrlimit(resource.RLIMIT_AS, (int(limit), int(limit)))
except (OSError, ValueError):  # macOS does not limit the address space
    pass
import mozjpeg_lossless_optimization
sys.stdout.buffer.write(mozjpeg_lossless_optimization.optimize(sys.stdin.buffer.read()))
"""
#: A picture of the largest size takes two seconds; the rest is a margin for a busy machine.
_OPTIMIZE_SECONDS: Final = 20
#: The memory of the new process's interpreter and libraries.
_PROCESS_MEMORY: Final = 16 << 20
#: The address space that a process maps without using it.
_UNUSED_ADDRESSES: Final = 64 << 20
#: The library tries many ways to divide a picture into scans, and keeps the output of each: up to 11 times
#: the size of the file. The server's process holds the input and the output.
_COPIES: Final = 14


def _optimized(data: bytes, memory: int) -> bytes:
    """Returns the JPEG with its coefficients re-encoded and without its metadata.

    The error handler of the library calls ``exit()``, so the library runs in a new process. That process has
    at most ``memory`` bytes and five seconds of CPU time. It gets no environment variables but
    ``LD_LIBRARY_PATH``, because others hold secrets. ``subprocess`` runs no Python code between fork and
    exec, so the threads and locks of this process can't block the new one.

    Raises:
        Rejected: the library gives up, or exceeds a limit.
        DecoderUnavailable: the system starts no more processes at the moment.
    """
    library_path = os.environ.get("LD_LIBRARY_PATH")  # the interpreter may need it to start
    command = [sys.executable, "-I", "-S", "-c", _OPTIMIZE, str(memory + _UNUSED_ADDRESSES)]
    try:
        done = subprocess.run(  # noqa: S603  # this interpreter and a fixed script
            [*command, *filter(None, sys.path)],
            input=data,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={"LD_LIBRARY_PATH": library_path} if library_path else {},
            timeout=_OPTIMIZE_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:  # run() has killed the process and waited for its end
        raise corrupt("re-encoding the coefficients takes too long") from None
    except OSError as error:
        raise DecoderUnavailable(f"no process can re-encode the coefficients: {error.strerror}") from None
    if done.returncode or not done.stdout:
        raise corrupt(f"the coefficients can't be re-encoded: status {done.returncode}")
    return done.stdout


def _repack(structure: JpegStructure, limits: Limits) -> None:
    """Re-encodes the coefficients without loss, to remove superfluous data whose place can't be found.

    Such data is a code that no table has, or bytes before a restart marker. Browsers show these pictures.
    """
    memory = 2 * structure.coefficient_bytes + _COPIES * len(structure.stripped) + _PROCESS_MEMORY
    limits.check_decode_bytes(memory)
    if structure.width * structure.height > _MAX_REPACKED_PIXELS:
        raise corrupt("damaged, and too large to be re-encoded")
    with DECODE_MEMORY.turn(memory, limits.max_decode_bytes_in_flight):
        repacked = _optimized(structure.stripped, memory)
    structure.kept = Kept.of(repacked, [(0, len(repacked))])
    del structure.stripped
    structure.removed |= {"other"}
