"""The program as it is shipped: gunicorn, workers, real sockets, real clients."""

from __future__ import annotations

import functools
import http.client
import json
import os
import re
import resource
import shlex
import socket
import stat
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests
from PIL import Image

from tests.api.fixtures import FORM_TYPE, form
from tests.factories import issue_key
from tests.pictures import encoded, jpeg
from tests.programs import require_program
from tests.servers import Server, gunicorn

TOO_LARGE = {"error": "Image must be under 5MB"}
PICTURE = jpeg(640, 480)


@dataclass(frozen=True)
class Shop:
    """A running server with a workspace, a key, and products on demand."""

    server: Server
    key: str

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.key}"}

    def new_product(self) -> str:
        """Gives the URL of a new product."""
        body = {"name": "Pack", "model": os.urandom(4).hex(), "category": "batteries"}
        response = requests.post(
            f"{self.server.url}/api/v1/products", json=body, headers=self.headers, timeout=10
        )
        assert response.status_code == 201
        return f"{self.server.url}/api/v1/products/{response.json()['_id']}"

    def product(self, url: str) -> Any:
        return requests.get(url, headers=self.headers, timeout=10).json()

    def upload(self, url: str, data: bytes = PICTURE) -> requests.Response:
        return requests.post(
            f"{url}/images",
            files={"file": ("hero.jpg", data, "image/jpeg")},
            headers=self.headers,
            timeout=30,
        )


def open_shop(server: Server) -> Shop:
    return Shop(server, server.issue_key())


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    with gunicorn(tmp_path_factory.mktemp("server"), WEB_CONCURRENCY="2") as server:
        yield open_shop(server)


@pytest.fixture
def product_url(shop: Shop) -> str:
    return shop.new_product()


@pytest.fixture
def picture_file(tmp_path: Path) -> Path:
    path = tmp_path / "battery-hero.jpg"
    path.write_bytes(PICTURE)
    return path


def head(path: str, *headers: str, method: str = "POST") -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "Host: x", *headers]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def read_answer(connection: socket.socket) -> tuple[int, Any]:
    with closing(http.client.HTTPResponse(connection)) as answer:
        answer.begin()
        return answer.status, json.loads(answer.read())


def exchange(shop: Shop, *pieces: bytes) -> tuple[int, Any]:
    """Sends raw bytes and reads one answer."""
    with socket.create_connection(("127.0.0.1", shop.server.port), timeout=10) as connection:
        for piece in pieces:
            connection.sendall(piece)
        return read_answer(connection)


def answers(shop: Shop, sent: bytes) -> list[tuple[bytes, bytes]]:
    """Sends raw bytes on a connection and reads until its end.

    Returns:
        The status and the value of Connection of each answer.
    """
    with socket.create_connection(("127.0.0.1", shop.server.port), timeout=10) as connection:
        connection.sendall(sent)
        received = b""
        while piece := connection.recv(65536):
            received += piece
    return re.findall(rb"HTTP/1\.1 (\d+).*?\r\nConnection: ([a-z-]+)\r\n", received, re.DOTALL)


# --- the published client calls


def run(command: list[str], **environ: str) -> Any:
    result = subprocess.run(
        command, capture_output=True, text=True, timeout=60, check=True, env={**os.environ, **environ}
    )
    return json.loads(result.stdout)


def assert_uploaded(shop: Shop, product_url: str, body: Any) -> None:
    assert body == {"imageUrl": body["imageUrl"], "imageUrls": [body["imageUrl"]]}
    assert shop.product(product_url)["imageUrls"] == body["imageUrls"]
    assert requests.get(body["imageUrl"], timeout=10).content == PICTURE


def test_curl_uploads(shop: Shop, product_url: str, picture_file: Path) -> None:
    command = [require_program("curl"), "-sS", "-X", "POST", f"{product_url}/images"]
    command += ["-H", f"Authorization: Bearer {shop.key}", "-F", f"file=@{picture_file}"]
    assert_uploaded(shop, product_url, run(command))


def test_requests_uploads(shop: Shop, product_url: str, picture_file: Path) -> None:
    with picture_file.open("rb") as file:
        response = requests.post(
            f"{product_url}/images", headers=shop.headers, files={"file": file}, timeout=30
        )
    assert response.status_code == 201
    assert_uploaded(shop, product_url, response.json())


