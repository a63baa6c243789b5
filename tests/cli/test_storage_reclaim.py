from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from flask import Flask
from flask.testing import FlaskCliRunner

from app import create_app, make_storage
from catalog.base import Catalog, Image, Product
from catalog.errors import CatalogUnavailable
from catalog.identity import Workspace
from config import Settings
from storage.base import ObjectLocked, StorageBackend, StorageUnavailable
from storage.disk import DiskStorage
from storage.r2 import R2Storage
from tests.api.fixtures import on_both_catalogs
from tests.cli.conftest import r2_settings
from tests.conftest import PUBLIC_URL
from tests.factories import a_product, client_with, current, externals, hosted_image, issue_key
from tests.faults import fail_with
from tests.storage.contract import keys_of, put, read

Run = Callable[..., Result]
NewMigrated = Callable[..., Product]


@pytest.fixture
def settings(tmp_path: Path, moto: str, bucket: str, catalog_url: str) -> Settings:
    """The settings after a migration from disk to R2."""
    return replace(r2_settings(tmp_path, moto, bucket, backend="r2"), catalog_url=catalog_url)


@pytest.fixture
def disk(settings: Settings) -> DiskStorage:
    return DiskStorage(settings.data_dir / "media", f"{PUBLIC_URL}/media")


@pytest.fixture
def storage(settings: Settings) -> StorageBackend:
    return make_storage(settings, "r2")


@pytest.fixture
def reclaim(runner: FlaskCliRunner) -> Run:
    return lambda *args: runner.invoke(args=["storage", "reclaim", *(args or ("--from", "disk"))])


@pytest.fixture
def migrated(
    catalog: Catalog, workspace: Workspace, disk: DiskStorage, storage: StorageBackend
) -> NewMigrated:
    """Creates a product whose images are in both stores, with URLs of the configured one."""

    def make(count: int = 1, **fields: Any) -> Product:
        product = a_product(workspace)
        images: list[Image] = []
        for number in range(count):
            key = f"{workspace.id}/products/{product.id}/images/{number:032x}.png"
            for store in (disk, storage):
                put(store, key, b"bytes")
            digest = sha256(b"bytes").hexdigest()
            image = hosted_image(key=key, url=storage.public_url(key), size=5, stored_sha256=digest)
            images.append(replace(image, **fields))
        product = replace(product, images=(*images, *externals(1)))
        catalog.create_product(product)
        return product

    return make


def key_of(product: Product, number: int = 0) -> str:
    return str(product.images[number].key)


@on_both_catalogs
def test_images_that_the_new_store_has_are_removed_from_the_old_one_with_their_sizes(
    reclaim: Run, catalog: Catalog, disk: DiskStorage, storage: StorageBackend, migrated: NewMigrated
) -> None:
    first, second = migrated(2), migrated()
    put(disk, key_of(first).replace(".png", "_160w.webp"), b"size")
    copied = keys_of(storage)

    result = reclaim()

    assert (result.exit_code, result.stdout, result.stderr) == (
        0,
        "3 images and 1 sizes, 19 bytes were removed from disk, 0 are kept.\n",
        "",
    )
    assert keys_of(disk) == set()
    assert keys_of(storage) == copied
    assert [current(catalog, product) for product in (first, second)] == [first, second]
    assert reclaim().stdout == "0 images and 0 sizes, 0 bytes were removed from disk, 0 are kept.\n"


