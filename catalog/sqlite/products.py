"""The products of the embedded catalog, and their images."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Final

from catalog.base import MAX_IMAGES, Appended, Image, Product, ProductChanges, ProductPage, ProductQuery
from catalog.errors import (
    DuplicateModel,
    ImageNotFound,
    ProductFull,
    ProductNotFound,
    VersionMismatch,
    WorkspaceNotFound,
)
from catalog.ids import now
from catalog.sqlite.connection import SQLiteConnections
from catalog.sqlite.records import (
    Columns,
    product_columns,
    product_of,
)
from catalog.sqlite.search import add_to_index, find_page, remove_from_index

#: How many products are read at once by what goes through all of them.
PAGE: Final = 50

#: A change of one of these is one of the search index.
_INDEXED: Final = {"status", "category", "folded_name", "folded_model"}


def _update(product: Product, columns: Columns) -> tuple[str, Sequence[object]]:
    """The statement, and its values, that changes the product unless it has changed since it was read."""
    assignments = ", ".join(f"{name} = ?" for name in columns)
    statement = f"UPDATE products SET {assignments} WHERE id = ? AND version = ?"  # noqa: S608  # our own names
    return statement, (*columns.values(), product.id, product.version)


class SQLiteProducts:
    """See Catalog."""

    _file: SQLiteConnections

    def create_product(self, product: Product) -> None:
        columns = product_columns(product)
        names, places = ", ".join(columns), ", ".join("?" * len(columns))
        insert = f"INSERT INTO products ({names}) VALUES ({places})"  # noqa: S608  # our own names
        try:
            with self._file.write() as connection:
                connection.execute(insert, tuple(columns.values()))
                add_to_index(connection, product.id)
        except sqlite3.IntegrityError as error:
            if error.sqlite_errorcode == sqlite3.SQLITE_CONSTRAINT_FOREIGNKEY:
                raise WorkspaceNotFound from None
            raise DuplicateModel from None

    @staticmethod
    def _select_product(
        connection: sqlite3.Connection,
        workspace_id: str,
        product_id: str,
        expected_version: int | None = None,
    ) -> Product:
        row = connection.execute(
            "SELECT * FROM products WHERE id = ? AND workspace_id = ?", (product_id, workspace_id)
        ).fetchone()
        if row is None:
            raise ProductNotFound
        if expected_version not in (None, row["version"]):
            raise VersionMismatch
        return product_of(row)

    @staticmethod
    def _changed(product: Product, changes: ProductChanges) -> tuple[Product, Columns]:
        """The product's next version, and the columns in which it differs."""
        fields: ProductChanges = {**changes, "images": tuple(changes.get("images", product.images))}
        changed = replace(
            product,
            **fields,
            version=product.version + 1,
            updated_at=max(product.updated_at, now()),  # a clock set back does not turn time round
        )
        before = product_columns(product)
        return changed, {
            name: value for name, value in product_columns(changed).items() if value != before[name]
        }

    @classmethod
    def _change(cls, connection: sqlite3.Connection, product: Product, changes: ProductChanges) -> Product:
        """Changes the product inside the caller's transaction; returns its next version."""
        changed, columns = cls._changed(product, changes)
        indexed = not _INDEXED.isdisjoint(columns)
        if indexed:
            remove_from_index(connection, product.id)
        connection.execute(*_update(product, columns))
        if indexed:
            add_to_index(connection, product.id)
        return changed

    def get_product(self, workspace_id: str, product_id: str) -> Product:
        with self._file.read() as connection:
            return self._select_product(connection, workspace_id, product_id)

    def iter_products(self) -> Iterator[Product]:
        last = ""
        while True:
            with self._file.read() as connection:
                rows = connection.execute(
                    "SELECT * FROM products WHERE id > ? ORDER BY id LIMIT ?", (last, PAGE)
                ).fetchall()
            for row in rows:
                yield product_of(row)
            if len(rows) < PAGE:
                return
            last = rows[-1]["id"]

    def list_products(self, workspace_id: str, query: ProductQuery) -> ProductPage:
        with self._file.snapshot() as connection:
            return find_page(connection, workspace_id, query)

    def update_product(
        self,
        workspace_id: str,
        product_id: str,
        changes: ProductChanges,
        *,
        expected_version: int | None = None,
    ) -> Product:
        try:
            with self._file.write() as connection:
                product = self._select_product(connection, workspace_id, product_id, expected_version)
                return self._change(connection, product, changes) if changes else product
        except sqlite3.IntegrityError:
            raise DuplicateModel from None

    def delete_product(
        self, workspace_id: str, product_id: str, *, expected_version: int | None = None
    ) -> Product:
        with self._file.write() as connection:
            product = self._select_product(connection, workspace_id, product_id, expected_version)
            remove_from_index(connection, product.id)
            connection.execute("DELETE FROM products WHERE id = ?", (product.id,))
            return product

    def append_image(
        self, workspace_id: str, product_id: str, image: Image, *, unless_present: bool = False
    ) -> Appended:
        def appended(product: Product) -> Appended | None:
            """What there is already, if that is it."""
            if unless_present and image.sha256 and (present := product.image_with(image.sha256)):
                return Appended(product, present)
            if len(product.images) >= MAX_IMAGES:
                raise ProductFull
            return None

        # Uploads to different products wait for each other as short a time as can be: a statement that
        # appends to the version that was read, and finds no row if there is another one by now.
        product = self.get_product(workspace_id, product_id)
        if present := appended(product):
            return present
        changed, columns = self._changed(product, {"images": (*product.images, image)})
        if self._file.write_one(*_update(product, columns)):
            return Appended(changed, image)
        with self._file.write() as connection:
            product = self._select_product(connection, workspace_id, product_id)
            if present := appended(product):
                return present
            return Appended(self._change(connection, product, {"images": (*product.images, image)}), image)

    def remove_image(
        self, workspace_id: str, product_id: str, index: int, *, expected_version: int | None = None
    ) -> tuple[Product, Image]:
        with self._file.write() as connection:
            product = self._select_product(connection, workspace_id, product_id, expected_version)
            images = list(product.images)
            if not 0 <= index < len(images):
                raise ImageNotFound
            removed = images.pop(index)
            return self._change(connection, product, {"images": images}), removed
