"""Vetrina behind a real nginx, configured by ``deploy/nginx.conf``."""

from __future__ import annotations

import os
import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import requests
import trustme

from app import create_app
from config import Settings
from tests.api.fixtures import FORM_TYPE
from tests.api.test_metrics import samples
from tests.nginx import nginx as shipped_nginx
from tests.pictures import jpeg, png, webp
from tests.programs import require_program
from tests.servers import Server, free_port, gunicorn
from tests.test_worker import PICTURE, Shop, head, open_shop, read_answer


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Iterator[trustme.CA]:
    """A certificate authority that ``requests`` trusts."""
    authority = trustme.CA()
    bundle = tmp_path_factory.mktemp("authority") / "ca.pem"
    authority.cert_pem.write_to_path(str(bundle))
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(bundle))
        yield authority


@contextmanager
def nginx(folder: Path, server: Server, port: int, authority: trustme.CA) -> Iterator[int]:
    """Runs nginx with the shipped file on this port, over TLS. Yields the port that redirects to TLS."""
    certificate = authority.issue_cert("127.0.0.1")
    certificate.private_key_pem.write_to_path(str(folder / "key.pem"))
    (folder / "chain.pem").write_bytes(b"".join(blob.bytes() for blob in certificate.cert_chain_pems))
    with shipped_nginx(folder, server.port, port) as plain_port:
        yield plain_port


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory, authority: trustme.CA) -> Iterator[Shop]:
    require_program("nginx")  # before the server starts
    folder, port = tmp_path_factory.mktemp("nginx"), free_port()
    public_url = f"https://127.0.0.1:{port}"
    with gunicorn(folder, PUBLIC_URL=public_url, MEDIA_ACCEL_PREFIX="/_media/") as server:
        opened = open_shop(server)
        with nginx(folder, server, port, authority):
            server.url = public_url
            yield opened


@pytest.fixture
def image_url(shop: Shop) -> str:
    return str(shop.upload(shop.new_product()).json()["imageUrl"])


def test_a_picture_goes_in_and_comes_out_through_nginx(shop: Shop, image_url: str) -> None:
    assert image_url.startswith(shop.server.url)
    response = requests.get(image_url, timeout=10)
    assert (response.status_code, response.content) == (200, PICTURE)


def size_urls(shop: Shop, product: str) -> list[str]:
    (image,) = shop.product(product)["images"]
    return [size["url"] for size in image["sizes"]]


@pytest.fixture
def size_url(shop: Shop) -> str:
    """The URL of a size that is not made yet."""
    product = shop.new_product()
    assert shop.upload(product, jpeg(400, 300)).status_code == 201
    return size_urls(shop, product)[0]


def requests_to_vetrina(shop: Shop) -> float:
    """How many requests for pictures and sizes have come to Vetrina."""
    text = requests.get(f"http://127.0.0.1:{shop.server.port}/metrics", timeout=10).text
    return sum(
        count
        for (name, labels), count in samples(text).items()
        if name == "vetrina_requests_total" and "/media/" in labels
    )


@pytest.mark.parametrize("extension", ["jpg", "png", "webp"])
def test_nginx_sends_a_picture_without_a_request_to_vetrina(shop: Shop, extension: str) -> None:
    data = {"jpg": jpeg, "png": png, "webp": webp}[extension]()
    product = shop.new_product()
    files = {"file": ("hero", data, "application/octet-stream")}
    requests.post(f"{product}/images", files=files, headers=shop.headers, timeout=30)
    (url,) = shop.product(product)["imageUrls"]
    before = requests_to_vetrina(shop)
    response = requests.get(url, timeout=10)
    assert (response.status_code, response.content) == (200, data)
    assert response.headers["Content-Type"] == {"jpg": "image/jpeg"}.get(extension, f"image/{extension}")
    assert requests_to_vetrina(shop) == before


