"""``storage display-sizes`` with records of a version that did not know the orientation."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from flask.testing import FlaskClient, FlaskCliRunner

from app import make_storage
from catalog.base import Catalog, Image, Product
from catalog.errors import CatalogUnavailable
from catalog.identity import Quota
from config import Settings
from storage.base import StorageBackend, StorageUnavailable
from tests import carriers as c
from tests.api.fixtures import on_both_catalogs
from tests.cli.conftest import r2_settings
from tests.conftest import Tenant
from tests.factories import current, externals, hosted_image, new_product
from tests.faults import before_the_next, fail_with
from tests.pictures import png, webp
from tests.storage.contract import new_key, put
from validators.containers.exif import exif_of_orientation

#: Pictures of 64 × 48 pixels with an orientation, by the media type.
ORIENTED: dict[str, Callable[[int], bytes]] = {
    "image/jpeg": lambda orientation: c.jpeg_with(c.app1_exif(exif_of_orientation(orientation))),
    "image/png": lambda orientation: c.png_with(png(), (b"eXIf", exif_of_orientation(orientation))),
    "image/webp": lambda orientation: webp(exif=exif_of_orientation(orientation)),
}
DisplaySizes = Callable[..., Result]


@pytest.fixture(params=["disk", "r2"])
def settings(
    request: pytest.FixtureRequest, tmp_path: Path, moto: str, bucket: str, catalog_url: str
) -> Settings:
    settings = r2_settings(tmp_path, moto, bucket, request.param)
    return replace(settings, catalog_url=catalog_url)


@pytest.fixture
def storage(settings: Settings) -> StorageBackend:
    return make_storage(settings, settings.storage_backend)


@pytest.fixture
def display_sizes(runner: FlaskCliRunner) -> DisplaySizes:
    return lambda *args: runner.invoke(args=["storage", "display-sizes", *args])


def old_image(storage: StorageBackend, data: bytes, content_type: str = "image/jpeg") -> Image:
    """A stored image, and its record by an earlier version."""
    key = new_key(content_type.removeprefix("image/").replace("jpeg", "jpg"))
    put(storage, key, data)
    return hosted_image(
        key=key,
        url=storage.public_url(key),
        content_type=content_type,
        size=len(data),
        width=64,
        height=48,
    )


def old_product(catalog: Catalog, tenant: Tenant, *images: Image) -> Product:
    return new_product(catalog, tenant.workspace, images=images)


def completed(image: Image, orientation: int) -> Image:
    width, height = (48, 64) if orientation >= 5 else (64, 48)
    return replace(image, width=width, height=height, orientation=orientation)


one_store = pytest.mark.parametrize("settings", ["disk"], indirect=True)


@on_both_catalogs
def test_images_of_an_earlier_version_get_the_size_that_a_viewer_sees(
    display_sizes: DisplaySizes,
    catalog: Catalog,
    storage: StorageBackend,
    tenant: Tenant,
    client: FlaskClient,
) -> None:
    turned = {
        kind: [old_image(storage, make(orientation), kind) for orientation in range(1, 9)]
        for kind, make in ORIENTED.items()
    }
    external = externals(1)[0]
    products = {kind: old_product(catalog, tenant, external, *images) for kind, images in turned.items()}
    untouched = old_product(catalog, tenant, external)

    result = display_sizes()

    assert result.exit_code == 0, result.output
    assert result.stdout == "24 images have their display size now, 0 failed.\n"
    for kind, before in products.items():
        after = current(catalog, before)
        assert after == replace(
            before,
            images=(external, *(completed(image, number) for number, image in enumerate(turned[kind], 1))),
            version=before.version + 1,
            updated_at=after.updated_at,
        )
        body: Any = client.get(f"/api/v1/products/{before.id}").json
        seen = [(image["width"], image["height"]) for image in body["images"][1:]]
        assert seen == [(64, 48)] * 4 + [(48, 64)] * 4
    assert current(catalog, untouched) == untouched


@one_store
def test_json_is_one_object(
    display_sizes: DisplaySizes, catalog: Catalog, storage: StorageBackend, tenant: Tenant
) -> None:
    kind, make = next(iter(ORIENTED.items()))
    old_product(catalog, tenant, *(old_image(storage, make(number), kind) for number in (1, 2)))
    assert json.loads(display_sizes("--json", "--dry-run").stdout) == {"images": 2, "failed": 0}
    assert json.loads(display_sizes("--json").stdout) == {"images": 2, "failed": 0}


@on_both_catalogs
@one_store
def test_completed_records_are_left_as_they_are(
    display_sizes: DisplaySizes, catalog: Catalog, storage: StorageBackend, tenant: Tenant
) -> None:
    product = old_product(catalog, tenant, old_image(storage, ORIENTED["image/jpeg"](6)))
    assert display_sizes("--dry-run").stdout == "1 images have no display size.\n"
    assert current(catalog, product) == product
    display_sizes()
    after = current(catalog, product)
    assert display_sizes().stdout == "0 images have their display size now, 0 failed.\n"
    assert current(catalog, product) == after
    assert display_sizes("--dry-run").stdout == "0 images have no display size.\n"


@one_store
def test_an_upload_needs_no_completion(
    display_sizes: DisplaySizes, product: dict[str, Any], upload: Callable[..., Any]
) -> None:
    assert upload(product, ORIENTED["image/jpeg"](6)).status_code == 201
    assert display_sizes("--dry-run").stdout == "0 images have no display size.\n"


@on_both_catalogs
@one_store
def test_a_change_meanwhile_is_not_lost(
    display_sizes: DisplaySizes,
    catalog: Catalog,
    storage: StorageBackend,
    tenant: Tenant,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first, second = (old_image(storage, ORIENTED["image/jpeg"](6)) for _ in range(2))
    late = old_image(storage, ORIENTED["image/jpeg"](8))
    product = old_product(catalog, tenant, first, second)

    def change() -> None:
        catalog.remove_image(tenant.workspace.id, product.id, 0)
        catalog.append_image(tenant.workspace.id, product.id, late)

    before_the_next(monkeypatch, catalog, "update_product", change)
    assert display_sizes().stdout == "2 images have their display size now, 0 failed.\n"
    assert current(catalog, product).images == (completed(second, 6), completed(late, 8))


@on_both_catalogs
@one_store
@pytest.mark.parametrize("method", ["get_product", "update_product"])
def test_a_product_that_is_deleted_meanwhile_is_no_failure(
    display_sizes: DisplaySizes,
    catalog: Catalog,
    storage: StorageBackend,
    tenant: Tenant,
    monkeypatch: pytest.MonkeyPatch,
    method: str,
) -> None:
    product = old_product(catalog, tenant, old_image(storage, ORIENTED["image/jpeg"](6)))
    delete = lambda: catalog.delete_product(tenant.workspace.id, product.id)  # noqa: E731  # one expression
    before_the_next(monkeypatch, catalog, method, delete)
    result = display_sizes()
    assert (result.exit_code, result.stdout) == (0, "0 images have their display size now, 0 failed.\n")


@one_store
def test_an_image_that_is_removed_meanwhile_is_no_failure(
    display_sizes: DisplaySizes,
    catalog: Catalog,
    storage: StorageBackend,
    tenant: Tenant,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    image = old_image(storage, ORIENTED["image/jpeg"](6))
    product = old_product(catalog, tenant, image)

    def remove() -> None:
        catalog.remove_image(tenant.workspace.id, product.id, 0)
        storage.delete(image.key or "")

    before_the_next(monkeypatch, storage, "open", remove)
    result = display_sizes()
    assert (result.exit_code, result.stdout) == (0, "0 images have their display size now, 0 failed.\n")


def test_a_file_that_is_missing_or_damaged_fails_alone(
    display_sizes: DisplaySizes, catalog: Catalog, storage: StorageBackend, tenant: Tenant
) -> None:
    good, damaged, missing = (old_image(storage, ORIENTED["image/jpeg"](6)) for _ in range(3))
    put(storage, damaged.key or "", b"no picture")
    storage.delete(missing.key or "")
    product = old_product(catalog, tenant, good, damaged, missing)
    result = display_sizes()
    assert result.exit_code == 1
    assert result.stdout == "1 images have their display size now, 2 failed.\n"
    first, second = result.stderr.splitlines()
    assert first.startswith(f"product {product.id}: {damaged.key} can't be read: ")
    assert second == f"product {product.id}: {missing.key} is not in the storage"
    assert current(catalog, product).images == (completed(good, 6), damaged, missing)


@one_store
@pytest.mark.parametrize(
    ("owner", "method", "error", "sentence"),
    [
        ("storage", "open", StorageUnavailable("gone"), "The storage can't be used: gone."),
        ("catalog", "update_product", CatalogUnavailable("gone"), "The catalog can't be used: gone."),
    ],
)
def test_a_store_that_is_down_stops_it_with_one_sentence(
    display_sizes: DisplaySizes,
    catalog: Catalog,
    storage: StorageBackend,
    tenant: Tenant,
    monkeypatch: pytest.MonkeyPatch,
    owner: str,
    method: str,
    error: Exception,
    sentence: str,
) -> None:
    product = old_product(catalog, tenant, old_image(storage, ORIENTED["image/jpeg"](6)))
    with monkeypatch.context() as fault:
        fault.setattr({"storage": storage, "catalog": catalog}[owner], method, fail_with(error))
        result = display_sizes()
    assert (result.exit_code, result.stderr) == (1, f"Error: {sentence}\n")
    assert current(catalog, product) == product


@one_store
def test_a_workspace_over_its_quota_is_completed_too(
    display_sizes: DisplaySizes, catalog: Catalog, storage: StorageBackend, tenant: Tenant
) -> None:
    image = old_image(storage, ORIENTED["image/jpeg"](6))
    product = old_product(catalog, tenant, image)
    catalog.set_quota(tenant.workspace.id, Quota(products=0, images=0, bytes=0))
    assert display_sizes().exit_code == 0
    assert current(catalog, product).images == (completed(image, 6),)
