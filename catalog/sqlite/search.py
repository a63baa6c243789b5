"""The lists of products in SQLite: pages by indexes, and a search that reads only what may match.

A full-text index has the grams (``catalog/grams.py``) of every product's name and model. The candidates of a
search are the products that have all grams of the search; their texts are compared with it afterwards. A
search of up to three characters is itself a gram. FTS5's trigram tokenizer is not used: it folds fewer
letters, stops at a NUL, and supports no shorter searches. Each gram is indexed together with its workspace,
so the products of other workspaces do not slow a search down.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from typing import Final, NamedTuple, Self

from catalog.base import ProductPage, ProductQuery, Sort
from catalog.grams import LONGEST, covering, fold, grams_of
from catalog.sqlite.records import PRODUCT

#: Up to this many candidates are compared one by one and sorted. With more, matches are so frequent that a
#: walk along the index, from the newest product on, soon finds a page of them.
_MAX_CANDIDATES: Final = 1000


class _Order(NamedTuple):
    """How a list is sorted: by a column, then by the id in the same direction.

    Attributes:
        covering: an index that has this order, and all columns that filters and searches read.
    """

    column: str
    direction: str
    covering: str

    def by(self, direction: str) -> str:
        return f"ORDER BY {self.column} {direction}, id {direction}"

    def of_few(self) -> str:
        # The unary plus keeps SQLite from walking along an index of the whole list.
        return f"ORDER BY +{self.column} {self.direction}, +id {self.direction}"


_REVERSED: Final = {"ASC": "DESC", "DESC": "ASC"}

_ORDERS: Final = {
    Sort.NEWEST: _Order("created_at", "DESC", "products_newest"),
    Sort.OLDEST: _Order("created_at", "ASC", "products_newest"),
    Sort.NAME: _Order("folded_name", "ASC", "products_by_name"),
    Sort.MODEL: _Order("folded_model", "ASC", "products_by_model"),
    Sort.UPDATED: _Order("updated_at", "DESC", "products_by_change"),
}

#: The smaller index in the order of ``products_newest``, by whether a list is limited to one category, and to
#: one status.
_INDEXES: Final = {
    (False, False): "products_newest",
    (False, True): "products_by_status",
    (True, False): "products_by_category",
    (True, True): "products_by_category_and_status",
}

# LIKE is not used: it has wildcards and folds ASCII only.
_CONTAINS: Final = "(instr(folded_name, ?) OR instr(folded_model, ?))"

#: The conditions of the partial indexes ``products_missing_alt`` and ``products_missing_images``, in exactly
#: their words.
_MISSING_ALT: Final = "missing_alt = 1"
_MISSING_IMAGES: Final = "missing_images = 1"

#: The columns from which the full-text index is computed.
INDEXED: Final = frozenset({"status", "category", "folded_name", "folded_model"})

_GRAMS: Final = "number, grams(workspace_id, status, category, folded_name, folded_model) FROM products"


def _token(workspace_id: str, kind: str, text: str) -> str:
    # Only ASCII letters and digits are part of a token.
    return workspace_id + kind + text.encode().hex()


def _grams(workspace_id: str, status: str, category: str, *texts: str) -> str:
    """What the full-text index keeps of a product: tokens, with spaces between them."""
    tokens = {_token(workspace_id, "s", status), _token(workspace_id, "k", category)}
    tokens.update(_token(workspace_id, "g", gram) for gram in grams_of(*texts))
    return " ".join(tokens)


def add_functions(connection: sqlite3.Connection) -> None:
    """Registers the SQL functions that the statements of the schema and of this module call."""
    connection.create_function("casefold", 1, str.casefold, deterministic=True)
    connection.create_function("fold", 1, fold, deterministic=True)
    connection.create_function("grams", -1, _grams, deterministic=True)


def add_to_index(connection: sqlite3.Connection, product_id: str) -> None:
    """Adds a product to the full-text index, after its row was written."""
    connection.execute(
        f"INSERT INTO product_grams (rowid, grams) SELECT {_GRAMS} WHERE id = ?", (product_id,)
    )


def remove_from_index(connection: sqlite3.Connection, product_id: str) -> None:
    """Removes a product from the full-text index, before its row changes: the index needs the old values."""
    connection.execute(
        f"INSERT INTO product_grams (product_grams, rowid, grams) SELECT 'delete', {_GRAMS} WHERE id = ?",
        (product_id,),
    )


def find_page(connection: sqlite3.Connection, workspace_id: str, query: ProductQuery) -> ProductPage:
    """The products that the query asks for. The connection must be in a transaction: see ``snapshot``."""
    if query.missing_alt and query.missing_images:
        return ProductPage([], 0)  # one of them asks for an image, the other for none
    folded = fold(query.search)
    if query.models:
        ids, total = _of_models(connection, workspace_id, query, folded)
    elif folded:
        ids, total = _search(connection, workspace_id, query, folded)
    else:
        ids, total = _browse(connection, workspace_id, query)
    rows = connection.execute(
        "SELECT * FROM products WHERE id IN (SELECT value FROM json_each(?))", (json.dumps(ids),)
    )
    products = {row["id"]: PRODUCT.decode(row) for row in rows}
    return ProductPage([products[product_id] for product_id in ids], total)


def _missing(query: ProductQuery) -> list[str]:
    wanted = {_MISSING_ALT: query.missing_alt, _MISSING_IMAGES: query.missing_images}
    return [condition for condition, asked in wanted.items() if asked]


def _partial_index(query: ProductQuery) -> str | None:
    """The index of the products that lack what the query asks for, in the order of ``products_newest``."""
    if query.missing_alt:
        return "products_missing_alt"
    return "products_missing_images" if query.missing_images else None


class _Filter(NamedTuple):
    """A condition, and its parameters."""

    condition: str
    parameters: Sequence[str]

    @classmethod
    def of(cls, workspace_id: str, query: ProductQuery) -> Self:
        wanted = {"workspace_id": workspace_id, "category": query.category, "status": query.only_status}
        columns = {name: value for name, value in wanted.items() if value is not None}
        conditions = [f"{name} = ?" for name in columns]
        conditions += _missing(query)
        return cls(" AND ".join(conditions), tuple(columns.values()))

    def containing(self, folded: str) -> Self:
        return type(self)(f"{self.condition} AND {_CONTAINS}", (*self.parameters, folded, folded))


def _of_models(
    connection: sqlite3.Connection, workspace_id: str, query: ProductQuery, folded: str
) -> tuple[Sequence[str], int]:
    wanted = _Filter.of(workspace_id, query)
    if folded:
        wanted = wanted.containing(folded)
    rows = connection.execute(
        "SELECT id FROM products WHERE model IN (SELECT value FROM json_each(?))"  # noqa: S608  # ours
        f" AND {wanted.condition} {_ORDERS[query.sort].of_few()}",
        (json.dumps(query.models), *wanted.parameters),
    ).fetchall()
    return [row["id"] for row in rows[query.offset : query.offset + query.limit]], len(rows)


def _browse(
    connection: sqlite3.Connection, workspace_id: str, query: ProductQuery
) -> tuple[Sequence[str], int]:
    wanted = _Filter.of(workspace_id, query)
    newest = _INDEXES[query.category is not None, query.only_status is not None]
    if partial := _partial_index(query):
        return _scan(connection, partial, wanted, query)
    (total,) = connection.execute(
        f"SELECT coalesce(sum(count), 0) FROM product_counts WHERE {wanted.condition}",  # noqa: S608  # ours
        wanted.parameters,
    ).fetchone()
    return _walk(connection, newest, wanted, query, total), total


def _search(
    connection: sqlite3.Connection, workspace_id: str, query: ProductQuery, folded: str
) -> tuple[Sequence[str], int]:
    candidates = "SELECT rowid FROM product_grams WHERE product_grams MATCH ?"
    match = _match(workspace_id, query, folded)
    found = connection.execute(f"{candidates} LIMIT {_MAX_CANDIDATES + 1}", (match,)).fetchall()
    if len(found) <= _MAX_CANDIDATES:
        conditions = " AND ".join([f"number IN ({candidates})", _CONTAINS, *_missing(query)])
        rows = connection.execute(
            f"SELECT id FROM products WHERE {conditions} {_ORDERS[query.sort].of_few()}",  # noqa: S608  # ours
            (match, folded, folded),
        ).fetchall()
        return [row["id"] for row in rows[query.offset : query.offset + query.limit]], len(rows)
    wanted = _Filter.of(workspace_id, query).containing(folded)
    partial = _partial_index(query)
    if partial or len(folded) > LONGEST:
        return _scan(connection, partial or "products_newest", wanted, query)
    # The search is a gram, so every candidate is a match.
    (total,) = connection.execute(f"SELECT count(*) FROM ({candidates})", (match,)).fetchone()  # noqa: S608  # ours
    return _walk(connection, "products_newest", wanted, query, total), total


def _scan(
    connection: sqlite3.Connection, newest: str, wanted: _Filter, query: ProductQuery
) -> tuple[Sequence[str], int]:
    """The ids of a page, and the total, which is counted in the index ``newest``."""
    (total,) = connection.execute(
        f"SELECT count(*) FROM products INDEXED BY {newest} WHERE {wanted.condition}",  # noqa: S608  # ours
        wanted.parameters,
    ).fetchone()
    return _walk(connection, newest, wanted, query, total), total


def _match(workspace_id: str, query: ProductQuery, folded: str) -> str:
    """The full-text query for the candidates: the filters, and grams that cover the search."""
    tokens = []
    if query.category is not None:
        tokens.append(_token(workspace_id, "k", query.category))
    if query.only_status is not None:
        tokens.append(_token(workspace_id, "s", query.only_status))
    tokens += [_token(workspace_id, "g", gram) for gram in covering(folded)]
    return " AND ".join(tokens)


def _walk(
    connection: sqlite3.Connection, newest: str, wanted: _Filter, query: ProductQuery, total: int
) -> Sequence[str]:
    """The ids of a page, along an index from the nearer end.

    Args:
        connection: in a transaction.
        newest: the index to walk along if products are sorted by their creation.
        wanted: the filter.
        query: what was asked.
        total: how many products the filter has.
    """
    limit = min(query.limit, total - query.offset)
    if limit <= 0:
        return []
    order = _ORDERS[query.sort]
    index = newest if order.column == "created_at" else order.covering
    before, after = query.offset, total - query.offset - limit
    nearer = before <= after
    direction, offset = (order.direction, before) if nearer else (_REVERSED[order.direction], after)
    rows = connection.execute(
        f"SELECT id FROM products INDEXED BY {index} WHERE {wanted.condition}"  # noqa: S608  # ours
        f" {order.by(direction)} LIMIT ? OFFSET ?",
        (*wanted.parameters, limit, offset),
    ).fetchall()
    ids = [row["id"] for row in rows]
    return ids if nearer else ids[::-1]
