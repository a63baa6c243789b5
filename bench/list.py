"""The time of one page of a workspace's products, among 100 products and among 100,000.

Each figure is the best of several calls of ``Catalog.list_products``, in milliseconds; it shows how the time
grows with the number of products. ``create`` is the creation of one more product, with its part of the
indexes, committed to the disk. A second table, which ``make bench`` puts into docs/performance.md, has each
filter in each order among 10,000 products: the first, the middle and the last page of 24, as the console
shows them.

Run ``python -m bench.list`` for SQLite, and ``python -m bench.list mongodb`` for a MongoDB server: the one
that ``TEST_MONGODB_URI`` names, or SecantusDB. SecantusDB takes some minutes to be filled, and its figures
only show that the calls work: it reads everything that a filter matches, whatever the limit and the order of
the index.
"""

from __future__ import annotations

import os
import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import replace
from datetime import timedelta
from itertools import islice
from pathlib import Path

from catalog.base import Catalog, Image, Product, ProductQuery, Sort
from catalog.identity import Plan, Workspace
from catalog.ids import new_id, now
from catalog.mongo import MongoCatalog
from catalog.mongo.records import PRODUCT as DOCUMENT
from catalog.sqlite import SQLiteCatalog
from catalog.sqlite.records import PRODUCT, insert
from catalog.sqlite.search import add_to_index
from tests.mongo import MongoServer, new_database

SIZES = (100, 100_000)
ORDERED_SIZE = 10_000
PER_PAGE = 24
ROUNDS = 7
WORDS = "lithium pack battery cell module inverter solar panel charger station mobile heavy duty".split()


def products(workspace: Workspace, count: int) -> Iterator[Product]:
    """The products that are listed: the same ones in every run."""
    chance = random.Random(count)  # noqa: S311  # it makes no secret
    template = a_product(workspace)
    images = tuple(Image(url=f"https://cdn.example.com/{number}.jpg") for number in range(8))
    for index in range(count):
        yield replace(
            template,
            id=new_id(),
            name=f"Product {' '.join(chance.sample(WORDS, 3))} {index}",
            model=f"BP-{index:06d}",
            category="toys" if index % 10 == 0 else "batteries",
            status="archived" if index % 7 == 0 else "active",
            images=images if index % 3 else (),
            created_at=template.created_at + timedelta(milliseconds=7 * index),
            updated_at=template.created_at + timedelta(milliseconds=chance.randrange(7 * count)),
        )


def fill_sqlite(catalog: SQLiteCatalog, workspace: Workspace, count: int) -> None:
    """Adds products in one transaction: a commit for each of them would take minutes."""
    with catalog._file.write() as connection:
        for product in products(workspace, count):
            insert(connection, "products", PRODUCT.encode(product))
            add_to_index(connection, product.id)


def fill_mongodb(catalog: MongoCatalog, workspace: Workspace, count: int) -> None:
    """Adds products a few hundred at a time, so that each call ends before its timeout."""
    documents = (DOCUMENT.encode(product) for product in products(workspace, count))
    while some := list(islice(documents, 250)):
        with catalog._mongo.call() as database:
            database.products.insert_many(some, ordered=False)


def a_product(workspace: Workspace) -> Product:
    return Product(
        id=new_id(),
        workspace_id=workspace.id,
        name="48V Li-Ion Pack",
        model=new_id(),
        category="batteries",
        created_at=now(),
        updated_at=now(),
    )


