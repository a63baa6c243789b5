from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import requests
from click.testing import Result
from flask.testing import FlaskClient, FlaskCliRunner

from app import create_app, make_storage
from catalog.base import Catalog, Image
from catalog.errors import CatalogUnavailable
from catalog.history import Actor, ActorKind
from catalog.identity import Workspace
from config import Settings
from storage.base import StorageBackend, StorageUnavailable
from storage.r2 import R2Storage
from tests.api.fixtures import Post
from tests.cli.conftest import r2_settings
from tests.conftest import PUBLIC_URL
from tests.factories import current, externals, hosted_image, new_product, new_workspace
from tests.faults import before_the_next
from tests.pictures import jpeg
from tests.servers import free_port
from tests.storage.contract import keys_of, new_key, put, read


@pytest.fixture
def settings(tmp_path: Path, moto: str, bucket: str) -> Settings:
    return r2_settings(tmp_path, moto, bucket)


@pytest.fixture
def disk(storage: StorageBackend) -> StorageBackend:
    return storage


@pytest.fixture
def r2(settings: Settings) -> StorageBackend:
    return make_storage(settings, "r2")


Migrate = Callable[..., Result]


@pytest.fixture
def migrate(runner: FlaskCliRunner) -> Migrate:
    return lambda *args: runner.invoke(args=["storage", "migrate", *(args or ("--to", "r2"))])


def stored_image(storage: StorageBackend) -> Image:
    """An image in the storage. The client sent other bytes, with metadata in them."""
    key = new_key()
    put(storage, key, key.encode())
    as_sent = sha256(b"as sent" + key.encode()).hexdigest()
    stored = sha256(key.encode()).hexdigest()
    url = storage.public_url(key)
    return hosted_image(key=key, url=url, sha256=as_sent, stored_sha256=stored, size=len(key))


def test_every_hosted_image_is_copied_and_its_url_changed(
    migrate: Migrate, catalog: Catalog, disk: StorageBackend, r2: StorageBackend, workspace: Workspace
) -> None:
    external = externals(1)[0]
    described = replace(stored_image(disk), alt={"it": "Zaino blu", "en": "Blue backpack"})
    external = replace(external, alt={"en": "Elsewhere"})
    first = new_product(catalog, workspace, images=(stored_image(disk), external, described))
    second = new_product(catalog, new_workspace(catalog), images=(stored_image(disk),))
    untouched = new_product(catalog, workspace, images=externals(2))

    result = migrate()

    assert result.exit_code == 0, result.output
    assert result.stdout == "3 images copied to r2, 2 products changed, 0 failed.\n"
    for product in (first, second):
        after = current(catalog, product)
        assert after.version == product.version + 1
        entry, _ = catalog.get_history(product.workspace_id, product.id)
        assert (entry.action, entry.fields, entry.images) == ("updated", ("imageUrls",), ())
        assert entry.actor == Actor(kind=ActorKind.COMMAND, name="storage migrate")
        assert [(image.key, image.alt) for image in after.images] == [
            (image.key, image.alt) for image in product.images
        ]
        for image in after.images:
            if image.key:
                assert image.url == r2.public_url(image.key)
                assert requests.get(image.url, timeout=10).content == image.key.encode()
    assert current(catalog, first).images[1] == external
    assert current(catalog, untouched) == untouched
    assert keys_of(disk) == keys_of(r2)


def test_sizes_are_not_copied_and_are_made_again_in_the_other_store(
    migrate: Migrate,
    settings: Settings,
    catalog: Catalog,
    disk: StorageBackend,
    r2: StorageBackend,
    product: dict[str, Any],
    upload: Post,
    anonymous: FlaskClient,
) -> None:
    body: Any = upload(product, jpeg(400, 300)).json
    path = body["imageUrl"].removeprefix(PUBLIC_URL).replace(".jpg", "_160w.webp")
    first = anonymous.get(path, buffered=True)
    assert first.status_code == 200
    result = migrate()
    assert result.stdout == "1 images copied to r2, 1 products changed, 0 failed.\n"
    (key,) = keys_of(r2)
    assert keys_of(disk) == {key, path.removeprefix("/media/")}
    after = create_app(replace(settings, storage_backend="r2"), catalog=catalog).test_client().get(path)
    assert after.status_code == 302
    assert requests.get(after.headers["Location"], timeout=10).content == first.data


def test_images_are_copied_back_from_r2_to_disk(
    tmp_path: Path, moto: str, bucket: str, catalog: Catalog, disk: StorageBackend, workspace: Workspace
) -> None:
    settings = r2_settings(tmp_path, moto, bucket, backend="r2")
    product = new_product(catalog, workspace, images=(stored_image(make_storage(settings, "r2")),))
    runner = create_app(settings, catalog=catalog).test_cli_runner()
    result = runner.invoke(args=["storage", "migrate", "--to", "disk"])
    assert result.exit_code == 0, result.output
    (image,) = current(catalog, product).images
    assert image.url == disk.public_url(image.key or "")
    assert read(disk, image.key or "") == (image.key or "").encode()


