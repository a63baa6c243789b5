from __future__ import annotations

import multiprocessing
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from auth.tokens import new_api_key
from catalog.base import ProductPage, ProductQuery, Sort, StoredAnswer
from catalog.errors import CatalogUnavailable, DuplicateModel, ProductNotFound
from catalog.identity import Plan, Usage, Workspace
from catalog.ids import new_id, now
from catalog.sqlite import SQLiteCatalog
from catalog.sqlite.records import PRODUCT, insert
from catalog.sqlite.schema import MIGRATIONS
from catalog.sqlite.search import add_to_index
from tests.catalog.bounds_contract import BoundsContract
from tests.catalog.contract import CatalogContract
from tests.catalog.daily_usage_contract import DailyUsageContract
from tests.catalog.expiry_contract import ExpiryContract
from tests.catalog.history_contract import HistoryContract
from tests.catalog.idempotency_contract import IdempotencyKeysContract, a_claim
from tests.catalog.identity_contract import IdentitiesContract
from tests.catalog.purge_contract import PurgeContract
from tests.catalog.quota_contract import QuotaContract
from tests.catalog.removal_contract import RemovalContract
from tests.factories import a_product, externals, hosted_image, new_product, new_workspace
from tests.faults import while_another_process_creates


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "vetrina.sqlite3"


@pytest.fixture
def catalog(path: Path) -> Iterator[SQLiteCatalog]:
    catalog = SQLiteCatalog(path, busy_timeout=0.2)
    yield catalog
    catalog.close()


class TestSQLiteCatalog(
    CatalogContract,
    HistoryContract,
    IdentitiesContract,
    BoundsContract,
    RemovalContract,
    IdempotencyKeysContract,
    ExpiryContract,
    PurgeContract,
    DailyUsageContract,
):
    @pytest.fixture
    def catalog(self, path: Path, empty_sqlite: bytes) -> Iterator[SQLiteCatalog]:
        path.parent.mkdir()
        path.write_bytes(empty_sqlite)
        with closing(SQLiteCatalog(path)) as catalog:
            yield catalog


class TestSQLiteQuotas(QuotaContract):
    @pytest.fixture
    def catalog(self, path: Path) -> Iterator[SQLiteCatalog]:
        with closing(SQLiteCatalog(path)) as catalog:
            yield catalog


def test_every_commit_is_synced_in_wal_mode(catalog: SQLiteCatalog) -> None:
    with catalog._file.connection() as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
        assert connection.execute("PRAGMA synchronous").fetchone()[0] == 2  # FULL


def test_another_process_that_creates_the_file_at_the_same_time_is_waited_for(path: Path) -> None:
    path.parent.mkdir()
    with while_another_process_creates(path):
        catalog = SQLiteCatalog(path)
        catalog.check()
        catalog.close()


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


def test_a_repeated_idempotency_key_is_answered_while_another_process_writes(
    catalog: SQLiteCatalog, path: Path
) -> None:
    running, completed = a_claim(), a_claim()
    for claim in (running, completed):
        catalog.claim_idempotency_key(claim, now())
    answer = StoredAnswer(201, {}, b"{}")
    catalog.complete_idempotency_key(completed, answer)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        assert catalog.claim_idempotency_key(running, now()) == running
        assert catalog.claim_idempotency_key(completed, now()) == replace(completed, answer=answer)
        with pytest.raises(CatalogUnavailable):
            catalog.claim_idempotency_key(a_claim(), now())


def test_a_file_that_is_gone_is_unavailable_and_no_other_is_made(catalog: SQLiteCatalog, path: Path) -> None:
    workspace = new_workspace(catalog)
    saved = path.rename(path.with_name("saved"))
    for _ in range(2):
        with pytest.raises(CatalogUnavailable, match="is gone"):
            catalog.get_workspace(workspace.id)
        with pytest.raises(CatalogUnavailable, match="is gone"):
            new_workspace(catalog)
    assert not path.exists()
    saved.rename(path)
    assert catalog.list_workspaces() == [workspace]


def test_a_file_that_another_took_the_place_of_is_read_no_more(
    catalog: SQLiteCatalog, path: Path, tmp_path: Path
) -> None:
    new_workspace(catalog)
    other = SQLiteCatalog(tmp_path / "other.sqlite3")
    workspace = new_workspace(other)
    other.close()
    catalog.close()
    (tmp_path / "other.sqlite3").rename(path)
    assert catalog.list_workspaces() == [workspace]


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
    monkeypatch.setattr("catalog.sqlite.schema.MIGRATIONS", (*MIGRATIONS, step))
    new = SQLiteCatalog(path)
    assert new.get_workspace(workspace.id) == workspace
    with new._file.connection() as connection:
        assert connection.execute("SELECT colour FROM workspaces").fetchone()[0] == "red"
    new.close()


