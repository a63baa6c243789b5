"""Measures how one tenant is served while another tenant, or an anonymous client, attacks the server.

The other tenant uploads, lists, reads a picture and asks for the server's health, one request of each kind at
a time, first alone and then during each attack. The attacks come from eight addresses, so that the limit
of connections per address does not suffice to stop them. Attackers and server share the machine.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import random
import re
import secrets
import socket
import statistics
import tempfile
import threading
import time
import zlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from multiprocessing import get_context
from pathlib import Path
from typing import Final, Literal
from urllib.parse import urlsplit

from bench.pictures import encoded
from bench.targets import WORKERS
from bench.upload import BOUNDARY, form
from tests.lossless import header, stream
from tests.pictures import png_chunk, png_header
from tests.servers import Server, gunicorn

SECONDS: Final = 10.0
#: The attackers' addresses on the loopback interface.
ADDRESSES: Final = [f"127.0.0.{number}" for number in range(2, 10)]
#: How long an attacker waits after an answer; without a pause the attackers would take all the CPU time.
_PAUSE: Final = 0.5
_TIMEOUT: Final = 30.0
_NONCE: Final = b"NONCE"
_REFUSALS: Final = {HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE}


@dataclass(frozen=True, slots=True)
class Attack:
    """One way to attack.

    Attributes:
        name: the name of its row in the table.
        connections: how many at a time.
        request: the bytes to send; ``NONCE`` becomes a random word each time.
        then: whether to read the answer, to hang up at once, or to hold the connection and do nothing.
    """

    name: str
    connections: int
    request: bytes
    then: Literal["read", "hang up", "hold"] = "read"


@dataclass(slots=True)
class Times:
    """The seconds of the requests of one kind, and the number of those that failed."""

    seconds: list[float] = field(default_factory=list)
    failures: int = 0

    def cell(self) -> str:
        """The median and the 99th percentile in milliseconds, and the failures if there are any."""
        if not self.seconds:
            return f"{self.failures} failed"
        ordered = sorted(self.seconds)
        p99 = ordered[min(len(ordered) - 1, int(0.99 * len(ordered)))]
        text = f"{1000 * statistics.median(ordered):.0f} / {1000 * p99:.0f}"
        return f"{text}, {self.failures} failed" if self.failures else text


@dataclass(frozen=True, slots=True)
class Row:
    """How the other tenant was served, by kind of request, and the attackers' refusals."""

    attack: str
    times: dict[str, Times]
    refusals: int = 0
    slowest_refusal: float = 0.0


def _head(method: str, path: str, *headers: str) -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "Host: x", "Connection: close", *headers]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def _post(path: str, content_type: str, body: bytes, *headers: str, method: str = "POST") -> bytes:
    about = (f"Content-Type: {content_type}", f"Content-Length: {len(body)}")
    return _head(method, path, *about, *headers) + body


def _huge_webp() -> bytes:
    """A few bytes that take nearly all of the decode memory."""
    chunk = header(5400, 5400) + stream(5400, 5400)
    chunk += bytes(len(chunk) % 2)
    body = b"WEBPVP8L" + len(chunk).to_bytes(4, "little") + chunk
    return b"RIFF" + len(body).to_bytes(4, "little") + body


