from __future__ import annotations

import json
import os
import time
import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from flask.testing import FlaskCliRunner

from app import create_app
from catalog.base import Catalog, Image, Product
from catalog.errors import CatalogUnavailable
from catalog.identity import Workspace
from catalog.sqlite import SQLiteCatalog
from cli.check import Check
from config import Settings
from storage.base import ObjectInfo, StorageBackend, StorageUnavailable
from storage.memory import MemoryStorage
from tests.api.fixtures import Post, on_both_catalogs
from tests.factories import a_product, current, externals, hosted_image, new_product, new_workspace
from tests.faults import before_the_next, fail_with
from tests.pictures import jpeg
from tests.storage.contract import put

Run = Callable[..., Result]
StoredImage = Callable[..., Image]


@pytest.fixture
def check(runner: FlaskCliRunner) -> Run:
    return lambda *args: runner.invoke(args=["storage", "check", *args])


@pytest.fixture
def stored(storage: StorageBackend) -> StoredImage:
    """Stores an object of a product. Returns the record of its image, which has the fields given."""

    def make(product: Product, data: bytes = b"12345", number: int = 0, **fields: Any) -> Image:
        key = f"{product.workspace_id}/products/{product.id}/images/{number:032x}.png"
        put(storage, key, data)
        digest = sha256(data).hexdigest()
        image = hosted_image(key=key, url=storage.public_url(key), size=len(data), stored_sha256=digest)
        return replace(image, **fields)

    return make


@pytest.fixture
def product(catalog: Catalog, workspace: Workspace, stored: StoredImage) -> Product:
    """A product with two images that are stored, and one on another server."""
    empty = a_product(workspace)
    product = replace(empty, images=(stored(empty), *externals(1), stored(empty, b"67", number=1)))
    catalog.create_product(product)
    return product


def key_of(product: Product, number: int) -> str:
    return f"{product.workspace_id}/products/{product.id}/images/{number:032x}.png"


def path_of(settings: Settings, key: str) -> Path:
    return settings.data_dir / "media" / key


def grow_old(settings: Settings, key: str) -> None:
    """Makes an object older than any request."""
    written = time.time() - 3600
    os.utime(path_of(settings, key), (written, written))


def say(result: Result) -> tuple[int, list[str]]:
    return result.exit_code, result.stdout.splitlines()


@on_both_catalogs
@pytest.mark.parametrize("args", [[], ["--deep"]])
def test_what_was_uploaded_is_in_order(
    check: Run, upload: Post, new_product: Callable[..., dict[str, Any]], args: list[str]
) -> None:
    for _ in range(2):
        with_metadata = jpeg(comment=b"made with a camera")
        assert upload(new_product(), with_metadata).status_code == 201
    assert say(check(*args)) == (
        0,
        ["2 products, 2 images and 2 objects examined.", "Everything is in order."],
    )


def test_the_catalog_keeps_the_digest_of_the_stored_bytes(
    upload: Post, catalog: Catalog, storage: StorageBackend, new_product: Callable[..., dict[str, Any]]
) -> None:
    sent = jpeg(comment=b"made with a camera")
    upload(new_product(), sent)
    (product,) = catalog.iter_products()
    (image,) = product.images
    with storage.open(image.key or "") as stored:
        data = stored.stream.read()
    assert image.stored_sha256 == sha256(data).hexdigest()
    assert image.sha256 == sha256(sent).hexdigest() != image.stored_sha256


@on_both_catalogs
def test_each_image_without_an_object_and_each_object_without_an_image_is_named(
    check: Run, catalog: Catalog, storage: StorageBackend, settings: Settings, product: Product
) -> None:
    missing, cut = key_of(product, 0), key_of(product, 1)
    storage.delete(missing)
    path_of(settings, cut).write_bytes(b"6")
    left = key_of(product, 2)
    of_no_product = left.replace(product.id, 24 * "0")
    for key in (left, of_no_product):
        put(storage, key, b"left")
        grow_old(settings, key)
    size_of_nothing = left.replace(".png", "_160w.webp")
    put(storage, size_of_nothing, b"size")
    before = current(catalog, product)

    result = check()

    assert say(result) == (
        1,
        [
            f"missing       {missing}",
            f"wrong-size    {cut}  (1 bytes, and should have 2)",
            f"unreferenced  {of_no_product}",
            f"unreferenced  {left}",
            f"unreferenced  {size_of_nothing}",
            "1 products, 2 images and 4 objects examined.",
            "1 missing: an image has no object.",
            "1 wrong-size: an object has another size than the catalog says.",
            "3 unreferenced: no image has this object.",
        ],
    )
    assert result.stderr == ""
    assert current(catalog, product) == before
    assert path_of(settings, left).exists()


def test_the_sizes_of_an_image_belong_to_it(check: Run, storage: StorageBackend, product: Product) -> None:
    put(storage, key_of(product, 0).replace(".png", "_160w.webp"), b"size")
    assert check("--offline").exit_code == 0


