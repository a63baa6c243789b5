"""The products of the SQLite catalog, and their images."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, Final

from catalog.appends import can_append, outcome_without_append
from catalog.base import PAGE, Appended, Image, Product, ProductChanges, ProductPage, ProductQuery
from catalog.changes import change_between, creation
from catalog.errors import (
    CatalogUnavailable,
    DuplicateModel,
    ImageNotFound,
    ProductNotFound,
    VersionMismatch,
)
from catalog.history import Change
from catalog.ids import now
from catalog.sqlite.connection import NO_WORKSPACE, Refusals, SQLiteConnections
from catalog.sqlite.quotas import QUOTAS
from catalog.sqlite.records import PRODUCT, change_from_text, change_to_text, insert
from catalog.sqlite.search import INDEXED, add_to_index, find_page, remove_from_index

_REFUSALS: Final[Refusals] = {
    **NO_WORKSPACE,
    **QUOTAS,
    "UNIQUE constraint failed: products.workspace_id, products.model": DuplicateModel,
}


class SQLiteProducts:
    """See Catalog."""

    _file: SQLiteConnections

    def create_product(self, product: Product) -> None:
        with self._file.write(_REFUSALS) as connection:
            last_change = change_to_text(creation(product))
            insert(connection, "products", {**PRODUCT.encode(product), "last_change": last_change})
            add_to_index(connection, product.id)

    def get_product(self, workspace_id: str, product_id: str, *, for_change: bool = False) -> Product:
        with self._file.read() as connection:
            return _current(connection, workspace_id, product_id)

    def find_product(self, workspace_id: str, model: str) -> Product | None:
        with self._file.read() as connection:
            row = connection.execute(
                "SELECT * FROM products WHERE workspace_id = ? AND model = ?", (workspace_id, model)
            ).fetchone()
        return None if row is None else PRODUCT.decode(row)

    def iter_products(self, *, after: str = "") -> Iterator[Product]:
        last = after
        while True:
            with self._file.read() as connection:
                rows = connection.execute(
                    "SELECT * FROM products WHERE id > ? ORDER BY id LIMIT ?", (last, PAGE)
                ).fetchall()
            page = [PRODUCT.decode(row) for row in rows]
            yield from page
            if len(page) < PAGE:
                return
            last = page[-1].id

    def list_products(self, workspace_id: str, query: ProductQuery) -> ProductPage:
        with self._file.snapshot() as connection:
            return find_page(connection, workspace_id, query)

    def get_history(self, workspace_id: str, product_id: str) -> list[Change]:
        with self._file.read() as connection:
            rows = connection.execute(
                "SELECT change FROM products LEFT JOIN product_changes ON product = number"
                " WHERE id = ? AND workspace_id = ? ORDER BY product_changes.version DESC",
                (product_id, workspace_id),
            ).fetchall()
        if not rows:
            raise ProductNotFound
        return [change_from_text(row["change"]) for row in rows if row["change"] is not None]

    def update_product(
        self,
        workspace_id: str,
        product_id: str,
        changes: ProductChanges,
        *,
        expected_version: int | None = None,
        seen: Product | None = None,  # the transaction reads the product anyway
    ) -> Product:
        with self._file.write(_REFUSALS) as connection:
            product = _current(connection, workspace_id, product_id, expected_version)
            return _change(connection, product, changes) if changes else product

    def delete_product(
        self, workspace_id: str, product_id: str, *, expected_version: int | None = None
    ) -> Product:
        with self._file.write() as connection:
            product = _current(connection, workspace_id, product_id, expected_version)
            remove_from_index(connection, product.id)
            deleted = connection.execute("DELETE FROM products WHERE id = ?", (product.id,))
            _require_one(deleted.rowcount)
            return product

    # --- images

    def append_image(
        self,
        workspace_id: str,
        product_id: str,
        image: Image,
        *,
        unless_present: bool = False,
        seen: Product | None = None,
    ) -> Appended:
        # Uploads to different products wait for each other as briefly as possible: one statement appends to
        # the version that was read. It changes no row if the product has another version by now.
        product = seen or self.get_product(workspace_id, product_id)
        if can_append(product, image, unless_present=unless_present):
            changed, columns = _changed(product, {"images": (*product.images, image)})
            if self._file.write_one(*_update(product, columns), QUOTAS):
                return Appended(changed, image)
        with self._file.write(QUOTAS) as connection:
            product = _current(connection, workspace_id, product_id)
            if outcome := outcome_without_append(product, image, unless_present=unless_present):
                return outcome
            return Appended(_change(connection, product, {"images": (*product.images, image)}), image)

    def remove_image(
        self, workspace_id: str, product_id: str, index: int, *, expected_version: int | None = None
    ) -> tuple[Product, Image]:
        with self._file.write() as connection:
            product = _current(connection, workspace_id, product_id, expected_version)
            if not 0 <= index < len(product.images):
                raise ImageNotFound
            images = list(product.images)
            removed = images.pop(index)
            return _change(connection, product, {"images": images}), removed


def _current(
    connection: sqlite3.Connection, workspace_id: str, product_id: str, expected_version: int | None = None
) -> Product:
    """The product before a change, as the caller's transaction sees it.

    Raises:
        ProductNotFound, VersionMismatch
    """
    row = connection.execute(
        "SELECT * FROM products WHERE id = ? AND workspace_id = ?", (product_id, workspace_id)
    ).fetchone()
    if row is None:
        raise ProductNotFound
    if expected_version not in (None, row["version"]):
        raise VersionMismatch
    return PRODUCT.decode(row)


def _change(connection: sqlite3.Connection, before: Product, changes: ProductChanges) -> Product:
    """Changes a product inside the caller's transaction; returns its next version."""
    changed, columns = _changed(before, changes)
    indexed = not INDEXED.isdisjoint(columns)
    if indexed:
        remove_from_index(connection, before.id)
    _require_one(connection.execute(*_update(before, columns)).rowcount)
    if indexed:
        add_to_index(connection, before.id)
    return changed


def _changed(before: Product, changes: ProductChanges) -> tuple[Product, dict[str, Any]]:
    """The product's next version, and the columns in which it differs."""
    fields: ProductChanges = {**changes, "images": tuple(changes.get("images", before.images))}
    changed = replace(
        before,
        **fields,
        version=before.version + 1,
        updated_at=max(before.updated_at, now()),  # also when the clock was set back
    )
    old = PRODUCT.encode(before)
    columns = {name: value for name, value in PRODUCT.encode(changed).items() if value != old[name]}
    change = change_between(before, changed, changed.updated_at)
    return changed, {**columns, "last_change": None if change is None else change_to_text(change)}


def _update(before: Product, columns: dict[str, Any]) -> tuple[str, Sequence[object]]:
    """The statement that changes a product unless it is at another version, and the statement's values."""
    assignments = ", ".join(f"{name} = ?" for name in columns)
    statement = f"UPDATE products SET {assignments} WHERE id = ? AND version = ?"  # noqa: S608  # our own names
    return statement, (*columns.values(), before.id, before.version)


def _require_one(rows: int) -> None:
    """Raises CatalogUnavailable if an existing row was not changed because a trigger ignored the change."""
    if rows != 1:
        raise CatalogUnavailable(
            "the database did not apply a change; a trigger of another program may prevent it"
        )