def queries(count: int) -> dict[str, ProductQuery]:
    rare = f"bp-{count // 2 + 1:06d}"
    return {
        "first page": ProductQuery(),
        "middle page": ProductQuery(page=count * 6 // 7 // 40),
        "last page": ProductQuery(page=count * 6 // 7 // 20),
        "status": ProductQuery(status="archived"),
        "status, middle page": ProductQuery(status="archived", page=max(1, count // 7 // 40)),
        "category": ProductQuery(category="toys"),
        "category, last page": ProductQuery(category="toys", page=max(1, count * 6 // 70 // 20)),
        "category, archived too": ProductQuery(category="toys", show_archived=True),
        "archived too, middle page": ProductQuery(page=count // 40, show_archived=True),
        "search, one match": ProductQuery(search=rare),
        "search, no match": ProductQuery(search="no such thing"),
        "search, a fourth of all": ProductQuery(search="SOLAR"),
        "search, some of all": ProductQuery(search="solar panel"),
        "search, all": ProductQuery(search="product"),
        "search, all, middle page": ProductQuery(search="product", page=count * 6 // 7 // 40),
        "search, 3 characters, all": ProductQuery(search="bp-"),
        "search, 2 characters": ProductQuery(search="so"),
        "search, 1 character, all": ProductQuery(search="P"),
        "search, 1 character, none": ProductQuery(search="ß"),
        "search and category": ProductQuery(search="product", category="toys"),
    }


#: The filters of the table of orders.
FILTERS = {
    "all active": ProductQuery(),
    "archived too": ProductQuery(show_archived=True),
    "archived": ProductQuery(status="archived"),
    "category": ProductQuery(category="toys"),
    "without pictures": ProductQuery(missing_images=True),
    "without alternative text": ProductQuery(missing_alt=True),
    "search, a fourth of all": ProductQuery(search="solar"),
    "search, all": ProductQuery(search="product"),
    "search, few": ProductQuery(search="bp-00123"),
}


def milliseconds(call: Callable[[], object]) -> float:
    """The best time of several calls, or of as many as fit into a second."""
    best, start = float("inf"), time.perf_counter()
    for _ in range(ROUNDS):
        before = time.perf_counter()
        call()
        best = min(best, time.perf_counter() - before)
        if time.perf_counter() - start > 1:
            break
    return 1000 * best


def measure(catalog: Catalog, workspace: Workspace, count: int) -> dict[str, float]:
    figures = {
        name: milliseconds(lambda query=query: catalog.list_products(workspace.id, query))  # type: ignore[misc]  # mypy infers no type for the default
        for name, query in queries(count).items()
    }
    return figures | {"create": milliseconds(lambda: catalog.create_product(a_product(workspace)))}


def measure_orders(catalog: Catalog, workspace: Workspace) -> dict[str, list[str]]:
    """For each filter, and each order: the milliseconds of the first, the middle and the last page."""

    def of(query: ProductQuery) -> str:
        last = max(1, -(-catalog.list_products(workspace.id, query).total // PER_PAGE))
        pages = [replace(query, page=page) for page in (1, (last + 1) // 2, last)]
        return " / ".join(
            f"{milliseconds(lambda page=page: catalog.list_products(workspace.id, page)):.1f}"  # type: ignore[misc]  # mypy infers no type for the default
            for page in pages
        )

    return {
        name: [of(replace(query, sort=sort, limit=PER_PAGE)) for sort in Sort]
        for name, query in FILTERS.items()
    }


def measure_lists(folder: Path) -> dict[str, list[str]]:
    """The table of orders, of a catalog in this folder."""
    with closing(SQLiteCatalog(folder / "orders.sqlite3")) as catalog:
        workspace = new_workspace(catalog)
        fill_sqlite(catalog, workspace, ORDERED_SIZE)
        return measure_orders(catalog, workspace)


def on_sqlite(folder: Path, count: int) -> dict[str, float]:
    """The figures of a workspace with so many products."""
    path = folder / f"{count}.sqlite3"
    with closing(SQLiteCatalog(path)) as catalog:
        workspace = new_workspace(catalog)
        fill_sqlite(catalog, workspace, count)
        figures = measure(catalog, workspace, count)
    print(f"{count} products: {path.stat().st_size / 1e6:.1f} MB")
    return figures


def on_mongodb(uri: str, count: int) -> dict[str, float]:
    """The figures of a workspace with so many products, in a database of its own."""
    with new_database(uri) as database, closing(MongoCatalog(database, timeout=60)) as catalog:
        list(catalog.prepare())
        workspace = new_workspace(catalog)
        started = time.monotonic()
        fill_mongodb(catalog, workspace, count)
        print(f"{count} products: filled in {time.monotonic() - started:.0f} s")
        return measure(catalog, workspace, count)


def new_workspace(catalog: Catalog) -> Workspace:
    workspace = Workspace(id=new_id(), name="Bench", plan=Plan.PRO, created_at=now())
    catalog.create_workspace(workspace)
    return workspace


def main() -> None:
    # The folder is not the temporary one, which may be in memory, where a sync costs nothing.
    with tempfile.TemporaryDirectory(prefix=".bench-", dir=".") as name, ExitStack() as stack:
        folder = Path(name).resolve()
        if sys.argv[1:] == ["mongodb"]:
            uri = os.environ.get("TEST_MONGODB_URI")
            if not uri:
                server = MongoServer(folder, "--cache-size", "512M")
                stack.callback(server.kill)
                uri = server.uri
            columns = [on_mongodb(uri, count) for count in SIZES]
            orders = {}
        else:
            columns = [on_sqlite(folder, count) for count in SIZES]
            orders = measure_lists(folder)
    print("\n| milliseconds | " + " | ".join(f"{count:,}" for count in SIZES) + " |\n|---|---:|---:|")
    for row in columns[0]:
        print(f"| {row} | " + " | ".join(f"{column[row]:.2f}" for column in columns) + " |")
    if orders:
        print(f"\n| {ORDERED_SIZE:,} products | " + " | ".join(Sort) + " |\n|---|" + len(Sort) * "---:|")
    for row, cells in orders.items():
        print(f"| {row} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
