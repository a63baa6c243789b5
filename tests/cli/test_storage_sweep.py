from __future__ import annotations

import dataclasses
import json
import os
import time
import tracemalloc
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskCliRunner

from app import create_app
from catalog.base import Catalog, Image, Product
from catalog.errors import CatalogUnavailable
from catalog.identity import Workspace
from catalog.sqlite import SQLiteCatalog
from cli.sweep import Sweep
from config import Settings
from storage.base import ObjectInfo, ObjectLocked, StorageBackend, StorageUnavailable
from storage.memory import MemoryStorage
from tests.factories import new_product, new_workspace
from tests.storage.contract import keys_of, put

Make = Callable[..., str]


@pytest.fixture
def product(catalog: Catalog, workspace: Workspace) -> Product:
    return new_product(catalog, workspace)


@pytest.fixture
def age(settings: Settings) -> Callable[[str, float], None]:
    """Sets the age of an object, in hours."""

    def set_age(key: str, hours: float) -> None:
        written = time.time() - 3600 * hours
        os.utime(settings.data_dir / "media" / key, (written, written))

    return set_age


@pytest.fixture
def an_object(storage: StorageBackend, product: Product, age: Callable[[str, float], None]) -> Make:
    """Stores an object of the product, by default 25 hours old."""

    def make(name: str = "0" * 32 + ".png", hours: float = 25, folder: str = "") -> str:
        key = f"{folder or f'{product.workspace_id}/products/{product.id}/images'}/{name}"
        put(storage, key, b"12345")
        age(key, hours)
        return key

    return make


def reference(catalog: Catalog, storage: StorageBackend, product: Product, key: str) -> None:
    image = Image(url=storage.public_url(key), key=key, sha256=64 * "0")
    catalog.append_image(product.workspace_id, product.id, image)


def test_an_old_object_that_nothing_references_is_removed(
    runner: FlaskCliRunner, storage: StorageBackend, an_object: Make
) -> None:
    key = an_object()
    result = runner.invoke(args=["storage", "sweep"])
    assert (result.exit_code, result.stdout, result.stderr) == (0, f"{key}\n", "removed 1 objects, 5 bytes\n")
    assert keys_of(storage) == set()


def test_a_referenced_object_stays_at_any_age(
    runner: FlaskCliRunner, storage: StorageBackend, catalog: Catalog, product: Product, an_object: Make
) -> None:
    key = an_object(hours=9999)
    reference(catalog, storage, product, key)
    left = an_object(name="1" * 32 + ".png")
    assert runner.invoke(args=["storage", "sweep"]).stdout == f"{left}\n"
    assert keys_of(storage) == {key}


def test_the_sizes_of_a_referenced_image_stay(
    runner: FlaskCliRunner, storage: StorageBackend, catalog: Catalog, product: Product, an_object: Make
) -> None:
    key = an_object()
    reference(catalog, storage, product, key)
    sizes = {an_object(name=f"{32 * '0'}_{width}w.webp") for width in (160, 999)}
    result = runner.invoke(args=["storage", "sweep"])
    assert (result.stdout, result.stderr) == ("", "removed 0 objects, 0 bytes\n")
    assert keys_of(storage) == {key, *sizes}


def test_the_sizes_of_an_image_go_with_it_at_any_age(
    runner: FlaskCliRunner, storage: StorageBackend, catalog: Catalog, product: Product, an_object: Make
) -> None:
    kept = an_object(name=32 * "1" + ".png")
    reference(catalog, storage, product, kept)
    key = an_object()
    sizes = [an_object(name=f"{32 * '0'}_{width}w.webp", hours=0) for width in (160, 320)]
    result = runner.invoke(args=["storage", "sweep"])
    assert result.stdout.splitlines() == [key, *sizes]
    assert keys_of(storage) == {kept}


def test_a_size_whose_image_is_gone_already_is_removed(
    runner: FlaskCliRunner, storage: StorageBackend, an_object: Make
) -> None:
    size = an_object(name=f"{32 * '0'}_160w.webp", hours=0)
    assert runner.invoke(args=["storage", "sweep"]).stdout == f"{size}\n"
    assert keys_of(storage) == set()


