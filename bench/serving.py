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
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
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
from tests.servers import ROOT, START_SECONDS, accepts, free_port

PICTURE: Final = "JPEG 2 MP"
#: The width of the size that is served.
SIZE: Final = 640
CLIENTS: Final = 8
ROUNDS: Final = 5
SECONDS: Final = 1.0
#: The most requests of a client in a round.
MAX_REQUESTS: Final = 50_000
NGINX: Final = shutil.which("nginx") or "/usr/sbin/nginx"

_MAIN: Final = """
daemon off;
worker_processes {workers};
error_log {folder}/error.log;
pid {folder}/nginx.pid;
{user}
events {{ worker_connections 256; }}
http {{
    access_log off;
    sendfile on;
    types {{ image/jpeg jpg; image/webp webp; }}
    keepalive_requests 1000000;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    include {folder}/site.conf;
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


@contextmanager
def nginx(folder: Path, vetrina: Target, static_port: int, proxy_port: int) -> Iterator[int]:
    """Runs nginx with the shipped site before ``vetrina`` and one that serves files; yields its pid."""
    site = (ROOT / "deploy" / "nginx.conf").read_text()
    # Without TLS, which would be measured too.
    site = re.sub(r"^ *ssl_.*\n", "", site, flags=re.MULTILINE)
    # Without the limits of an address: all clients here have the same one.
    site = re.sub(r"^ *limit_(conn|req) .*\n", "", site, flags=re.MULTILINE)
    for shipped, here in (
        ("server 127.0.0.1:8000;", f"server 127.0.0.1:{vetrina.port};"),
        ("listen 80;", f"listen 127.0.0.1:{free_port()};"),
        ("listen 443 ssl http2;", f"listen 127.0.0.1:{proxy_port};"),
        ("root /srv/vetrina/data;", f"root {vetrina.media.parent};"),
        ("/srv/vetrina/data/media/", f"{vetrina.media}/"),
    ):
        if shipped not in site:
            raise RuntimeError(f"deploy/nginx.conf has no {shipped!r}")
        site = site.replace(shipped, here)
    folder.mkdir()
    (folder / "site.conf").write_text(site)
    # If root starts nginx, its workers run as another user, who may not read the folder.
    user = "user root;" if Path("/proc/self").stat().st_uid == 0 else ""
    main = _MAIN.format(folder=folder, workers=WORKERS, port=static_port, media=vetrina.media, user=user)
    (folder / "nginx.conf").write_text(main)
    process = subprocess.Popen([NGINX, "-p", str(folder), "-c", str(folder / "nginx.conf")])
    try:
        deadline = time.monotonic() + START_SECONDS
        while not (accepts(static_port) and accepts(proxy_port)):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError((folder / "error.log").read_text())
            time.sleep(0.05)
        yield process.pid
    finally:
        process.terminate()
        process.wait(20)


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
    web = stack.enter_context(nginx(folder / "nginx", behind, static_port, proxy_port))
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
