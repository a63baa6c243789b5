"""Vetrina behind a real Caddy, configured by ``deploy/Caddyfile``, without TLS."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import requests

from tests.programs import require_program
from tests.servers import ROOT, Server, accepts, free_port, gunicorn
from tests.test_worker import PICTURE, Shop, head, open_shop

#: The deadline of a body, in place of the minute of the shipped file.
BODY_SECONDS = 3


@contextmanager
def caddy(folder: Path, server: Server, port: int) -> Iterator[None]:
    site = (ROOT / "deploy" / "Caddyfile").read_text()
    for shipped, here in (
        ("{\n\tservers {", "{\n\tadmin off\n\tservers {"),
        ("read_body 60s", f"read_body {BODY_SECONDS}s"),
        ("images.example.com {", f"http://127.0.0.1:{port} {{"),
        ("127.0.0.1:8000", f"127.0.0.1:{server.port}"),
    ):
        assert shipped in site
        site = site.replace(shipped, here)
    (folder / "Caddyfile").write_text(site)
    command = [
        require_program("caddy"),
        "run",
        "--adapter",
        "caddyfile",
        "--config",
        str(folder / "Caddyfile"),
    ]
    environ = {"XDG_DATA_HOME": str(folder), "XDG_CONFIG_HOME": str(folder), "HOME": str(folder)}
    with (folder / "caddy.log").open("w") as log:
        process = subprocess.Popen(command, env=environ, stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + 60
        while not accepts(port):
            assert process.poll() is None, (folder / "caddy.log").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.05)
        yield
    finally:
        process.terminate()
        process.wait(20)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    require_program("caddy")  # before the server starts
    folder, port = tmp_path_factory.mktemp("caddy"), free_port()
    url = f"http://127.0.0.1:{port}"
    with gunicorn(folder, PUBLIC_URL=url, WEB_CONCURRENCY="1", TRUSTED_PROXY_HOPS="1") as server:
        opened = open_shop(server)
        with caddy(folder, server, port):
            server.url = url
            yield opened


def test_a_picture_goes_in_and_comes_out_through_caddy(shop: Shop) -> None:
    url = str(shop.upload(shop.new_product()).json()["imageUrl"])
    response = requests.get(url, timeout=10)
    assert (response.status_code, response.content) == (200, PICTURE)
    assert "Content-Encoding" not in response.headers


@pytest.mark.parametrize("size", [9_000_000, 20_000_000])
def test_a_large_file_is_refused_in_json(shop: Shop, size: int) -> None:
    response = shop.upload(shop.new_product(), bytes(size))
    assert (response.status_code, response.json()) == (413, {"error": "Image must be under 5MB"})


def test_text_is_compressed_but_no_page_with_a_secret(shop: Shop) -> None:
    text = requests.get(f"{shop.server.url}/api/v1/openapi.json", timeout=10)
    assert (text.status_code, text.headers["Content-Encoding"]) == (200, "gzip")
    page = requests.get(f"{shop.server.url}/console/sign-in", timeout=10)
    assert page.status_code == 200
    assert "Content-Encoding" not in page.headers


def test_a_server_that_is_down_is_a_503_in_json(tmp_path: Path) -> None:
    require_program("caddy")  # before the server starts
    port = free_port()
    with gunicorn(tmp_path, WEB_CONCURRENCY="1") as server, caddy(tmp_path, server, port):
        server.stop()
        response = requests.get(f"http://127.0.0.1:{port}/healthz", timeout=10)
    assert (response.status_code, response.headers["Retry-After"]) == (503, "5")
    assert response.json() == {"error": "Service temporarily unavailable"}


def drip(connection: socket.socket) -> None:
    """Sends a byte every 0.2 s until the connection is closed, for 20 s at most."""
    for _ in range(100):
        with suppress(TimeoutError):
            if not connection.recv(1000):
                return
        connection.sendall(b"x")
    pytest.fail("the connection is not closed")


def test_a_body_that_drips_is_cut(shop: Shop) -> None:
    port = int(shop.server.url.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), timeout=0.2) as connection:
        connection.sendall(head("/console/sign-in", "Content-Length: 1000"))
        with suppress(ConnectionError):
            drip(connection)
