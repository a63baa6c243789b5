"""Behind a trusted proxy, the clients that it names share the server, not the proxy's address."""

from __future__ import annotations

import json
import os
import select
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack

import pytest

from tests.api.fixtures import FORM_TYPE, form
from tests.servers import gunicorn
from tests.test_worker import PICTURE, Shop, head, open_shop, read_answer

#: More than the 96 threads of a process that may wait for slow clients.
MANY = 130


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    folder = tmp_path_factory.mktemp("forwarded")
    with gunicorn(folder, WEB_CONCURRENCY="1", TRUSTED_PROXY_HOPS="1") as server:
        yield open_shop(server)


def begin(shop: Shop, path: str, content_type: str, body: bytes, *, client: str, sent: int) -> socket.socket:
    """Sends a request of this client, as a proxy does, with the first ``sent`` bytes of its body."""
    connection = socket.create_connection(("127.0.0.1", shop.server.port), timeout=30)
    about = (f"Content-Type: {content_type}", f"Content-Length: {len(body)}", f"X-Forwarded-For: {client}")
    connection.sendall(head(path, f"Authorization: Bearer {shop.key}", *about) + body[:sent])
    return connection


def wait_for_cuts(attack: Sequence[socket.socket]) -> None:
    """Waits until as many connections of an attack are cut as there are too many."""
    deadline = time.monotonic() + 60
    while len(select.select(attack, [], [], 0.1)[0]) < MANY - 96:
        assert time.monotonic() < deadline


def test_slow_bodies_of_one_client_do_not_cut_the_earlier_one_of_another(shop: Shop) -> None:
    body = json.dumps({"name": "Pack", "model": os.urandom(4).hex(), "category": "batteries"}).encode()
    path, kind = "/api/v1/products", "application/json"
    with ExitStack() as stack:
        honest = stack.enter_context(begin(shop, path, kind, body, client="192.0.2.1", sent=9))
        attack = [
            stack.enter_context(begin(shop, path, kind, bytes(900), client="192.0.2.2", sent=9))
            for _ in range(MANY)
        ]
        wait_for_cuts(attack)
        honest.sendall(body[9:])
        assert read_answer(honest)[0] == 201


def test_slow_bodies_of_many_clients_do_not_cut_an_upload_that_has_a_place(shop: Shop) -> None:
    body = form(PICTURE)
    upload = shop.new_product().removeprefix(shop.server.url) + "/images"
    path, kind = "/api/v1/products", "application/json"
    with ExitStack() as stack:
        honest = stack.enter_context(begin(shop, upload, FORM_TYPE, body, client="192.0.2.1", sent=9))
        attack = [
            stack.enter_context(begin(shop, path, kind, bytes(900), client=f"10.0.0.{number}", sent=9))
            for number in range(MANY)
        ]
        wait_for_cuts(attack)
        honest.sendall(body[9:])
        assert read_answer(honest)[0] == 201
