"""What an upload costs: the CPU time of Vetrina beside a floor, in one run.

Both servers run under the same gunicorn with the same configuration. The floor reads the body and
writes it durably; to it is added a bare decode of the same picture, as Pillow's users write it
(``Image.open(…).load()``), and once more as Vetrina asks for it (JPEG at 1/8). The CPU time is that
of the worker processes, from the operating system; rounds of both alternate, and medians are
compared, so that a machine whose speed drifts does not decide.

Run it with ``make bench``.
"""

from __future__ import annotations

import http.client
import io
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from PIL import Image

from bench.pictures import all_pictures
from tests.servers import Server, gunicorn

ROUNDS = 7
UPLOADS = 19  # in a round: one more would find the product full
BOUNDARY = "vetrina-bench"


def form(data: bytes) -> bytes:
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="x"\r\n\r\n'
    return head.encode() + data + f"\r\n--{BOUNDARY}--\r\n".encode()


def cpu_seconds(server: Server) -> float:
    """What the threads of the workers have had of the processors, in seconds, to the nanosecond.

    Linux keeps it in ``schedstat``. The threads of a worker's pool live as long as it does.
    """
    workers = Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children").read_text().split()
    threads = [thread for worker in workers for thread in Path(f"/proc/{worker}/task").iterdir()]
    return sum(int((thread / "schedstat").read_text().split()[0]) for thread in threads) / 1e9


class Client:
    """Uploads to one server over one connection that is kept."""

    def __init__(self, server: Server, key: str = "") -> None:
        self._server = server
        self._connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
        self._headers = {"Authorization": f"Bearer {key}"} if key else {}

    def request(self, method: str, path: str, body: bytes, content_type: str) -> bytes:
        headers = {**self._headers, "Content-Type": content_type}
        self._connection.request(method, path, body, headers)
        answer = self._connection.getresponse()
        content = answer.read()
        if answer.status != http.HTTPStatus.CREATED:
            raise RuntimeError(f"{answer.status}: {content!r}")
        return content

    def cpu_per_upload(self, path: str, data: bytes) -> float:
        """CPU seconds of the server's workers for each of ``UPLOADS`` uploads."""
        body = form(data)
        before = cpu_seconds(self._server)
        for _ in range(UPLOADS):
            self.request("POST", path, body, f"multipart/form-data; boundary={BOUNDARY}")
        return (cpu_seconds(self._server) - before) / UPLOADS

    def new_images_path(self) -> str:
        product = f'{{"name":"x","model":"{time.monotonic_ns()}","category":"toys"}}'
        content = self.request("POST", "/api/v1/products", product.encode(), "application/json")
        product_id = content.partition(b'"_id":"')[2][:24].decode()
        return f"/api/v1/products/{product_id}/images"


@contextmanager
def floor_server(folder: Path) -> Iterator[Server]:
    with gunicorn(folder, app="bench.floor:app", WEB_CONCURRENCY="1", FLOOR_DIR=str(folder)) as server:
        yield server


def decode_seconds(decode: Callable[[bytes], None], data: bytes) -> float:
    """CPU seconds of one bare decode in this process."""
    before = time.process_time()
    for _ in range(UPLOADS):
        decode(data)
    return (time.process_time() - before) / UPLOADS


def full_decode(data: bytes) -> None:
    Image.open(io.BytesIO(data)).load()


def small_decode(data: bytes) -> None:
    image = Image.open(io.BytesIO(data))
    image.draft(None, (image.width // 8, image.height // 8))
    image.load()


def measure(ours: Client, floor: Client, data: bytes) -> tuple[float, float, float, float]:
    """Medians, in seconds: ours, floor, bare full decode, bare decode at 1/8."""
    rounds = [
        (
            ours.cpu_per_upload(ours.new_images_path(), data),
            floor.cpu_per_upload("/", data),
            decode_seconds(full_decode, data),
            decode_seconds(small_decode, data),
        )
        for _ in range(ROUNDS)
    ]
    a, b, c, d = (statistics.median(column) for column in zip(*rounds, strict=True))
    return a, b, c, d


def main() -> None:
    with ExitStack() as stack:
        # In the working folder, not the temporary one: that may be memory, where syncing costs nothing.
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix=".bench-", dir=".")))
        server = stack.enter_context(gunicorn(folder.resolve(), WEB_CONCURRENCY="1"))
        bare = stack.enter_context(floor_server(folder.resolve()))
        key = server.flask("key", "create", "--workspace", server.flask("workspace", "create", "Bench"))
        ours, floor = Client(server, key), Client(bare)
        print("CPU milliseconds per upload; ratio: Vetrina / (floor + decode)\n")
        print("| picture | kB | Vetrina | floor | decode | ratio | decode at 1/8 | ratio |")
        print("|---|---:|---:|---:|---:|---:|---:|---:|")
        for name, data in all_pictures().items():
            measure_row = measure(ours, floor, data)
            total, base, full, small = (1000 * seconds for seconds in measure_row)
            print(
                f"| {name} | {len(data) // 1000} | {total:.1f} | {base:.1f} | {full:.1f} "
                f"| {total / (base + full):.2f} | {small:.1f} | {total / (base + small):.2f} |"
            )
            sys.stdout.flush()


if __name__ == "__main__":
    main()
