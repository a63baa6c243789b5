"""While one tenant or address uses all the capacity it can, the server still serves the others."""

from __future__ import annotations

import http.client
import os
import re
import signal
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, suppress
from pathlib import Path

import pytest
import requests

from tests.api.fixtures import FORM_TYPE, form
from tests.lossless import header, stream
from tests.pictures import encoded, picture
from tests.servers import Server, gunicorn, has_ipv6
from tests.test_worker import Shop, head, open_shop, read_answer

#: The seconds within which a request is answered while others attack. Without turns, it takes 15 s or more.
PROMPT = 4.0
DEADLINE = 5
SMALL_DEADLINE = 2
OWN_SHARE = {"error": "Too many uploads of this workspace at once. Try again later."}


def huge_webp() -> bytes:
    """A WebP of a few bytes that takes nearly all of the decode memory."""
    chunk = header(5400, 5400) + stream(5400, 5400)
    chunk += bytes(len(chunk) % 2)
    body = b"WEBPVP8L" + len(chunk).to_bytes(4, "little") + chunk
    return b"RIFF" + len(body).to_bytes(4, "little") + body


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    settings = {"MAX_CONNECTIONS_PER_ADDRESS": "0", "REQUEST_DEADLINE": str(DEADLINE)}
    with gunicorn(tmp_path_factory.mktemp("fair"), WEB_CONCURRENCY="1", **settings) as server:
        yield server


@pytest.fixture(scope="module")
def attacker(server: Server) -> Shop:
    return open_shop(server)


@pytest.fixture(scope="module")
def other(server: Server) -> Shop:
    return open_shop(server)


def upload_head(shop: Shop, url: str, length: int) -> bytes:
    return head(
        url.removeprefix(shop.server.url) + "/images?ifExists=skip",
        f"Authorization: Bearer {shop.key}",
        f"Content-Type: {FORM_TYPE}",
        f"Content-Length: {length}",
        "Connection: close",
    )


def connect(server: Server, sent: bytes = b"", *, source: str = "127.0.0.1") -> socket.socket:
    address = ("127.0.0.1", server.port)
    connection = socket.create_connection(address, timeout=30, source_address=(source, 0))
    connection.sendall(sent)
    return connection


def assert_served(shop: Shop) -> None:
    """Health, a list, an upload and its picture are answered promptly."""
    begun = time.monotonic()
    assert requests.get(f"{shop.server.url}/healthz", timeout=20).status_code == 200
    assert time.monotonic() - begun < PROMPT
    begun = time.monotonic()
    url = f"{shop.server.url}/api/v1/products"
    assert requests.get(url, headers=shop.headers, timeout=20).status_code == 200
    assert time.monotonic() - begun < PROMPT
    product = shop.new_product()
    begun = time.monotonic()
    answer = shop.upload(product)
    assert answer.status_code == 201
    assert time.monotonic() - begun < PROMPT
    begun = time.monotonic()
    assert requests.get(answer.json()["imageUrl"], timeout=20).status_code == 200
    assert time.monotonic() - begun < PROMPT


def test_a_tenant_with_more_uploads_than_its_share_is_refused_and_another_is_served(
    attacker: Shop, other: Shop
) -> None:
    body = form(huge_webp())
    request = upload_head(attacker, attacker.new_product(), len(body)) + body
    with ExitStack() as stack:
        attack = [stack.enter_context(connect(attacker.server, request)) for _ in range(150)]
        assert_served(other)
        with ThreadPoolExecutor(len(attack)) as pool:
            answers = list(pool.map(read_answer, attack))
    statuses = Counter(status for status, _ in answers)
    assert set(statuses) <= {200, 201, 429, 503}
    assert statuses[429] > 50
    assert [body for status, body in answers if status == 429] == [OWN_SHARE] * statuses[429]


def test_a_refusal_says_when_to_come_back(attacker: Shop) -> None:
    url = attacker.new_product()
    deadline = time.monotonic() + 60
    with ExitStack() as stack:
        while (answer := attacker.upload(url)).status_code != 429:
            assert time.monotonic() < deadline
            for _ in range(16):  # clients that send no body each hold a place for DEADLINE seconds
                stack.enter_context(connect(attacker.server, upload_head(attacker, url, 1000)))
    assert (answer.json(), answer.headers["Retry-After"]) == (OWN_SHARE, "2")