NODE = """
const { readFile } = require("node:fs/promises");
(async () => {
  const form = new FormData();
  form.append("file", new Blob([await readFile(process.env.PICTURE)]), "battery-hero.jpg");
  const response = await fetch(process.env.IMAGES, {
    method: "POST",
    headers: { Authorization: `Bearer ${process.env.KEY}` },
    body: form,
  });
  console.log(await response.text());
})();
"""


def test_node_fetch_uploads(shop: Shop, product_url: str, picture_file: Path) -> None:
    node = require_program("node")
    environ = {"PICTURE": str(picture_file), "IMAGES": f"{product_url}/images", "KEY": shop.key}
    assert_uploaded(shop, product_url, run([node, "-e", NODE], **environ))


# --- requests that do not say what they are for


@pytest.mark.parametrize(
    "sent",
    [
        b"GET /healthz HTTP/1.1\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost:\r\n\r\n",
        b"GET /healthz HTTP/1.0\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: x\r\nSCRIPT_NAME: /healthz\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: x\r\nScript_Name: /other\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: x\r\nPATH_INFO: /\r\n\r\n",
    ],
)
def test_a_request_without_a_host_or_with_another_path_is_refused(shop: Shop, sent: bytes) -> None:
    assert exchange(shop, sent) == (400, {"error": "Bad request"})


def test_other_headers_with_an_underscore_do_not_matter(shop: Shop) -> None:
    status, _ = exchange(shop, head("/healthz", "X_Api_Version: 2", method="GET"))
    assert status == 200


# --- files


def test_the_files_of_a_picture_are_for_the_user_of_the_server_alone(shop: Shop, product_url: str) -> None:
    shop.upload(product_url)
    media = Path(shop.server.environ["DATA_DIR"]) / "media"
    modes = {stat.filemode(path.stat().st_mode) for path in (media, *media.rglob("*"))}
    assert modes == {"drwx------", "-rw-------"}


# --- bodies that are too large


@pytest.mark.parametrize("extra", [[], ["-H", "Transfer-Encoding: chunked"], ["-H", "Expect:"]])
def test_curl_reads_the_413_of_a_large_file(
    shop: Shop, product_url: str, tmp_path: Path, extra: list[str]
) -> None:
    large = tmp_path / "large.jpg"
    large.write_bytes(bytes(9_000_000))
    command = [
        require_program("curl"),
        "-sS",
        f"{product_url}/images",
        "-H",
        f"Authorization: Bearer {shop.key}",
    ]
    assert run([*command, "-F", f"file=@{large}", *extra]) == TOO_LARGE
    assert shop.product(product_url)["imageUrls"] == []


def test_a_client_that_sends_everything_first_reads_the_413(shop: Shop, product_url: str) -> None:
    response = shop.upload(product_url, bytes(20_000_000))
    assert (response.status_code, response.json()) == (413, TOO_LARGE)


def test_a_huge_declared_length_is_refused_before_a_byte_of_it_is_sent(shop: Shop, product_url: str) -> None:
    path = product_url.removeprefix(shop.server.url) + "/images"
    request = head(
        path,
        f"Authorization: Bearer {shop.key}",
        f"Content-Type: {FORM_TYPE}",
        "Content-Length: 10000000000",
    )
    assert exchange(shop, request) == (413, TOO_LARGE)


def test_an_endless_chunked_body_is_cut_at_the_limit(shop: Shop, product_url: str) -> None:
    def endless() -> Iterator[bytes]:
        while True:
            yield bytes(1 << 16)

    # The sender finds the connection closed after a bounded time. Some senders then read the answer.
    with suppress(requests.ConnectionError):
        response = requests.post(
            f"{product_url}/images",
            data=endless(),
            headers={**shop.headers, "Content-Type": FORM_TYPE},
            timeout=60,
        )
        assert (response.status_code, response.json()) == (413, TOO_LARGE)
    assert shop.upload(product_url).status_code == 201


def test_a_chunked_body_without_length_works_when_it_is_small(shop: Shop, product_url: str) -> None:
    body = form(PICTURE)
    response = requests.post(
        f"{product_url}/images",
        data=iter([body[:100], body[100:5000], body[5000:]]),
        headers={**shop.headers, "Content-Type": FORM_TYPE},
        timeout=10,
    )
    assert response.status_code == 201


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


