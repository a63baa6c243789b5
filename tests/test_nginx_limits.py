"""Whom the limits of ``deploy/nginx.conf`` count together, before a server that answers few requests."""

from __future__ import annotations

import select
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from itertools import count

import pytest

from tests.nginx import configuration, running
from tests.programs import require_program
from tests.servers import free_port, has_ipv6
from tests.test_worker import head, read_answer

#: A request with this header gets an answer. All others wait.
ANSWERED = "X-Answered: 1"
TOO_MANY = (429, {"error": "Too many requests"})
EXTRA = 5


def serve(listener: socket.socket) -> None:
    """Answers the requests with ``ANSWERED``, and holds the connections of the others."""
    with ExitStack() as stack, suppress(OSError):
        while True:
            connection = stack.enter_context(listener.accept()[0])
            if ANSWERED.encode() in connection.recv(1 << 16):
                connection.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}")


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of an nginx that takes the address of its client from ``X-Client``."""
    require_program("nginx")
    folder, port = tmp_path_factory.mktemp("limits"), free_port()
    with socket.create_server(("127.0.0.1", 0), backlog=1000) as server:
        thread = threading.Thread(target=serve, args=(server,))
        thread.start()
        text = configuration(folder, server.getsockname()[1], port, plain_port=free_port(), tls=False)
        trust = "http {\nset_real_ip_from 127.0.0.1;\nset_real_ip_from ::1;\nreal_ip_header X-Client;\n"
        with running(folder, text.replace("http {\n", trust), port):
            yield port
        server.shutdown(socket.SHUT_RDWR)
        thread.join()


def send(port: int, request: str, client: str, *headers: str, host: str = "127.0.0.1") -> socket.socket:
    """Sends the head of a request, with further lines after a line break, and no body."""
    connection = socket.create_connection((host, port), timeout=20)
    line, *more = request.split("\n")
    method, path = line.split()
    connection.sendall(head(path, f"X-Client: {client}", *more, *headers, method=method))
    return connection


def readable(connections: list[socket.socket], number: int) -> list[socket.socket]:
    """Waits until so many connections have an answer."""
    poll = select.poll()
    by_descriptor = {connection.fileno(): connection for connection in connections}
    for connection in connections:
        poll.register(connection, select.POLLIN)
    deadline = time.monotonic() + 20
    while len(ready := poll.poll(100)) < number:
        assert time.monotonic() < deadline, f"{len(ready)} of {number} are answered"
    return [by_descriptor[descriptor] for descriptor, _ in ready]


#: Requests, and how many of them a client may have at a time.
LIMITS = [
    ("GET /healthz", 200),
    ("POST /api/v1/products\nContent-Length: 9", 40),
    (f"POST /api/v1/products/{24 * 'a'}/images\nContent-Length: 9", 40),
    ("GET /api/v1/products\nContent-Length: 9", 40),
    ("GET /api/v1/products\nTransfer-Encoding: chunked", 40),
    ("POST /console/sign-in\nContent-Length: 9", 20),
    ("GET /console/sign-in\nContent-Length: 9", 20),
    ("POST /api/oauth/token\nContent-Length: 9", 20),
]


#: A new number for each test, because nginx counts the requests of the last seconds too.
NUMBERS = count(1)


@pytest.mark.parametrize(("request_", "limit"), LIMITS)
@pytest.mark.parametrize(
    ("client", "other"),
    [
        ("192.0.2.{new}", "198.51.100.{new}"),
        ("2001:db8:1:{new}:ffff::{number}", "2001:db8:2:{new}::1"),
        ("::ffff:192.0.2.{new}", "::ffff:198.51.100.{new}"),
    ],
    ids=["IPv4", "IPv6 by its /64 network", "IPv4 on a socket of IPv6"],
)
def test_a_client_has_a_bounded_number_of_requests_and_another_one_its_own(
    port: int, request_: str, limit: int, client: str, other: str
) -> None:
    new = next(NUMBERS)
    with ExitStack() as stack:
        connections = [
            stack.enter_context(send(port, request_, client.format(new=new, number=number)))
            for number in range(1, limit + EXTRA + 1)
        ]
        assert [read_answer(refused) for refused in readable(connections, EXTRA)] == [TOO_MANY] * EXTRA
        host = "::1" if has_ipv6() else "127.0.0.1"
        for path in ("/healthz", "/console/sign-in"):
            with send(port, f"GET {path}", other.format(new=new), ANSWERED, host=host) as served:
                assert read_answer(served) == (200, {})


@pytest.mark.parametrize("path", ["/api/v1/products", f"/api/v1/products/{24 * 'a'}/images"])
def test_a_key_counts_however_its_header_is_written(port: int, path: str) -> None:
    request = f"POST {path}\nContent-Length: 9"
    spellings = ["Bearer tp_A-b~1", "bearer tp_A-b~1", "BEARER   tp_A-b~1", " bEARER  tp_A-b~1 "]
    with ExitStack() as stack:
        connections = [
            stack.enter_context(
                send(port, request, f"203.0.113.{number}", f"Authorization:{spellings[number % 4]}")
            )
            for number in range(100 + EXTRA)
        ]
        assert [read_answer(refused) for refused in readable(connections, EXTRA)] == [TOO_MANY] * EXTRA
        with send(port, request, "203.0.113.1", "Authorization: Bearer tp_a-b~1", ANSWERED) as another_key:
            assert read_answer(another_key) == (200, {})
        key = f"Authorization:{spellings[0]}"
        with send(port, "GET /api/v1/products", "203.0.113.1", key, ANSWERED) as reading:
            assert read_answer(reading) == (200, {})