def test_other_bytes_of_the_same_size_are_found_by_their_digest_alone(
    check: Run, settings: Settings, product: Product
) -> None:
    key = key_of(product, 0)
    path_of(settings, key).write_bytes(b"54321")
    assert check().exit_code == 0
    is_, should = sha256(b"54321").hexdigest(), sha256(b"12345").hexdigest()
    assert say(check("--deep")) == (
        1,
        [
            f"damaged       {key}  (SHA-256 {is_}, and should have {should})",
            "1 products, 2 images and 2 objects examined.",
            "1 damaged: an object has other bytes than were stored.",
        ],
    )


def test_a_deep_check_finds_missing_objects_and_wrong_sizes_too(
    check: Run, storage: StorageBackend, settings: Settings, product: Product
) -> None:
    storage.delete(key_of(product, 0))
    path_of(settings, key_of(product, 1)).write_bytes(b"678")
    assert check("--deep").stdout.splitlines()[:2] == [
        f"missing       {key_of(product, 0)}",
        f"wrong-size    {key_of(product, 1)}  (3 bytes, and should have 2)",
    ]


def test_an_image_of_an_earlier_version_is_compared_with_what_the_client_sent_or_not_verifiable(
    check: Run, catalog: Catalog, workspace: Workspace, stored: StoredImage
) -> None:
    empty = a_product(workspace)
    sent = sha256(b"as sent").hexdigest()
    images = (
        stored(empty, b"as sent", sha256=sent, stored_sha256=None),
        stored(empty, b"cleaned", number=1, sha256=sent, stored_sha256=None),
    )
    catalog.create_product(replace(empty, images=images))
    assert say(check("--deep")) == (
        0,
        [
            "1 products, 2 images and 2 objects examined.",
            "1 not verifiable: metadata was removed from the image, and no digest of its stored bytes was "
            "recorded at that time. The size is right.",
            "Everything is in order.",
        ],
    )


