"""The failure windows that products.py lists, each with an injected fault, and its races."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest

from catalog.base import Catalog, Product
from catalog.errors import (
    CatalogUnavailable,
    DuplicateModel,
    OutcomeUnknown,
    ProductNotFound,
    VersionMismatch,
)
from catalog.identity import Plan, Workspace
from config import Settings
from products import ImageUrlsRefused, NotInPlan, Products
from storage.base import ObjectLocked, StorageBackend, StorageUnavailable
from tests.factories import current, externals, new_product, new_workspace
from tests.faults import before_the_next, fail_with
from tests.pictures import jpeg
from tests.storage.contract import keys_of, read
from turns import Bounds, ShareUsed, Turns
from uploads import Uploads
from validators.base import FilePart, Upload

#: An external URL, with a number.
EXTERNAL = "https://cdn.example.com/%d.jpg"
BOUNDS = Bounds(requests=8, own_requests=8, own_turns=1, seconds=0.1)


@pytest.fixture
def products(storage: StorageBackend, catalog: Catalog) -> Products:
    return Products(storage, catalog)


def upload(uploads: Uploads, product: Product) -> Product:
    file = Upload([FilePart("file", jpeg())])
    after: Product = uploads.add(product, file, skip_present=False).product
    return after


@pytest.fixture
def product(catalog: Catalog, workspace: Workspace, uploads: Uploads) -> Product:
    """A product with an external image and two hosted ones."""
    product = new_product(catalog, workspace, images=externals(1))
    upload(uploads, product)
    return upload(uploads, product)


def replace_list(products: Products, product: Product, urls: list[str], **options: Any) -> Product:
    return products.change(product.workspace_id, product.id, {}, image_urls=urls, **options)


def image_keys(product: Product) -> set[str]:
    return {image.key for image in product.images if image.key}


# --- a replaced list of images


def test_a_list_that_is_always_overtaken_ends_with_a_pause_between_attempts(
    products: Products, catalog: Catalog, product: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempts = []

    def overtaken(*_: object, **__: object) -> Product:
        attempts.append(1)
        raise VersionMismatch

    monkeypatch.setattr("products._CHANGE_PATIENCE", 0.5)
    monkeypatch.setattr(catalog, "update_product", overtaken)
    with pytest.raises(CatalogUnavailable):
        replace_list(products, product, [])
    assert 3 < len(attempts) < 60
    assert current(catalog, product) == product


def test_the_version_that_a_list_replaces_is_read_as_the_change_compares_it(
    products: Products, catalog: Catalog, product: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = catalog.get_product

    def lagging(workspace_id: str, product_id: str, *, for_change: bool = False) -> Product:
        found = read(workspace_id, product_id)
        return found if for_change else replace(found, version=found.version - 1)

    monkeypatch.setattr("products._CHANGE_PATIENCE", 0.5)
    monkeypatch.setattr(catalog, "get_product", lagging)
    assert replace_list(products, product, []).images == ()


def test_the_bytes_of_a_dropped_image_are_deleted_after_the_catalog_has_changed(
    products: Products,
    product: Product,
    storage: StorageBackend,
    catalog: Catalog,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    delete, seen = storage.delete, []

    def look_then_delete(key: str) -> None:
        seen.append(key in image_keys(current(catalog, product)))
        delete(key)

    monkeypatch.setattr(storage, "delete", look_then_delete)
    replace_list(products, product, product.image_urls[:1])
    assert seen == [False, False]
    assert keys_of(storage) == set()


@pytest.mark.parametrize(
    "error", [CatalogUnavailable(), OutcomeUnknown(), ProductNotFound(), DuplicateModel()]
)
def test_a_list_that_the_catalog_does_not_confirm_deletes_no_bytes(
    products: Products,
    product: Product,
    storage: StorageBackend,
    catalog: Catalog,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
) -> None:
    monkeypatch.setattr(catalog, "update_product", fail_with(error))
    with pytest.raises(type(error)):
        replace_list(products, product, [])
    assert keys_of(storage) == image_keys(product)
    assert current(catalog, product) == product


def test_a_list_whose_dropped_bytes_can_not_be_deleted_is_done_and_the_store_is_asked_once(
    products: Products,
    product: Product,
    storage: StorageBackend,
    catalog: Catalog,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = []

    def refuse(key: str) -> None:
        asked.append(key)
        raise StorageUnavailable

    monkeypatch.setattr(storage, "delete", refuse)
    after = replace_list(products, product, [])
    assert after.images == current(catalog, product).images == ()
    assert len(asked) == 1
    assert keys_of(storage) == image_keys(product)  # the sweep removes them later


def test_an_upload_that_commits_before_the_list_is_applied_is_dropped_with_its_object(
    products: Products,
    uploads: Uploads,
    product: Product,
    storage: StorageBackend,
    catalog: Catalog,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before_the_next(monkeypatch, catalog, "update_product", lambda: upload(uploads, product))
    urls = product.image_urls[::-1]
    after = replace_list(products, product, urls)
    assert after.image_urls == current(catalog, product).image_urls == urls
    assert keys_of(storage) == image_keys(product)


def test_an_upload_that_commits_after_the_list_was_applied_stays(
    products: Products,
    uploads: Uploads,
    product: Product,
    storage: StorageBackend,
    catalog: Catalog,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before_the_next(monkeypatch, storage, "delete", lambda: upload(uploads, product))
    replace_list(products, product, product.image_urls[:1])
    after = current(catalog, product)
    assert len(after.images) == 2
    assert keys_of(storage) == image_keys(after)


def test_an_image_that_is_removed_before_the_list_is_applied_is_refused(
    products: Products,
    uploads: Uploads,
    product: Product,
    storage: StorageBackend,
    catalog: Catalog,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def remove() -> None:
        uploads.remove(product.workspace_id, product.id, 1, expected_version=None)

    before_the_next(monkeypatch, catalog, "update_product", remove)
    with pytest.raises(ImageUrlsRefused, match="has been deleted"):
        replace_list(products, product, product.image_urls)
    after = current(catalog, product)
    assert keys_of(storage) == image_keys(after) == {product.images[2].key}


def test_with_an_expected_version_a_change_in_between_is_not_overridden(
    products: Products,
    uploads: Uploads,
    product: Product,
    storage: StorageBackend,
    catalog: Catalog,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before_the_next(monkeypatch, catalog, "update_product", lambda: upload(uploads, product))
    with pytest.raises(VersionMismatch):
        replace_list(products, product, [], expected_version=product.version)
    with pytest.raises(VersionMismatch):
        replace_list(products, product, [], expected_version=product.version)
    after = current(catalog, product)
    assert len(after.images) == 4
    assert keys_of(storage) == image_keys(after)


def test_among_uploads_and_lists_at_once_every_url_has_its_object_and_no_object_is_left(
    products: Products, uploads: Uploads, product: Product, storage: StorageBackend, catalog: Catalog
) -> None:
    kept = product.image_urls[1]
    tasks: list[Callable[[], object]] = [
        *(lambda: upload(uploads, product) for _ in range(8)),
        *(lambda: replace_list(products, product, [kept]) for _ in range(4)),
    ]
    with ThreadPoolExecutor(6) as pool:
        for outcome in [pool.submit(task) for task in tasks[::2] + tasks[1::2]]:
            outcome.result()
    after = current(catalog, product)
    assert after.image_urls[0] == kept
    assert keys_of(storage) == image_keys(after)
    assert all(read(storage, key) for key in image_keys(after))


def test_lists_of_one_product_that_are_replaced_at_once_follow_each_other(
    products: Products, catalog: Catalog, product: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    get_product = catalog.get_product
    versions: list[int] = []

    def read_then_wait(workspace_id: str, product_id: str, *, for_change: bool = False) -> Product:
        found = get_product(workspace_id, product_id, for_change=for_change)
        versions.append(found.version)
        threading.Event().wait(0.05)  # one that does not wait for its turn reads the same version meanwhile
        return found

    monkeypatch.setattr(catalog, "get_product", read_then_wait)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda number: replace_list(products, product, [EXTERNAL % number]), range(4)))
    monkeypatch.undo()
    assert versions == list(range(product.version, product.version + 4))


def test_a_list_that_gets_no_turn_in_time_is_refused_and_that_of_another_product_is_replaced(
    products: Products, catalog: Catalog, product: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    update_product = catalog.update_product
    another = new_product(catalog, catalog.get_workspace(product.workspace_id))
    begun, end = threading.Event(), threading.Event()

    def wait_then_update(workspace_id: str, product_id: str, *arguments: Any, **options: Any) -> Product:
        if product_id == product.id:
            begun.set()
            assert end.wait(30)
        return update_product(workspace_id, product_id, *arguments, **options)

    monkeypatch.setattr("products._CHANGES", Turns(BOUNDS, of="changes to one product"))
    monkeypatch.setattr(catalog, "update_product", wait_then_update)
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(replace_list, products, product, [EXTERNAL % 1])
        assert begun.wait(30)
        with pytest.raises(ShareUsed, match="changes to one product"):
            replace_list(products, product, [EXTERNAL % 2])
        assert replace_list(products, another, [EXTERNAL % 3]).image_urls == [EXTERNAL % 3]
        end.set()
        assert slow.result(30).image_urls == current(catalog, product).image_urls == [EXTERNAL % 1]


# --- the removal of a product


def test_the_bytes_of_a_product_are_deleted_after_the_catalog_has_let_it_go(
    products: Products,
    product: Product,
    storage: StorageBackend,
    catalog: Catalog,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    listing = storage.list

    def look_then_list(prefix: str = "") -> Any:
        with pytest.raises(ProductNotFound):
            current(catalog, product)
        return listing(prefix)

    monkeypatch.setattr(storage, "list", look_then_list)
    deleted = products.delete(product.workspace_id, product.id)
    assert (deleted.product, deleted.objects) == (product, 2)


@pytest.mark.parametrize("error", [CatalogUnavailable(), OutcomeUnknown(), VersionMismatch()])
def test_a_deletion_that_the_catalog_does_not_confirm_deletes_no_bytes(
    products: Products,
    product: Product,
    storage: StorageBackend,
    catalog: Catalog,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
) -> None:
    monkeypatch.setattr(catalog, "delete_product", fail_with(error))
    with pytest.raises(type(error)):
        products.delete(product.workspace_id, product.id)
    assert keys_of(storage) == image_keys(product)


@pytest.mark.parametrize("method", ["list", "delete"])
def test_a_deletion_whose_bytes_can_not_be_deleted_is_done(
    products: Products,
    product: Product,
    storage: StorageBackend,
    catalog: Catalog,
    monkeypatch: pytest.MonkeyPatch,
    method: str,
) -> None:
    monkeypatch.setattr(storage, method, fail_with(StorageUnavailable()))
    deleted = products.delete(product.workspace_id, product.id)
    assert deleted.objects == 0
    monkeypatch.undo()
    with pytest.raises(ProductNotFound):
        current(catalog, product)
    assert keys_of(storage) == image_keys(product)  # the sweep removes them later


def test_what_could_be_deleted_before_the_store_failed_is_counted(
    products: Products, product: Product, storage: StorageBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    delete = storage.delete
    done: list[str] = []

    def delete_one(key: str) -> None:
        if done:
            raise StorageUnavailable
        done.append(key)
        delete(key)

    monkeypatch.setattr(storage, "delete", delete_one)
    assert products.delete(product.workspace_id, product.id).objects == 1
    assert keys_of(storage) == image_keys(product) - set(done)


def test_a_locked_object_stays_and_the_others_are_deleted(
    products: Products, product: Product, storage: StorageBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    delete = storage.delete
    locked = min(image_keys(product))

    def delete_unless_locked(key: str) -> None:
        if key == locked:
            raise ObjectLocked("a lock keeps it")
        delete(key)

    monkeypatch.setattr(storage, "delete", delete_unless_locked)
    assert products.delete(product.workspace_id, product.id).objects == len(image_keys(product)) - 1
    assert keys_of(storage) == {locked}


def test_an_upload_that_is_about_to_be_appended_leaves_no_object(
    products: Products,
    uploads: Uploads,
    product: Product,
    storage: StorageBackend,
    catalog: Catalog,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def delete() -> None:
        assert products.delete(product.workspace_id, product.id).objects == 3

    before_the_next(monkeypatch, catalog, "append_image", delete)
    with pytest.raises(ProductNotFound):
        upload(uploads, product)
    assert keys_of(storage) == set()


def test_an_upload_whose_bytes_are_being_written_finds_no_product(
    products: Products,
    uploads: Uploads,
    product: Product,
    storage: StorageBackend,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def delete() -> None:
        assert list((settings.data_dir / "media").rglob("*.incoming"))
        products.delete(product.workspace_id, product.id)

    before_the_next(monkeypatch, os, "rename", delete)
    with pytest.raises(ProductNotFound):
        upload(uploads, product)
    assert keys_of(storage) == set()


def test_of_deletions_and_uploads_at_once_nothing_is_left(
    products: Products, uploads: Uploads, product: Product, storage: StorageBackend
) -> None:
    def attempt(task: Callable[[], object]) -> bool:
        try:
            task()
        except ProductNotFound:
            return False
        return True

    uploading: list[Callable[[], object]] = [lambda: upload(uploads, product) for _ in range(6)]
    deleting: list[Callable[[], object]] = [
        lambda: products.delete(product.workspace_id, product.id) for _ in range(3)
    ]
    with ThreadPoolExecutor(6) as pool:
        outcomes = list(pool.map(attempt, [*uploading[:3], *deleting, *uploading[3:]]))
    assert sum(outcomes[3:6]) == 1
    assert keys_of(storage) == set()


def test_the_free_plan_deletes_nothing(products: Products, catalog: Catalog) -> None:
    product = new_product(catalog, new_workspace(catalog, plan=Plan.FREE))
    with pytest.raises(NotInPlan):
        products.delete(product.workspace_id, product.id)
    assert current(catalog, product) == product


def test_a_deletion_that_takes_too_long_leaves_the_rest_for_the_sweep(
    products: Products, product: Product, storage: StorageBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("storage.base._PATIENCE", -1.0)
    assert products.delete(product.workspace_id, product.id).objects == 0
    assert keys_of(storage) == image_keys(product)