def _interlaced_png() -> bytes:
    """An interlaced PNG of 16 bits a sample that takes long to inflate for its size."""
    width, height = 4000, 2500
    rows = bytearray()
    for left, top, across, down in (
        *((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4)),
        *((0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)),
    ):
        columns, lines = -(-(width - left) // across), -(-(height - top) // down)
        rows += (b"\0" + bytes(range(256)) * (6 * columns // 256 + 1))[: 6 * columns + 1] * lines
    data = zlib.compress(bytes(rows), 1)
    start = png_header(width, height, depth=16, interlace=1)
    return start + png_chunk(b"IDAT", data) + png_chunk(b"IEND", b"")


def _sign_in(port: int) -> bytes:
    """A sign-in as the console's page sends it, with a wrong password."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_TIMEOUT)
    connection.request("GET", "/console/sign-in")
    answer = connection.getresponse()
    cookie = str(answer.getheader("Set-Cookie")).partition(";")[0]
    found = re.search(r'name="csrf" value="(\w+)"', answer.read().decode())
    connection.close()
    if not found:
        raise RuntimeError("the page of the sign-in has no CSRF token")
    body = f"csrf={found[1]}&email=NONCE%40example.com&password=wrong-password".encode()
    return _post("/console/sign-in", "application/x-www-form-urlencoded", body, f"Cookie: {cookie}")


def _attacks(port: int, key: str, product: str, picture: str) -> list[Attack]:
    images = f"/api/v1/products/{product}/images?ifExists=skip"
    own, form_type = f"Authorization: Bearer {key}", f"multipart/form-data; boundary={BOUNDARY}"
    upload = _post(images, form_type, form(_huge_webp()), own)
    png = _post(images, form_type, form(_interlaced_png()), own)
    values = {f"field{number}": "x" * 600 for number in range(1500)}
    large = json.dumps({"name": "P", "model": "NONCE", "category": "toys", "defaultFieldValues": values})
    fresh = (own, "Idempotency-Key: NONCE")
    return [
        Attack("450 uploads of a WebP that decodes to 5400 × 5400", 450, upload),
        Attack("the same, hung up at once", 100, upload, "hang up"),
        Attack("8 uploads of an interlaced 16-bit PNG", 8, png),
        Attack("24 uploads of it", 24, png),
        Attack(
            "250 connections with a bad key", 250, _head("GET", "/api/v1/products", "Authorization: Bearer x")
        ),
        Attack("450 half heads", 450, b"GET / HTTP/1.1\r\nHo", "hold"),
        Attack("450 readers that do not read", 450, _head("GET", picture), "hold"),
        Attack("450 sign-ins", 450, _sign_in(port)),
        Attack(
            "50 JSON bodies of 900 kB", 50, _post("/api/v1/products", "application/json", large.encode(), own)
        ),
        Attack(
            "50 connections with fresh Idempotency-Keys",
            50,
            _post(f"/api/v1/products/{product}", "application/json", b"{}", *fresh, method="PATCH"),
        ),
    ]


def _attack_once(attack: Attack, port: int, source: str, stop: float) -> tuple[bool, float]:
    """Returns whether the request was refused, and after how many seconds."""
    begun = time.monotonic()
    nonce = secrets.token_hex(len(_NONCE) + 3)[: len(_NONCE)].encode()  # the body keeps its length
    with socket.create_connection(
        ("127.0.0.1", port), timeout=_TIMEOUT, source_address=(source, 0)
    ) as connection:
        connection.sendall(attack.request.replace(_NONCE, nonce))
        if attack.then == "hang up":
            return False, 0.0
        if attack.then == "hold":
            time.sleep(max(0.0, min(_TIMEOUT, stop - time.monotonic())))
            return False, 0.0
        with http.client.HTTPResponse(connection) as answer:
            answer.begin()
            answer.read()
            return answer.status in _REFUSALS, time.monotonic() - begun


def _attack(attack: Attack, port: int, stop: float, results: list[tuple[bool, float]], number: int) -> None:
    source = ADDRESSES[number % len(ADDRESSES)]
    while time.monotonic() < stop:
        with suppress(OSError, http.client.HTTPException):
            results.append(_attack_once(attack, port, source, stop))
        time.sleep(_PAUSE if attack.then != "hang up" else _PAUSE / 10)


def run_attack(attack: Attack, port: int, stop: float) -> tuple[int, float]:
    """Attacks until ``stop`` (monotonic clock); returns the refusals and the seconds of the slowest one."""
    results: list[tuple[bool, float]] = []
    threads = [
        threading.Thread(target=_attack, args=(attack, port, stop, results, number))
        for number in range(attack.connections)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    refused = [seconds for is_refusal, seconds in results if is_refusal]
    return len(refused), max(refused, default=0.0)


@dataclass(frozen=True, slots=True)
class Tenant:
    """A workspace of the server."""

    port: int
    key: str

    def ask(self, method: str, path: str, body: bytes = b"", content_type: str = "") -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=_TIMEOUT)
        headers = {"Authorization": f"Bearer {self.key}", "Connection": "close"}
        if body:
            headers["Content-Type"] = content_type
        try:
            connection.request(method, path, body or None, headers)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def new_product(self) -> str:
        body = {"name": "Pack", "model": secrets.token_hex(6), "category": "toys"}
        status, answer = self.ask("POST", "/api/v1/products", json.dumps(body).encode(), "application/json")
        if status != HTTPStatus.CREATED:
            raise RuntimeError(answer.decode())
        return str(json.loads(answer)["_id"])

    def upload(self, product: str, data: bytes) -> tuple[int, bytes]:
        content_type = f"multipart/form-data; boundary={BOUNDARY}"
        return self.ask("POST", f"/api/v1/products/{product}/images", form(data), content_type)

    def new_picture(self, data: bytes) -> str:
        """Uploads a picture; returns its path."""
        _, answer = self.upload(self.new_product(), data)
        return urlsplit(str(json.loads(answer)["imageUrl"])).path


def _tenant(server: Server) -> Tenant:
    workspace = server.flask("workspace", "create", "Bench")
    return Tenant(server.port, server.flask("key", "create", "--workspace", workspace))


def _repeat(ask: Callable[[], tuple[int, bytes]], times: Times, stop: float) -> None:
    while time.monotonic() < stop:
        begun = time.monotonic()
        try:
            status, _ = ask()
        except (OSError, http.client.HTTPException):
            status = 0
        if status in (HTTPStatus.OK, HTTPStatus.CREATED):
            times.seconds.append(time.monotonic() - begun)
        else:
            times.failures += 1
        time.sleep(0.02)


def _watch(tenant: Tenant, picture: str, products: list[str], seconds: float) -> dict[str, Times]:
    """Sends requests of each kind for this many seconds."""
    small = encoded(640, 480, "JPEG")
    left = iter([product for product in products for _ in range(20)])
    kinds: dict[str, Callable[[], tuple[int, bytes]]] = {
        "upload": lambda: tenant.upload(next(left), small),
        "list": lambda: tenant.ask("GET", "/api/v1/products"),
        "picture": lambda: tenant.ask("GET", picture),
        "health": lambda: tenant.ask("GET", "/healthz"),
    }
    times = {kind: Times() for kind in kinds}
    stop = time.monotonic() + seconds
    threads = [threading.Thread(target=_repeat, args=(ask, times[kind], stop)) for kind, ask in kinds.items()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return times


def _noise() -> bytes:
    """A PNG of random pixels, which is larger than the buffers of a connection."""
    source = random.Random(7)  # noqa: S311  # it makes no secret
    rows = b"".join(b"\0" + source.randbytes(3 * 1200) for _ in range(1200))
    start = png_header(1200, 1200)
    return start + png_chunk(b"IDAT", zlib.compress(rows, 0)) + png_chunk(b"IEND", b"")


def measure(folder: Path, seconds: float = SECONDS) -> list[Row]:
    """How the other tenant is served without an attack, and during each attack."""
    folder.mkdir(exist_ok=True)
    rows = []
    with gunicorn(folder, WEB_CONCURRENCY=str(WORKERS)) as server:
        attacker, tenant = _tenant(server), _tenant(server)
        picture = tenant.new_picture(encoded(640, 480, "JPEG"))
        attacks = _attacks(server.port, attacker.key, attacker.new_product(), attacker.new_picture(_noise()))
        rows.append(Row("none", _watch(tenant, picture, _products(tenant, seconds), seconds)))
        with get_context("spawn").Pool(1) as pool:
            pool.apply(os.getpid)  # the process has started
            for attack in attacks:
                products = _products(tenant, seconds)
                stop = time.monotonic() + seconds + 1
                result = pool.apply_async(run_attack, (attack, server.port, stop))
                time.sleep(1)  # the attack has begun
                times = _watch(tenant, picture, products, seconds)
                rows.append(Row(attack.name, times, *result.get()))
                print(rows[-1].attack, {kind: t.cell() for kind, t in times.items()}, rows[-1].refusals)
    return rows


def _products(tenant: Tenant, seconds: float) -> list[str]:
    """Enough products for the uploads of this many seconds."""
    return [tenant.new_product() for _ in range(int(seconds * 50 / 20) + 1)]


def lines(rows: Sequence[Row]) -> list[list[str]]:
    """The rows of the table: the attack, p50 / p99 in milliseconds of each kind, the slowest refusal."""
    return [
        [
            row.attack,
            *(times.cell() for times in row.times.values()),
            f"{row.slowest_refusal:.1f} s" if row.refusals else "–",
        ]
        for row in rows
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=SECONDS, help="of each attack")
    seconds = parser.parse_args().seconds
    with tempfile.TemporaryDirectory(prefix=".bench-", dir=".") as folder:
        for line in lines(measure(Path(folder).resolve(), seconds)):
            print("| " + " | ".join(line) + " |")


if __name__ == "__main__":
    main()