def chunked_upload_head(shop: Shop, url: str) -> bytes:
    return head(
        url.removeprefix(shop.server.url) + "/images",
        f"Authorization: Bearer {shop.key}",
        f"Content-Type: {FORM_TYPE}",
        "Transfer-Encoding: chunked",
    )


@pytest.mark.parametrize("size", [100, 20_000])
@pytest.mark.parametrize("trailers", [b"", b"X-Checksum: 1\r\n"])
def test_a_whole_body_in_chunks_leaves_the_connection_open(
    shop: Shop, product_url: str, size: int, trailers: bytes
) -> None:
    body = form(PICTURE)
    chunks = b"".join(chunk(body[start : start + size]) for start in range(0, len(body), size))
    request = chunked_upload_head(shop, product_url) + chunks + b"0\r\n" + trailers + b"\r\n"
    following = head("/healthz", "Connection: close", method="GET")
    assert answers(shop, request + following) == [(b"201", b"keep-alive"), (b"200", b"close")]


def test_a_body_in_many_chunks_of_one_byte_is_refused(shop: Shop, product_url: str) -> None:
    request = chunked_upload_head(shop, product_url)
    answer = exchange(shop, request, chunk(b"x") * 20_000)
    assert answer == (400, {"error": "The body can't be read"})


@pytest.mark.parametrize("end", [b"", b"0\r\n\r\n"])
def test_an_unread_body_in_chunks_ends_the_connection_after_the_answer(shop: Shop, end: bytes) -> None:
    request = head("/api/v1/products", "Transfer-Encoding: chunked") + chunk(bytes(200_000)) + end
    assert answers(shop, request + head("/healthz", method="GET")) == [(b"401", b"close")]


# --- broken requests


def test_a_malformed_head_is_answered_in_json(shop: Shop) -> None:
    assert exchange(shop, b"GET / HTTP/1.1\r\nno colon here\r\n\r\n") == (400, {"error": "Bad request"})
    assert exchange(shop, b"nonsense\r\n\r\n") == (400, {"error": "Bad request"})


def test_a_long_address_is_answered_in_json(shop: Shop) -> None:
    status, body = exchange(shop, head("/" + 10_000 * "a", method="GET"))
    assert (status, body) == (414, {"error": "URI too long"})


def test_a_head_is_refused_at_once_if_a_line_does_not_end_with_crlf(shop: Shop) -> None:
    for request in (b"GET / HTTP/1.1\nHost: x\n", b"GET / HTTP/1.1\r\nHost: x\n"):
        assert exchange(shop, request) == (400, {"error": "Bad request"})


@pytest.mark.parametrize("size", [1 << 10, 10 << 10])
def test_a_head_of_many_kilobytes_is_refused_however_it_arrives(shop: Shop, size: int) -> None:
    request = head("/healthz", *(f"X-{number}: {8000 * 'a'}" for number in range(5)), method="GET")
    pieces = [request[start : start + size] for start in range(0, 33 << 10, size)]
    too_large = (431, {"error": "Request header fields too large"})
    assert exchange(shop, *pieces) == exchange(shop, request) == too_large


def test_an_endless_first_line_is_refused(shop: Shop) -> None:
    assert exchange(shop, b"GET /" + bytes(40_000)) == (414, {"error": "URI too long"})


def test_a_head_may_arrive_byte_by_byte_after_an_empty_line(shop: Shop) -> None:
    request = b"\r\n" + head("/healthz", "Connection: close", method="GET")
    with socket.create_connection(("127.0.0.1", shop.server.port), timeout=10) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in request:
            connection.sendall(bytes([byte]))
        assert read_answer(connection)[0] == 200


@pytest.mark.parametrize("cut", [1, 20, 30_000])
def test_requests_that_arrive_together_are_all_answered(shop: Shop, cut: int) -> None:
    padding = f"X-Padding: {1000 * 'a'}"
    sent = 40 * head("/healthz", padding, method="GET") + head("/healthz", "Connection: close", method="GET")
    with socket.create_connection(("127.0.0.1", shop.server.port), timeout=10) as connection:
        connection.sendall(sent[:-cut])
        received = connection.recv(1)  # the first answers come before the rest is sent
        connection.sendall(sent[-cut:])
        while piece := connection.recv(65536):
            received += piece
    assert received.count(b"HTTP/1.1 200 OK\r\n") == 41