def test_a_whole_migration_ends_with_an_empty_source(
    settings: Settings, catalog: Catalog, workspace: Workspace, disk: DiskStorage, storage: StorageBackend
) -> None:
    before = create_app(replace(settings, storage_backend="disk"), catalog=catalog)
    product = a_product(workspace)
    key = f"{workspace.id}/products/{product.id}/images/{'0' * 32}.png"
    put(disk, key, b"bytes")
    image = hosted_image(key=key, url=disk.public_url(key), size=5, stored_sha256=None)
    catalog.create_product(replace(product, images=(image,)))
    after = create_app(settings, catalog=catalog).test_cli_runner()

    result = after.invoke(args=["storage", "reclaim", "--from", "disk"])
    assert (result.exit_code, result.stderr) == (
        1,
        "Error: 1 images of 1 products do not have a URL of r2, so clients may get them from disk: run "
        "`flask --app wsgi storage migrate --to r2` first. Nothing was removed.\n",
    )
    assert keys_of(disk) == {key}
    assert before.test_cli_runner().invoke(args=["storage", "migrate", "--to", "r2"]).exit_code == 0
    result = after.invoke(args=["storage", "reclaim", "--from", "disk"])
    assert result.stdout == "1 images and 0 sizes, 5 bytes were removed from disk, 0 are kept.\n"
    assert (keys_of(disk), read(storage, key)) == (set(), b"bytes")


def test_the_store_that_is_in_use_is_refused(reclaim: Run, migrated: NewMigrated, disk: DiskStorage) -> None:
    product = migrated()
    result = reclaim("--from", "r2")
    assert result.exit_code == 2
    assert result.stderr.endswith(
        "Error: STORAGE_BACKEND is r2: its images are in use. Set it to disk first, and restart the "
        "servers.\n"
    )
    assert keys_of(disk) == {key_of(product)}


def test_a_bucket_that_is_mounted_as_the_folder_is_noticed(
    settings: Settings,
    catalog: Catalog,
    disk: DiskStorage,
    migrated: NewMigrated,
) -> None:
    product = migrated()
    mounted = DiskStorage(settings.data_dir / "media", settings.r2_public_url)
    app = create_app(settings, storage=mounted, catalog=catalog)
    result = app.test_cli_runner().invoke(args=["storage", "reclaim", "--from", "disk"])
    assert (result.exit_code, result.stderr) == (
        1,
        "Error: disk and r2 are the same store. Nothing was removed.\n",
    )
    assert keys_of(disk) == {key_of(product)}


def test_a_dry_run_compares_and_removes_nothing(
    reclaim: Run, disk: DiskStorage, storage: StorageBackend, migrated: NewMigrated
) -> None:
    product = migrated(2)
    storage.delete(key_of(product))
    result = reclaim("--from", "disk", "--dry-run")
    assert (result.exit_code, result.stdout, result.stderr) == (
        1,
        "1 images and 0 sizes, 5 bytes would be removed from disk, 1 are kept.\n",
        f"{key_of(product)} stays: the other store does not have it\n",
    )
    assert len(keys_of(disk)) == 2


@pytest.mark.parametrize("copy", [b"other", b"byte", b""])
@pytest.mark.parametrize("is_recorded", [True, False], ids=["digest", "no-digest"])
def test_an_image_whose_copy_differs_stays_with_its_sizes(
    reclaim: Run,
    disk: DiskStorage,
    storage: R2Storage,
    migrated: NewMigrated,
    copy: bytes,
    is_recorded: bool,
) -> None:
    fields = {} if is_recorded else {"stored_sha256": None}
    product = migrated(2, **fields)
    size = key_of(product).replace(".png", "_160w.webp")
    put(disk, size, b"size")
    storage.delete(key_of(product))
    put(storage, key_of(product), copy)
    result = reclaim()
    assert (result.exit_code, result.stdout, result.stderr) == (
        1,
        "1 images and 0 sizes, 5 bytes were removed from disk, 1 are kept.\n",
        f"{key_of(product)} stays: the other store has different bytes\n",
    )
    assert keys_of(disk) == {key_of(product), size}


def test_objects_that_no_image_has_stay_and_are_counted(
    reclaim: Run, catalog: Catalog, disk: DiskStorage, migrated: NewMigrated
) -> None:
    product = migrated()
    deleted = migrated()
    catalog.delete_product(deleted.workspace_id, deleted.id)
    for key in (key_of(product).replace("0.png", "1.png"), "doctor/0.png"):
        put(disk, key, b"left")
    result = reclaim()
    assert (result.exit_code, result.stdout) == (
        0,
        "1 images and 0 sizes, 5 bytes were removed from disk, 0 are kept.\n"
        "3 objects belong to no image, and stay: `STORAGE_BACKEND=disk flask --app wsgi storage sweep` "
        "removes those of deleted images.\n",
    )
    assert len(keys_of(disk)) == 3