def test_a_second_run_has_nothing_to_do(
    migrate: Migrate, catalog: Catalog, disk: StorageBackend, workspace: Workspace
) -> None:
    product = new_product(catalog, workspace, images=(stored_image(disk),))
    migrate()
    after = current(catalog, product)
    result = migrate()
    assert (result.exit_code, result.stdout) == (0, "0 images copied to r2, 0 products changed, 0 failed.\n")
    assert current(catalog, product) == after


def test_a_dry_run_counts_and_changes_nothing(
    migrate: Migrate, catalog: Catalog, disk: StorageBackend, r2: StorageBackend, workspace: Workspace
) -> None:
    product = new_product(catalog, workspace, images=(stored_image(disk), stored_image(disk)))
    result = migrate("--to", "r2", "--dry-run")
    assert result.exit_code == 0
    assert result.stdout == "2 images of 1 products have to be copied to r2.\n"
    assert current(catalog, product) == product
    assert keys_of(r2) == set()


def test_json_is_one_object(
    migrate: Migrate, catalog: Catalog, disk: StorageBackend, workspace: Workspace
) -> None:
    new_product(catalog, workspace, images=(stored_image(disk), stored_image(disk)))
    missing = new_product(catalog, workspace, images=(hosted_image(),))
    dry = migrate("--to", "r2", "--json", "--dry-run")
    assert json.loads(dry.stdout) == {"images": 3, "products": 2, "failed": 0, "stopped": None}
    result = migrate("--to", "r2", "--json")
    assert (result.exit_code, json.loads(result.stdout)) == (
        1,
        {"images": 2, "products": 1, "failed": 1, "stopped": None},
    )
    assert missing.id in result.stderr


