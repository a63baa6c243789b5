"""Measures the memory that decoding a file takes, in a separate process. Run: ``peaks.py decode FILE…``.

For each file, prints a line of JSON: the estimate, the measured peak, and whether the decoder accepts it.
Each file is decoded in a child process that first decodes a small file of the same kind, so the memory of
loaded code does not count. ``peaks.py read FILE…`` measures the peak of reading the container instead.
"""

from __future__ import annotations

import json
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import Final

from tests.validators.conftest import upload_of
from validators.base import Limits, Rejected, Upload
from validators.decode import FullDecode
from validators.structure import WellFormed

#: Limits that no file exceeds.
LIMITS: Final = Limits(
    max_pixels=10**9, max_decode_bytes=10**12, max_decode_bytes_in_flight=10**12, max_jpeg_scans=1000
)


def resident(field: str) -> int:
    """The memory of this process in bytes: VmRSS is the current value, VmHWM the highest."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return 1024 * int(status.partition(f"{field}:")[2].split()[0])


def decode(upload: Upload) -> bool:
    try:
        FullDecode()(upload, LIMITS)
    except Rejected:
        return False
    return True


def read(path: Path) -> Upload:
    upload = upload_of(path.read_bytes())
    WellFormed()(upload, LIMITS)
    return upload


def measure_reading(path: Path) -> None:
    read(path.with_suffix(".small"))
    data = path.read_bytes()
    before = resident("VmRSS")
    with suppress(Rejected):
        WellFormed()(upload_of(data), LIMITS)
    sys.stdout.write(f"{json.dumps({'name': path.stem, 'peak': resident('VmHWM') - before})}\n")
    sys.stdout.flush()


def measure(path: Path) -> None:
    decode(read(path.with_suffix(".small")))
    upload = read(path)
    before = resident("VmRSS")
    taken = decode(upload)
    figures = {
        "name": path.stem,
        "estimate": upload.structure.decode_bytes,
        "peak": resident("VmHWM") - before,
        "taken": taken,
    }
    sys.stdout.write(f"{json.dumps(figures)}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    task = {"decode": measure, "read": measure_reading}[sys.argv[1]]
    for name in sys.argv[2:]:
        child = os.fork()
        if child == 0:
            task(Path(name))
            os._exit(0)
        _, status = os.waitpid(child, 0)
        if status:
            sys.exit(f"{name}: {status}")