def test_nothing_is_decoded_for_clients_that_are_gone(attacker: Shop, other: Shop) -> None:
    body = form(huge_webp())
    request = upload_head(attacker, attacker.new_product(), len(body)) + body
    for _ in range(300):
        connect(attacker.server, request).close()
    assert_served(other)
    deadline = time.monotonic() + 60
    while True:
        metrics = requests.get(f"{attacker.server.url}/metrics", timeout=20).text
        gone = re.search(r'vetrina_uploads_total\{outcome="client_gone"\} (\d+)', metrics)
        if gone and int(gone[1]) > 10:
            break
        assert time.monotonic() < deadline, metrics
        time.sleep(0.1)


def memory(pid: int) -> int:
    """The resident memory of a process, in bytes."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def test_uploads_that_wait_hold_no_body(attacker: Shop, other: Shop) -> None:
    length = 5_000_000
    request = upload_head(attacker, attacker.new_product(), length)
    (worker,) = attacker.server.workers()
    before = most = memory(worker)

    def send(connection: socket.socket) -> None:
        with suppress(OSError):
            connection.sendall(bytes(length - 1000))

    with ExitStack() as stack:
        connections = [stack.enter_context(connect(attacker.server, request)) for _ in range(60)]
        threads = [threading.Thread(target=send, args=(connection,)) for connection in connections]
        for thread in threads:
            thread.start()
        deadline = time.monotonic() + DEADLINE - 2
        while time.monotonic() < deadline:
            most = max(most, memory(worker))
            time.sleep(0.05)
        assert_served(other)
        for connection in connections:
            with suppress(OSError):  # the server has ended those that it refused
                connection.shutdown(socket.SHUT_RDWR)
        for thread in threads:
            thread.join()
    assert most - before < 200_000_000  # 60 bodies take 300 MB, and their copies take another 300 MB


# --- sizes


def size_requests(shop: Shop, count: int, data: bytes) -> list[bytes]:
    """The requests for all sizes of ``count`` new images of a new product."""
    product = shop.new_product()
    for _ in range(count):
        assert shop.upload(product, data).status_code == 201
    urls = [size["url"] for image in shop.product(product)["images"] for size in image["sizes"]]
    paths = [url.removeprefix(shop.server.url) for url in urls]
    return [head(path, "Connection: close", method="GET") for path in paths]


def status_of(connection: socket.socket) -> int:
    with closing(http.client.HTTPResponse(connection)) as answer:
        answer.begin()
        answer.read()
        return answer.status


def test_a_flood_of_first_requests_for_sizes_delays_nobody_else(attacker: Shop, other: Shop) -> None:
    flood = size_requests(attacker, 20, encoded(picture(64, 48).resize((1200, 900)), "JPEG"))
    assert len(flood) == 60
    (own, *_) = size_requests(other, 1, encoded(picture(400, 300), "JPEG"))
    with ExitStack() as stack:
        attack = [stack.enter_context(connect(attacker.server, request)) for request in flood]
        begun = time.monotonic()
        assert status_of(stack.enter_context(connect(other.server, own))) == 200
        assert time.monotonic() - begun < PROMPT
        assert_served(other)
        with ThreadPoolExecutor(len(attack)) as pool:
            statuses = Counter(pool.map(status_of, attack))
    assert set(statuses) <= {200, 503}
    assert statuses[200] >= 32  # those that had a place
    deadline = time.monotonic() + 60
    for request in flood:
        status = 0
        while status != 200:
            assert time.monotonic() < deadline
            with connect(attacker.server, request) as again:
                status = status_of(again)


# --- connections


def test_a_client_that_keeps_its_answered_connection_open_delays_no_other_client(other: Shop) -> None:
    request = head("/healthz", "Connection: close", method="GET")
    with ExitStack() as stack:
        for _ in range(10):
            connection = stack.enter_context(connect(other.server, request))
            assert read_answer(connection)[0] == 200
        begun = time.monotonic()
        assert requests.get(f"{other.server.url}/healthz", timeout=20).status_code == 200
        assert time.monotonic() - begun < 2


#: What each of many slow clients sends before it stops; "PICTURE" is the path of a large picture.
SLOW_CLIENTS = {
    "no byte": b"",
    "half a head": b"GET /healthz HTTP/1.1\r\nHo",
    "a request, and half the head of the next one": head("/healthz", method="GET") + b"GET /",
    "a part of a JSON body": head("/api/v1/products", "Content-Length: 900") + b"{",
    "a part of a form without a key": head(f"/api/v1/products/{24 * 'a'}/images", "Content-Length: 900"),
    "a request for a picture that they do not read": head("PICTURE", method="GET"),
}


def store_noise(shop: Shop) -> tuple[int, str]:
    """The size and the path of a new picture that is larger than the buffers of a connection."""
    noise = picture(1200, 1200)
    noise.frombytes(os.urandom(3 * 1200 * 1200))
    data = encoded(noise, "PNG", compress_level=0)
    url = shop.upload(shop.new_product(), data).json()["imageUrl"]
    return len(data), str(url).removeprefix(shop.server.url)


@pytest.fixture(scope="module")
def large_picture(other: Shop) -> bytes:
    return store_noise(other)[1].encode()


@pytest.mark.parametrize("sent", SLOW_CLIENTS.values(), ids=SLOW_CLIENTS)
def test_slow_clients_at_many_addresses_delay_nobody_else(
    other: Shop, large_picture: bytes, sent: bytes
) -> None:
    sent = sent.replace(b"PICTURE", large_picture)
    with ExitStack() as stack:
        for number in range(450):  # more than there are threads
            stack.enter_context(connect(other.server, sent, source=f"127.0.0.{2 + number % 8}"))
        assert_served(other)


def test_more_half_heads_than_connections_are_displaced_by_others(other: Shop) -> None:
    with ExitStack() as stack:
        for number in range(1100):
            sent = b"GET / HTTP/1.1\r\nHo"
            stack.enter_context(connect(other.server, sent, source=f"127.0.0.{2 + number % 8}"))
        assert_served(other)


def sockets_of(pid: int) -> int:
    """The number of sockets that a process has open."""
    return sum(str(path.readlink()).startswith("socket:") for path in Path(f"/proc/{pid}/fd").iterdir())


@pytest.fixture
def small_server(tmp_path: Path) -> Iterator[Server]:
    """A server that takes 30 connections, and has 12 threads."""
    arguments = "--worker-connections 30 --threads 12 --keep-alive 30"
    settings = {"GUNICORN_CMD_ARGS": arguments, "REQUEST_DEADLINE": str(SMALL_DEADLINE)}
    settings["MAX_CONNECTIONS_PER_ADDRESS"] = "0"
    with gunicorn(tmp_path, WEB_CONCURRENCY="1", **settings) as server:
        requests.get(f"{server.url}/healthz", timeout=20)
        yield server


def test_an_idle_connection_that_is_displaced_while_it_sends_does_not_end_the_worker(
    small_server: Server,
) -> None:
    request = head("/healthz", method="GET")
    (worker,) = small_server.workers()
    with ExitStack() as stack:
        idle = [stack.enter_context(connect(small_server, request)) for _ in range(18)]
        assert [read_answer(connection)[0] for connection in idle] == [200] * 18
        busy = head("/healthz", "Content-Length: 9", method="GET")
        held = [stack.enter_context(connect(small_server, busy)) for _ in range(11)]
        assert [read_answer(connection)[0] for connection in held] == [200] * 11
        os.kill(worker, signal.SIGSTOP)  # what happens meanwhile, it sees in one batch of events
        newcomer = stack.enter_context(connect(small_server, request))
        for connection in idle[:3]:
            connection.sendall(request)
        os.kill(worker, signal.SIGCONT)
        assert read_answer(newcomer)[0] == 200
    assert requests.get(f"{small_server.url}/healthz", timeout=20).status_code == 200
    assert small_server.workers() == [worker]


def test_half_heads_that_are_displaced_while_they_go_on_do_not_raise_the_limit(small_server: Server) -> None:
    (worker,) = small_server.workers()
    most = 0
    with ExitStack() as stack:
        dripping: list[socket.socket] = []
        for _ in range(100):
            dripping += [stack.enter_context(connect(small_server, b"GET / HT")) for _ in range(10)]
            for connection in dripping[-60:]:
                with suppress(OSError):  # it may have been displaced
                    connection.sendall(b"T")
            names = []
            for path in Path(f"/proc/{worker}/fd").iterdir():
                with suppress(OSError):  # it may have been closed meanwhile
                    names.append(str(path.readlink()))
            most = max(most, sum(name.startswith("socket:") for name in names))
    assert most <= 40  # 30 connections, and a few sockets of its own
    assert requests.get(f"{small_server.url}/healthz", timeout=20).status_code == 200
    assert small_server.workers() == [worker]


def test_an_address_has_a_bounded_number_of_connections(tmp_path: Path) -> None:
    with (
        gunicorn(tmp_path, WEB_CONCURRENCY="1", MAX_CONNECTIONS_PER_ADDRESS="5") as server,
        ExitStack() as stack,
    ):
        request = head("/healthz", method="GET")
        # The wait for the server's start has used 127.0.0.1.
        held = [stack.enter_context(connect(server, request, source="127.0.0.2")) for _ in range(5)]
        assert [read_answer(connection)[0] for connection in held] == [200] * 5
        with connect(server, source="127.0.0.2") as refused:
            assert read_answer(refused) == (429, {"error": "Too many connections"})
        with connect(server, request, source="127.0.0.3") as another:
            assert read_answer(another)[0] == 200
        held[0].close()
        deadline = time.monotonic() + 60
        status = 0
        while status != 200:
            assert time.monotonic() < deadline
            with connect(server, request, source="127.0.0.2") as again, suppress(ConnectionError):
                status, _ = read_answer(again)


@pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")
def test_ipv6_addresses_of_a_network_share_their_connections(tmp_path: Path) -> None:
    settings = {"HOST": "::", "MAX_CONNECTIONS_PER_ADDRESS": "5"}
    request = head("/healthz", method="GET")
    with gunicorn(tmp_path, WEB_CONCURRENCY="1", **settings) as server, ExitStack() as stack:
        address = ("::1", server.port)
        held = [stack.enter_context(socket.create_connection(address, timeout=30)) for _ in range(5)]
        for connection in held:
            connection.sendall(request)
            assert read_answer(connection)[0] == 200
        with socket.create_connection(address, timeout=30) as refused:
            assert read_answer(refused) == (429, {"error": "Too many connections"})
        with connect(server, request, source="127.0.0.3") as another:
            assert read_answer(another)[0] == 200
        server.wait_for_text("::/64 has more than MAX_CONNECTIONS_PER_ADDRESS connections")


def test_behind_a_trusted_proxy_the_number_of_connections_has_no_bound(tmp_path: Path) -> None:
    settings = {"MAX_CONNECTIONS_PER_ADDRESS": "5", "TRUSTED_PROXY_HOPS": "1"}
    with gunicorn(tmp_path, WEB_CONCURRENCY="1", **settings) as server, ExitStack() as stack:
        request = head("/healthz", method="GET")
        connections = [stack.enter_context(connect(server, request)) for _ in range(20)]
        assert [read_answer(connection)[0] for connection in connections] == [200] * 20


def test_a_client_that_reads_too_slowly_or_not_at_all_is_cut(small_server: Server) -> None:
    shop = open_shop(small_server)
    size, path = store_noise(shop)
    request = head(path, "Connection: close", method="GET")
    received = {"slow": 0, "silent": 0}
    with socket.socket() as slow, socket.socket() as silent:
        for reader in (slow, silent):
            reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            reader.settimeout(30)
            reader.connect(("127.0.0.1", small_server.port))
            reader.sendall(request)
        end = time.monotonic() + SMALL_DEADLINE + 3
        while time.monotonic() < end:
            received["slow"] += len(slow.recv(1000))
            time.sleep(0.2)
        for name, reader in (("slow", slow), ("silent", silent)):
            with suppress(ConnectionResetError):
                while piece := reader.recv(1 << 16):
                    received[name] += len(piece)
    assert max(received.values()) < size
