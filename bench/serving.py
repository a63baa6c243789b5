"""Measures how a picture and a size of it are served: by Vetrina, by nginx, and by nginx before Vetrina.

The third is ``deploy/nginx.conf`` without TLS: nginx sends a file that exists without a request to Vetrina.
All servers have the same number of workers. They take turns, round after round, and their medians are
compared.
"""

from __future__ import annotations

import http.client
import json
import re
import shutil
import statistics
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from bench import targets
from bench.load import Load
from bench.pictures import all_pictures
from bench.processes import bytes_read, cpu_seconds
from bench.targets import WORKERS, Target
from bench.upload import BOUNDARY, form
from tests.nginx import configuration as shipped_configuration
from tests.nginx import running as running_nginx
from tests.servers import free_port

PICTURE: Final = "JPEG 2 MP"
#: The width of the size that is served.
SIZE: Final = 640
CLIENTS: Final = 8
ROUNDS: Final = 5
SECONDS: Final = 1.0
#: The most requests of a client in a round.
MAX_REQUESTS: Final = 50_000
NGINX: Final = shutil.which("nginx") or "/usr/sbin/nginx"

#: Another site of the same nginx, which only sends the files.
_FILES: Final = """
    types {{ image/jpeg jpg; image/webp webp; }}
    sendfile on;
    keepalive_requests 1000000;
    server {{
        listen 127.0.0.1:{port};
        location /media/ {{ alias {media}/; }}
    }}
}}
"""


@dataclass
class Way:
    """One way to get the bytes of the picture.

    Attributes:
        name: the row's name in the table.
        port, path: the port and the path of the URL.
        pids: the processes that serve it, each with its descendants.
        headers: the header fields of the request, besides its host.
        status: the expected status of the answer.
        rates: requests a second, by round.
        cpu: CPU seconds a request, by round.
        file_bytes: the bytes that the processes read through system calls for a request, by round.
    """

    name: str
    port: int
    path: str
    pids: Sequence[int]
    headers: str = ""
    status: int = 200
    rates: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    file_bytes: list[float] = field(default_factory=list)

    def head(self) -> bytes:
        return f"GET {self.path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{self.headers}\r\n".encode()

    def measure_round(self, load: Load) -> None:
        cpu, read = sum(map(cpu_seconds, self.pids)), sum(map(bytes_read, self.pids))
        heads = [[self.head()] * MAX_REQUESTS] * CLIENTS
        outcome = load.run(self.port, heads, b"", status=self.status, seconds=SECONDS)
        self.rates.append(outcome.rate)
        self.cpu.append((sum(map(cpu_seconds, self.pids)) - cpu) / outcome.requests)
        self.file_bytes.append((sum(map(bytes_read, self.pids)) - read) / outcome.requests)


@dataclass(frozen=True)
class Row:
    """The medians of one way: requests a second; CPU seconds and bytes read from files a request."""

    name: str
    rate: float
    cpu: float
    file_bytes: float


def configuration(folder: Path, vetrina: Target, static_port: int, proxy_port: int) -> str:
    """The shipped configuration of nginx before ``vetrina``, with one more site, which sends files."""
    text = shipped_configuration(folder, vetrina.port, proxy_port, plain_port=free_port(), tls=False)
    # Without the limits of an address: all clients here have the same one.
    text = re.sub(r"^ *limit_(conn|req) .*\n", "", text, flags=re.MULTILINE)
    text = re.sub(r"worker_processes .*", f"worker_processes {WORKERS};", text)
    text = re.sub(r"access_log .*", "access_log off;", text)
    for shipped, here in (
        (f"root {folder}/data;", f"root {vetrina.media.parent};"),
        (f"{folder}/data/media/", f"{vetrina.media}/"),
    ):
        text = text.replace(shipped, here)
    return text.removesuffix("}\n") + _FILES.format(port=static_port, media=vetrina.media)


def first_answer(port: int, path: str) -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("GET", path)
    return connection.getresponse()


def stored_path(target: Target, body: bytes) -> str:
    """Uploads the form, and returns the path of the stored picture."""
    connection = http.client.HTTPConnection("127.0.0.1", target.port, timeout=60)
    (product,) = target.new_products(1)
    headers = {
        "Authorization": f"Bearer {target.key}",
        "Content-Type": f"multipart/form-data; boundary={BOUNDARY}",
    }
    connection.request("POST", f"/api/v1/products/{product}/images", body, headers)
    image_url = str(json.loads(connection.getresponse().read())["imageUrl"])
    return urlsplit(image_url).path


def ways(folder: Path, stack: ExitStack) -> list[Way]:
    """Starts the servers, stores the picture, and checks that each way gives the same bytes."""
    alone = stack.enter_context(targets.vetrina(folder))
    behind = stack.enter_context(targets.vetrina(folder, MEDIA_ACCEL_PREFIX="/_media/"))
    static_port, proxy_port = free_port(), free_port()
    web_folder = folder / "nginx"
    web_folder.mkdir()
    text = configuration(web_folder, behind, static_port, proxy_port)
    web = stack.enter_context(running_nginx(web_folder, text, proxy_port))
    path = stored_path(alone, form(all_pictures()[PICTURE]))
    etag = first_answer(alone.port, path).headers["ETag"]
    size = re.sub(r"\.jpg$", f"_{SIZE}w.webp", path)
    found = [
        Way("Vetrina", alone.port, path, [alone.pid]),
        Way("nginx", static_port, path, [web]),
        Way("nginx before Vetrina", proxy_port, path, [web, behind.pid]),
        Way("Vetrina, 304", alone.port, path, [alone.pid], f"If-None-Match: {etag}\r\n", 304),
        Way("Vetrina, a size", alone.port, size, [alone.pid]),  # its first answer makes the size
        Way("nginx, a size", static_port, size, [web]),
        Way("nginx before Vetrina, a size", proxy_port, size, [web, behind.pid]),
    ]
    for same in (path, size):
        answers = {first_answer(way.port, same).read() for way in found if way.path == same}
        if len(answers) != 1 or b"" in answers:
            raise RuntimeError(f"the servers do not give the same bytes of {same}")
    return found


def measure(folder: Path, rounds: int = ROUNDS) -> list[Row]:
    """The medians of each way; an empty list without nginx, since there is nothing to compare with."""
    if not Path(NGINX).exists():
        print("Serving is skipped: nginx is not installed.")
        return []
    with ExitStack() as stack:
        found = ways(folder, stack)
        load = stack.enter_context(Load(CLIENTS))
        for _ in range(rounds):
            for way in found:
                way.measure_round(load)
        median = statistics.median
        return [Row(way.name, median(way.rates), median(way.cpu), median(way.file_bytes)) for way in found]
