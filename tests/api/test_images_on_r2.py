"""The image calls with the bytes in a bucket of moto's server."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from flask.testing import FlaskClient

from app import make_storage
from config import Settings
from storage.base import StorageBackend
from tests.api.fixtures import Post, images_path
from tests.conftest import Tenant
from tests.pictures import jpeg
from tests.s3 import HASTY, Answer, drip, error, new_bucket, r2_storage, reset, scripted, silence
from tests.servers import free_port

CDN = "https://cdn.example.com"


@pytest.fixture
def bucket(moto: str) -> str:
    return new_bucket(moto)


@pytest.fixture
def settings(tmp_path: Path, moto: str, bucket: str) -> Settings:
    return Settings(
        data_dir=tmp_path / "data",
        storage_backend="r2",
        r2_endpoint_url=moto,
        r2_bucket=bucket,
        r2_access_key_id="not-a-key-id",
        r2_secret_access_key="not-a-secret-key",
        r2_public_url=f"{CDN}/",
    )


@pytest.fixture
def storage(settings: Settings) -> StorageBackend:
    return make_storage(settings, "r2")


def keys(storage: StorageBackend) -> list[str]:
    return [info.key for info in storage.list()]


def test_an_upload_answers_the_url_on_the_domain_of_the_bucket(
    product: dict[str, Any], upload: Post, tenant: Tenant, moto: str, bucket: str
) -> None:
    response = upload(product)
    (url,) = response.json["imageUrls"]  # type: ignore[index]  # the answer is JSON
    assert response.status_code == 201
    assert response.json == {"imageUrl": url, "imageUrls": [url]}
    prefix = f"{CDN}/{tenant.workspace.id}/products/{product['_id']}/images/"
    assert re.fullmatch(rf"{prefix}[0-9a-f]{{32}}\.jpg", url)
    served = requests.get(url.replace(CDN, f"{moto}/{bucket}"), timeout=10)
    assert served.content == jpeg()
    assert served.headers["Content-Type"] == "image/jpeg"
    assert served.headers["Cache-Control"] == "public, max-age=31536000, immutable"


def test_a_deleted_image_is_gone_from_the_bucket(
    product: dict[str, Any], upload: Post, client: FlaskClient, storage: StorageBackend
) -> None:
    upload(product)
    kept = upload(product).json["imageUrl"]  # type: ignore[index]  # the answer is JSON
    response = client.delete(f"{images_path(product)}/0")
    assert (response.status_code, response.json) == (200, {"imageUrls": [kept]})
    assert keys(storage) == [kept.removeprefix(f"{CDN}/")]


def test_the_server_does_not_serve_what_the_bucket_serves(
    product: dict[str, Any], upload: Post, client: FlaskClient, storage: StorageBackend
) -> None:
    upload(product)
    (key,) = keys(storage)
    response = client.get(f"/media/{key}")
    assert (response.status_code, response.json) == (404, {"error": "Not found"})


class TestAnOutage:
    ANSWERS = {  # noqa: RUF012  # read only
        "refused": None,
        "silent": silence,
        "dripping": drip(b"HTTP/1.1 200 OK\r\nX: "),
        "reset": reset,
        "500": error(500, "InternalError"),
        "503": error(503, "SlowDown"),
        "403": error(403, "AccessDenied"),
    }

    @pytest.fixture(params=list(ANSWERS))
    def answer(self, request: pytest.FixtureRequest) -> Answer | None:
        return self.ANSWERS[request.param]

    @pytest.fixture
    def storage(self, answer: Answer | None) -> Iterator[StorageBackend]:
        if answer is None:
            yield r2_storage(f"http://127.0.0.1:{free_port()}")
        else:
            with scripted(answer) as s3:
                yield r2_storage(s3.url, **HASTY)

    def test_is_a_503_that_changes_nothing(
        self,
        product: dict[str, Any],
        upload: Post,
        client: FlaskClient,
    ) -> None:
        before = client.get(f"/api/v1/products/{product['_id']}").json
        response = upload(product)
        assert response.status_code == 503
        assert response.json == {"error": "Service temporarily unavailable"}
        assert int(response.headers["Retry-After"]) > 0
        assert client.get(f"/api/v1/products/{product['_id']}").json == before
