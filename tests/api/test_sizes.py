"""Sizes over HTTP, with the bytes on disk: docs/contract.md "Sizes"."""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from PIL import Image
from werkzeug.test import TestResponse

import sizes
from app import create_app
from catalog.base import Catalog
from catalog.errors import CatalogUnavailable
from config import Settings
from resizing import resize
from storage.base import StorageBackend, StorageUnavailable
from tests import carriers as c
from tests.api.fixtures import NewProduct, Post, images_path, on_both_catalogs
from tests.api.test_metrics import Samples, difference, samples
from tests.conftest import PUBLIC_URL, Tenant
from tests.factories import client_with
from tests.faults import fail_with
from tests.pictures import encoded, jpeg

PICTURE = jpeg(400, 300)
NOT_FOUND = (404, {"error": "Not found"})
UNAVAILABLE = (503, {"error": "Service temporarily unavailable"})
StoredKeys = Callable[[], set[str]]


@pytest.fixture
def image(product: dict[str, Any], upload: Post, client: FlaskClient) -> dict[str, Any]:
    """The entry of a new image of 400 × 300 pixels in its product's ``images``."""
    assert upload(product, PICTURE).status_code == 201
    body: Any = client.get(f"/api/v1/products/{product['_id']}").json
    return dict(body["images"][-1])


@pytest.fixture
def path(image: dict[str, Any]) -> str:
    """The path of the image's size of 160 pixels."""
    return str(image["sizes"][0]["url"]).removeprefix(PUBLIC_URL)


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a busy machine a test may take longer than a request may wait."""
    monkeypatch.setattr(sizes, "_PATIENCE", 60.0)


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The widths of all sizes that are made, in order."""
    widths: list[int] = []

    def record(data: bytes, width: int) -> bytes:
        widths.append(width)
        return resize(data, width)

    monkeypatch.setattr("sizes.resize", record)
    return widths


def get(client: FlaskClient, path: str, **headers: str) -> TestResponse:
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    return client.get(path, headers=sent, buffered=True)


def told(response: TestResponse) -> tuple[int, Any]:
    return response.status_code, response.json


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def of_width(path: str, width: int) -> str:
    return path.replace("_160w", f"_{width}w")


# --- the list


@on_both_catalogs
def test_an_image_lists_the_widths_that_are_smaller_than_its_own(image: dict[str, Any]) -> None:
    stem = image["url"].removesuffix(".jpg")
    assert image["sizes"] == [
        {"width": 160, "height": 120, "contentType": "image/webp", "url": f"{stem}_160w.webp"},
        {"width": 320, "height": 240, "contentType": "image/webp", "url": f"{stem}_320w.webp"},
    ]


def test_every_answer_with_a_product_has_the_sizes(
    product: dict[str, Any], image: dict[str, Any], client: FlaskClient
) -> None:
    url = f"/api/v1/products/{product['_id']}"
    answers: list[Any] = [
        client.get(url).json,
        client.get("/api/v1/products").json["data"]["items"][0],  # type: ignore[index]  # the answer is JSON
        client.patch(url, json={"name": "Renamed"}).json,
        client.post(f"{url}/archive").json,
    ]
    assert [answer["images"][0]["sizes"] for answer in answers] == [image["sizes"]] * 4


@pytest.mark.parametrize("width", [159, 160])
def test_an_image_has_no_size_of_its_own_width_or_of_a_larger_one(
    product: dict[str, Any], upload: Post, client: FlaskClient, width: int
) -> None:
    upload(product, jpeg(width, 90))
    body: Any = client.get(f"/api/v1/products/{product['_id']}").json
    assert body["images"][0]["sizes"] == []


