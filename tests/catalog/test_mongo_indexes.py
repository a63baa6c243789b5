"""The indexes in MongoDB: who builds them, and what is answered while one is missing."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from types import SimpleNamespace
from typing import Any

import pytest
from pymongo.collection import Collection
from pymongo.database import Database

from auth.tokens import new_api_key
from catalog.base import Product, ProductQuery, Sort
from catalog.errors import CatalogUnavailable, DuplicateModel
from catalog.grams import fold
from catalog.identity import Usage
from catalog.mongo import MongoCatalog
from catalog.mongo.records import SEARCH_FIELDS
from tests.factories import a_product, hosted_image, new_product, new_workspace
from tests.faults import before_the_next
from tests.mongo import MongoServer, connect, new_database

#: How long a build lasts that is held up, in milliseconds.
SLOW = 3000


@pytest.fixture
def uri(mongodb: MongoServer) -> Iterator[str]:
    with new_database(mongodb.uri) as uri:
        yield uri


@pytest.fixture
def database(uri: str) -> Iterator[Database[dict[str, Any]]]:
    with connect(uri) as client:
        yield client.get_default_database()


@pytest.fixture
def prepared(uri: str) -> None:
    """The database has all indexes."""
    with closing(MongoCatalog(uri)) as catalog:
        list(catalog.prepare())


def wait_for(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def names(database: Database[dict[str, Any]]) -> set[str]:
    return set(database.products.index_information()) - {"_id_"}


def builds(database: Database[dict[str, Any]]) -> list[str]:
    """The indexes that the server was asked to build since its profiler was started."""
    asked = database["system.profile"].find({"command.createIndexes": {"$exists": True}})
    return [index["name"] for entry in asked for index in entry["command"]["indexes"]]


@pytest.mark.usefixtures("prepared")
def test_calls_are_answered_without_a_hint_while_an_index_is_built(
    mongodb: MongoServer, uri: str, database: Database[dict[str, Any]]
) -> None:
    database.products.drop_index("status")
    database.products.drop_index("trigrams")
    with closing(MongoCatalog(uri)) as catalog:
        with mongodb.failing("createIndexes", blockConnection=True, blockTimeMS=SLOW):
            product = new_product(catalog, workspace := new_workspace(catalog))
            for query in (ProductQuery(), ProductQuery(search="li-ion"), ProductQuery(search="l")):
                assert catalog.list_products(workspace.id, query).items == [product]
            assert not catalog._mongo.indexes.finished
        wait_for(lambda: catalog._mongo.indexes.finished)
        assert {"status", "trigrams"} <= names(database)
        assert catalog.list_products(workspace.id, ProductQuery(search="li-ion")).items == [product]


@pytest.mark.usefixtures("prepared")
def test_one_thread_of_a_process_builds_however_many_calls_come(
    mongodb: MongoServer, uri: str, database: Database[dict[str, Any]]
) -> None:
    for name in ("status", "category", "listed"):
        database.products.drop_index(name)
    database.command("profile", 2)
    with closing(MongoCatalog(uri)) as catalog:
        with (
            mongodb.failing("createIndexes", blockConnection=True, blockTimeMS=200),
            ThreadPoolExecutor(16) as pool,
        ):
            list(pool.map(lambda _: catalog.list_workspaces(), range(200)))
        wait_for(lambda: catalog._mongo.indexes.finished)
    database.command("profile", 0)
    assert sorted(builds(database)) == ["category", "listed", "status"]


@pytest.mark.usefixtures("prepared")
def test_a_unique_index_that_is_being_built_is_waited_for_as_long_as_a_call_may_take(
    mongodb: MongoServer, uri: str, database: Database[dict[str, Any]]
) -> None:
    database.credentials.drop_index("digest")
    with closing(MongoCatalog(uri, timeout=0.3)) as catalog:
        with (
            mongodb.failing("createIndexes", blockConnection=True, blockTimeMS=SLOW),
            pytest.raises(CatalogUnavailable, match="the index digest of credentials is being built"),
        ):
            catalog.check()
        wait_for(lambda: catalog._mongo.indexes.finished)
        catalog.check()


def test_a_build_that_failed_is_tried_again_after_a_while(
    mongodb: MongoServer, uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("catalog.mongo.indexes._PAUSE", 0.2)
    with closing(MongoCatalog(uri, timeout=0.5)) as catalog:
        with mongodb.failing("createIndexes", errorCode=13), pytest.raises(CatalogUnavailable):
            catalog.check()

        def works() -> bool:
            try:
                catalog.check()
            except CatalogUnavailable:
                return False
            return True

        wait_for(works)


@pytest.mark.usefixtures("prepared")
def test_a_build_does_not_wait_for_members_that_are_down(
    uri: str, database: Database[dict[str, Any]]
) -> None:
    database.products.drop_index("status")
    database.command("profile", 2)
    with closing(MongoCatalog(uri)) as catalog:
        assert list(catalog.prepare()) == ["built the index status of products"]
    database.command("profile", 0)
    (entry,) = database["system.profile"].find({"command.createIndexes": {"$exists": True}})
    assert entry["command"]["commitQuorum"] == "majority"
    assert "maxTimeMS" not in entry["command"]


@pytest.mark.usefixtures("prepared")
def test_another_index_in_the_place_of_ours_is_one_sentence_and_stops_nothing(
    uri: str, database: Database[dict[str, Any]], caplog: pytest.LogCaptureFixture
) -> None:
    database.products.drop_index("status")
    database.products.create_index("status", name="status")
    sentence = (
        "another index is in the place of status of products: drop it, "
        "then run 'flask --app wsgi catalog prepare'"
    )
    with closing(MongoCatalog(uri)) as catalog:
        product = new_product(catalog, workspace := new_workspace(catalog))
        for _ in range(3):
            assert catalog.list_products(workspace.id, ProductQuery()).items == [product]
        assert list(catalog.prepare()) == [sentence]
        assert [record.getMessage() for record in caplog.records if record.levelname == "ERROR"] == [sentence]
        database.products.drop_index("status")
        assert list(catalog.prepare()) == ["built the index status of products"]


@pytest.mark.usefixtures("prepared")
def test_a_unique_index_that_is_not_unique_makes_the_catalog_unavailable_with_a_sentence(
    uri: str, database: Database[dict[str, Any]]
) -> None:
    database.users.drop_index("email")
    database.users.create_index("email", name="email")
    with (
        closing(MongoCatalog(uri, timeout=0.5)) as catalog,
        pytest.raises(CatalogUnavailable, match="another index is in the place of email of users: drop it"),
    ):
        catalog.check()


# --- databases of earlier versions


@pytest.fixture
def old(uri: str, database: Database[dict[str, Any]]) -> list[Product]:
    """Products as an earlier version has written them, with its indexes."""
    with closing(MongoCatalog(uri)) as catalog:
        list(catalog.prepare())
        workspace = new_workspace(catalog)
        products = [
            new_product(catalog, workspace, name=name, images=(hosted_image(size=7),) * count)
            for name, count in (("Große Lampe", 0), ("a", 1), ("Zürich", 0))
        ]
    for product in products:
        name, model = product.name.casefold(), product.model.casefold()
        texts = (name, model)
        grams = sorted(
            {text[i : i + n] for text in texts for n in (1, 2, 3) for i in range(len(text) - n + 1)}
        )
        change = {
            "$set": {"foldedName": name, "foldedModel": model, "grams": grams},
            "$unset": dict.fromkeys(set(SEARCH_FIELDS) - {"grams"}, ""),
        }
        database.products.update_one({"_id": product.id}, change)
    database.state.drop()
    for name in (
        *("listed", "trigrams", "missing_alt", "missing_images", "by_name", "by_model", "by_change"),
        "usage",
    ):
        database.products.drop_index(name)
    newest = [("companyId", 1), ("createdAt", -1), ("_id", -1), ("status", 1), ("category", 1)]
    database.products.create_index([*newest, ("foldedName", 1), ("foldedModel", 1)], name="newest")
    database.products.create_index([newest[0], ("grams", 1), *newest[1:]], name="grams")
    return products


SEARCHES = {"LAMPE": 0, "ss": 0, "zür": 2, "ü": 2}


def test_products_of_an_earlier_version_are_found_before_and_after_they_are_updated(
    mongodb: MongoServer, uri: str, database: Database[dict[str, Any]], old: list[Product]
) -> None:
    workspace_id = old[0].workspace_id

    def find(catalog: MongoCatalog, search: str) -> list[Product]:
        return list(catalog.list_products(workspace_id, ProductQuery(search=search)).items)

    def found(catalog: MongoCatalog) -> dict[str, list[Product]]:
        return {search: find(catalog, search) for search in SEARCHES}

    expected = {search: [old[index]] for search, index in SEARCHES.items()}
    with closing(MongoCatalog(uri)) as catalog:
        lists = {
            ProductQuery(missing_alt=True): [old[1]],
            ProductQuery(missing_images=True): [old[2], old[0]],
            ProductQuery(sort=Sort.NAME): [old[1], old[0], old[2]],
            ProductQuery(sort=Sort.NAME, page=2, limit=1): [old[0]],
            ProductQuery(sort=Sort.UPDATED): old[::-1],
        }

        def listed(catalog: MongoCatalog) -> dict[ProductQuery, list[Product]]:
            return {query: list(catalog.list_products(workspace_id, query).items) for query in lists}

        stored = Usage(products=3, images=1, bytes=7)
        with mongodb.failing("createIndexes", errorCode=13):
            assert catalog.get_usage(workspace_id) == stored
            with pytest.raises(CatalogUnavailable, match="the index usage of products is being built"):
                catalog.count_totals()
            assert found(catalog) == expected
            assert listed(catalog) == lists
        with closing(MongoCatalog(uri)) as other:
            other.check()
            wait_for(lambda: other._mongo.indexes.finished)
            assert found(other) == expected
            assert listed(other) == lists
            assert other.get_usage(workspace_id) == other.count_totals().usage == stored
            assert find(other, "zurich") == [old[2]]
        assert {"newest", "grams"} <= names(database)  # servers of the earlier version still need them
        steps = list(catalog.prepare())
        assert steps == [
            "dropped the index newest of products",
            "dropped the index grams of products",
            "removed what earlier versions needed of 3 products",
        ]
        assert found(catalog) == expected
        assert list(catalog.prepare()) == []
    document = database.products.find_one({"_id": old[1].id})
    assert document is not None
    assert document["folded"] == f"aMODEL{old[1].model}"
    assert "foldedName" not in document
    assert {len(gram) for gram in document["grams"]} == {3}


def test_a_product_of_an_earlier_version_that_gets_another_name_is_not_found_by_the_old_one(
    mongodb: MongoServer, uri: str, old: list[Product]
) -> None:
    with mongodb.failing("createIndexes", errorCode=13), closing(MongoCatalog(uri)) as catalog:
        product = old[0]
        catalog.update_product(product.workspace_id, product.id, {"name": "Torch"})
        assert catalog.list_products(product.workspace_id, ProductQuery(search="lampe")).total == 0
        assert catalog.list_products(product.workspace_id, ProductQuery(search="torch")).total == 1


def test_a_new_database_needs_no_update(uri: str, database: Database[dict[str, Any]]) -> None:
    with closing(MongoCatalog(uri)) as catalog:
        assert all(step.startswith("built the index ") for step in catalog.prepare())
        product = a_product(new_workspace(catalog))
        catalog.create_product(product)
        with pytest.raises(DuplicateModel):
            catalog.create_product(product)
        catalog.create_credential(new_api_key(product.workspace_id)[1])
    assert database.state.find_one() == {"_id": "products", "search": 4}


def test_a_product_that_changes_during_the_update_is_updated_as_well(
    uri: str, database: Database[dict[str, Any]], old: list[Product], monkeypatch: pytest.MonkeyPatch
) -> None:
    with closing(MongoCatalog(uri)) as catalog:

        def change() -> None:
            before = {"_id": old[1].id, "version": 1}
            change = {"$inc": {"version": 1}, "$set": {"name": "Bergère", "foldedName": "bergère"}}
            assert database.products.update_one(before, change).modified_count == 1

        before_the_next(monkeypatch, Collection, "bulk_write", change)
        assert "updated 3 products for the search" in list(catalog.prepare())
        for product in old:
            document = database.products.find_one({"_id": product.id})
            assert document is not None
            assert document["folded"] == f"{fold(document['name'])}MODEL{fold(product.model)}"


@pytest.mark.usefixtures("old")
def test_products_that_change_all_the_time_stop_the_update_at_a_deadline(
    uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    rounds = []

    def overtaken(*_: object, **__: object) -> SimpleNamespace:
        rounds.append(1)
        return SimpleNamespace(modified_count=0)

    monkeypatch.setattr("catalog.mongo.search._PATIENCE", 0.5)
    monkeypatch.setattr(Collection, "bulk_write", overtaken)
    with closing(MongoCatalog(uri)) as catalog:
        with pytest.raises(CatalogUnavailable, match="products are changing too often at the moment"):
            list(catalog.prepare())
        assert 3 < len(rounds) < 60
        monkeypatch.undo()
        assert "updated 3 products for the search" in list(catalog.prepare())


def test_a_product_that_an_earlier_version_changes_after_the_update_is_updated_by_the_next_preparation(
    uri: str, database: Database[dict[str, Any]]
) -> None:
    with closing(MongoCatalog(uri)) as catalog:
        list(catalog.prepare())
        workspace = new_workspace(catalog)
        product = new_product(catalog, workspace, name="Lamp", images=())
        image = {"url": "https://images.example.com/media/k.png", "key": "k.png", "size": 5}
        change = {"$push": {"images": image}, "$inc": {"version": 1}}
        database.products.update_one({"_id": product.id}, change)
        assert list(catalog.prepare()) == ["updated 1 products for the search"]
        assert catalog.list_products(workspace.id, ProductQuery(missing_alt=True)).total == 1
        assert catalog.get_usage(workspace.id) == Usage(products=1, images=1, bytes=5)
