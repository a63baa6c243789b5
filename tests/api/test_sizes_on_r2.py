"""Sizes over HTTP, with the bytes in a bucket of moto's server."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import requests
from flask.testing import FlaskClient
from PIL import Image
from werkzeug.test import TestResponse

from app import create_app, make_storage
from catalog.base import Catalog
from config import Settings
from storage.base import StorageBackend
from tests.api.fixtures import Post, images_path
from tests.api.test_metrics import difference, samples
from tests.cli.conftest import r2_settings
from tests.conftest import PUBLIC_URL, Tenant
from tests.factories import client_with
from tests.faults import fail_with
from tests.pictures import jpeg
from tests.s3 import new_bucket
from tests.storage.contract import keys_of

CDN = "https://cdn.example.com"
PICTURE = jpeg(400, 300)


@pytest.fixture
def settings(tmp_path: Path, moto: str) -> Settings:
    return r2_settings(tmp_path, moto, new_bucket(moto), backend="r2")


@pytest.fixture
def storage(settings: Settings) -> StorageBackend:
    return make_storage(settings, "r2")


@pytest.fixture
def image(product: dict[str, Any], upload: Post, client: FlaskClient) -> dict[str, Any]:
    assert upload(product, PICTURE).status_code == 201
    body: Any = client.get(f"/api/v1/products/{product['_id']}").json
    return dict(body["images"][0])


@pytest.fixture
def path(image: dict[str, Any]) -> str:
    return str(image["sizes"][0]["url"]).removeprefix(PUBLIC_URL)


def told(response: TestResponse) -> tuple[int, Any]:
    return response.status_code, response.json


def test_the_url_of_a_size_is_on_the_server(settings: Settings, image: dict[str, Any]) -> None:
    key = image["url"].removeprefix(f"{settings.r2_public_url}/").removesuffix(".jpg")
    assert [size["url"] for size in image["sizes"]] == [
        f"{PUBLIC_URL}/media/{key}_160w.webp",
        f"{PUBLIC_URL}/media/{key}_320w.webp",
    ]


def test_a_size_is_made_and_then_served_by_the_bucket(
    settings: Settings, path: str, anonymous: FlaskClient
) -> None:
    before = samples(anonymous.get("/metrics").text)
    for _ in range(2):
        response = anonymous.get(path)
        location = f"{settings.r2_public_url}/{path.removeprefix('/media/')}"
        assert (response.status_code, response.headers["Location"]) == (302, location)
        assert response.data == b""
        assert response.headers["Cache-Control"] == "public, max-age=86400"
        assert response.headers["Access-Control-Allow-Origin"] == "*"
    counts = difference(anonymous, before)
    assert {label: count for (name, label), count in counts.items() if name == "vetrina_sizes_total"} == {
        "made": 1,
        "served": 2,
    }
    served = requests.get(location, timeout=10)
    assert served.headers["Content-Type"] == "image/webp"
    assert served.headers["Cache-Control"] == "public, max-age=31536000, immutable"
    with Image.open(io.BytesIO(served.content)) as picture:
        assert (picture.format, picture.size) == ("WEBP", (160, 120))


def test_a_size_that_was_found_once_is_not_looked_for_again(
    path: str,
    anonymous: FlaskClient,
    storage: StorageBackend,
    catalog: Catalog,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert anonymous.get(path).status_code == 302
    monkeypatch.setattr(catalog, "get_product", fail_with(AssertionError("the catalog is asked")))
    monkeypatch.setattr(storage, "info", fail_with(AssertionError("the store is asked")))
    assert anonymous.get(path).status_code == 302


def test_a_size_that_another_process_made_is_found(
    settings: Settings,
    catalog: Catalog,
    storage: StorageBackend,
    path: str,
    anonymous: FlaskClient,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    another = create_app(settings, storage=storage, catalog=catalog).test_client()
    assert another.get(path).status_code == 302
    monkeypatch.setattr("sizes.resize", fail_with(AssertionError("a picture is decoded")))
    assert anonymous.get(path).status_code == 302


def test_what_is_not_a_size_is_not_found_here(
    settings: Settings, image: dict[str, Any], path: str, anonymous: FlaskClient
) -> None:
    original = image["url"].replace(settings.r2_public_url, "/media")
    for other in (original, path.replace("_160w", "_161w"), path.replace("_160w", "_640w"), "/media/x"):
        response = anonymous.get(other)
        assert told(response) == (404, {"error": "Not found"})
        assert response.headers["Cache-Control"] == "no-store"


def test_the_sizes_are_gone_from_the_bucket_with_their_image(
    product: dict[str, Any], path: str, client: FlaskClient, storage: StorageBackend
) -> None:
    assert client.get(path).status_code == 302
    assert len(keys_of(storage)) == 2
    assert client.delete(f"{images_path(product)}/0").status_code == 200
    assert keys_of(storage) == set()


class TestTransformations:
    @pytest.fixture
    def settings(self, tmp_path: Path, moto: str) -> Settings:
        settings = r2_settings(tmp_path, moto, new_bucket(moto), backend="r2")
        return replace(settings, r2_public_url=CDN, r2_transformations=True)

    @pytest.fixture(autouse=True)
    def no_decode(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("sizes.resize", fail_with(AssertionError("a picture is decoded")))

    def test_the_url_of_a_size_is_cloudflares(self, image: dict[str, Any]) -> None:
        key = image["url"].removeprefix(f"{CDN}/")
        assert image["sizes"] == [
            {
                "width": width,
                "height": height,
                "contentType": "image/webp",
                "url": f"{CDN}/cdn-cgi/image/width={width},format=auto/{key}",
            }
            for width, height in [(160, 120), (320, 240)]
        ]

    def test_a_url_that_clients_got_before_leads_to_cloudflare(
        self, image: dict[str, Any], anonymous: FlaskClient, storage: StorageBackend
    ) -> None:
        key = image["url"].removeprefix(f"{CDN}/")
        response = anonymous.get(f"/media/{key.removesuffix('.jpg')}_160w.webp")
        assert (response.status_code, response.headers["Location"]) == (302, image["sizes"][0]["url"])
        assert keys_of(storage) == {key}
        unknown = anonymous.get(f"/media/{key.removesuffix('.jpg')}_161w.webp")
        assert told(unknown) == (404, {"error": "Not found"})

    def test_a_path_of_the_bucket_stays_before_the_key(
        self,
        settings: Settings,
        storage: StorageBackend,
        catalog: Catalog,
        tenant: Tenant,
        image: dict[str, Any],
    ) -> None:
        app = create_app(replace(settings, r2_public_url=f"{CDN}/shop"), storage=storage, catalog=catalog)
        client = client_with(app, tenant.key)
        listed: Any = client.get("/api/v1/products").json
        key = image["url"].removeprefix(f"{CDN}/")
        url = f"{CDN}/cdn-cgi/image/width=160,format=auto/shop/{key}"
        assert listed["data"]["items"][0]["images"][0]["sizes"][0]["url"] == url
        app.extensions["last_used"].flush()