def test_two_framings_at_once_are_refused(shop: Shop, product_url: str) -> None:
    path = product_url.removeprefix(shop.server.url) + "/images"
    request = head(
        path,
        f"Authorization: Bearer {shop.key}",
        f"Content-Type: {FORM_TYPE}",
        "Content-Length: 5",
        "Transfer-Encoding: chunked",
    )
    status, _ = exchange(shop, request, b"0\r\n\r\n")
    assert status == 400


def test_a_broken_chunk_is_a_400(shop: Shop, product_url: str) -> None:
    path = product_url.removeprefix(shop.server.url) + "/images"
    request = head(
        path,
        f"Authorization: Bearer {shop.key}",
        f"Content-Type: {FORM_TYPE}",
        "Transfer-Encoding: chunked",
    )
    assert exchange(shop, request, b"zz\r\nbytes\r\n") == (400, {"error": "The body can't be read"})


def test_a_body_that_is_compressed_for_the_way_is_refused(shop: Shop, product_url: str) -> None:
    path = product_url.removeprefix(shop.server.url) + "/images"
    body = form(PICTURE)
    request = head(
        path,
        f"Authorization: Bearer {shop.key}",
        f"Content-Type: {FORM_TYPE}",
        "Transfer-Encoding: gzip, chunked",
    )
    answer = exchange(shop, request, b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body))
    assert answer == (501, {"error": "Not implemented"})


def test_an_unread_body_is_not_parsed_as_the_next_request(shop: Shop) -> None:
    smuggled = head("/smuggled", method="GET")
    request = head("/api/v1/products", f"Content-Length: {len(smuggled)}")
    with socket.create_connection(("127.0.0.1", shop.server.port), timeout=10) as connection:
        connection.sendall(request + smuggled + head("/media/x", "Connection: close", method="GET"))
        received = b""
        while piece := connection.recv(65536):
            received += piece
    statuses = re.findall(rb"HTTP/1\.1 (\d+)", received)
    assert statuses == [b"401", b"404"]


@pytest.mark.parametrize("cut", [0, 1, 60, 2000, -8, -1])
def test_the_rest_of_a_form_that_is_cut_is_not_taken_for_the_next_request(
    shop: Shop, product_url: str, cut: int
) -> None:
    path = product_url.removeprefix(shop.server.url) + "/images"
    rest = head("/healthz", method="GET")
    body = form(PICTURE).rstrip()
    declared = len(body[:cut])
    request = head(
        path,
        f"Authorization: Bearer {shop.key}",
        f"Content-Type: {FORM_TYPE}",
        f"Content-Length: {declared}",
    )
    assert answers(shop, request + body[:declared] + rest) == [(b"400", b"close")]


@pytest.mark.parametrize("body", [b"", b"{", b'{"name": "Pack"', b"[1, 2"])
def test_the_rest_of_a_json_text_that_is_cut_is_not_taken_for_the_next_request(
    shop: Shop, body: bytes
) -> None:
    request = head(
        "/api/v1/products",
        f"Authorization: Bearer {shop.key}",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
    )
    rest = head("/healthz", method="GET")
    assert answers(shop, request + body + rest) == [(b"400", b"close")]


def test_a_whole_form_leaves_the_connection_open(shop: Shop, product_url: str) -> None:
    path = product_url.removeprefix(shop.server.url) + "/images"
    body = form(PICTURE)
    request = head(
        path,
        f"Authorization: Bearer {shop.key}",
        f"Content-Type: {FORM_TYPE}",
        f"Content-Length: {len(body)}",
    )
    following = head("/healthz", "Connection: close", method="GET")
    assert answers(shop, request + body + following) == [(b"201", b"keep-alive"), (b"200", b"close")]


# --- workers


