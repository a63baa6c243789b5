"""Measures the CPU time of ``import folder`` beside that of the same uploads over HTTP by 4 clients.

Run it as ``python -m bench.moving``. The import is counted whole, with the start of its process. For
the uploads, only the server's processes are counted, and not the clients. The rounds alternate, and their
medians are compared.
"""

from __future__ import annotations

import http.client
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Final

from bench.pictures import encoded
from bench.processes import cpu_seconds
from bench.targets import Target, vetrina
from bench.upload import BOUNDARY, form
from tests.servers import ROOT

PRODUCTS: Final = 50
PICTURES: Final = 20  # of each product
CLIENTS: Final = 4
ROUNDS: Final = 3


@dataclass(frozen=True, slots=True)
class Cost:
    """What a round took: CPU seconds, and seconds by the clock."""

    cpu: float
    clock: float


def numbered(data: bytes, number: int) -> bytes:
    """The JPEG with a different comment for each number, so that no product already has the picture."""
    text = f"{number:06}".encode()
    return data[:2] + b"\xff\xfe" + (len(text) + 2).to_bytes(2) + text + data[2:]


def _upload_all(target: Target, product_ids: Sequence[str], data: bytes) -> None:
    """One client's uploads."""
    connection = http.client.HTTPConnection("127.0.0.1", target.port, timeout=60)
    headers = {
        "Authorization": f"Bearer {target.key}",
        "Content-Type": f"multipart/form-data; boundary={BOUNDARY}",
    }
    for product_id in product_ids:
        for number in range(PICTURES):
            path = f"/api/v1/products/{product_id}/images"
            connection.request("POST", path, form(numbered(data, number)), headers)
            answer = connection.getresponse()
            answer.read()
            if answer.status != HTTPStatus.CREATED:
                raise RuntimeError(str(answer.status))
    connection.close()


def measure_uploads(target: Target, data: bytes) -> Cost:
    """The cost of the uploads for the server."""
    product_ids = target.new_products(PRODUCTS)
    before, start = cpu_seconds(target.pid), time.monotonic()
    with ThreadPoolExecutor(CLIENTS) as clients:
        parts = [product_ids[number::CLIENTS] for number in range(CLIENTS)]
        list(clients.map(lambda part: _upload_all(target, part, data), parts))
    return Cost(cpu_seconds(target.pid) - before, time.monotonic() - start)


def _flask(data_dir: Path, *args: str) -> str:
    command = [sys.executable, "-m", "flask", "--app", "wsgi", *args]
    environ = {"PATH": os.environ["PATH"], "DATA_DIR": str(data_dir)}
    return subprocess.run(
        command, cwd=ROOT, env=environ, check=True, capture_output=True, text=True
    ).stdout.strip()


def measure_import(data_dir: Path, folder: Path) -> Cost:
    """The cost of the import, the start of its process included."""
    workspace_id = _flask(data_dir, "workspace", "create", "Bench")
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    _flask(data_dir, "import", "folder", str(folder), "--workspace", workspace_id, "--category", "toys")
    after, clock = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic() - start
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Cost(cpu, clock)


def fill(folder: Path, data: bytes) -> None:
    """Writes the pictures, named for their products."""
    folder.mkdir()
    for product in range(PRODUCTS):
        for number in range(PICTURES):
            (folder / f"P{product}_{number}.jpg").write_bytes(numbered(data, number))


def measure(folder: Path, data: bytes) -> tuple[Cost, Cost]:
    """The medians of the uploads and of the import."""
    fill(folder / "pictures", data)
    rounds = []
    with vetrina(folder) as target:
        for _ in range(ROUNDS):
            rounds.append(
                (measure_uploads(target, data), measure_import(folder / "data", folder / "pictures"))
            )
            target.forget_files()
    uploads, imports = (
        Cost(
            *(
                statistics.median(values)
                for values in zip(*((cost.cpu, cost.clock) for cost in costs), strict=True)
            )
        )
        for costs in zip(*rounds, strict=True)
    )
    return uploads, imports


def main() -> None:
    """Prints the figures of two sizes of pictures."""
    for width, height in ((1000, 750), (1632, 1224)):
        data = encoded(width, height, "JPEG")
        with tempfile.TemporaryDirectory() as folder:
            uploads, imports = measure(Path(folder), data)
        print(
            f"{PRODUCTS * PICTURES} JPEG of {width} × {height} ({len(data)} bytes): "
            f"uploads {uploads.cpu:.1f} CPU s in {uploads.clock:.1f} s, "
            f"import folder {imports.cpu:.1f} CPU s in {imports.clock:.1f} s, "
            f"ratio {imports.cpu / uploads.cpu:.2f}"
        )


if __name__ == "__main__":
    main()