def test_a_young_object_stays_because_an_upload_may_still_reference_it(
    runner: FlaskCliRunner, storage: StorageBackend, an_object: Make
) -> None:
    key = an_object(hours=23)
    assert runner.invoke(args=["storage", "sweep"]).stdout == ""
    assert keys_of(storage) == {key}
    assert runner.invoke(args=["storage", "sweep", "--older-than", "22h"]).stdout == f"{key}\n"


@pytest.mark.parametrize(("text", "removed"), [("0s", True), ("30m", True), ("2h", False), ("1d", False)])
def test_the_grace_period_is_a_duration(
    runner: FlaskCliRunner, storage: StorageBackend, an_object: Make, text: str, removed: bool
) -> None:
    an_object(hours=1)
    runner.invoke(args=["storage", "sweep", "--offline", "--older-than", text])
    assert (keys_of(storage) == set()) is removed


@pytest.mark.parametrize("text", ["0s", "1s", "375s", "7m"])
def test_a_period_shorter_than_a_request_can_take_needs_a_stopped_server(
    runner: FlaskCliRunner, storage: StorageBackend, an_object: Make, text: str
) -> None:
    key = an_object(hours=1)
    result = runner.invoke(args=["storage", "sweep", "--older-than", text])
    assert result.exit_code == 2
    assert result.stderr.endswith(
        "Error: An upload in flight can be older than --older-than, and its object would be removed. "
        "Give at least 8m, or stop the server and add --offline.\n"
    )
    assert keys_of(storage) == {key}
    dry_run = runner.invoke(args=["storage", "sweep", "--older-than", text, "--dry-run"])
    assert (dry_run.exit_code, dry_run.stdout) == (0, f"{key}\n")
    result = runner.invoke(args=["storage", "sweep", "--older-than", text, "--offline"])
    assert (result.exit_code, result.stdout) == (0, f"{key}\n")


def test_the_shortest_period_follows_the_time_that_a_request_may_take_to_arrive(
    settings: Settings, storage: StorageBackend, catalog: Catalog, an_object: Make
) -> None:
    key = an_object(hours=1)
    slow = create_app(dataclasses.replace(settings, request_deadline=3600), storage=storage, catalog=catalog)
    result = slow.test_cli_runner().invoke(args=["storage", "sweep", "--older-than", "66m"])
    assert (result.exit_code, keys_of(storage)) == (2, {key})
    assert "Give at least 67m" in result.stderr


def test_the_shortest_period_is_accepted(
    runner: FlaskCliRunner, storage: StorageBackend, an_object: Make
) -> None:
    an_object(hours=1)
    assert runner.invoke(args=["storage", "sweep", "--older-than", "8m"]).exit_code == 0
    assert keys_of(storage) == set()


@pytest.mark.parametrize("text", ["", "24", "h", "-1h", "1.5h", "1w", "1 h", "999999d"])
def test_an_invalid_duration_is_refused(
    runner: FlaskCliRunner, storage: StorageBackend, an_object: Make, text: str
) -> None:
    an_object()
    result = runner.invoke(args=["storage", "sweep", "--older-than", text])
    assert result.exit_code == 2
    assert len(keys_of(storage)) == 1


def test_a_dry_run_lists_and_removes_nothing(
    runner: FlaskCliRunner, storage: StorageBackend, an_object: Make
) -> None:
    key = an_object()
    result = runner.invoke(args=["storage", "sweep", "--dry-run"])
    assert (result.stdout, result.stderr) == (f"{key}\n", "would remove 1 objects, 5 bytes\n")
    assert keys_of(storage) == {key}


def test_the_objects_of_a_deleted_product_are_removed(
    runner: FlaskCliRunner, storage: StorageBackend, product: Product, an_object: Make
) -> None:
    an_object(folder=f"{product.workspace_id}/products/6650a1b2c3d4e5f6a7b8c9d1/images")
    runner.invoke(args=["storage", "sweep"])
    assert keys_of(storage) == set()


