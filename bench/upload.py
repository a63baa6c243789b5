"""Measures the CPU time of an upload to Vetrina beside that of a floor, in one run.

Both servers run under the same gunicorn with the same configuration. The floor reads the body and writes it
durably. A bare decode of the same picture is measured beside it: as users of Pillow write it
(``Image.open(…).load()``), and as Vetrina does it (JPEG at 1/8). The operating system gives the CPU time of
the worker processes. The rounds of both servers alternate and their medians are compared, so that a change of
the machine's speed affects both alike.
"""

from __future__ import annotations

import http.client
import io
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from bench.pictures import all_pictures
from tests.servers import Server, gunicorn

ROUNDS = 7
UPLOADS = 19  # in a round; a product takes 20 images
BOUNDARY = "vetrina-bench"


def form(data: bytes) -> bytes:
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="x"\r\n\r\n'
    return head.encode() + data + f"\r\n--{BOUNDARY}--\r\n".encode()


def cpu_seconds(server: Server) -> float:
    """The CPU seconds of the threads of the workers, with a resolution of a nanosecond.

    Linux has them in ``schedstat``. The threads of a worker's pool live as long as the worker.
    """
    workers = Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children").read_text().split()
    threads = [thread for worker in workers for thread in Path(f"/proc/{worker}/task").iterdir()]
    return sum(int((thread / "schedstat").read_text().split()[0]) for thread in threads) / 1e9


@dataclass(frozen=True)
class Row:
    """Medians of the CPU seconds of one upload of a picture.

    Attributes:
        picture: the name of the picture.
        size: the size of its file, in bytes.
        ours: seconds of Vetrina's worker.
        floor: seconds of the floor's worker.
        decode, small_decode: seconds of a bare decode, whole and at 1/8 (JPEG only).
    """

    picture: str
    size: int
    ours: float
    floor: float
    decode: float
    small_decode: float

    @property
    def ratio(self) -> float:
        return self.ours / (self.floor + self.decode)

    @property
    def small_ratio(self) -> float:
        return self.ours / (self.floor + self.small_decode)


class Client:
    """A client that uploads to one server over one connection."""

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
        """The mean CPU seconds of the server's workers for an upload, over ``UPLOADS`` uploads."""
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
    """The mean CPU seconds of one bare decode in this process."""
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


def measure_picture(ours: Client, floor: Client, name: str, data: bytes, rounds: int) -> Row:
    """Measures some rounds and returns their medians."""
    figures = [
        (
            ours.cpu_per_upload(ours.new_images_path(), data),
            floor.cpu_per_upload("/", data),
            decode_seconds(full_decode, data),
            decode_seconds(small_decode, data),
        )
        for _ in range(rounds)
    ]
    return Row(name, len(data), *(statistics.median(column) for column in zip(*figures, strict=True)))


def measure(folder: Path, rounds: int = ROUNDS) -> list[Row]:
    """Measures all pictures."""
    with ExitStack() as stack:
        server = stack.enter_context(gunicorn(folder, WEB_CONCURRENCY="1"))
        bare = stack.enter_context(floor_server(folder))
        key = server.flask("key", "create", "--workspace", server.flask("workspace", "create", "Bench"))
        ours, floor = Client(server, key), Client(bare)
        return [measure_picture(ours, floor, name, data, rounds) for name, data in all_pictures().items()]
