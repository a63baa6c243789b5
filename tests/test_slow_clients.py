"""Clients that send slowly or not at all, against the shipped settings."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress

import pytest

from tests.api.fixtures import FORM_TYPE, form
from tests.servers import gunicorn
from tests.test_worker import PICTURE, Shop, head, open_shop, read_answer

DEADLINE = 3
TIMEOUT = (408, {"error": "Request timeout"})


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    folder = tmp_path_factory.mktemp("slow")
    settings = {"REQUEST_DEADLINE": str(DEADLINE), "MAX_CONNECTIONS_PER_ADDRESS": "0"}
    with gunicorn(folder, WEB_CONCURRENCY="1", **settings) as server:
        yield open_shop(server)


def upload_head(shop: Shop, url: str, length: int) -> bytes:
    return head(
        url.removeprefix(shop.server.url) + "/images",
        f"Authorization: Bearer {shop.key}",
        f"Content-Type: {FORM_TYPE}",
        f"Content-Length: {length}",
    )


def connect(shop: Shop, sent: bytes) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", shop.server.port), timeout=30)
    connection.sendall(sent)
    return connection


def test_many_slow_clients_are_disconnected_and_block_no_other_client(shop: Shop) -> None:
    url = shop.new_product()
    body = form(PICTURE)
    request = upload_head(shop, url, len(body))
    with ExitStack() as stack:
        begun = time.monotonic()
        silent = [stack.enter_context(connect(shop, b"")) for _ in range(50)]
        heads = [stack.enter_context(connect(shop, request[:40])) for _ in range(50)]
        bodies = [stack.enter_context(connect(shop, request + body[:500])) for _ in range(50)]
        seconds: list[float] = []
        while time.monotonic() < begun + DEADLINE - 0.5:
            other = shop.new_product()
            asked = time.monotonic()
            assert shop.upload(other).status_code == 201
            seconds.append(time.monotonic() - asked)
            for connection in heads + bodies:
                connection.sendall(b"x")  # in an incomplete head, it extends the path
            time.sleep(0.2)
        assert min(seconds) < 2  # a blocked upload would wait for the end of the slow clients
        assert [read_answer(connection) for connection in heads + bodies] == [TIMEOUT] * 100
        assert [connection.recv(1) for connection in heads + bodies] == [b""] * 100
        assert [connection.recv(1) for connection in silent] == [b""] * 50
        assert time.monotonic() - begun < DEADLINE + 20
    assert shop.product(url)["imageUrls"] == []
    assert shop.upload(url).status_code == 201


def test_a_slow_upload_that_ends_in_time_is_taken(shop: Shop) -> None:
    url = shop.new_product()
    body = form(PICTURE)
    with connect(shop, upload_head(shop, url, len(body))) as connection:
        for start in range(0, len(body), len(body) // 8):
            connection.sendall(body[start : start + len(body) // 8])
            time.sleep(0.1)
        assert read_answer(connection)[0] == 201


def test_each_request_of_a_connection_has_its_own_time(shop: Shop) -> None:
    url = shop.new_product()
    body = form(PICTURE)
    request = upload_head(shop, url, len(body))
    with connect(shop, b"") as connection:
        for _ in range(3):
            time.sleep(DEADLINE / 2.5)
            connection.sendall(request + body)
            assert read_answer(connection)[0] == 201


def test_a_client_that_goes_on_sending_what_was_refused_is_cut(shop: Shop) -> None:
    path = "/api/v1/products/6650a1b2c3d4e5f6a7b8c9d0/images"
    begun = time.monotonic()
    with connect(shop, head(path, "Content-Length: 1000000")) as connection:
        assert read_answer(connection)[0] == 401
        with suppress(BrokenPipeError, ConnectionResetError):
            while time.monotonic() < begun + DEADLINE + 10:
                connection.sendall(b"x")
                time.sleep(0.1)
    assert time.monotonic() - begun < DEADLINE + 8