@pytest.mark.parametrize("args", [[], ["--dry-run"]])
def test_nothing_is_removed_if_the_catalog_has_none_of_the_stored_workspaces(
    storage: StorageBackend, an_object: Make, settings: Settings, tmp_path: Path, args: list[str]
) -> None:
    key = an_object()
    other = SQLiteCatalog(tmp_path / "other.sqlite3")
    new_workspace(other)
    runner = create_app(settings, storage=storage, catalog=other).test_cli_runner()
    result = runner.invoke(args=["storage", "sweep", *args])
    assert (result.exit_code, result.stdout, result.stderr) == (
        1,
        "",
        "Error: The catalog has none of the workspaces whose images are stored: check CATALOG_URL. "
        "Nothing was removed.\n",
    )
    assert keys_of(storage) == {key}


def test_the_remains_of_an_interrupted_write_and_of_doctor_are_removed(
    runner: FlaskCliRunner, storage: StorageBackend, an_object: Make
) -> None:
    an_object(name="0" * 32 + ".incoming")
    an_object(folder="doctor")
    runner.invoke(args=["storage", "sweep"])
    assert keys_of(storage) == set()


def test_files_of_other_programs_do_not_stop_the_sweep(
    runner: FlaskCliRunner, settings: Settings, an_object: Make
) -> None:
    key = an_object()
    (settings.data_dir / "media" / key).with_name(".0.png.Xy12Zq").write_bytes(b"theirs")
    result = runner.invoke(args=["storage", "sweep"])
    assert (result.exit_code, result.stdout) == (0, f"{key}\n")


def test_objects_with_other_keys_stay(
    runner: FlaskCliRunner, storage: StorageBackend, an_object: Make
) -> None:
    key = an_object(folder="backups/2026")
    runner.invoke(args=["storage", "sweep"])
    assert keys_of(storage) == {key}


@pytest.mark.parametrize(
    ("store", "method", "error"),
    [
        ("catalog", "get_product", CatalogUnavailable()),
        ("storage", "delete", StorageUnavailable("can't delete")),
    ],
)
def test_a_store_that_is_down_is_an_error_and_nothing_is_removed(
    runner: FlaskCliRunner,
    storage: StorageBackend,
    catalog: Catalog,
    an_object: Make,
    monkeypatch: pytest.MonkeyPatch,
    store: str,
    method: str,
    error: Exception,
) -> None:
    def fail(*_: Any) -> None:
        raise error

    an_object()
    monkeypatch.setattr({"catalog": catalog, "storage": storage}[store], method, fail)
    result = runner.invoke(args=["storage", "sweep"])
    assert (result.exit_code, result.stderr) == (1, f"Error: stopped after 0 objects: {error}\n")
    assert len(keys_of(storage)) == 1