@pytest.mark.parametrize(
    ("shape", "widths"),
    [
        ((2100, 2000), [160, 320, 640, 1280, 2048]),
        ((2100, 4200), [160, 320, 640, 1280]),  # the encoder takes 48 bytes a pixel
        ((200, 20_500), []),  # a WebP has at most 16,383 rows
    ],
)
def test_a_size_that_is_too_large_to_make_is_left_out(
    product: dict[str, Any], upload: Post, client: FlaskClient, shape: tuple[int, int], widths: list[int]
) -> None:
    assert upload(product, encoded(Image.new("L", shape), "PNG"), "image/png").status_code == 201
    body: Any = client.get(f"/api/v1/products/{product['_id']}").json
    assert [size["width"] for size in body["images"][0]["sizes"]] == widths


def test_an_image_elsewhere_has_no_sizes(new_product: NewProduct) -> None:
    url = "https://cdn.example.com/a.png"
    assert new_product(imageUrls=[url])["images"] == [{"url": url, "alt": {}}]


def test_a_size_has_the_height_that_a_viewer_sees(
    product: dict[str, Any], upload: Post, client: FlaskClient
) -> None:
    data = c.jpeg_with(c.app1_exif(c.exif(6)), data=PICTURE)
    upload(product, data)
    body: Any = client.get(f"/api/v1/products/{product['_id']}").json
    (size,) = body["images"][0]["sizes"]
    assert (size["width"], size["height"]) == (160, 213)
    with Image.open(io.BytesIO(get(client, size["url"].removeprefix(PUBLIC_URL)).data)) as picture:
        assert picture.size == (160, 213)


def test_a_record_that_does_not_say_how_its_image_is_turned_has_no_sizes(
    product: dict[str, Any], path: str, client: FlaskClient, catalog: Catalog, tenant: Tenant
) -> None:
    stored = catalog.get_product(tenant.workspace.id, product["_id"])
    images = [replace(image, orientation=None) for image in stored.images]
    catalog.update_product(tenant.workspace.id, product["_id"], {"images": images})
    body: Any = client.get(f"/api/v1/products/{product['_id']}").json
    assert body["images"][0]["sizes"] == []
    assert told(get(client, path)) == NOT_FOUND


@pytest.mark.parametrize(("widths", "listed"), [((), []), ((399, 50, 400), [50, 399])])
def test_the_setting_names_the_widths(
    settings: Settings,
    storage: StorageBackend,
    catalog: Catalog,
    tenant: Tenant,
    product: dict[str, Any],
    path: str,
    widths: tuple[int, ...],
    listed: list[int],
) -> None:
    app = create_app(replace(settings, image_sizes=widths), storage=storage, catalog=catalog)
    client = client_with(app, tenant.key)
    body: Any = client.get(f"/api/v1/products/{product['_id']}").json
    assert [size["width"] for size in body["images"][0]["sizes"]] == listed
    assert [get(client, of_width(path, width)).status_code for width in listed] == [200] * len(listed)
    assert told(get(client, path)) == NOT_FOUND
    app.extensions["last_used"].flush()


# --- the picture


def test_the_url_serves_the_picture_to_anyone_as_webp(image: dict[str, Any], anonymous: FlaskClient) -> None:
    for size in image["sizes"]:
        response = get(anonymous, size["url"].removeprefix(PUBLIC_URL))
        assert (response.status_code, response.content_type) == (200, "image/webp")
        with Image.open(io.BytesIO(response.data)) as picture:
            assert (picture.format, picture.size) == ("WEBP", (size["width"], size["height"]))


def test_a_size_has_the_headers_of_its_image(
    image: dict[str, Any], path: str, anonymous: FlaskClient
) -> None:
    original = get(anonymous, image["url"].removeprefix(PUBLIC_URL)).headers
    for _ in range(2):  # the first answer is that of the request that makes it
        response = get(anonymous, path)
        assert response.status_code == 200
        headers = response.headers
        own = {"ETag", "Content-Type", "Content-Length", "Content-Disposition", "Last-Modified"}
        for name in {*original.keys(), *headers.keys()} - {*own, "X-Request-Id", "Date"}:
            assert headers.get(name) == original.get(name), name
        assert headers["Cache-Control"] == "public, max-age=31536000, immutable"
        assert headers["Content-Disposition"] == f'inline; filename="{path.rpartition("/")[2]}"'