def test_only_the_first_request_for_a_size_comes_to_vetrina(shop: Shop, size_url: str) -> None:
    before = requests_to_vetrina(shop)
    first, *others = [requests.get(size_url, timeout=30) for _ in range(3)]
    assert (first.status_code, first.headers["Content-Type"]) == (200, "image/webp")
    for other in others:
        assert (other.status_code, other.content) == (200, first.content)
        assert other.headers["ETag"] == first.headers["ETag"]
    assert requests_to_vetrina(shop) == before + 1


@pytest.mark.parametrize("kind", ["image_url", "size_url"])
def test_nginx_sends_the_same_headers_as_vetrina_alone(
    shop: Shop, request: pytest.FixtureRequest, kind: str
) -> None:
    url: str = request.getfixturevalue(kind)
    alone = create_app(Settings(data_dir=Path(shop.server.environ["DATA_DIR"]))).test_client()
    path = url.removeprefix(shop.server.url)
    expected = dict(alone.get(path, buffered=True).headers)
    varying = {"ETag", "X-Request-Id", "Date", "Connection"}
    for _ in range(2):
        headers = dict(requests.get(url, timeout=30).headers)
        assert headers.pop("Server") == "nginx"
        assert varying == varying & headers.keys()
        assert headers["ETag"].startswith('"')
        assert {name: value for name, value in headers.items() if name not in varying} == {
            name: value for name, value in expected.items() if name not in varying
        }
    etag = headers["ETag"]
    for condition in ({"If-None-Match": etag}, {"If-Modified-Since": "Fri, 01 Jan 2100 00:00:00 GMT"}):
        response = requests.get(url, headers=condition, timeout=10)
        assert (response.status_code, response.content) == (304, b"")
        assert response.headers["Cache-Control"] == expected["Cache-Control"]


def test_a_deleted_picture_and_its_sizes_are_a_404_at_once(shop: Shop) -> None:
    product = shop.new_product()
    url = str(shop.upload(product, jpeg(400, 300)).json()["imageUrl"])
    urls = [url, *size_urls(shop, product)]
    assert [requests.get(each, timeout=30).status_code for each in urls] == [200, 200, 200]
    requests.delete(f"{product}/images/0", headers=shop.headers, timeout=10).raise_for_status()
    for each in urls:
        response = requests.get(each, timeout=10)
        assert (response.status_code, response.json()) == (404, {"error": "Not found"})
        assert response.headers["Cache-Control"] == "no-store"


def test_nginx_sends_no_other_file_of_the_folder(shop: Shop, image_url: str) -> None:
    path = image_url.removeprefix(shop.server.url)
    file = Path(shop.server.environ["DATA_DIR"]) / path.removeprefix("/")
    for name in (f"{32 * 'a'}.incoming", f".{file.name}", f"{file.name}.bak"):
        file.with_name(name).write_bytes(b"bytes")
        other = f"{shop.server.url}{path.rpartition('/')[0]}/{name}"
        assert requests.get(other, timeout=10).status_code == 404
        file.with_name(name).unlink()
    for spelling in (path.replace("/media/", "/media//"), path.upper(), f"{path}/", "/vetrina.sqlite3"):
        assert requests.get(shop.server.url + spelling, timeout=10).status_code == 404


def test_a_picture_takes_no_writes(image_url: str) -> None:
    for method in ("PUT", "POST", "DELETE", "PATCH"):
        response = requests.request(method, image_url, timeout=10)
        assert (response.status_code, response.json()) == (405, {"error": "Method not allowed"})


def test_nginx_answers_conditions_and_ranges(image_url: str) -> None:
    etag = requests.get(image_url, timeout=10).headers["ETag"]
    assert requests.get(image_url, headers={"If-None-Match": etag}, timeout=10).status_code == 304
    part = requests.get(image_url, headers={"Range": "bytes=10-19"}, timeout=10)
    assert (part.status_code, part.content) == (206, PICTURE[10:20])
    for headers, expected in (
        ({"Range": "bytes=-99999999"}, (206, PICTURE)),
        ({"Range": "bytes=10-19", "If-None-Match": etag}, (304, b"")),
        ({"Range": "bytes=10-19", "If-Range": etag}, (206, PICTURE[10:20])),
        ({"Range": "bytes=10-19", "If-Range": f"W/{etag}"}, (200, PICTURE)),
    ):
        answer = requests.get(image_url, headers=headers, timeout=10)
        assert (answer.status_code, answer.content) == expected


