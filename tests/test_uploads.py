"""The failure windows that uploads.py lists, each with an injected fault."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from catalog.base import Catalog, Image, Product
from catalog.errors import CatalogUnavailable, OutcomeUnknown, ProductFull, ProductNotFound, VersionMismatch
from catalog.identity import Workspace
from storage.base import ObjectLocked, StorageBackend, StorageUnavailable
from tests.factories import current, externals, new_product
from tests.faults import fail_with
from tests.pictures import jpeg, png
from tests.storage.contract import keys_of, put, read
from uploads import Uploads
from validators.base import FilePart, Rejected, Upload


@pytest.fixture
def product(catalog: Catalog, workspace: Workspace) -> Product:
    return new_product(catalog, workspace, images=externals(1))


def an_upload(data: bytes | None = None) -> Upload:
    return Upload([FilePart("file", jpeg() if data is None else data)])


def add(uploads: Uploads, product: Product, *, skip_present: bool = False) -> Any:
    return uploads.add(product, an_upload(), skip_present=skip_present)


def every_url_resolves(catalog: Catalog, storage: StorageBackend, product: Product) -> bool:
    return all(read(storage, image.key) for image in current(catalog, product).images if image.key)


def test_the_bytes_are_there_when_the_catalog_is_asked(
    uploads: Uploads,
    product: Product,
    storage: StorageBackend,
    catalog: Catalog,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    append = catalog.append_image
    seen: list[bytes] = []

    def look_then_append(workspace_id: str, product_id: str, image: Image, **options: Any) -> Any:
        seen.append(read(storage, image.key or ""))
        return append(workspace_id, product_id, image, **options)

    monkeypatch.setattr(catalog, "append_image", look_then_append)
    add(uploads, product)
    assert seen == [jpeg()]


def test_a_refused_file_reaches_no_store(
    uploads: Uploads, product: Product, storage: StorageBackend, catalog: Catalog
) -> None:
    with pytest.raises(Rejected) as caught:
        uploads.add(product, an_upload(b"no image"), skip_present=False)
    assert caught.value.validator == "signature"
    assert keys_of(storage) == set()
    assert current(catalog, product) == product


def test_when_the_store_fails_nothing_is_referenced(
    uploads: Uploads,
    product: Product,
    storage: StorageBackend,
    catalog: Catalog,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(storage, "put", fail_with(StorageUnavailable()))
    with pytest.raises(StorageUnavailable):
        add(uploads, product)
    assert current(catalog, product) == product


@pytest.mark.parametrize("refusal", [ProductFull(), ProductNotFound(), CatalogUnavailable()])
def test_when_the_catalog_refuses_the_object_is_deleted_again(
    uploads: Uploads,
    product: Product,
    storage: StorageBackend,
    catalog: Catalog,
    monkeypatch: pytest.MonkeyPatch,
    refusal: Exception,
) -> None:
    monkeypatch.setattr(catalog, "append_image", fail_with(refusal))
    with pytest.raises(type(refusal)):
        add(uploads, product)
    assert keys_of(storage) == set()
    assert current(catalog, product) == product


def test_when_that_fails_too_the_refusal_is_what_is_told(
    uploads: Uploads,
    product: Product,
    storage: StorageBackend,
    catalog: Catalog,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(catalog, "append_image", fail_with(ProductFull()))
    monkeypatch.setattr(storage, "delete", fail_with(StorageUnavailable()))
    with pytest.raises(ProductFull):
        add(uploads, product)
    assert len(keys_of(storage)) == 1  # the sweep removes it later
    assert current(catalog, product) == product


def test_when_the_outcome_is_unknown_the_object_stays_for_the_append_that_did_happen(
    uploads: Uploads,
    product: Product,
    storage: StorageBackend,
    catalog: Catalog,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    append = catalog.append_image

    def append_without_answer(*args: Any, **options: Any) -> None:
        append(*args, **options)
        raise OutcomeUnknown

    monkeypatch.setattr(catalog, "append_image", append_without_answer)
    with pytest.raises(OutcomeUnknown):
        add(uploads, product)
    assert len(current(catalog, product).images) == 2
    assert every_url_resolves(catalog, storage, product)


def test_when_the_same_bytes_came_in_meanwhile_the_second_object_is_deleted(
    uploads: Uploads,
    product: Product,
    storage: StorageBackend,
    catalog: Catalog,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    put = storage.put

    def put_while_another_upload_wins(*args: Any, **options: Any) -> None:
        monkeypatch.undo()
        add(uploads, product, skip_present=True)
        put(*args, **options)

    monkeypatch.setattr(storage, "put", put_while_another_upload_wins)
    added = add(uploads, product, skip_present=True)
    assert not added.created
    assert len(keys_of(storage)) == 1
    assert [image.url for image in current(catalog, product).images[1:]] == [added.image_url]


def test_a_removal_that_the_catalog_refuses_deletes_nothing(
    uploads: Uploads, product: Product, storage: StorageBackend, catalog: Catalog
) -> None:
    version = add(uploads, product).product.version
    with pytest.raises(VersionMismatch):
        uploads.remove(product.workspace_id, product.id, 1, expected_version=version - 1)
    assert len(keys_of(storage)) == 1
    assert every_url_resolves(catalog, storage, product)


@pytest.mark.parametrize("error", [CatalogUnavailable(), OutcomeUnknown()])
def test_a_removal_that_the_catalog_does_not_confirm_deletes_no_bytes(
    uploads: Uploads,
    product: Product,
    storage: StorageBackend,
    catalog: Catalog,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
) -> None:
    add(uploads, product)
    monkeypatch.setattr(catalog, "remove_image", fail_with(error))
    with pytest.raises(CatalogUnavailable):
        uploads.remove(product.workspace_id, product.id, 1, expected_version=None)
    assert len(keys_of(storage)) == 1
    assert every_url_resolves(catalog, storage, product)


def test_a_removal_whose_bytes_can_not_be_deleted_is_done(
    uploads: Uploads,
    product: Product,
    storage: StorageBackend,
    catalog: Catalog,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    add(uploads, product)
    monkeypatch.setattr(storage, "delete", fail_with(StorageUnavailable()))
    after, _ = uploads.remove(product.workspace_id, product.id, 1, expected_version=None)
    assert after.images == product.images
    assert current(catalog, product).images == product.images


def test_the_sizes_of_an_image_that_is_locked_are_deleted(
    uploads: Uploads, product: Product, storage: StorageBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = add(uploads, product).product.images[-1].key
    assert key
    put(storage, key.rpartition(".")[0] + "_160w.webp", b"a size")
    delete = storage.delete

    def delete_unless_locked(wanted: str) -> None:
        if wanted == key:
            raise ObjectLocked("a lock keeps it")
        delete(wanted)

    monkeypatch.setattr(storage, "delete", delete_unless_locked)
    uploads.remove(product.workspace_id, product.id, 1, expected_version=None)
    assert keys_of(storage) == {key}


def test_a_removal_from_a_slow_store_ends_and_leaves_sizes_for_the_sweep(
    uploads: Uploads, product: Product, storage: StorageBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = add(uploads, product).product.images[-1].key
    assert key
    sizes = {f"{key.rpartition('.')[0]}_{width}w.webp" for width in (160, 320, 640)}
    for size in sizes:
        put(storage, size, b"a size")
    seconds, delete = iter(range(0, 100, 5)), storage.delete  # the store takes 5 s for a deletion
    deleted = []

    def delete_slowly(wanted: str) -> None:
        deleted.append(wanted)
        delete(wanted)

    monkeypatch.setattr("storage.base.time", SimpleNamespace(monotonic=lambda: next(seconds)))
    monkeypatch.setattr(storage, "delete", delete_slowly)
    uploads.remove(product.workspace_id, product.id, 1, expected_version=None)
    assert (deleted[0], len(deleted)) == (key, 1)
    assert keys_of(storage) == sizes


def test_removing_an_external_image_touches_no_object(
    uploads: Uploads, product: Product, storage: StorageBackend
) -> None:
    add(uploads, product)
    uploads.remove(product.workspace_id, product.id, 0, expected_version=None)
    assert len(keys_of(storage)) == 1


@pytest.mark.parametrize("catalog_url", ["sqlite", "mongodb"], indirect=True)
@pytest.mark.parametrize("skip_present", [False, True])
def test_an_upload_reads_the_product_once(
    uploads: Uploads,
    product: Product,
    catalog: Catalog,
    monkeypatch: pytest.MonkeyPatch,
    *,
    skip_present: bool,
) -> None:
    reads: list[str] = []
    read = catalog.get_product

    def count(workspace_id: str, product_id: str) -> Product:
        reads.append(product_id)
        return read(workspace_id, product_id)

    monkeypatch.setattr(catalog, "get_product", count)
    admitted = uploads.admit(product.workspace_id, product.id, skip_present=skip_present)
    assert uploads.add(admitted, an_upload(), skip_present=skip_present).created
    assert reads == [product.id]


def test_an_append_goes_by_the_product_as_it_is_and_not_as_it_was_seen(
    uploads: Uploads, product: Product, catalog: Catalog
) -> None:
    admitted = uploads.admit(product.workspace_id, product.id, skip_present=False)
    meanwhile = add(uploads, product).image_url
    added = uploads.add(admitted, an_upload(png()), skip_present=False)
    urls = [image.url for image in product.images]
    assert current(catalog, product).image_urls == [*urls, meanwhile, added.image_url]


@pytest.mark.parametrize("catalog_url", ["sqlite", "mongodb"], indirect=True)
def test_an_image_that_is_removed_during_the_upload_is_stored_again(
    uploads: Uploads, product: Product, catalog: Catalog, storage: StorageBackend
) -> None:
    removed = add(uploads, product).image_url
    admitted = uploads.admit(product.workspace_id, product.id, skip_present=True)
    uploads.remove(product.workspace_id, product.id, 1, expected_version=None)
    added = uploads.add(admitted, an_upload(), skip_present=True)
    assert added.created
    assert added.image_url != removed
    assert current(catalog, product).image_urls == [*product.image_urls, added.image_url]
    assert every_url_resolves(catalog, storage, product)


@pytest.mark.parametrize("catalog_url", ["sqlite", "mongodb"], indirect=True)
def test_a_product_that_is_deleted_during_the_upload_of_its_image_is_not_found(
    uploads: Uploads, product: Product, catalog: Catalog
) -> None:
    add(uploads, product)
    admitted = uploads.admit(product.workspace_id, product.id, skip_present=True)
    catalog.delete_product(product.workspace_id, product.id)
    with pytest.raises(ProductNotFound):
        uploads.add(admitted, an_upload(), skip_present=True)


def test_an_image_that_is_there_is_answered_with_the_product_as_it_is_now(
    uploads: Uploads, product: Product, catalog: Catalog, storage: StorageBackend
) -> None:
    first = add(uploads, product)
    admitted = uploads.admit(product.workspace_id, product.id, skip_present=True)
    uploads.add(product, an_upload(png()), skip_present=False)
    added = uploads.add(admitted, an_upload(), skip_present=True)
    assert (added.created, added.image_url) == (False, first.image_url)
    assert added.product == current(catalog, product)
    assert len(keys_of(storage)) == 2
