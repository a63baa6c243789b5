"""Measures the memory that resizing takes, in a separate process. Run: ``peaks.py FILE:WIDTH…``.

For each, prints a line of JSON: the estimate and the measured peak. Each picture is resized in a child
process that first resizes a small file of the same kind, so the memory of loaded code does not count.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from resizing import memory, resize
from tests.validators.decoding.peaks import resident


def measure(path: Path, width: int) -> None:
    resize(path.with_suffix(".small").read_bytes(), 32)
    data = path.read_bytes()
    before = resident("VmRSS")
    resize(data, width)
    figures = {"name": path.stem, "estimate": memory(data, width), "peak": resident("VmHWM") - before}
    sys.stdout.write(f"{json.dumps(figures)}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    for argument in sys.argv[1:]:
        name, pixels = argument.rsplit(":", 1)
        child = os.fork()
        if child == 0:
            measure(Path(name), int(pixels))
            os._exit(0)
        _, status = os.waitpid(child, 0)
        if status:
            sys.exit(f"{name}: {status}")