def test_a_full_product_stays_at_20_under_uploads_at_once(shop: Shop, product_url: str) -> None:
    for _ in range(15):
        assert shop.upload(product_url).status_code == 201
    with ThreadPoolExecutor(20) as pool:
        statuses = sorted(pool.map(lambda _: shop.upload(product_url).status_code, range(40)))
    assert statuses == [201] * 5 + [422] * 35
    urls = shop.product(product_url)["imageUrls"]
    assert len(urls) == 20
    assert all(requests.get(url, timeout=10).content == PICTURE for url in urls)
    folder = Path(shop.server.environ["DATA_DIR"], "media", *urls[0].split("/media/")[1].split("/")[:-1])
    assert sorted(path.name for path in folder.iterdir()) == sorted(url.split("/")[-1] for url in urls)


def test_40_uploads_at_once_to_four_workers_fill_a_product_and_no_more(tmp_path: Path) -> None:
    with gunicorn(tmp_path, WEB_CONCURRENCY="4") as server:
        shop = open_shop(server)
        url = shop.new_product()
        with ThreadPoolExecutor(40) as pool:
            answers = list(pool.map(lambda _: shop.upload(url), range(40)))
        assert sorted(answer.status_code for answer in answers) == [201] * 20 + [422] * 20
        added = {answer.json()["imageUrl"] for answer in answers if answer.status_code == 201}
        urls = shop.product(url)["imageUrls"]
        assert set(urls) == added
        assert all(requests.get(url, timeout=10).content == PICTURE for url in urls)
        objects = [path for path in (tmp_path / "data" / "media").rglob("*") if path.is_file()]
        assert len(objects) == 20


def test_of_two_deletions_of_the_same_picture_at_once_one_is_refused(shop: Shop, product_url: str) -> None:
    for _ in range(3):
        shop.upload(product_url)
    etag = requests.get(product_url, headers=shop.headers, timeout=10).headers["ETag"]

    def delete(_: int) -> int:
        headers = {**shop.headers, "If-Match": etag}
        return requests.delete(f"{product_url}/images/0", headers=headers, timeout=10).status_code

    with ThreadPoolExecutor(2) as pool:
        assert sorted(pool.map(delete, range(2))) == [200, 412]
    assert len(shop.product(product_url)["imageUrls"]) == 2


def test_a_key_that_a_command_revokes_is_refused_by_every_worker(shop: Shop, product_url: str) -> None:
    with shop.server.catalog() as catalog:
        workspace = catalog.list_workspaces()[0]
        headers = {"Authorization": f"Bearer {issue_key(catalog, workspace, 'short-lived')}"}
        (credential,) = [key for key in catalog.list_api_keys(workspace.id) if key.label == "short-lived"]
    assert all(requests.get(product_url, headers=headers, timeout=10).status_code == 200 for _ in range(8))
    shop.server.flask("key", "revoke", credential.id)
    assert all(requests.get(product_url, headers=headers, timeout=10).status_code == 401 for _ in range(8))


def test_an_upload_in_flight_is_finished_by_a_server_that_stops(tmp_path: Path) -> None:
    with gunicorn(tmp_path, WEB_CONCURRENCY="1") as server:
        shop = open_shop(server)
        path = shop.new_product().removeprefix(server.url) + "/images"
        body = form(PICTURE)
        request = head(
            path,
            f"Authorization: Bearer {shop.key}",
            f"Content-Type: {FORM_TYPE}",
            f"Content-Length: {len(body)}",
            "Expect: 100-continue",
        )
        with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
            connection.sendall(request)
            assert connection.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"  # a worker has the request
            server.process.terminate()
            connection.sendall(body)
            assert read_answer(connection)[0] == 201
        assert server.process.wait(20) == 0


def test_connections_without_a_request_do_not_delay_a_stop(tmp_path: Path) -> None:
    with gunicorn(tmp_path, WEB_CONCURRENCY="1") as server, ExitStack() as stack:
        address = ("127.0.0.1", server.port)
        silent = stack.enter_context(socket.create_connection(address, timeout=20))
        half = stack.enter_context(socket.create_connection(address, timeout=20))
        half.sendall(b"GET / HTTP/1.1\r\n")
        other = stack.enter_context(socket.create_connection(address, timeout=20))
        late = stack.enter_context(socket.create_connection(address, timeout=20))
        request = head("/healthz", "Connection: close", method="GET")
        other.sendall(request)
        assert read_answer(other)[0] == 200  # so the worker has the others too
        server.process.terminate()
        late.sendall(request)
        assert read_answer(late)[0] == 200
        assert read_answer(half) == (408, {"error": "Request timeout"})
        assert silent.recv(1) == b""
        assert server.process.wait(20) == 0


