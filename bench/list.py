"""What a page of a workspace's products costs, among 100 products and among 100,000.

Each figure is the best of several runs of ``Catalog.list_products`` on SQLite, in milliseconds: what
matters is how it grows. ``create`` is one product more, committed to the disk, with its part of the
indexes.

Run it with ``python -m bench.list``.
"""

from __future__ import annotations

import random
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from catalog.base import Catalog, Product, ProductQuery, new_id, now
from catalog.identity import Plan, Workspace
from catalog.sqlite import SQLiteCatalog
from catalog.sqlite_records import product_columns
from catalog.sqlite_search import add_to_index

SIZES = (100, 100_000)
ROUNDS = 7
WORDS = "lithium pack battery cell module inverter solar panel charger station mobile heavy duty".split()


def fill(catalog: SQLiteCatalog, workspace: Workspace, count: int) -> Product:
    """Adds products in one transaction, for a commit each would take minutes; returns the last."""
    chance = random.Random(count)  # noqa: S311  # the same products in every run
    template = a_product(workspace)
    with catalog._file.write() as connection:  # noqa: SLF001
        for index in range(count):
            product = replace(
                template,
                id=new_id(),
                name=f"Product {' '.join(chance.sample(WORDS, 3))} {index}",
                model=f"BP-{index:06d}",
                category="toys" if index % 10 == 0 else "batteries",
                status="archived" if index % 7 == 0 else "active",
                created_at=template.created_at + timedelta(milliseconds=7 * index),
            )
            columns = product_columns(product)
            places = ", ".join("?" * len(columns))
            insert = f"INSERT INTO products ({', '.join(columns)}) VALUES ({places})"  # noqa: S608
            connection.execute(insert, tuple(columns.values()))
            add_to_index(connection, product.id)
    return product


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
        "category": ProductQuery(category="toys"),
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


def milliseconds(call: Callable[[], object]) -> float:
    best = float("inf")
    for _ in range(ROUNDS):
        before = time.perf_counter()
        call()
        best = min(best, time.perf_counter() - before)
    return 1000 * best


def measure(catalog: Catalog, workspace: Workspace, count: int) -> dict[str, float]:
    figures = {
        name: milliseconds(lambda query=query: catalog.list_products(workspace.id, query))  # type: ignore[misc]
        for name, query in queries(count).items()
    }
    return figures | {"create": milliseconds(lambda: catalog.create_product(a_product(workspace)))}


def main() -> None:
    # In the working folder, not the temporary one: that may be memory, where syncing costs nothing.
    with tempfile.TemporaryDirectory(prefix=".bench-", dir=".") as folder:
        columns = []
        for count in SIZES:
            path = Path(folder) / f"{count}.sqlite3"
            catalog = SQLiteCatalog(path)
            workspace = Workspace(id=new_id(), name="Bench", plan=Plan.PRO, created_at=now())
            catalog.create_workspace(workspace)
            fill(catalog, workspace, count)
            columns.append(measure(catalog, workspace, count))
            catalog.close()
            print(f"{count} products: {path.stat().st_size / 1e6:.1f} MB")
    print("\n| milliseconds | " + " | ".join(f"{count:,}" for count in SIZES) + " |\n|---|---:|---:|")
    for name in columns[0]:
        print(f"| {name} | " + " | ".join(f"{column[name]:.2f}" for column in columns) + " |")


if __name__ == "__main__":
    main()
