"""The application with its records in MongoDB and its images on the disk."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import requests
from flask.testing import FlaskClient

from catalog.base import Catalog
from catalog.mongo import MongoCatalog
from storage.base import StorageBackend
from tests.conftest import Tenant
from tests.mongo import MongoServer, database_uri, new_database
from tests.pictures import jpeg
from tests.servers import gunicorn
from tests.test_worker import open_shop

PICTURE = jpeg(640, 480)
UNAVAILABLE = {"error": "Service temporarily unavailable"}


@pytest.fixture
def mongo(tmp_path: Path) -> Iterator[MongoServer]:
    """A server for one test, which may kill it."""
    server = MongoServer(tmp_path)
    yield server
    server.kill()


@pytest.fixture
def catalog(mongo: MongoServer) -> Iterator[Catalog]:
    with closing(MongoCatalog(database_uri(mongo.uri, "vetrina"), timeout=2)) as catalog:
        yield catalog


@pytest.fixture
def product_url(client: FlaskClient) -> str:
    response = client.post(
        "/api/v1/products", json={"name": "Pack", "model": "BP-48V", "category": "batteries"}
    )
    assert response.status_code == 201
    return str(response.headers["Location"])


def upload(client: FlaskClient, product_url: str) -> Any:
    return client.post(f"{product_url}/images", data={"file": (io.BytesIO(PICTURE), "hero.jpg")})


def test_an_upload_is_stored_listed_and_removed(
    client: FlaskClient, product_url: str, storage: StorageBackend
) -> None:
    first = upload(client, product_url)
    assert first.status_code == 201
    second = upload(client, product_url)
    assert second.status_code == 201
    urls = [first.json["imageUrl"], second.json["imageUrl"]]
    assert second.json == {"imageUrl": urls[1], "imageUrls": urls}
    product = client.get(product_url)
    assert (product.json or {})["imageUrls"] == urls
    removal = {"If-Match": product.headers["ETag"]}
    assert client.delete(f"{product_url}/images/0", headers=removal).json == {"imageUrls": urls[1:]}
    assert client.delete(f"{product_url}/images/0", headers=removal).status_code == 412
    assert [storage.public_url(info.key) for info in storage.list()] == urls[1:]


def test_while_the_database_is_down_every_request_gets_503_and_none_gets_401(
    mongo: MongoServer,
    tenant: Tenant,
    anonymous: FlaskClient,
    product_url: str,
    storage: StorageBackend,
) -> None:
    client = tenant.client
    assert upload(client, product_url).status_code == 201
    before = client.get(product_url).json
    mongo.kill()
    unknown_key = {"Authorization": "Bearer tp_no_such_key"}
    requests: list[Callable[[], Any]] = [
        lambda: upload(client, product_url),
        lambda: client.get(product_url),
        lambda: anonymous.get(product_url, headers=unknown_key),
    ]
    with ThreadPoolExecutor(len(requests)) as pool:
        for response in pool.map(lambda request: request(), requests):
            assert (response.status_code, response.json) == (503, UNAVAILABLE)
            assert int(response.headers["Retry-After"]) > 0
    assert anonymous.get(product_url).status_code == 401
    mongo.start()
    assert client.get(product_url).json == before
    assert anonymous.get(product_url, headers=unknown_key).status_code == 401
    assert upload(client, product_url).status_code == 201
    assert len(list(storage.list())) == 2


def test_a_revoked_key_is_refused_by_the_next_request_of_another_process(
    mongo: MongoServer, tenant: Tenant, product_url: str
) -> None:
    assert tenant.client.get(product_url).status_code == 200
    with closing(MongoCatalog(database_uri(mongo.uri, "vetrina"))) as elsewhere:
        (credential,) = elsewhere.list_api_keys(tenant.workspace.id)
        elsewhere.revoke_credential(credential.id, credential.created_at)
    assert tenant.client.get(product_url).status_code == 401


def test_of_40_uploads_at_once_to_two_processes_20_are_taken(mongodb_uri: str, tmp_path: Path) -> None:
    with (
        new_database(mongodb_uri) as uri,
        gunicorn(tmp_path, CATALOG_URL=uri, WEB_CONCURRENCY="2") as server,
    ):
        shop = open_shop(server)
        url = shop.new_product()
        with ThreadPoolExecutor(40) as pool:
            answers = list(pool.map(lambda _: shop.upload(url), range(40)))
        assert sorted(answer.status_code for answer in answers) == [201] * 20 + [422] * 20
        urls = shop.product(url)["imageUrls"]
        assert sorted(urls) == sorted(answer.json()["imageUrl"] for answer in answers if answer.ok)
        assert all(requests.get(url, timeout=10).content == PICTURE for url in urls)
        files = [path for path in Path(server.environ["DATA_DIR"], "media").rglob("*") if path.is_file()]
        assert sorted(path.name for path in files) == sorted(url.rpartition("/")[2] for url in urls)