def test_a_size_is_made_once_and_kept(
    path: str, anonymous: FlaskClient, made: list[int], storage: StorageBackend
) -> None:
    first = get(anonymous, path)
    again = get(anonymous, path)
    assert (again.status_code, again.data, again.headers["ETag"]) == (200, first.data, first.headers["ETag"])
    assert made == [160]
    with storage.open(path.removeprefix("/media/")) as stored:
        assert stored.stream.read() == first.data


def test_conditions_ranges_and_head_work_from_the_first_request_on(path: str, anonymous: FlaskClient) -> None:
    head = anonymous.head(path, buffered=True)
    assert (head.status_code, head.data) == (200, b"")
    other = of_width(path, 320)
    part = get(anonymous, other, Range="bytes=0-3")
    assert (part.status_code, part.data) == (206, b"RIFF")
    whole = get(anonymous, other)
    assert get(anonymous, other, If_None_Match=whole.headers["ETag"]).status_code == 304


def test_requests_for_a_size_at_the_same_time_wait_for_the_one_that_makes_it(
    app: Flask, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    count, made = 12, []

    def slow(data: bytes, width: int) -> bytes:
        made.append(width)
        wait_until(lambda: sizes._PLACES.held == count)
        return resize(data, width)

    monkeypatch.setattr("sizes.resize", slow)
    with ThreadPoolExecutor(count) as pool:
        answers = list(pool.map(lambda _: get(app.test_client(), path), range(count)))
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.data for answer in answers}) == 1
    assert made == [160]


# --- what is not there


