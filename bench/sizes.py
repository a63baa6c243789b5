"""Measures the CPU time and the memory of making sizes: Vetrina beside sharp, with the same encoder settings.

Each maker is one process, which gets a picture and a width at a time. For each picture and width the makers
take turns, round after round, and their medians are compared. A picture has new processes, so that their peak
memory is that of the picture.
"""

from __future__ import annotations

import io
import json
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from PIL import Image

from bench.pictures import encoded, photograph
from bench.targets import PEERS, PeerUnavailable, node_packages
from config import Settings
from resizing import EFFORT, QUALITY, resize, sizes_of
from tests.servers import ROOT
from worker import Heap

ROUNDS: Final = 5
OURS: Final = "Vetrina"
PEER: Final = "sharp"


def pictures() -> dict[str, bytes]:
    """The pictures by their names in the table."""
    return {
        "JPEG 12 MP": encoded(4000, 3000, "JPEG"),
        "PNG 2 MP, alpha": _transparent_png(1632, 1224),
        "WebP 2 MP": encoded(1632, 1224, "WEBP"),
    }


def _transparent_png(width: int, height: int) -> bytes:
    picture = photograph(width, height)
    picture.putalpha(
        Image.eval(Image.radial_gradient("L").resize((width, height)), lambda level: 255 - level)
    )
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()


@dataclass(frozen=True)
class Row:
    """The medians of a picture and a width.

    Attributes:
        cpu: CPU seconds of a size, by maker.
        size: bytes of a size, by maker.
    """

    picture: str
    width: int
    cpu: dict[str, float]
    size: dict[str, int]


@dataclass(frozen=True)
class Sizes:
    """The figures of a run.

    Attributes:
        rows: by picture and width.
        peak_memory: bytes, by picture and maker.
        missing: why sharp could not run; empty if it ran.
    """

    rows: Sequence[Row]
    peak_memory: dict[str, dict[str, int]]
    missing: str

    @property
    def ratio(self) -> float | None:
        """Vetrina's CPU time for all sizes over that of sharp; None without sharp."""
        if self.missing:
            return None
        return sum(row.cpu[OURS] for row in self.rows) / sum(row.cpu[PEER] for row in self.rows)


class Maker:
    """A process that makes sizes."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def make(self, path: Path, width: int) -> tuple[float, int]:
        """The CPU seconds that a size took, and its bytes."""
        order = {"path": str(path), "width": width, "quality": QUALITY, "effort": EFFORT}
        if self._process.stdin is None or self._process.stdout is None:
            raise TypeError
        self._process.stdin.write(f"{json.dumps(order)}\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline())
        return float(answer["cpu"]), int(answer["size"])

    def peak_bytes(self) -> int:
        """The most memory that the process had: VmHWM (proc_pid_status(5))."""
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        return 1024 * int(status.partition("VmHWM:")[2].split()[0])


@contextmanager
def maker(command: Sequence[str]) -> Iterator[Maker]:
    process = subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    )
    with process:
        yield Maker(process)
        if process.stdin:
            process.stdin.close()


def commands() -> tuple[dict[str, list[str]], str]:
    """How each maker is started, and why sharp is missing."""
    found = {OURS: [sys.executable, "-m", "bench.sizes"]}
    try:
        program = shutil.copy(PEERS / "sharp_sizes.js", node_packages(PEER))
    except PeerUnavailable as error:
        print(f"{PEER} is left out: {error.reason}", file=sys.stderr)
        return found, error.reason
    return {**found, PEER: ["node", str(program)]}, ""


def measure_picture(
    name: str, path: Path, makers: dict[str, Maker], widths: Sequence[int], rounds: int
) -> Iterator[Row]:
    for width in widths:
        made: dict[str, list[tuple[float, int]]] = {maker_name: [] for maker_name in makers}
        for _ in range(rounds + 1):
            for maker_name, process in makers.items():
                made[maker_name].append(process.make(path, width))
        yield Row(
            name,
            width,
            {by: statistics.median(cpu for cpu, _ in sizes[1:]) for by, sizes in made.items()},
            {by: sizes[-1][1] for by, sizes in made.items()},
        )


def measure(folder: Path, rounds: int = ROUNDS) -> Sizes:
    starts, missing = commands()
    rows: list[Row] = []
    memory: dict[str, dict[str, int]] = {}
    for name, data in pictures().items():
        path = folder / "picture"
        path.write_bytes(data)
        with Image.open(path) as picture:
            widths = [width for width, _ in sizes_of(*picture.size, Settings().image_sizes)]
        with ExitStack() as stack:
            makers = {by: stack.enter_context(maker(command)) for by, command in starts.items()}
            rows += measure_picture(name, path, makers, widths, rounds)
            memory[name] = {by: process.peak_bytes() for by, process in makers.items()}
        print(name, {row.width: row.cpu for row in rows if row.picture == name}, memory[name], flush=True)
    return Sizes(rows, memory, missing)


def make_from_input() -> None:
    """Makes a size for each line of the input, as ``bench/peers/sharp_sizes.js`` does."""
    Heap()  # the memory settings of a worker
    for line in sys.stdin:
        order = json.loads(line)
        data = Path(order["path"]).read_bytes()
        before = time.process_time()
        made = resize(data, order["width"])
        print(json.dumps({"cpu": time.process_time() - before, "size": len(made)}), flush=True)


if __name__ == "__main__":
    make_from_input()
