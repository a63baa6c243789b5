from __future__ import annotations

import multiprocessing
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from auth.tokens import new_api_key
from catalog.base import CatalogUnavailable, ProductNotFound, new_id
from catalog.sqlite import MIGRATIONS, SQLiteCatalog
from tests.catalog.contract import CatalogContract, hosted_image, new_product, new_workspace


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "vetrina.sqlite3"


@pytest.fixture
def catalog(path: Path) -> Iterator[SQLiteCatalog]:
    catalog = SQLiteCatalog(path, busy_timeout=0.2)
    yield catalog
    catalog.close()


class TestSQLiteCatalog(CatalogContract):
    @pytest.fixture
    def catalog(self, path: Path) -> Iterator[SQLiteCatalog]:
        catalog = SQLiteCatalog(path)
        yield catalog
        catalog.close()


def test_every_commit_is_synced_in_wal_mode(catalog: SQLiteCatalog) -> None:
    with catalog._connection() as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
        assert connection.execute("PRAGMA synchronous").fetchone()[0] == 2  # FULL


def test_a_second_catalog_on_the_same_file_sees_what_the_first_wrote(
    catalog: SQLiteCatalog, path: Path
) -> None:
    workspace = new_workspace(catalog)
    other = SQLiteCatalog(path)
    assert other.get_workspace(workspace.id) == workspace
    other.close()


def test_a_catalog_that_was_used_before_a_fork_works_on_both_sides(catalog: SQLiteCatalog) -> None:
    product = new_product(catalog, workspace := new_workspace(catalog))

    def append() -> None:
        catalog.append_image(workspace.id, product.id, hosted_image())
        catalog.close()

    child = multiprocessing.get_context("fork").Process(target=append)
    child.start()
    child.join(10)
    assert child.exitcode == 0
    append()
    assert len(catalog.get_product(workspace.id, product.id).images) == 2


def test_a_database_that_another_program_has_locked_is_unavailable_until_it_is_not(
    catalog: SQLiteCatalog, path: Path
) -> None:
    product = new_product(catalog, workspace := new_workspace(catalog))
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    with pytest.raises(CatalogUnavailable, match="locked"):
        catalog.append_image(workspace.id, product.id, hosted_image())
    assert catalog.get_product(workspace.id, product.id) == product
    other.execute("ROLLBACK")
    other.close()
    catalog.append_image(workspace.id, product.id, hosted_image())


def test_a_path_that_can_not_be_made_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    catalog = SQLiteCatalog(tmp_path / "file" / "vetrina.sqlite3")
    with pytest.raises(CatalogUnavailable):
        catalog.check()
    with pytest.raises(CatalogUnavailable):
        new_workspace(catalog)


def test_a_file_that_is_no_database_is_unavailable(path: Path, catalog: SQLiteCatalog) -> None:
    path.parent.mkdir()
    path.write_bytes(os.urandom(8192))
    with pytest.raises(CatalogUnavailable, match="not a database"):
        catalog.check()


def test_an_old_schema_is_migrated_and_keeps_its_rows(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = SQLiteCatalog(path)
    workspace = new_workspace(old)
    old.close()
    step = ("ALTER TABLE workspaces ADD COLUMN colour TEXT NOT NULL DEFAULT 'red'",)
    monkeypatch.setattr("catalog.sqlite.MIGRATIONS", (*MIGRATIONS, step))
    new = SQLiteCatalog(path)
    assert new.get_workspace(workspace.id) == workspace
    with new._connection() as connection:
        assert connection.execute("SELECT colour FROM workspaces").fetchone()[0] == "red"
    new.close()


def test_a_migration_that_fails_leaves_the_old_schema(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = SQLiteCatalog(path)
    workspace = new_workspace(old)
    old.close()
    broken = ("CREATE TABLE half (x INTEGER) STRICT", "CREATE NONSENSE")
    monkeypatch.setattr("catalog.sqlite.MIGRATIONS", (*MIGRATIONS, broken))
    new = SQLiteCatalog(path)
    with pytest.raises(CatalogUnavailable):
        new.check()
    monkeypatch.undo()
    old = SQLiteCatalog(path)
    assert old.get_workspace(workspace.id) == workspace
    with old._connection() as connection:
        assert not connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 'half'").fetchall()
    old.close()


def test_a_schema_of_a_newer_program_is_refused(catalog: SQLiteCatalog) -> None:
    catalog.check()
    with catalog._connection() as connection:
        connection.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    catalog.close()
    with pytest.raises(CatalogUnavailable, match="written by a newer one"):
        catalog.check()


def test_no_secret_is_in_the_file(catalog: SQLiteCatalog, path: Path) -> None:
    secret, credential = new_api_key(new_workspace(catalog).id)
    catalog.create_credential(credential)
    catalog.close()
    content = b"".join(file.read_bytes() for file in path.parent.iterdir())
    assert credential.digest in content
    assert secret.encode() not in content
    assert secret.removeprefix("tp_").encode() not in content


def test_a_product_of_a_database_that_was_just_made_is_not_found(catalog: SQLiteCatalog) -> None:
    with pytest.raises(ProductNotFound):
        catalog.get_product(new_id(), new_id())