def test_the_products_of_a_database_of_version_1_are_listed_and_found(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("catalog.sqlite.schema.MIGRATIONS", MIGRATIONS[:1])
    old = SQLiteCatalog(path)
    with old._file.connection() as connection:
        connection.execute("INSERT INTO workspaces VALUES ('w', 'Acme', 'pro', 0)")
    images = (*externals(1), hosted_image(), hosted_image(size=None))
    workspace = Workspace(id="w", name="Acme", plan=Plan.PRO, created_at=datetime(1970, 1, 1, tzinfo=UTC))
    products = [
        a_product(workspace, name="Zürich", category="toys", images=images, version=7),
        a_product(workspace, name="Straße", status="archived", created_at=now() + timedelta(days=1)),
    ]
    with old._file.connection() as connection:
        for product in products:
            columns = PRODUCT.encode(product)
            row = {
                name: columns[name]
                for name in columns
                if not name.startswith(("folded_", "stored_", "missing_"))
            }
            connection.execute(
                f"INSERT INTO products ({', '.join(row)}) VALUES ({', '.join('?' * len(row))})",  # noqa: S608  # names of columns
                tuple(row.values()),
            )
    old.close()
    monkeypatch.undo()
    new = SQLiteCatalog(path)
    assert [new.get_product(workspace.id, product.id) for product in products] == products
    assert new.get_history(workspace.id, products[1].id) == []
    assert new.get_workspace(workspace.id) == workspace
    stored = Usage(products=2, images=2, bytes=1234)
    assert new.get_usage(workspace.id) == stored
    assert [(day.writes, day.usage) for day in new.list_usage_days(workspace.id)] == [(0, stored)]
    everything = ProductQuery(show_archived=True)
    assert new.list_products(workspace.id, everything) == ProductPage(products[::-1], 2)
    assert new.list_products(workspace.id, ProductQuery()) == ProductPage(products[:1], 1)
    missing = ProductQuery(missing_alt=True, show_archived=True)
    assert new.list_products(workspace.id, missing) == ProductPage(products[:1], 1)
    bare = ProductQuery(missing_images=True, show_archived=True)
    assert new.list_products(workspace.id, bare) == ProductPage(products[1:], 1)
    by_name = ProductQuery(sort=Sort.NAME, show_archived=True)
    assert new.list_products(workspace.id, by_name) == ProductPage(products[::-1], 2)
    assert new.list_products(workspace.id, ProductQuery(search="ZÜR")) == ProductPage(products[:1], 1)
    assert new.list_products(workspace.id, ProductQuery(search="strasse", status="archived")).total == 1
    assert new.list_products(workspace.id, ProductQuery(search="zurich")) == ProductPage(products[:1], 1)
    assert new.list_products(workspace.id, ProductQuery(search="u")) == ProductPage(products[:1], 1)
    new.delete_product(workspace.id, products[1].id)
    assert new.list_products(workspace.id, everything) == ProductPage(products[:1], 1)
    with pytest.raises(DuplicateModel):
        new_product(new, workspace, model=products[0].model)
    new.delete_product(workspace.id, products[0].id)
    assert indexed_terms(new) == []
    new.close()


def test_vacuum_leaves_the_search_as_it_is(catalog: SQLiteCatalog) -> None:
    workspace = new_workspace(catalog)
    products = [new_product(catalog, workspace, name=f"Lamp {index}") for index in range(5)]
    catalog.delete_product(workspace.id, products[0].id)
    with catalog._file.connection() as connection:
        connection.execute("VACUUM")
    for product in products[1:]:
        assert catalog.list_products(workspace.id, ProductQuery(search=product.name)).items == [product]


def test_the_search_index_has_nothing_of_deleted_products(catalog: SQLiteCatalog) -> None:
    workspace = new_workspace(catalog)
    products = [new_product(catalog, workspace, name=name) for name in ("Straße 9", "Zürich \0 電池", "a")]
    catalog.update_product(workspace.id, products[0].id, {"name": "x", "status": "archived"})
    for product in products:
        catalog.delete_product(workspace.id, product.id)
    assert indexed_terms(catalog) == []


def indexed_terms(catalog: SQLiteCatalog) -> list[sqlite3.Row]:
    with catalog._file.connection() as connection:
        connection.execute("INSERT INTO product_grams (product_grams) VALUES ('optimize')")
        connection.execute("CREATE VIRTUAL TABLE temp.grams USING fts5vocab (main, product_grams, row)")
        return connection.execute("SELECT term FROM temp.grams").fetchall()


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[SQLiteCatalog, str, list[str]]]:
    """A catalog whose workspace has more products than a search looks at one by one; their names."""
    catalog = SQLiteCatalog(tmp_path_factory.mktemp("large") / "vetrina.sqlite3")
    workspace = new_workspace(catalog)
    names = [f"Lamp {index:04d} {'odd' if index % 2 else 'even'}" for index in range(1200)]
    template = a_product(workspace)
    with catalog._file.write() as connection:
        for index, name in enumerate(names):
            product = replace(
                template,
                id=f"{index:024x}",
                name=name,
                model=f"L-{index}",
                category="toys" if index % 3 else "tyres",
                images=externals(index % 5 % 2),
                created_at=template.created_at + timedelta(milliseconds=index // 2),
                updated_at=template.updated_at + timedelta(milliseconds=7 * index % 1100),
            )
            insert(connection, "products", PRODUCT.encode(product))
            add_to_index(connection, product.id)
    yield catalog, workspace.id, names
    catalog.close()


@pytest.mark.parametrize("missing_alt", [False, True])
@pytest.mark.parametrize("category", [None, "toys"])
@pytest.mark.parametrize(
    "search", ["", "L", "lamp", "LAMP 0", "MP 00", "odd", "1 odd", "0777", "7", "lamp odd", "z"]
)
def test_a_search_with_many_candidates_finds_what_a_look_at_each_finds(
    large: tuple[SQLiteCatalog, str, list[str]], search: str, category: str | None, missing_alt: bool
) -> None:
    catalog, workspace_id, names = large
    expected = [
        f"{index:024x}"
        for index, name in reversed(list(enumerate(names)))
        if (search.lower() in name.lower() or search.lower() in f"l-{index}")
        and (category is None or index % 3)
        and (not missing_alt or index % 5 % 2)
    ]
    pages = -(-len(expected) // 100)
    found = []
    for page in range(1, pages + 2):
        query = ProductQuery(page=page, limit=100, search=search, category=category, missing_alt=missing_alt)
        products = catalog.list_products(workspace_id, query)
        assert products.total == len(expected)
        found += [product.id for product in products.items]
    assert found == expected


ORDERS: dict[Sort, Callable[[int], tuple[object, ...]]] = {
    Sort.OLDEST: lambda index: (index // 2, index),
    Sort.NAME: lambda index: (index,),
    Sort.MODEL: lambda index: (f"l-{index}",),
    Sort.UPDATED: lambda index: (-(7 * index % 1100), -index),
}


@pytest.mark.parametrize("sort", ORDERS)
def test_a_list_of_many_products_is_in_the_order_that_was_asked(
    large: tuple[SQLiteCatalog, str, list[str]], sort: Sort
) -> None:
    catalog, workspace_id, names = large
    filters: list[tuple[dict[str, Any], Callable[[int], bool]]] = [
        ({}, lambda _: True),
        ({"category": "toys"}, lambda index: index % 3 > 0),
        ({"missing_alt": True}, lambda index: index % 5 % 2 > 0),
        ({"missing_images": True}, lambda index: index % 5 % 2 == 0),
    ]
    for search in ("", "lamp", "1 odd", "odd", "7"):
        for fields, wanted in filters:
            hits = [
                index
                for index, name in enumerate(names)
                if wanted(index) and (search in name.lower() or search in f"l-{index}")
            ]
            query = ProductQuery(search=search, sort=sort, limit=250, **fields)
            pages = [catalog.list_products(workspace_id, replace(query, page=page)) for page in range(1, 6)]
            found = [int(product.id, 16) for page in pages for product in page.items]
            assert found == sorted(hits, key=ORDERS[sort])
            assert {page.total for page in pages} == {len(hits)}


def test_a_migration_that_fails_leaves_the_old_schema(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = SQLiteCatalog(path)
    workspace = new_workspace(old)
    old.close()
    broken = ("CREATE TABLE half (x INTEGER) STRICT", "CREATE NONSENSE")
    monkeypatch.setattr("catalog.sqlite.schema.MIGRATIONS", (*MIGRATIONS, broken))
    new = SQLiteCatalog(path)
    with pytest.raises(CatalogUnavailable):
        new.check()
    monkeypatch.undo()
    old = SQLiteCatalog(path)
    assert old.get_workspace(workspace.id) == workspace
    with old._file.connection() as connection:
        assert not connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 'half'").fetchall()
    old.close()


def test_a_schema_of_a_newer_program_is_refused(catalog: SQLiteCatalog) -> None:
    catalog.check()
    with catalog._file.connection() as connection:
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


def test_a_batch_of_expired_answers_has_about_a_megabyte(catalog: SQLiteCatalog) -> None:
    at = now()
    end = at + timedelta(hours=1)
    sizes = [600_000, 300_000, 300_000, 5_000_000, 10, 10]
    for number, size in enumerate(sizes):
        claim = a_claim(at, expires_at=end + timedelta(seconds=number))
        catalog.claim_idempotency_key(claim, at)
        catalog.complete_idempotency_key(claim, StoredAnswer(200, {}, b"x" * size))
    later = end + timedelta(minutes=1)
    batches = [catalog.remove_expired(later, 100)["idempotencyKeys"] for _ in range(5)]
    assert batches == [2, 1, 1, 2, 0]