def test_a_long_run_prints_its_progress(
    runner: FlaskCliRunner, product: Product, an_object: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cli.sweep._PROGRESS", 2)
    for name in range(5):
        an_object(name=f"{name:032x}.png")
    lines = runner.invoke(args=["storage", "sweep", "--dry-run"]).stderr.splitlines()
    last = "{}/products/{}/images/{:032x}.png"
    ids = (product.workspace_id, product.id)
    assert lines[:2] == [
        f"2 objects examined, up to {last.format(*ids, 1)}",
        f"4 objects examined, up to {last.format(*ids, 3)}",
    ]


def test_a_run_that_stopped_goes_on_where_it_was(
    runner: FlaskCliRunner, storage: StorageBackend, an_object: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = [an_object(name=f"{name:032x}.png") for name in range(4)]
    delete = storage.delete

    def fail_at_the_third(key: str) -> None:
        if key == keys[2]:
            raise StorageUnavailable("no answer")
        delete(key)

    monkeypatch.setattr(storage, "delete", fail_at_the_third)
    result = runner.invoke(args=["storage", "sweep"])
    assert (result.exit_code, result.stdout.splitlines()) == (1, keys[:2])
    assert result.stderr == f"Error: stopped after 2 objects: no answer. Go on with --after {keys[1]}\n"
    monkeypatch.setattr(storage, "delete", delete)
    result = runner.invoke(args=["storage", "sweep", "--after", keys[2]])
    assert result.stdout.splitlines() == keys[3:]
    assert keys_of(storage) == {keys[2]}


def test_json_is_one_object_also_of_a_run_that_was_interrupted(
    runner: FlaskCliRunner, storage: StorageBackend, an_object: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = [an_object(name=f"{name:032x}.png") for name in range(3)]
    delete = storage.delete

    def stop_at_the_second(key: str) -> None:
        if key == keys[1]:
            raise KeyboardInterrupt
        delete(key)

    monkeypatch.setattr(storage, "delete", stop_at_the_second)
    result = runner.invoke(args=["storage", "sweep", "--json"])
    stopped = f"stopped after 1 objects: interrupted. Go on with --after {keys[0]}"
    assert (result.exit_code, result.stderr) == (1, f"Error: {stopped}\n")
    counts = {"objects": 1, "bytes": 5, "locked": 0}
    assert json.loads(result.stdout) == {"keys": keys[:1], **counts, "stopped": stopped, "after": keys[0]}
    monkeypatch.setattr(storage, "delete", delete)
    result = runner.invoke(args=["storage", "sweep", "--json", "--after", keys[0]])
    counts = {"objects": 2, "bytes": 10, "locked": 0}
    assert json.loads(result.stdout) == {"keys": keys[1:], **counts, "stopped": None, "after": None}
    assert result.stderr == ""


def test_a_locked_object_stays_and_the_others_go(
    runner: FlaskCliRunner, storage: StorageBackend, an_object: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = [an_object(name=f"{name:032x}.png") for name in range(3)]
    delete = storage.delete

    def refuse_the_second(key: str) -> None:
        if key == keys[1]:
            raise ObjectLocked(f"can't delete {key}: a lock keeps the object")
        delete(key)

    monkeypatch.setattr(storage, "delete", refuse_the_second)
    result = runner.invoke(args=["storage", "sweep"])
    assert (result.exit_code, result.stdout.splitlines()) == (1, [keys[0], keys[2]])
    assert result.stderr.splitlines() == [
        f"can't delete {keys[1]}: a lock keeps the object",
        "removed 2 objects, 10 bytes; 1 are locked",
    ]


def test_a_workspace_that_is_gone_does_not_make_the_catalog_another_one(
    runner: FlaskCliRunner, an_object: Make
) -> None:
    an_object(hours=1)
    gone = an_object(folder=f"{24 * '0'}/products/{24 * '1'}/images")
    assert runner.invoke(args=["storage", "sweep"]).stdout == f"{gone}\n"


class _Many(MemoryStorage):
    """A store with many objects, three for each product, that exist only while they are listed."""

    def __init__(self, workspace: Workspace, objects: int) -> None:
        super().__init__("https://cdn.example.com")
        self._workspace = workspace
        self._count = objects

    def list(self, prefix: str = "", *, after: str = "") -> Iterator[ObjectInfo]:
        for number in range(self._count):
            folder = f"{self._workspace.id}/products/{number // 3:024x}/images"
            yield ObjectInfo(
                f"{folder}/{number:032x}.png", 5, datetime(2026, 1, 1, tzinfo=UTC), f"{number:x}"
            )


def test_the_memory_of_a_run_does_not_grow_with_the_number_of_objects(
    catalog: Catalog, workspace: Workspace, product: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catalog, "get_product", lambda *_: product)
    many = 30_000  # of which a list in memory takes 12 MB
    run = Sweep(catalog, _Many(workspace, many), datetime.now(UTC))
    tracemalloc.start()
    try:
        assert sum(1 for _ in run.unreferenced()) == many
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 2_000_000


def test_an_empty_store_is_no_error(runner: FlaskCliRunner, settings: Settings) -> None:
    assert not Path(settings.data_dir / "media").exists()
    result = runner.invoke(args=["storage", "sweep"])
    assert (result.exit_code, result.stderr) == (0, "removed 0 objects, 0 bytes\n")
