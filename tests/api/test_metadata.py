"""Metadata removal over HTTP: what is served, and what the product reports of it."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Any

import pytest
from flask.testing import FlaskClient

from app import create_app
from catalog.base import Catalog, Image
from catalog.ids import now
from config import Settings
from storage.base import StorageBackend
from tests import carriers as c
from tests.api.fixtures import FORM_TYPE, NewProduct, Post, form, images_path, on_both_catalogs
from tests.conftest import PUBLIC_URL, Tenant
from tests.pictures import animation, png, webp
from tests.storage.contract import read
from validators.containers.exif import exif_of_orientation

CARRYING = c.jpeg_with(c.app1_exif(c.exif(6)), c.app1_xmp(c.xmp()), c.segment(0xFE, c.COMMENT))
STORED = c.jpeg_with(c.app1_exif(exif_of_orientation(6)))
REMOVED = ["comment", "exif", "gps", "thumbnail", "xmp"]


def served(client: FlaskClient, url: str) -> bytes:
    return bytes(client.get(url.removeprefix(PUBLIC_URL), buffered=True).data)


def test_what_is_served_carries_the_orientation_alone(
    product: dict[str, Any], upload: Post, client: FlaskClient
) -> None:
    response = upload(product, CARRYING)
    body: Any = response.json
    url = body["imageUrl"]
    assert response.status_code == 201
    assert body == {"imageUrl": url, "imageUrls": [url]}
    assert served(client, url) == STORED


@pytest.mark.parametrize("data", [CARRYING, STORED], ids=["with metadata", "without"])
def test_the_store_gets_the_digest_of_the_bytes_that_it_stores(
    product: dict[str, Any],
    upload: Post,
    storage: StorageBackend,
    monkeypatch: pytest.MonkeyPatch,
    data: bytes,
) -> None:
    put = storage.put

    def check_then_put(key: str, data: bytes, *, sha256: bytes) -> None:
        assert hashlib.sha256(data).digest() == sha256
        put(key, data, sha256=sha256)

    monkeypatch.setattr(storage, "put", check_then_put)
    assert upload(product, data).status_code == 201


def test_a_product_tells_what_was_removed_from_each_image(
    new_product: NewProduct, upload: Post, client: FlaskClient
) -> None:
    external = "https://cdn.example.com/hero.jpg"
    product = new_product(imageUrls=[external])
    upload(product, CARRYING)
    upload(product, STORED)
    images: Any = client.get(f"/api/v1/products/{product['_id']}").json
    without, with_metadata, clean = images["images"]
    assert without == {"url": external, "alt": {}}
    assert with_metadata["metadataRemoved"] == REMOVED
    assert with_metadata["size"] == len(STORED)
    assert with_metadata["sha256"] == hashlib.sha256(CARRYING).hexdigest()
    assert clean["metadataRemoved"] == []
    assert clean["sha256"] == hashlib.sha256(STORED).hexdigest()


@on_both_catalogs
def test_a_product_says_how_its_images_were_made(
    new_product: NewProduct, upload: Post, client: FlaskClient
) -> None:
    product = new_product()
    for term in ("trainedAlgorithmicMedia", "digitalCapture"):
        upload(product, c.jpeg_with(c.app1_xmp(c.source_xmp(term))))
    upload(product, STORED)
    body: Any = client.get(f"/api/v1/products/{product['_id']}").json
    assert [image["digitalSourceType"] for image in body["images"]] == [
        "trainedAlgorithmicMedia",
        "digitalCapture",
        None,
    ]
    first = served(client, body["imageUrls"][0])
    assert first.count(b"digitalsourcetype/trainedAlgorithmicMedia") == 1
    assert c.SERIAL not in first


def test_a_file_is_known_again_by_the_bytes_that_were_sent(product: dict[str, Any], upload: Post) -> None:
    first: Any = upload(product, CARRYING).json
    again = upload(product, CARRYING, query="?ifExists=skip")
    assert (again.status_code, again.json) == (200, first)


@pytest.mark.parametrize(
    "data",
    [
        c.png_with(png(), (b"eXIf", c.exif()), c.text(b"Comment", c.COMMENT)) + c.SCRIPT,
        c.riff_of([*c.riff_chunks_of(webp()), (b"EXIF", c.exif())]),
        c.png_with(animation("PNG"), c.text(b"Comment", c.COMMENT)),
    ],
)
def test_nothing_hidden_is_served_of_any_type(
    product: dict[str, Any], upload: Post, client: FlaskClient, data: bytes
) -> None:
    body: Any = upload(product, data).json
    assert not [secret for secret in c.SECRETS if secret in served(client, body["imageUrl"])]


def test_without_removal_the_bytes_are_the_client_s(
    settings: Settings, storage: StorageBackend, catalog: Catalog, tenant: Tenant, product: dict[str, Any]
) -> None:
    app = create_app(replace(settings, strip_metadata=False), storage=storage, catalog=catalog)
    response = app.test_client().post(
        images_path(product),
        data=form(CARRYING),
        content_type=FORM_TYPE,
        headers={"Authorization": f"Bearer {tenant.key}"},
    )
    body: Any = response.json
    key = storage.key_of(body["imageUrl"])
    assert read(storage, key or "") == CARRYING
    images: Any = tenant.client.get(f"/api/v1/products/{product['_id']}").json
    assert images["images"][0]["metadataRemoved"] == []


def test_an_image_from_before_removal_was_told_has_nothing_removed(
    product: dict[str, Any], catalog: Catalog, tenant: Tenant
) -> None:
    image = Image(
        url=f"{PUBLIC_URL}/media/old.jpg",
        key="old.jpg",
        sha256="0" * 64,
        content_type="image/jpeg",
        size=1,
        width=1,
        height=1,
        created_at=now(),
    )
    catalog.append_image(tenant.workspace.id, product["_id"], image)
    assert catalog.get_product(tenant.workspace.id, product["_id"]).images == (image,)
    images: Any = tenant.client.get(f"/api/v1/products/{product['_id']}").json
    assert images["images"][0]["metadataRemoved"] == []
