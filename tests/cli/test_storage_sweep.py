from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskCliRunner

from app import create_app
from catalog.base import Catalog, Image, Product
from catalog.errors import CatalogUnavailable
from catalog.identity import Workspace
from catalog.sqlite import SQLiteCatalog
from config import Settings
from storage.base import StorageBackend, StorageUnavailable
from tests.factories import new_product, new_workspace
from tests.storage.contract import keys_of, put

Make = Callable[..., str]


@pytest.fixture
def product(catalog: Catalog, workspace: Workspace) -> Product:
    return new_product(catalog, workspace)


@pytest.fixture
def age(settings: Settings) -> Callable[[str, float], None]:
    """Makes an object as old as a number of hours."""

    def set_age(key: str, hours: float) -> None:
        written = time.time() - 3600 * hours
        os.utime(settings.data_dir / "media" / key, (written, written))

    return set_age


@pytest.fixture
def an_object(storage: StorageBackend, product: Product, age: Callable[[str, float], None]) -> Make:
    """Stores an object of the product, 25 hours old if nothing else is said."""

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


def test_a_referenced_object_stays_however_old(
    runner: FlaskCliRunner, storage: StorageBackend, catalog: Catalog, product: Product, an_object: Make
) -> None:
    key = an_object(hours=9999)
    reference(catalog, storage, product, key)
    left = an_object(name="1" * 32 + ".png")
    assert runner.invoke(args=["storage", "sweep"]).stdout == f"{left}\n"
    assert keys_of(storage) == {key}


def test_a_young_object_stays_for_the_append_that_may_come(
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
    runner.invoke(args=["storage", "sweep", "--older-than", text])
    assert (keys_of(storage) == set()) is removed


@pytest.mark.parametrize("text", ["", "24", "h", "-1h", "1.5h", "1w", "1 h", "999999d"])
def test_what_is_no_duration_is_refused(
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


def test_the_objects_of_a_product_that_is_gone_are_removed(
    runner: FlaskCliRunner, storage: StorageBackend, product: Product, an_object: Make
) -> None:
    an_object(folder=f"{product.workspace_id}/products/6650a1b2c3d4e5f6a7b8c9d1/images")
    runner.invoke(args=["storage", "sweep"])
    assert keys_of(storage) == set()


@pytest.mark.parametrize("args", [[], ["--dry-run"]])
def test_beside_a_catalog_that_must_be_anothers_nothing_is_removed(
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
        "Error: The catalog knows none of the workspaces whose images are stored: is CATALOG_URL right? "
        "Nothing was removed.\n",
    )
    assert keys_of(storage) == {key}


def test_what_an_interrupted_write_or_doctor_left_is_removed(
    runner: FlaskCliRunner, storage: StorageBackend, an_object: Make
) -> None:
    an_object(name="0" * 32 + ".incoming")
    an_object(folder="doctor")
    runner.invoke(args=["storage", "sweep"])
    assert keys_of(storage) == set()


def test_what_other_programs_left_holds_up_nothing(
    runner: FlaskCliRunner, settings: Settings, an_object: Make
) -> None:
    key = an_object()
    (settings.data_dir / "media" / key).with_name(".0.png.Xy12Zq").write_bytes(b"theirs")
    result = runner.invoke(args=["storage", "sweep"])
    assert (result.exit_code, result.stdout) == (0, f"{key}\n")


def test_what_is_not_ours_stays(runner: FlaskCliRunner, storage: StorageBackend, an_object: Make) -> None:
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
def test_a_store_that_is_down_ends_it_with_an_error_and_removes_nothing(
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


def test_a_long_run_shows_that_it_lives(
    runner: FlaskCliRunner, an_object: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cli.sweep._PROGRESS", 2)
    for name in range(5):
        an_object(name=f"{name:032x}.png")
    lines = runner.invoke(args=["storage", "sweep", "--dry-run"]).stderr.splitlines()
    assert lines[:2] == ["2 of 5 objects looked at", "4 of 5 objects looked at"]


def test_an_empty_store_is_swept(runner: FlaskCliRunner, settings: Settings) -> None:
    assert not Path(settings.data_dir / "media").exists()
    result = runner.invoke(args=["storage", "sweep"])
    assert (result.exit_code, result.stderr) == (0, "removed 0 objects, 0 bytes\n")