def test_an_object_that_can_not_be_read_does_not_end_the_check(
    check: Run, storage: StorageBackend, product: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = key_of(product, 0)
    open_ = storage.open

    def fail_for_one(key: str) -> Any:
        if key == broken:
            raise StorageUnavailable(f"can't read {key}: Input/output error")
        return open_(key)

    monkeypatch.setattr(storage, "open", fail_for_one)
    assert say(check("--deep")) == (
        1,
        [
            f"unreadable    {broken}  (can't read {broken}: Input/output error)",
            "1 products, 2 images and 2 objects examined.",
            "1 unreadable: an object can't be read.",
        ],
    )


def test_an_upload_in_flight_is_not_reported_unless_the_server_is_stopped(
    check: Run, storage: StorageBackend, product: Product
) -> None:
    put(storage, key_of(product, 2), b"young")
    assert check().exit_code == 0
    assert check("--offline").stdout.startswith(f"unreferenced  {key_of(product, 2)}\n")


def test_what_changes_during_the_check_is_not_reported(
    check: Run,
    catalog: Catalog,
    storage: StorageBackend,
    product: Product,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def remove_an_image() -> None:
        catalog.remove_image(product.workspace_id, product.id, 0)
        storage.delete(key_of(product, 0))

    before_the_next(monkeypatch, storage, "list", remove_an_image)
    assert check().exit_code == 0

    def delete_the_product() -> None:
        catalog.delete_product(product.workspace_id, product.id)
        storage.delete(key_of(product, 1))

    before_the_next(monkeypatch, storage, "list", delete_the_product)
    assert check().exit_code == 0


def test_json_is_one_object(
    check: Run, storage: StorageBackend, settings: Settings, product: Product
) -> None:
    counts = {"missing": 0, "wrong-size": 0, "damaged": 0, "unreadable": 0, "unreferenced": 0}
    summary = {"products": 1, "images": 2, "objects": 2, "notVerifiable": 0, "stopped": None, "after": None}
    result = check("--json", "--deep")
    assert (result.exit_code, json.loads(result.stdout)) == (0, {"findings": [], "counts": counts, **summary})
    storage.delete(key_of(product, 0))
    path_of(settings, key_of(product, 1)).write_bytes(b"678")
    result = check("--json")
    assert (result.exit_code, json.loads(result.stdout)) == (
        1,
        {
            "findings": [
                {"kind": "missing", "key": key_of(product, 0)},
                {
                    "kind": "wrong-size",
                    "key": key_of(product, 1),
                    "detail": "3 bytes, and should have 2",
                },
            ],
            **summary,
            "objects": 1,
            "counts": {**counts, "missing": 1, "wrong-size": 1},
        },
    )


@on_both_catalogs
@pytest.mark.parametrize(
    "error", [StorageUnavailable("no answer"), CatalogUnavailable(), KeyboardInterrupt()]
)
def test_a_run_that_stopped_among_the_products_goes_on_where_it_was(
    check: Run,
    catalog: Catalog,
    storage: StorageBackend,
    workspace: Workspace,
    monkeypatch: pytest.MonkeyPatch,
    error: BaseException,
) -> None:
    products = [new_product(catalog, workspace, images=(hosted_image(),)) for _ in range(3)]
    keys = [product.images[0].key for product in products]
    info = storage.info

    def fail_at_the_second(key: str) -> ObjectInfo:
        if key == keys[1]:
            raise error
        return info(key)

    monkeypatch.setattr(storage, "info", fail_at_the_second)
    result = check("--json", "--jobs", "1")
    reason = "interrupted" if isinstance(error, KeyboardInterrupt) else str(error)
    assert (result.exit_code, result.stderr) == (
        3,
        f"Stopped: {reason}. Go on with --after {products[0].id}\n",
    )
    body = json.loads(result.stdout)
    assert [finding["key"] for finding in body["findings"]] == keys[:1]
    assert (body["stopped"], body["after"]) == (reason, products[0].id)
    monkeypatch.setattr(storage, "info", info)
    body = json.loads(check("--json", "--after", products[0].id).stdout)
    assert [finding["key"] for finding in body["findings"]] == keys[1:]


def test_a_run_that_stopped_among_the_objects_goes_on_where_it_was(
    check: Run,
    catalog: Catalog,
    storage: StorageBackend,
    settings: Settings,
    product: Product,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folders = [24 * "0", 24 * "1", 24 * "2"]
    keys = [key_of(product, 0).replace(product.id, folder) for folder in folders]
    for key in keys:
        put(storage, key, b"left")
        grow_old(settings, key)
    get_product = catalog.get_product

    def fail_at_the_second(workspace_id: str, product_id: str, **options: Any) -> Product:
        if product_id == folders[1]:
            raise CatalogUnavailable
        return get_product(workspace_id, product_id, **options)

    monkeypatch.setattr(catalog, "get_product", fail_at_the_second)
    result = check()
    assert result.exit_code == 3
    assert result.stdout.splitlines()[0] == f"unreferenced  {keys[0]}"
    assert result.stderr == f"Stopped: {CatalogUnavailable()}. Go on with --after {keys[0]}\n"
    monkeypatch.setattr(catalog, "get_product", get_product)
    result = check("--after", keys[0])
    assert say(result) == (
        1,
        [
            f"unreferenced  {keys[1]}",
            f"unreferenced  {keys[2]}",
            "0 products, 0 images and 4 objects examined.",
            "2 unreferenced: no image has this object.",
        ],
    )


@pytest.mark.usefixtures("product")
def test_the_catalog_of_another_server_is_an_error_and_not_a_list_of_all_objects(
    storage: StorageBackend, settings: Settings, tmp_path: Path
) -> None:
    other = SQLiteCatalog(tmp_path / "other.sqlite3")
    new_workspace(other)
    runner = create_app(settings, storage=storage, catalog=other).test_cli_runner()
    result = runner.invoke(args=["storage", "check"])
    assert (result.exit_code, result.stderr) == (
        3,
        "Stopped: The catalog has none of the workspaces whose images are stored: check CATALOG_URL.\n",
    )


@pytest.mark.usefixtures("product")
def test_a_store_that_is_down_is_not_a_list_of_unreadable_objects(
    check: Run, storage: StorageBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    for method in ("open", "check"):
        monkeypatch.setattr(storage, method, fail_with(StorageUnavailable("no answer")))
    result = check("--deep")
    assert (result.exit_code, result.stderr) == (3, "Stopped: no answer.\n")


@pytest.mark.parametrize("args", [["--after", "x"], ["--jobs", "0"], ["--jobs", "65"], ["--depth"]])
def test_bad_options_are_refused(check: Run, args: list[str]) -> None:
    assert check(*args).exit_code == 2


class _Many(MemoryStorage):
    """A store with many objects, three for each product, that exist only while they are listed."""

    def __init__(self, workspace: Workspace, objects: int) -> None:
        super().__init__("https://cdn.example.com")
        self._workspace = workspace
        self._count = objects

    def list(self, prefix: str = "", *, after: str = "") -> Iterator[ObjectInfo]:
        for number in range(0 if prefix else self._count):
            key = f"{self._workspace.id}/products/{number // 3:024x}/images/{number:032x}.png"
            yield ObjectInfo(key, 5, datetime(2026, 1, 1, tzinfo=UTC), f"{number:x}")


def test_the_memory_of_a_run_grows_neither_with_the_products_nor_with_the_objects(
    catalog: Catalog, workspace: Workspace, product: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    many = 10_000

    def products(**_: Any) -> Iterator[Product]:
        return (replace(product, id=f"{number:024x}") for number in range(many))

    monkeypatch.setattr(catalog, "iter_products", products)
    monkeypatch.setattr(catalog, "get_product", lambda *_, **__: product)
    run = Check(catalog, _Many(workspace, many), deep=False, older_than=datetime.now(UTC))
    tracemalloc.start()
    try:
        assert sum(1 for _ in run.run(4)) == 3 * many  # two missing images each, and the objects
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 2_000_000


def test_an_empty_server_is_in_order(check: Run) -> None:
    assert say(check("--deep")) == (
        0,
        ["0 products, 0 images and 0 objects examined.", "Everything is in order."],
    )
