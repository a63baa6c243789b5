"""Faults of single statements in SQLite: triggers, constraints and indexes that other programs have added."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from auth.tokens import new_api_key
from catalog.base import Catalog, Product
from catalog.errors import CatalogUnavailable, OutcomeUnknown
from catalog.identity import Plan
from catalog.ids import now
from catalog.sqlite import SQLiteCatalog
from tests.catalog.idempotency_contract import AT, a_claim
from tests.factories import a_product, a_user, externals, hosted_image, new_product, new_workspace


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "vetrina.sqlite3"


@pytest.fixture
def catalog(path: Path) -> Iterator[SQLiteCatalog]:
    with closing(SQLiteCatalog(path)) as catalog:
        yield catalog


@pytest.fixture
def product(catalog: SQLiteCatalog) -> Product:
    return new_product(catalog, new_workspace(catalog), images=externals(2))


def execute(path: Path, statement: str) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(statement)


def current(catalog: Catalog, product: Product) -> Product:
    return catalog.get_product(product.workspace_id, product.id)


WRITES: dict[str, tuple[str, str, Callable[[Catalog, Product], object]]] = {
    "append": ("UPDATE", "products", lambda c, p: c.append_image(p.workspace_id, p.id, hosted_image())),
    "remove": ("UPDATE", "products", lambda c, p: c.remove_image(p.workspace_id, p.id, 0)),
    "change": ("UPDATE", "products", lambda c, p: c.update_product(p.workspace_id, p.id, {"name": "New"})),
    "delete": ("DELETE", "products", lambda c, p: c.delete_product(p.workspace_id, p.id)),
    "create": (
        "INSERT",
        "products",
        lambda c, p: c.create_product(a_product(c.get_workspace(p.workspace_id))),
    ),
    "workspace": ("INSERT", "workspaces", lambda c, _: new_workspace(c)),
    "plan": ("UPDATE", "workspaces", lambda c, p: c.set_plan(p.workspace_id, Plan.FREE)),
    "user": ("INSERT", "users", lambda c, p: c.create_user(a_user(c.get_workspace(p.workspace_id)))),
    "key": ("INSERT", "credentials", lambda c, p: c.create_credential(new_api_key(p.workspace_id)[1])),
    "claim": ("INSERT", "idempotency_keys", lambda c, _: c.claim_idempotency_key(a_claim(), AT)),
}


@pytest.mark.parametrize("name", WRITES)
@pytest.mark.parametrize("when", ["BEFORE", "AFTER"])
@pytest.mark.parametrize("fault", ["RAISE(ABORT, 'no')", "RAISE(ROLLBACK, 'no')", "x FROM nowhere"])
def test_a_trigger_that_refuses_a_write_makes_the_catalog_unavailable_and_changes_nothing(
    catalog: SQLiteCatalog, path: Path, product: Product, name: str, when: str, fault: str
) -> None:
    event, table, write = WRITES[name]
    execute(path, f"CREATE TRIGGER other {when} {event} ON {table} BEGIN SELECT {fault}; END")
    workspaces = catalog.list_workspaces()
    with pytest.raises(CatalogUnavailable) as caught:
        write(catalog, product)
    assert caught.type is CatalogUnavailable
    assert list(catalog.iter_products()) == [product]
    assert catalog.list_workspaces() == workspaces
    assert catalog.list_api_keys() == []
    execute(path, "DROP TRIGGER other")
    catalog.close()  # a connection may have to fail once before it knows that the trigger is gone
    write(catalog, product)


@pytest.mark.parametrize("name", ["append", "remove", "change", "delete"])
def test_a_trigger_that_ignores_a_write_makes_the_catalog_unavailable(
    catalog: SQLiteCatalog, path: Path, product: Product, name: str
) -> None:
    event, table, write = WRITES[name]
    execute(path, f"CREATE TRIGGER other BEFORE {event} ON {table} BEGIN SELECT RAISE(IGNORE); END")
    with pytest.raises(CatalogUnavailable, match="did not apply a change") as caught:
        write(catalog, product)
    assert caught.type is CatalogUnavailable
    assert current(catalog, product) == product


def test_an_append_that_a_trigger_fails_after_it_was_done_has_an_unknown_outcome(
    catalog: SQLiteCatalog, path: Path, product: Product
) -> None:
    execute(path, "CREATE TRIGGER other AFTER UPDATE ON products BEGIN SELECT RAISE(FAIL, 'no'); END")
    image = hosted_image()
    with pytest.raises(OutcomeUnknown):
        catalog.append_image(product.workspace_id, product.id, image)
    assert current(catalog, product).images == (*product.images, image)


def test_an_append_that_a_trigger_ignores_after_it_was_done_is_done_once(
    catalog: SQLiteCatalog, path: Path, product: Product
) -> None:
    execute(path, "CREATE TRIGGER other AFTER UPDATE ON products BEGIN SELECT RAISE(IGNORE); END")
    image = hosted_image()
    appended = catalog.append_image(product.workspace_id, product.id, image)
    assert appended.image is image
    assert current(catalog, product).images == (*product.images, image)


def test_a_unique_index_of_another_program_is_not_taken_for_a_duplicate_of_ours(
    catalog: SQLiteCatalog, path: Path, product: Product
) -> None:
    execute(path, "CREATE UNIQUE INDEX other ON products (name)")
    with pytest.raises(CatalogUnavailable):
        new_product(catalog, catalog.get_workspace(product.workspace_id), name=product.name)
    execute(path, "DROP INDEX other")
    execute(path, "CREATE UNIQUE INDEX other ON users (role)")
    user = a_user(catalog.get_workspace(product.workspace_id))
    catalog.create_user(user)
    with pytest.raises(CatalogUnavailable):
        catalog.create_user(a_user(catalog.get_workspace(product.workspace_id)))
    assert catalog.list_users() == [user]


def test_a_row_that_a_check_refuses_is_not_written(catalog: SQLiteCatalog, path: Path) -> None:
    catalog.check()
    execute(
        path, "ALTER TABLE workspaces ADD COLUMN checked INTEGER NOT NULL DEFAULT 1 CHECK (length(name) > 9)"
    )
    with pytest.raises(CatalogUnavailable) as caught:
        new_workspace(catalog, "Acme")
    assert caught.type is CatalogUnavailable
    assert catalog.list_workspaces() == []
    workspace = new_workspace(catalog, "Acme and Sons")
    assert workspace.created_at <= now()