# --- what a person sees at the first start


def test_the_printed_request_works_as_pasted(tmp_path: Path) -> None:
    with gunicorn(tmp_path, DEMO="1", WEB_CONCURRENCY="1") as server:
        require_program("curl")
        line = server.wait_for_line("curl ")
        result = subprocess.run(
            ["bash", "-c", line], capture_output=True, text=True, timeout=30, check=True, cwd=tmp_path
        )
        assert "HTTP/1.1 201 CREATED" in result.stdout
        location = re.search(r"^Location: (\S+)", result.stdout, re.MULTILINE)
        assert location is not None
        picture = requests.get(location[1], timeout=10)
        assert (picture.status_code, picture.headers["Content-Type"]) == (200, "image/jpeg")
        assert shlex.split(line)[-1].startswith(server.url)
        key = re.search(r"tp_[A-Za-z0-9_-]+", line)
        assert key is not None
        requests.get(f"{server.url}/api/v1/products?key={key[0]}", timeout=10)
    log = server.log.read_text()
    assert '"route": "/api/v1/products", "status": 401' in log
    assert log.count(key[0]) == 1


# --- what a process runs out of


def test_connections_that_can_not_be_taken_end_no_worker(tmp_path: Path) -> None:
    with gunicorn(tmp_path, WEB_CONCURRENCY="1") as server:
        shop = open_shop(server)
        assert shop.upload(shop.new_product()).status_code == 201
        (worker,) = server.workers()
        taken = len(list(Path(f"/proc/{worker}/fd").iterdir()))
        resource.prlimit(worker, resource.RLIMIT_NOFILE, (taken + 20, taken + 20))
        with ExitStack() as stack:
            for _ in range(60):
                stack.enter_context(socket.create_connection(("127.0.0.1", server.port), timeout=10))
            server.wait_for_text("no connection can be taken")
        assert shop.upload(shop.new_product()).status_code == 201
        assert server.workers() == [worker]


def resident(process: int) -> int:
    """The memory of a process, in bytes: its resident set size."""
    return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * resource.getpagesize()


@functools.cache
def large_pictures() -> list[bytes]:
    """Pictures of many pixels and few bytes, of every format."""
    noise = Image.effect_noise((400, 400), 80).resize((3000, 3000)).convert("RGB")
    one_colour = Image.new("RGB", (7000, 7000), (200, 30, 40))
    return [
        encoded(one_colour, "PNG"),
        encoded(one_colour, "JPEG", quality=30),
        encoded(one_colour.crop((0, 0, 5200, 5200)), "WEBP", quality=30),
        encoded(noise, "WEBP", quality=20),
        encoded(noise, "JPEG", quality=30, progressive=True),
        encoded(noise.crop((0, 0, 1500, 1500)), "WEBP", quality=50),
    ]


def upload_in_turn(shop: Shop, data: bytes) -> int:
    """Uploads a picture, and tries again while its workspace has too many uploads. Returns the status."""
    product, deadline = shop.new_product(), time.monotonic() + 60
    while (status := shop.upload(product, data).status_code) in {429, 503}:
        assert time.monotonic() < deadline
        time.sleep(0.5)
    return status


def test_the_memory_of_decoding_comes_back(tmp_path: Path) -> None:
    with gunicorn(tmp_path, WEB_CONCURRENCY="1") as server:
        shop = open_shop(server)
        assert shop.upload(shop.new_product()).status_code == 201
        (worker,) = server.workers()
        rest = resident(worker)
        for pictures in ([large_pictures()[0]] * 6, [large_pictures()[2]] * 6, large_pictures()[2:] * 4):
            with ThreadPoolExecutor(24) as pool:
                assert set(pool.map(lambda data: upload_in_turn(shop, data), pictures)) == {201}
            deadline = time.monotonic() + 60
            while (kept := resident(worker) - rest) > 100_000_000:
                assert time.monotonic() < deadline, f"{kept} bytes are kept"
                time.sleep(0.2)
        assert server.workers() == [worker]
