"""The width and height of uploaded images, over HTTP, as a viewer sees them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from flask.testing import FlaskClient

from app import create_app
from catalog.base import Catalog
from config import Settings
from storage.base import StorageBackend
from tests import carriers as c
from tests.api.fixtures import Post, on_both_catalogs
from tests.conftest import Tenant
from tests.factories import client_with
from tests.pictures import jpeg, png, webp

#: Pictures of 64 × 48 pixels, as they are stored, by the extension of their file.
ORIENTED: dict[str, Callable[[int], bytes]] = {
    "jpg": lambda orientation: c.jpeg_with(c.app1_exif(c.exif(orientation))),
    "png": lambda orientation: c.png_with(png(), (b"eXIf", c.exif(orientation))),
    "webp": lambda orientation: webp(exif=c.exif(orientation)),
}
TYPES = {"jpg": "image/jpeg", "png": "image/png", "webp": "image/webp"}
PLAIN = {"jpg": jpeg, "png": png, "webp": webp}


def seen(orientation: int) -> tuple[int, int]:
    """The size of a picture of 64 × 48 pixels as a viewer sees it: 5 to 8 show its rows as columns."""
    return (48, 64) if orientation >= 5 else (64, 48)


def sizes_of(client: FlaskClient, product_id: str) -> list[tuple[int, int]]:
    """The sizes of the product's hosted images, as clients see them."""
    body: Any = client.get(f"/api/v1/products/{product_id}").json
    return [(image["width"], image["height"]) for image in body["images"] if "width" in image]


@on_both_catalogs
@pytest.mark.parametrize("extension", ORIENTED)
def test_a_product_has_the_size_of_its_images_as_a_viewer_sees_them(
    product: dict[str, Any], upload: Post, client: FlaskClient, extension: str
) -> None:
    for orientation in range(1, 9):
        response = upload(product, ORIENTED[extension](orientation), TYPES[extension])
        assert response.status_code == 201, response.text
    assert sizes_of(client, product["_id"]) == [seen(orientation) for orientation in range(1, 9)]


@pytest.mark.parametrize("extension", PLAIN)
def test_an_image_without_orientation_has_its_stored_size(
    product: dict[str, Any], upload: Post, client: FlaskClient, extension: str
) -> None:
    assert upload(product, PLAIN[extension](), TYPES[extension]).status_code == 201
    assert sizes_of(client, product["_id"]) == [(64, 48)]


@pytest.mark.parametrize("orientation", [0, 9])
def test_an_orientation_that_does_not_exist_turns_nothing(
    product: dict[str, Any], upload: Post, client: FlaskClient, orientation: int
) -> None:
    assert upload(product, ORIENTED["jpg"](orientation)).status_code == 201
    assert sizes_of(client, product["_id"]) == [(64, 48)]


@pytest.mark.parametrize("blocks", [(6, 1), (None, 6), (1, 6)])
def test_the_first_exif_block_alone_turns_the_image(
    product: dict[str, Any], upload: Post, client: FlaskClient, blocks: tuple[int | None, int]
) -> None:
    data = c.jpeg_with(*(c.app1_exif(c.exif(orientation)) for orientation in blocks))
    assert upload(product, data).status_code == 201
    assert sizes_of(client, product["_id"]) == [seen(blocks[0] or 1)]


def test_the_orientation_counts_if_metadata_is_kept(
    settings: Settings, storage: StorageBackend, catalog: Catalog, tenant: Tenant, upload: Post
) -> None:
    app = create_app(replace(settings, strip_metadata=False), storage=storage, catalog=catalog)
    client = client_with(app, tenant.key)
    body = {"name": "Lamp", "model": "L-1", "category": "electronics"}
    product: Any = client.post("/api/v1/products", json=body).json
    assert upload(product, ORIENTED["jpg"](6), client=client).status_code == 201
    assert sizes_of(client, product["_id"]) == [(48, 64)]
    app.extensions["last_used"].flush()