def test_an_image_that_is_uploaded_meanwhile_is_kept_and_migrated(
    migrate: Migrate,
    catalog: Catalog,
    disk: StorageBackend,
    r2: StorageBackend,
    workspace: Workspace,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    product = new_product(catalog, workspace, images=(stored_image(disk),))
    added = stored_image(disk)
    before_the_next(
        monkeypatch, catalog, "update_product", lambda: catalog.append_image(workspace.id, product.id, added)
    )
    result = migrate()
    assert (result.exit_code, result.stdout) == (0, "2 images copied to r2, 1 products changed, 0 failed.\n")
    after = current(catalog, product)
    assert [image.key for image in after.images] == [product.images[0].key, added.key]
    assert [image.url for image in after.images] == [r2.public_url(image.key or "") for image in after.images]


def test_an_image_that_is_removed_meanwhile_stays_removed(
    migrate: Migrate,
    catalog: Catalog,
    disk: StorageBackend,
    workspace: Workspace,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    images = (stored_image(disk), stored_image(disk))
    product = new_product(catalog, workspace, images=images)

    def remove() -> None:
        catalog.remove_image(workspace.id, product.id, 0)
        disk.delete(images[0].key or "")

    before_the_next(monkeypatch, disk, "open", remove)
    result = migrate()
    assert result.exit_code == 0, result.output
    assert [image.key for image in current(catalog, product).images] == [images[1].key]


def test_a_missing_image_is_named_and_does_not_stop_the_others(
    migrate: Migrate, catalog: Catalog, disk: StorageBackend, r2: StorageBackend, workspace: Workspace
) -> None:
    lost = hosted_image(key=new_key())
    kept = stored_image(disk)
    product = new_product(catalog, workspace, images=(lost, kept))
    result = migrate()
    assert result.exit_code == 1
    assert result.stdout == "1 images copied to r2, 1 products changed, 1 failed.\n"
    assert f"product {product.id}: not found: {lost.key}" in result.stderr
    assert current(catalog, product).image_urls == [lost.url, r2.public_url(kept.key or "")]


def test_an_image_that_only_the_target_has_counts_as_copied(
    migrate: Migrate, catalog: Catalog, r2: StorageBackend, workspace: Workspace
) -> None:
    put(r2, key := new_key(), b"bytes")
    image = hosted_image(key=key, size=5, stored_sha256=sha256(b"bytes").hexdigest())
    product = new_product(catalog, workspace, images=(image,))
    assert migrate().exit_code == 0
    assert current(catalog, product).image_urls == [r2.public_url(key)]


def test_a_copy_that_differs_changes_no_product(
    migrate: Migrate,
    catalog: Catalog,
    disk: StorageBackend,
    workspace: Workspace,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    product = new_product(catalog, workspace, images=(stored_image(disk),))
    original = R2Storage.put

    def damage(storage: R2Storage, key: str, data: bytes, *, sha256: bytes) -> None:
        original(storage, key, data[:-1], sha256=sha256)

    monkeypatch.setattr(R2Storage, "put", damage)
    result = migrate()
    assert result.exit_code == 1
    assert f"the copy of {product.images[0].key} differs from the original" in result.stderr
    assert current(catalog, product) == product
    monkeypatch.undo()
    assert migrate().exit_code == 0


def test_a_product_that_fails_does_not_stop_the_others_and_is_migrated_by_the_next_run(
    migrate: Migrate,
    catalog: Catalog,
    disk: StorageBackend,
    workspace: Workspace,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    products = [new_product(catalog, workspace, images=(stored_image(disk),)) for _ in range(3)]

    def fail() -> None:
        raise StorageUnavailable("can't read this one")

    before_the_next(monkeypatch, disk, "open", fail)
    result = migrate()
    assert result.exit_code == 1
    assert result.stdout == "2 images copied to r2, 2 products changed, 1 failed.\n"
    assert "can't read this one" in result.stderr
    result = migrate()
    assert result.stdout == "1 images copied to r2, 1 products changed, 0 failed.\n"
    assert result.exit_code == 0
    assert {current(catalog, product).version for product in products} == {2}


def test_a_store_that_is_down_stops_the_migration(
    tmp_path: Path, catalog: Catalog, disk: StorageBackend, workspace: Workspace
) -> None:
    settings = r2_settings(tmp_path, f"http://127.0.0.1:{free_port()}", "pictures")
    product = new_product(catalog, workspace, images=(stored_image(disk),))
    runner = create_app(settings, catalog=catalog).test_cli_runner()
    result = runner.invoke(args=["storage", "migrate", "--to", "r2"])
    assert result.exit_code == 1
    assert result.stdout == "0 images copied to r2, 0 products changed, 0 failed.\n"
    assert "can't be reached. Run it again to continue." in result.stderr
    assert current(catalog, product) == product


def test_a_store_that_goes_down_meanwhile_stops_the_migration(
    migrate: Migrate,
    catalog: Catalog,
    disk: StorageBackend,
    workspace: Workspace,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for _ in range(3):
        new_product(catalog, workspace, images=(stored_image(disk),))

    def fail(*_: object) -> None:
        raise StorageUnavailable("the disk is gone")

    def go_down() -> None:
        monkeypatch.setattr(disk, "open", fail)
        monkeypatch.setattr(disk, "check", fail)

    before_the_next(monkeypatch, catalog, "update_product", go_down)
    result = migrate("--to", "r2", "--jobs", "1")
    assert result.exit_code == 1
    assert result.stdout == "1 images copied to r2, 1 products changed, 0 failed.\n"
    assert result.stderr.endswith("Stopped: the disk is gone. Run it again to continue.\n")


def test_several_products_are_migrated_at_once(
    migrate: Migrate,
    catalog: Catalog,
    disk: StorageBackend,
    workspace: Workspace,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    products = [new_product(catalog, workspace, images=(stored_image(disk),)) for _ in range(9)]
    together = threading.Barrier(3)
    original = R2Storage.put

    def put_together(storage: R2Storage, key: str, data: bytes, *, sha256: bytes) -> None:
        together.wait(30)  # breaks unless three uploads are under way
        original(storage, key, data, sha256=sha256)

    monkeypatch.setattr(R2Storage, "put", put_together)
    result = migrate("--to", "r2", "--jobs", "3")
    assert (result.exit_code, result.stdout) == (0, "9 images copied to r2, 9 products changed, 0 failed.\n")
    assert {current(catalog, product).version for product in products} == {2}


@pytest.mark.parametrize("jobs", ["0", "65", "many"])
def test_the_number_of_jobs_has_a_limit(runner: FlaskCliRunner, jobs: str) -> None:
    assert runner.invoke(args=["storage", "migrate", "--to", "r2", "--jobs", jobs]).exit_code == 2


def test_a_catalog_that_is_down_stops_the_migration(
    migrate: Migrate, catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise CatalogUnavailable

    before_the_next(monkeypatch, catalog, "iter_products", fail)
    result = migrate()
    assert result.exit_code == 1
    assert "Stopped: Service temporarily unavailable." in result.stderr


def test_a_missing_setting_is_one_sentence(tmp_path: Path, catalog: Catalog) -> None:
    runner = create_app(Settings(data_dir=tmp_path / "data"), catalog=catalog).test_cli_runner()
    result = runner.invoke(args=["storage", "migrate", "--to", "r2"])
    assert result.exit_code == 1
    assert (
        result.stderr
        == "Error: R2_ACCOUNT_ID (or R2_ENDPOINT_URL) is missing: the storage backend r2 needs it.\n"
    )


@pytest.mark.parametrize("args", [[], ["--to", "tape"]])
def test_the_target_is_disk_or_r2(runner: FlaskCliRunner, args: list[str]) -> None:
    assert runner.invoke(args=["storage", "migrate", *args]).exit_code == 2


def test_a_damaged_original_is_not_copied(
    migrate: Migrate, catalog: Catalog, disk: StorageBackend, r2: StorageBackend, workspace: Workspace
) -> None:
    cut, changed = stored_image(disk), stored_image(disk)
    products = [new_product(catalog, workspace, images=(image,)) for image in (cut, changed)]
    put(disk, cut.key or "", b"cut")
    put(disk, changed.key or "", (changed.size or 0) * b"x")
    result = migrate()
    assert result.exit_code == 1
    assert f"{cut.key} has 3 bytes, and should have {cut.size}" in result.stderr
    assert f"{changed.key} is damaged: its SHA-256 is not {changed.stored_sha256}" in result.stderr
    assert [current(catalog, product) for product in products] == products
    assert keys_of(r2) == set()
