"""How concurrent changes of a workspace with a quota follow each other in the MongoDB catalog."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any

import pytest

from catalog.base import Product
from catalog.errors import CatalogUnavailable
from catalog.identity import Quota, Usage
from catalog.mongo import MongoCatalog
from catalog.mongo import products as module
from tests.factories import hosted_image, new_product, new_workspace
from tests.mongo import new_database


@pytest.fixture
def catalog(mongodb_uri: str) -> Iterator[MongoCatalog]:
    with new_database(mongodb_uri) as uri, closing(MongoCatalog(uri, timeout=30)) as catalog:
        catalog.check()
        yield catalog


@pytest.fixture
def products(catalog: MongoCatalog, monkeypatch: pytest.MonkeyPatch) -> list[Product]:
    """Four products of a workspace with a quota."""
    workspace = new_workspace(catalog)
    products = [new_product(catalog, workspace) for _ in range(4)]
    with monkeypatch.context() as patch:
        patch.setattr("catalog.mongo.quotas.time.sleep", lambda _: None)  # no other change is under way
        catalog.set_quota(workspace.id, Quota(images=100))
    return products


def test_changes_of_a_workspace_with_a_quota_follow_each_other_and_do_not_conflict(
    catalog: MongoCatalog, products: list[Product], monkeypatch: pytest.MonkeyPatch
) -> None:
    find_and_change = module._find_and_change
    running: list[object] = []
    most: list[int] = []

    def noted(*arguments: Any) -> Any:
        running.append(this := object())
        most.append(len(running))
        threading.Event().wait(0.05)  # one that does not wait for the others begins meanwhile
        try:
            return find_and_change(*arguments)
        finally:
            running.remove(this)

    monkeypatch.setattr(module, "_find_and_change", noted)
    with ThreadPoolExecutor(4) as pool:
        list(
            pool.map(
                lambda product: catalog.append_image(product.workspace_id, product.id, hosted_image()),
                products,
            )
        )
    assert most == [1] * 4
    usage = catalog.get_usage(products[0].workspace_id)
    assert (usage.products, usage.images) == (4, 4)


def test_a_change_that_waits_too_long_for_another_is_refused_and_another_workspace_is_not(
    catalog: MongoCatalog, products: list[Product], monkeypatch: pytest.MonkeyPatch
) -> None:
    find_and_change = module._find_and_change
    first, second, *_ = products
    other = new_product(catalog, new_workspace(catalog))
    begun, end = threading.Event(), threading.Event()

    def wait_then_change(database: Any, wanted: Any, *arguments: Any) -> Any:
        if wanted["_id"] == first.id:
            begun.set()
            assert end.wait(30)
        return find_and_change(database, wanted, *arguments)

    def append(product: Product) -> Product:
        return catalog.append_image(product.workspace_id, product.id, hosted_image()).product

    monkeypatch.setattr(module, "_find_and_change", wait_then_change)
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(append, first)
        assert begun.wait(30)
        monkeypatch.setattr("catalog.mongo.quotas._PATIENCE", 0.1)
        with pytest.raises(CatalogUnavailable, match="the workspace is changing too often"):
            append(second)
        assert len(append(other).images) == 1
        end.set()
        assert len(slow.result(30).images) == 1
    usage: Usage = catalog.get_usage(first.workspace_id)
    assert (usage.products, usage.images) == (4, 1)