def test_the_files_can_not_be_reached_past_vetrina(shop: Shop, image_url: str) -> None:
    path = image_url.removeprefix(f"{shop.server.url}/media/")
    for url in (f"{shop.server.url}/_media/{path}", f"{shop.server.url}/media/../_media/{path}"):
        assert requests.get(url, timeout=10).status_code == 404
    missing = requests.get(f"{shop.server.url}/media/nothing.jpg", timeout=10)
    assert (missing.status_code, missing.json()) == (404, {"error": "Not found"})


def test_what_nginx_itself_refuses_is_json(shop: Shop, image_url: str) -> None:
    ranged = {"Range": "bytes=999999999-"}
    changed = {"If-Match": '"another"'}
    for method, url, headers, refusal in (
        ("GET", image_url, ranged, (416, "Requested range not satisfiable")),
        ("GET", image_url, changed, (412, "Precondition failed")),
        ("GET", f"{shop.server.url}/_media/x", {}, (404, "Not found")),
        ("GET", f"{shop.server.url}/{'a' * 20_000}", {}, (414, "URI too long")),
        ("GET", f"{shop.server.url}/healthz", {"X-Long": "a" * 20_000}, (400, "Bad request")),
        ("TRACE", f"{shop.server.url}/healthz", {}, (405, "Method not allowed")),
    ):
        response = requests.request(method, url, headers=headers, timeout=10)
        assert (response.status_code, response.json()["error"]) == refusal
        assert "no-store" in response.headers["Cache-Control"]


def test_several_ranges_are_the_whole(image_url: str) -> None:
    response = requests.get(image_url, headers={"Range": "bytes=0-1,4-5"}, timeout=10)
    assert (response.status_code, response.content) == (200, PICTURE)


def test_a_server_that_is_down_is_a_503_that_says_when_to_come_back(
    tmp_path: Path, authority: trustme.CA
) -> None:
    require_program("nginx")  # before the server starts
    port = free_port()
    with gunicorn(tmp_path, WEB_CONCURRENCY="1") as server, nginx(tmp_path, server, port, authority):
        server.stop()
        response = requests.get(f"https://127.0.0.1:{port}/healthz", timeout=10)
    assert (response.status_code, response.headers["Retry-After"]) == (503, "5")
    assert response.json() == {"error": "Service temporarily unavailable"}


@pytest.mark.parametrize("size", [9_000_000, 20_000_000])
def test_a_large_file_is_refused_in_json_by_whoever_refuses_it(shop: Shop, size: int) -> None:
    response = shop.upload(shop.new_product(), bytes(size))
    assert (response.status_code, response.json()) == (413, {"error": "Image must be under 5MB"})
    assert shop.upload(shop.new_product(), jpeg()).status_code == 201


def test_a_plain_request_is_sent_to_tls_and_keeps_its_method(tmp_path: Path, authority: trustme.CA) -> None:
    require_program("nginx")  # before the server starts
    with (
        gunicorn(tmp_path, WEB_CONCURRENCY="1") as server,
        nginx(tmp_path, server, free_port(), authority) as plain_port,
    ):
        url = f"http://127.0.0.1:{plain_port}/api/v1/products?page=2"
        response = requests.post(url, allow_redirects=False, timeout=10)
    assert response.status_code == 308
    assert response.headers["Location"] == "https://images.example.com/api/v1/products?page=2"