@pytest.fixture
def no_decode(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sizes.resize", fail_with(AssertionError("a picture is decoded")))


@pytest.mark.usefixtures("no_decode")
@pytest.mark.parametrize("width", ["1", "161", "640", "2048", "0160", "99999", "0", "-160", "160.0", "¹60"])
def test_a_width_that_the_image_does_not_have_is_a_404(path: str, anonymous: FlaskClient, width: str) -> None:
    response = get(anonymous, path.replace("_160w", f"_{width}w"))
    assert told(response) == NOT_FOUND
    assert response.headers["Cache-Control"] == "no-store"


def test_a_width_that_is_not_listed_costs_no_look_up(
    path: str, anonymous: FlaskClient, catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catalog, "get_product", fail_with(AssertionError("the catalog is asked")))
    assert told(get(anonymous, of_width(path, 161))) == NOT_FOUND


@on_both_catalogs
@pytest.mark.usefixtures("no_decode")
def test_a_size_of_a_picture_that_does_not_exist_is_a_404(path: str, anonymous: FlaskClient) -> None:
    workspace, _, product, _, name = path.removeprefix("/media/").split("/")
    for other in (
        f"{workspace}/products/{product}/images/{32 * 'a'}_160w.webp",
        f"{workspace}/products/{24 * 'a'}/images/{name}",
        f"{24 * 'a'}/products/{product}/images/{name}",
        f"{workspace}/products/{product}/images/{name}".replace("_160w", ""),
        f"{workspace}/products/{product}/images/{name}".replace(".webp", ".jpg"),
        f"{workspace}/products/{product}/images/{name}".replace(".webp", "_160w.webp"),
        f"{workspace}/products/{product}/images/{name.upper()}",
        f"{workspace}/products/{product}/images/_160w.webp",
        f"x/{name}",
    ):
        assert told(get(anonymous, f"/media/{other}")) == NOT_FOUND


@pytest.mark.usefixtures("no_decode")
def test_a_size_whose_image_is_not_in_the_store_is_a_404(
    image: dict[str, Any], path: str, anonymous: FlaskClient, storage: StorageBackend
) -> None:
    storage.delete(image["url"].removeprefix(f"{PUBLIC_URL}/media/"))
    assert told(get(anonymous, path)) == NOT_FOUND


def test_the_url_of_a_size_can_not_be_an_image_of_a_product(
    product: dict[str, Any], image: dict[str, Any], client: FlaskClient, new_product: NewProduct
) -> None:
    url = image["sizes"][0]["url"]
    for refused in (product, new_product()):
        response = client.patch(f"/api/v1/products/{refused['_id']}", json={"imageUrls": [url]})
        reason = "A URL of this server must be exactly the URL of one of this product's images"
        assert response.status_code == 400
        assert response.json["details"] == {"fieldErrors": {"imageUrls": [reason]}}  # type: ignore[index]  # the answer is JSON


# --- gone with the image


def delete_image(client: FlaskClient, product: dict[str, Any]) -> None:
    assert client.delete(f"{images_path(product)}/0").status_code == 200


def replace_image_urls(client: FlaskClient, product: dict[str, Any]) -> None:
    url = f"/api/v1/products/{product['_id']}"
    assert client.patch(url, json={"imageUrls": []}).status_code == 200


def delete_product(client: FlaskClient, product: dict[str, Any]) -> None:
    response = client.delete(f"/api/v1/products/{product['_id']}")
    assert response.json["summary"]["deletedCounts"]["r2ObjectsDeleted"] == 3  # type: ignore[index]  # the answer is JSON


REMOVALS = [delete_image, replace_image_urls, delete_product]


@on_both_catalogs
@pytest.mark.parametrize("remove", REMOVALS)
def test_the_sizes_are_gone_with_their_image(
    product: dict[str, Any],
    path: str,
    client: FlaskClient,
    stored_keys: StoredKeys,
    remove: Callable[[FlaskClient, dict[str, Any]], None],
) -> None:
    paths = [path, of_width(path, 320)]
    assert [get(client, each).status_code for each in paths] == [200, 200]
    remove(client, product)
    assert stored_keys() == set()
    assert [told(get(client, each)) for each in paths] == [NOT_FOUND] * 2


@pytest.mark.parametrize("remove", REMOVALS[:2])
def test_the_sizes_of_other_images_stay(
    product: dict[str, Any],
    path: str,
    upload: Post,
    client: FlaskClient,
    stored_keys: StoredKeys,
    remove: Callable[[FlaskClient, dict[str, Any]], None],
    new_product: NewProduct,
) -> None:
    kept = new_product()
    upload(kept, PICTURE)
    body: Any = client.get(f"/api/v1/products/{kept['_id']}").json
    other = body["images"][0]["sizes"][0]["url"].removeprefix(PUBLIC_URL)
    assert [get(client, each).status_code for each in (path, other)] == [200, 200]
    remove(client, product)
    assert stored_keys() == {body["imageUrls"][0].removeprefix(f"{PUBLIC_URL}/media/"), other[7:]}


def test_the_sizes_of_widths_that_are_no_longer_listed_are_gone_with_their_image(
    settings: Settings,
    storage: StorageBackend,
    catalog: Catalog,
    tenant: Tenant,
    product: dict[str, Any],
    path: str,
    client: FlaskClient,
    stored_keys: StoredKeys,
) -> None:
    assert get(client, path).status_code == 200
    app = create_app(replace(settings, image_sizes=(320,)), storage=storage, catalog=catalog)
    delete_image(client_with(app, tenant.key), product)
    assert stored_keys() == set()
    app.extensions["last_used"].flush()


def test_an_upload_asks_the_store_for_no_sizes(
    product: dict[str, Any], upload: Post, storage: StorageBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage, "list", fail_with(AssertionError("the store is listed")))
    monkeypatch.setattr(storage, "info", fail_with(AssertionError("the store is asked")))
    assert upload(product, PICTURE).status_code == 201


# --- faults


@pytest.fixture
def before(anonymous: FlaskClient) -> Samples:
    return samples(anonymous.get("/metrics").text)


def size_counts(client: FlaskClient, before: Samples) -> dict[str, float]:
    counts = difference(client, before)
    return {label: count for (name, label), count in counts.items() if name == "vetrina_sizes_total"}


def test_sizes_are_counted(path: str, anonymous: FlaskClient, before: Samples) -> None:
    for _ in range(3):
        assert get(anonymous, path).status_code == 200
    get(anonymous, of_width(path, 161))
    assert size_counts(anonymous, before) == {"made": 1, "served": 3}


def test_a_store_that_takes_no_size_is_a_503_and_leaves_nothing(
    path: str,
    anonymous: FlaskClient,
    storage: StorageBackend,
    stored_keys: StoredKeys,
    before: Samples,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with monkeypatch.context() as context:
        context.setattr(storage, "put", fail_with(StorageUnavailable("no room")))
        response = get(anonymous, path)
    assert told(response) == UNAVAILABLE
    assert int(response.headers["Retry-After"]) > 0
    assert len(stored_keys()) == 1
    assert size_counts(anonymous, before) == {"failed": 1}
    assert get(anonymous, path).status_code == 200


def test_a_catalog_that_is_down_stops_new_sizes_and_not_those_that_exist(
    path: str, anonymous: FlaskClient, catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert get(anonymous, path).status_code == 200
    monkeypatch.setattr(catalog, "get_product", fail_with(CatalogUnavailable()))
    assert get(anonymous, path).status_code == 200
    response = get(anonymous, of_width(path, 320))
    assert told(response) == UNAVAILABLE
    assert int(response.headers["Retry-After"]) > 0


def test_a_catalog_that_does_not_answer_after_the_write_leaves_no_size(
    path: str,
    anonymous: FlaskClient,
    catalog: Catalog,
    stored_keys: StoredKeys,
    before: Samples,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def then_the_catalog_is_down(data: bytes, width: int) -> bytes:
        monkeypatch.setattr(catalog, "get_product", fail_with(CatalogUnavailable()))
        return resize(data, width)

    monkeypatch.setattr("sizes.resize", then_the_catalog_is_down)
    assert told(get(anonymous, path)) == UNAVAILABLE
    assert len(stored_keys()) == 1
    assert size_counts(anonymous, before) == {"failed": 1}


def test_a_process_without_memory_is_a_503(
    path: str, anonymous: FlaskClient, before: Samples, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sizes.resize", fail_with(MemoryError()))
    response = get(anonymous, path)
    assert told(response) == UNAVAILABLE
    assert response.headers["Retry-After"] == "2"
    assert size_counts(anonymous, before) == {"failed": 1}


def test_a_stored_file_that_can_not_be_decoded_is_a_500_that_says_so(
    image: dict[str, Any],
    path: str,
    anonymous: FlaskClient,
    settings: Settings,
    before: Samples,
    caplog: pytest.LogCaptureFixture,
) -> None:
    key = image["url"].removeprefix(f"{PUBLIC_URL}/media/")
    (settings.data_dir / "media" / key).write_bytes(b"\xff\xd8 not a picture")
    response = get(anonymous, path)
    assert told(response) == (500, {"error": "Image can't be resized"})
    assert key in caplog.text
    assert size_counts(anonymous, before) == {"failed": 1}


# --- limits


def test_a_workspace_with_too_many_requests_for_missing_sizes_is_told_when_to_come_back(
    app: Flask, path: str, anonymous: FlaskClient, before: Samples, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = threading.Event()

    def slow(data: bytes, width: int) -> bytes:
        ended.wait(60)
        return resize(data, width)

    monkeypatch.setattr("sizes.resize", slow)
    with ThreadPoolExecutor(sizes._OWN_REQUESTS) as pool:
        flood = [pool.submit(get, app.test_client(), path) for _ in range(sizes._OWN_REQUESTS)]
        try:
            wait_until(lambda: sizes._PLACES.held == sizes._OWN_REQUESTS)
            response = get(anonymous, of_width(path, 320))
        finally:
            ended.set()
        assert {answer.result().status_code for answer in flood} == {200}
    assert told(response) == UNAVAILABLE
    assert response.headers["Retry-After"] == "2"
    assert size_counts(anonymous, before) == {"made": 1, "served": sizes._OWN_REQUESTS, "refused": 1}
    waits = difference(anonymous, before)["vetrina_size_wait_seconds_count", ""]
    assert waits == sizes._OWN_REQUESTS