def test_a_locked_object_and_one_that_can_not_be_read_do_not_end_the_run(
    reclaim: Run,
    disk: DiskStorage,
    storage: StorageBackend,
    migrated: NewMigrated,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    product = migrated(3)
    delete, open_ = DiskStorage.delete, storage.open

    def refuse(store: DiskStorage, key: str) -> None:
        if key == key_of(product, 0):
            raise ObjectLocked(f"can't delete {key}: a lock keeps the object")
        delete(store, key)

    def fail(key: str) -> Any:
        if key == key_of(product, 1):
            raise StorageUnavailable(f"can't read {key}")
        return open_(key)

    monkeypatch.setattr(DiskStorage, "delete", refuse)
    monkeypatch.setattr(storage, "open", fail)
    result = reclaim()
    assert result.stdout == "1 images and 0 sizes, 5 bytes were removed from disk, 2 are kept.\n"
    assert result.stderr.splitlines() == [
        f"can't delete {key_of(product, 0)}: a lock keeps the object",
        f"{key_of(product, 1)} stays: can't read {key_of(product, 1)}",
    ]
    assert keys_of(disk) == {key_of(product, 0), key_of(product, 1)}


@pytest.mark.parametrize("store", ["catalog", "storage"])
def test_a_run_that_stopped_is_run_again(
    reclaim: Run,
    catalog: Catalog,
    disk: DiskStorage,
    storage: StorageBackend,
    migrated: NewMigrated,
    monkeypatch: pytest.MonkeyPatch,
    store: str,
) -> None:
    products = [migrated() for _ in range(3)]
    with monkeypatch.context() as patch:
        if store == "catalog":
            error: Exception = CatalogUnavailable()
            original = catalog.get_product

            def get(workspace_id: str, product_id: str, **options: Any) -> Product:
                if product_id == products[1].id:
                    raise error
                return original(workspace_id, product_id, **options)

            patch.setattr(catalog, "get_product", get)
        else:
            error = StorageUnavailable("no answer")
            patch.setattr(storage, "open", fail_with(error))
            patch.setattr(storage, "check", fail_with(error))
        result = reclaim("--from", "disk", "--jobs", "1", "--json")
    assert result.exit_code == 1
    assert result.stderr == f"Stopped: {error}. Run it again to continue.\n"
    assert json.loads(result.stdout)["stopped"] == str(error)
    left = len(keys_of(disk))
    assert left >= 1
    assert json.loads(reclaim("--from", "disk", "--json").stdout) == {
        "images": left,
        "sizes": 0,
        "bytes": 5 * left,
        "kept": 0,
        "unreferenced": 0,
        "stopped": None,
    }
    assert keys_of(disk) == set()
    assert len(keys_of(storage)) == len(products)


def test_the_image_of_a_migration_back_is_reclaimed_from_the_bucket(
    settings: Settings, catalog: Catalog, workspace: Workspace, disk: DiskStorage, storage: StorageBackend
) -> None:
    product = a_product(workspace)
    key = f"{workspace.id}/products/{product.id}/images/{'0' * 32}.png"
    put(storage, key, b"bytes")
    image = hosted_image(key=key, url=storage.public_url(key), size=5, stored_sha256=None)
    catalog.create_product(replace(product, images=(image,)))
    back: Flask = create_app(replace(settings, storage_backend="disk"), catalog=catalog)
    runner = back.test_cli_runner()
    assert runner.invoke(args=["storage", "migrate", "--to", "disk"]).exit_code == 0
    result = runner.invoke(args=["storage", "reclaim", "--from", "r2"])
    assert result.stdout == "1 images and 0 sizes, 5 bytes were removed from r2, 0 are kept.\n"
    assert (keys_of(storage), read(disk, key)) == (set(), b"bytes")
    client = client_with(back, issue_key(catalog, workspace))
    assert client.get(f"/media/{key}", buffered=True).data == b"bytes"