@pytest.mark.parametrize("path", ["/api/v1/openapi.json", "/docs/docs.css", "/console/static/console.css"])
def test_text_is_compressed(shop: Shop, path: str) -> None:
    response = requests.get(f"{shop.server.url}{path}", timeout=10)
    assert (response.status_code, response.headers["Content-Encoding"]) == (200, "gzip")


def test_pictures_and_pages_with_a_secret_are_not_compressed(shop: Shop, image_url: str) -> None:
    for url in (image_url, f"{shop.server.url}/console/sign-in"):
        response = requests.get(url, timeout=10)
        assert response.status_code == 200
        assert "Content-Encoding" not in response.headers


def connect(shop: Shop, source: str = "127.0.0.1") -> socket.socket:
    """Connects to nginx over TLS, from an address."""
    port = int(shop.server.url.rpartition(":")[2])
    context = ssl.create_default_context(cafile=os.environ["REQUESTS_CA_BUNDLE"])
    plain = socket.create_connection(("127.0.0.1", port), timeout=30, source_address=(source, 0))
    return context.wrap_socket(plain, server_hostname="127.0.0.1")


def begin(
    shop: Shop,
    path: str = "/console/sign-in",
    key: str = "",
    size: int = 1000,
    missing: int = 1,
    source: str = "127.0.0.1",
) -> socket.socket:
    """Sends the head of a request through nginx, and its body but for the last ``missing`` bytes."""
    connection = connect(shop, source)
    authorization = f"Authorization: Bearer {key or shop.key}"
    form = f"Content-Type: {FORM_TYPE}"
    connection.sendall(head(path, authorization, form, f"Content-Length: {size}") + bytes(size - missing))
    return connection


def images_path(shop: Shop) -> str:
    return shop.new_product().removeprefix(shop.server.url) + "/images"


@pytest.mark.parametrize("is_upload", [True, False])
def test_a_body_that_stops_is_cut(shop: Shop, is_upload: bool) -> None:
    begun = time.monotonic()
    path = images_path(shop) if is_upload else "/console/sign-in"
    with begin(shop, path) as connection, suppress(ConnectionResetError):
        assert connection.recv(1000) == b""
    assert 4 < time.monotonic() - begun < 12


def test_an_upload_with_an_unknown_key_is_refused_before_its_body_has_arrived(shop: Shop) -> None:
    with begin(shop, images_path(shop), key="unknown") as connection:
        assert read_answer(connection) == (401, {"error": "Unauthorized"})


def test_an_upload_that_drips_is_cut_by_the_deadline_of_vetrina(
    tmp_path: Path, authority: trustme.CA
) -> None:
    require_program("nginx")  # before the server starts
    port, deadline = free_port(), 3
    settings = {"REQUEST_DEADLINE": str(deadline), "PUBLIC_URL": f"https://127.0.0.1:{port}"}
    with (
        gunicorn(tmp_path, WEB_CONCURRENCY="1", TRUSTED_PROXY_HOPS="1", **settings) as server,
        nginx(tmp_path, server, port, authority),
    ):
        shop = open_shop(server)
        path = images_path(shop)
        server.url = settings["PUBLIC_URL"]
        with begin(shop, path, missing=100) as connection:
            connection.settimeout(0.5)
            for _ in range(60):
                with suppress(TimeoutError):
                    assert connection.recv(1000).startswith(b"HTTP/1.1 408 ")
                    break
                connection.sendall(b"x")
            else:
                pytest.fail("the upload is not cut")


def test_unfinished_uploads_take_nothing_on_the_disk_of_nginx(shop: Shop) -> None:
    path = images_path(shop)
    bodies = Path(shop.server.environ["DATA_DIR"]).parent / "body"
    with ExitStack() as stack:
        for _ in range(4):
            stack.enter_context(begin(shop, path, size=4_000_000))
        assert sum(file.stat().st_size for file in bodies.rglob("*") if file.is_file()) == 0


@pytest.mark.parametrize(
    ("key", "size", "refusal"),
    [
        ("unknown", 5_000_000, (401, {"error": "Unauthorized"})),
        ("", 5_600_000, (413, {"error": "Image must be under 5MB"})),
    ],
)
def test_a_client_that_sends_all_of_a_refused_upload_gets_the_answer(
    shop: Shop, key: str, size: int, refusal: tuple[int, Any]
) -> None:
    url, headers = shop.new_product(), {"Authorization": f"Bearer {key or shop.key}"}
    for _ in range(10):
        answer = requests.post(f"{url}/images", files={"file": bytes(size)}, headers=headers, timeout=30)
        assert (answer.status_code, answer.json()) == refusal


def test_a_json_body_that_is_too_large_is_refused_with_the_words_of_vetrina(shop: Shop) -> None:
    url = f"{shop.server.url}/api/v1/products"
    for size in ((1 << 20) + 1, 3 << 20):
        answer = requests.post(url, data=bytes(size), headers=shop.headers, timeout=30)
        assert (answer.status_code, answer.json()) == (413, {"error": "Request body must be under 1MB"})


def test_an_address_with_too_many_unfinished_bodies_is_refused_and_still_reads(
    shop: Shop, image_url: str
) -> None:
    with ExitStack() as stack:
        for _ in range(20):
            stack.enter_context(begin(shop))
        with begin(shop) as refused:
            assert read_answer(refused) == (429, {"error": "Too many requests"})
        assert requests.get(image_url, timeout=10).status_code == 200


def test_a_key_with_too_many_unfinished_uploads_is_refused_by_nginx(
    tmp_path: Path, authority: trustme.CA
) -> None:
    require_program("nginx")  # before the server starts
    port = free_port()
    url = f"https://127.0.0.1:{port}"
    # Together these processes have more places for uploads of one workspace than nginx lets through.
    settings = {"WEB_CONCURRENCY": "4", "TRUSTED_PROXY_HOPS": "1", "PUBLIC_URL": url}
    with gunicorn(tmp_path, **settings) as server, nginx(tmp_path, server, port, authority):
        shop = open_shop(server)
        path = images_path(shop)
        server.url = url
        another = open_shop(server)
        deadline, answer = time.monotonic() + 60, None
        # A busy machine may be so slow that the first uploads are cut before the last one begins.
        while answer != (429, {"error": "Too many requests"}):
            assert time.monotonic() < deadline, answer
            with ExitStack() as stack:
                for number in range(100):
                    source = f"127.0.0.{2 + number // 35}"
                    stack.enter_context(begin(shop, path, source=source))
                with begin(shop, path, source="127.0.0.9") as refused, suppress(ConnectionError):
                    answer = read_answer(refused)
                assert another.upload(another.new_product()).status_code == 201


def last_of_many(shop: Shop, image_url: str, count: int) -> bytes:
    """Sends ``count`` requests for headers and one for the picture in one piece; returns the last answer."""
    path = image_url.removeprefix(shop.server.url)
    one = f" {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n".encode()
    answers = bytearray()
    with connect(shop) as connection:
        connection.sendall((b"HEAD" + one + b"\r\n") * count + b"GET" + one + b"Connection: close\r\n\r\n")
        while part := connection.recv(1 << 16):
            answers += part
    return b"HTTP/1.1 " + answers.rpartition(b"HTTP/1.1 ")[2]


def test_an_address_with_too_many_requests_is_told_when_to_come_back(shop: Shop, image_url: str) -> None:
    deadline, answer = time.monotonic() + 60, b""
    # A busy machine may answer fewer than 100 a second for a while, which is not too many.
    while not answer.startswith(b"HTTP/1.1 429 "):
        assert time.monotonic() < deadline, answer
        answer = last_of_many(shop, image_url, 600)
    headers, _, body = answer.partition(b"\r\n\r\n")
    assert b"Retry-After: 2" in headers.splitlines()
    assert body == b'{"error":"Too many requests"}'
    time.sleep(4)  # the other tests have the same address
