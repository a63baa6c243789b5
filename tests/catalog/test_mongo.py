from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from pymongo.database import Database

from auth.tokens import new_api_key
from catalog.base import Image, Product, ProductQuery, Sort
from catalog.errors import CatalogUnavailable, DuplicateModel, QuotaNotSupported, WorkspaceNotFound
from catalog.identity import CredentialKind, Quota, Usage
from catalog.ids import new_id, now
from catalog.mongo import TIMEOUT, MongoCatalog
from catalog.mongo.quotas import with_usage
from tests.catalog.bounds_contract import BoundsContract
from tests.catalog.contract import CatalogContract
from tests.catalog.daily_usage_contract import DailyUsageContract
from tests.catalog.expiry_contract import ExpiryContract
from tests.catalog.history_contract import HistoryContract
from tests.catalog.idempotency_contract import IdempotencyKeysContract
from tests.catalog.identity_contract import IdentitiesContract
from tests.catalog.purge_contract import PurgeContract
from tests.catalog.quota_contract import QuotaContract
from tests.catalog.removal_contract import RemovalContract
from tests.factories import (
    a_client,
    a_credential,
    a_grant,
    a_product,
    a_user,
    externals,
    hosted_image,
    new_product,
    new_workspace,
)
from tests.mongo import MongoServer, connect, database_uri, new_database


@pytest.fixture
def uri(mongodb_uri: str) -> Iterator[str]:
    with new_database(mongodb_uri) as uri:
        yield uri


@pytest.fixture
def catalog(uri: str) -> Iterator[MongoCatalog]:
    """A catalog that has all its indexes."""
    with closing(MongoCatalog(uri)) as catalog:
        assert "built the index listed of products" in list(catalog.prepare())
        yield catalog


class UnderWay:
    """The calls of a function that are under way."""

    def __init__(self) -> None:
        self._calls: set[object] = set()

    def noting(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, whose calls are noted while they last."""

        def call(*args: Any, **options: Any) -> Any:
            self._calls.add(this := object())
            try:
                return function(*args, **options)
            finally:
                self._calls.discard(this)

        return call

    def wait(self, _seconds: float) -> None:
        """Returns when the calls that are under way now have ended, however long they take."""
        earlier, end = set(self._calls), time.monotonic() + 60
        while earlier & self._calls:
            assert time.monotonic() < end
            time.sleep(0.01)


class TestMongoCatalog(
    CatalogContract,
    HistoryContract,
    IdentitiesContract,
    BoundsContract,
    IdempotencyKeysContract,
    ExpiryContract,
    PurgeContract,
    DailyUsageContract,
):
    @pytest.fixture
    def catalog(self, uri: str) -> Iterator[MongoCatalog]:
        with closing(MongoCatalog(uri)) as catalog:
            yield catalog


class TestMongoQuotas(QuotaContract):
    @pytest.fixture
    def catalog(self, uri: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[MongoCatalog]:
        """A first quota waits until the writes that began earlier have ended."""
        writes = UnderWay()
        monkeypatch.setattr("catalog.mongo.products.with_usage", writes.noting(with_usage))
        monkeypatch.setattr(
            "catalog.mongo.quotas.time", SimpleNamespace(sleep=writes.wait, monotonic=time.monotonic)
        )
        with closing(MongoCatalog(uri)) as catalog:
            yield catalog


class TestMongoRemoval(RemovalContract):
    @pytest.fixture
    def catalog(self, uri: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[MongoCatalog]:
        """The removal of a workspace waits until the creations that began earlier have ended."""
        creations = UnderWay()
        create = creations.noting(MongoCatalog.create_product)
        monkeypatch.setattr(MongoCatalog, "create_product", create)
        monkeypatch.setattr("catalog.mongo.removal.time", SimpleNamespace(sleep=creations.wait))
        with closing(MongoCatalog(uri)) as catalog:
            yield catalog


@pytest.fixture
def database(uri: str) -> Iterator[Database[dict[str, Any]]]:
    with connect(uri) as client:
        yield client.get_default_database()


# --- what is in the database


def test_a_product_is_a_document_in_the_words_of_the_contract(
    catalog: MongoCatalog, database: Database[dict[str, Any]]
) -> None:
    workspace = new_workspace(catalog)
    image = hosted_image()
    product = new_product(
        catalog,
        workspace,
        name="Maß",
        model="X1",
        images=(*externals(1), image),
        default_field_values={"a.b": 2**70},
    )
    document = database.products.find_one()
    assert document == {
        "_id": product.id,
        "companyId": workspace.id,
        "name": "Maß",
        "model": "X1",
        "category": "batteries",
        "defaultFieldValues": '{"a.b": 1180591620717411303424}',
        "images": [
            {"url": "https://cdn.example.com/0.png"},
            {
                "url": image.url,
                "key": image.key,
                "sha256": image.sha256,
                "storedSha256": image.stored_sha256,
                "contentType": "image/png",
                "size": 1234,
                "width": 640,
                "height": 480,
                "createdAt": image.created_at and image.created_at.replace(tzinfo=None),
                "metadataRemoved": ["exif", "gps"],
            },
        ],
        "status": "active",
        "sourceLocale": "en",
        "version": 1,
        "createdAt": product.created_at.replace(tzinfo=None),
        "updatedAt": product.updated_at.replace(tzinfo=None),
        "folded": "massMODELx1",
        "sortName": "mass",
        "sortModel": "x1",
        "grams": ["ass", "mas"],
        "missingAlt": True,
        "missingImages": False,
        "storedImages": 1,
        "storedBytes": 1234,
        "history": [
            {
                "at": product.created_at.replace(tzinfo=None),
                "action": "created",
                "actor": {"kind": "command"},
                "fields": [],
                "images": [
                    {"touch": "added", "url": "https://cdn.example.com/0.png"},
                    {"touch": "added", "imageId": id_of(image)},
                ],
            }
        ],
    }


def id_of(image: Image) -> str:
    return image.url.rpartition("/")[2].removesuffix(".png")


def test_a_product_of_an_earlier_version_gets_a_history_with_its_next_change(
    catalog: MongoCatalog, database: Database[dict[str, Any]]
) -> None:
    product = new_product(catalog, workspace := new_workspace(catalog))
    database.products.update_one({}, {"$unset": {"history": ""}})
    assert catalog.get_history(workspace.id, product.id) == []
    catalog.append_image(workspace.id, product.id, hosted_image())
    (change,) = catalog.get_history(workspace.id, product.id)
    assert change.action == "images.added"


def test_no_secret_is_in_the_database(catalog: MongoCatalog, database: Database[dict[str, Any]]) -> None:
    secret, credential = new_api_key(new_workspace(catalog).id)
    catalog.create_credential(credential)
    (document,) = database.credentials.find()
    assert document["digest"] == credential.digest
    assert secret.removeprefix("tp_") not in str(document)


def test_the_first_catalog_builds_the_indexes_and_the_others_use_them(
    uri: str, database: Database[dict[str, Any]]
) -> None:
    catalogs = [MongoCatalog(uri) for _ in range(4)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda catalog: catalog.check(), [*catalogs, *catalogs]))
    for catalog in catalogs:
        wait_until_finished(catalog)
        catalog.close()
    assert {
        name: " ".join(f"{field}{'-' if order < 0 else ''}" for field, order in index["key"])
        for collection in (database.credentials, database.products)
        for name, index in collection.index_information().items()
        if name != "_id_"
    } == {
        "digest": "digest",
        "companyId_createdAt": "companyId createdAt _id",
        "userId_kind_createdAt": "userId kind createdAt _id",
        "grantId_kind_createdAt": "grantId kind createdAt _id",
        "kind_expiresAt": "kind expiresAt",
        "api_keys": "kind companyId createdAt _id",
        "expiresAt": "expiresAt",
        "companyId_model": "companyId model",
        "listed": "companyId createdAt- _id- status category folded",
        "status": "companyId status createdAt- _id-",
        "category": "companyId category createdAt- _id-",
        "category_status": "companyId category status createdAt- _id-",
        "trigrams": "companyId grams",
        "missing_alt": "companyId missingAlt createdAt- _id- status category folded",
        "missing_images": "companyId missingImages createdAt- _id- status category folded",
        "by_name": "companyId sortName _id status category missingAlt missingImages folded",
        "by_model": "companyId sortModel _id status category missingAlt missingImages folded",
        "by_change": "companyId updatedAt- _id- status category missingAlt missingImages folded",
        "usage": "companyId storedImages storedBytes",
    }
    credentials, products = database.credentials.index_information(), database.products.index_information()
    assert {name for name, index in {**credentials, **products}.items() if index.get("unique")} == {
        "digest",
        "companyId_model",
    }
    assert {name: index.get("expireAfterSeconds") for name, index in credentials.items()} == {
        "_id_": None,
        "digest": None,
        "companyId_createdAt": None,
        "userId_kind_createdAt": None,
        "grantId_kind_createdAt": None,
        "kind_expiresAt": None,
        "api_keys": None,
        "expiresAt": 7 * 24 * 3600,
    }


def test_a_credential_without_an_expiry_has_no_date_that_the_server_could_expire_it_by(
    catalog: MongoCatalog, database: Database[dict[str, Any]]
) -> None:
    catalog.create_credential(new_api_key(new_workspace(catalog).id)[1])
    (document,) = database.credentials.find()
    assert "expiresAt" not in document


def wait_until_finished(catalog: MongoCatalog) -> None:
    """Returns when the thread that builds the indexes has built all of them."""
    end = time.monotonic() + 60
    while not catalog._mongo.indexes.finished:
        assert time.monotonic() < end
        time.sleep(0.01)


def asked(uri: str, call: Callable[[], object]) -> list[dict[str, Any]]:
    """The commands that the server gets while ``call`` runs, as its profiler tells."""
    with connect(uri) as client:
        database = client.get_default_database()
        database.command("profile", 2)
        call()
        database.command("profile", 0)
        return [entry["command"] for entry in database["system.profile"].find()]


def test_an_append_is_one_command_whose_filter_has_the_limit(uri: str, catalog: MongoCatalog) -> None:
    product = new_product(catalog, workspace := new_workspace(catalog))
    image = hosted_image()
    look, command = asked(
        uri, lambda: catalog.append_image(workspace.id, product.id, image, unless_present=True)
    )
    assert look["find"] == "workspaces"  # whether the usage is kept
    assert command["findAndModify"] == "products"
    assert command["query"] == {
        "_id": product.id,
        "companyId": workspace.id,
        "images.19": {"$exists": False},
        "images.key": {"$ne": image.key},
        "images.sha256": {"$ne": image.sha256},
    }


def test_api_keys_are_listed_without_a_look_at_tokens_and_sessions(uri: str, catalog: MongoCatalog) -> None:
    workspaces = [new_workspace(catalog) for _ in range(2)]
    keys = [new_api_key(workspace.id)[1] for workspace in workspaces]
    for workspace, key in zip(workspaces, keys, strict=True):
        catalog.create_credential(key)
        catalog.create_credential(a_credential(CredentialKind.SESSION, workspace_id=workspace.id))

    def listed() -> None:
        assert catalog.list_api_keys() == keys
        assert catalog.list_api_keys(workspaces[0].id) == keys[:1]

    commands = asked(uri, listed)
    assert [command["hint"] for command in commands] == ["api_keys", "api_keys"]
    with connect(uri) as client:
        credentials = client.get_default_database().credentials
        plan = credentials.find(commands[0]["filter"], hint="api_keys").explain()
    assert plan["executionStats"]["totalDocsExamined"] == 2


def test_the_usage_without_a_quota_is_read_from_an_index_alone(uri: str, catalog: MongoCatalog) -> None:
    product = new_product(catalog, workspace := new_workspace(catalog), images=(hosted_image(size=9),))
    new_product(catalog, new_workspace(catalog))
    catalog.append_image(workspace.id, product.id, hosted_image(size=1))
    look, command = asked(uri, lambda: catalog.get_usage(workspace.id))
    assert (look["find"], command["aggregate"], command["hint"]) == ("workspaces", "products", "usage")
    match, group = command["pipeline"]
    with connect(uri) as client:
        keys = client.get_default_database().products.index_information()["usage"]["key"]
    read = {
        *match["$match"],
        *(str(field["$sum"]).removeprefix("$") for field in list(group["$group"].values())[2:]),
    }
    assert read == {name for name, _ in keys}
    assert catalog.get_usage(workspace.id) == Usage(products=1, images=2, bytes=10)


@pytest.mark.parametrize(
    "options", ["", "?w=1&journal=false&readPreference=secondary&readConcernLevel=local&timeoutMS=60000"]
)
def test_writes_wait_for_a_majority_and_reads_see_one_whatever_the_options_say(
    uri: str, options: str
) -> None:
    catalog = MongoCatalog(uri + options, timeout=TIMEOUT)
    list(catalog.prepare())
    workspace = new_workspace(catalog)
    product = a_product(workspace)
    # A kind without a bound: others are counted as writes see them, before a majority has them.
    credential = a_credential(CredentialKind.AUTHORIZATION_CODE, workspace_id=workspace.id)

    def calls() -> None:
        catalog.create_product(product)
        catalog.create_credential(credential)
        catalog.append_image(workspace.id, product.id, hosted_image())
        catalog.revoke_credential(credential.id, now())
        catalog.get_product(workspace.id, product.id)
        catalog.list_api_keys()

    with closing(catalog):
        commands = asked(uri, calls)
    writes = [command for command in commands if "find" not in command]
    assert len(writes) == 4
    assert all(command["writeConcern"] == {"w": "majority", "j": True} for command in writes)
    reads = [command for command in commands if "find" in command]
    assert all(command["readConcern"] == {"level": "majority"} for command in reads)
    assert all(0 < command["maxTimeMS"] <= TIMEOUT * 1000 for command in commands)


#: Queries, with the index that counts the products and the one that has their order.
LISTS: list[tuple[ProductQuery, str, str]] = [
    (ProductQuery(), "status", "status"),
    (ProductQuery(show_archived=True), "listed", "listed"),
    (ProductQuery(category="toys"), "category_status", "category_status"),
    (ProductQuery(category="toys", show_archived=True), "category", "category"),
    (ProductQuery(search="Li"), "listed", "listed"),
    (ProductQuery(search="a", category="batteries"), "listed", "listed"),
    (ProductQuery(search="Li-Ion", category="batteries"), "trigrams", "trigrams"),
    (ProductQuery(missing_images=True, category="toys"), "missing_images", "missing_images"),
    (ProductQuery(sort=Sort.OLDEST), "status", "status"),
    (ProductQuery(sort=Sort.NAME), "status", "by_name"),
    (ProductQuery(sort=Sort.NAME, search="Li-Ion"), "trigrams", "trigrams"),
    (ProductQuery(sort=Sort.MODEL, search="Li", category="toys"), "listed", "by_model"),
    (ProductQuery(sort=Sort.MODEL, missing_images=True), "missing_images", "by_model"),
    (ProductQuery(sort=Sort.UPDATED, missing_alt=True, search="Li"), "missing_alt", "by_change"),
]


@pytest.mark.parametrize(("query", "counted_by", "ordered_by"), LISTS)
def test_a_list_is_counted_and_found_by_an_index_alone(
    uri: str,
    catalog: MongoCatalog,
    database: Database[dict[str, Any]],
    query: ProductQuery,
    counted_by: str,
    ordered_by: str,
) -> None:
    workspace = new_workspace(catalog)
    for images in ((), externals(1)):
        for category in ("batteries", "toys"):
            new_product(catalog, workspace, category=category, images=images)
    *found, read = asked(uri, lambda: catalog.list_products(workspace.id, query))
    assert read["find"] == "products"
    assert read["filter"].keys() == {"_id"}
    (page,) = [command for command in found if "find" in command]
    counts = [command for command in found if "aggregate" in command]
    assert {command["hint"] for command in counts} == {counted_by}
    assert page["hint"] == ordered_by
    # MongoDB answers a query from an index alone if the index has all fields of filter, order and projection:
    # https://www.mongodb.com/docs/manual/core/query-optimization/#covered-query
    assert page["projection"] == {"_id": True}
    if ordered_by == "trigrams":  # up to 300 products with a rare trigram are read
        return
    indexes = database.products.index_information()
    assert {*page["filter"], *page["sort"]} <= {name for name, _ in indexes[ordered_by]["key"]}
    (count,) = counts
    assert set(count["pipeline"][0]["$match"]) <= {name for name, _ in indexes[counted_by]["key"]}


@pytest.mark.parametrize("candidates", [0, 1, 3])
def test_a_search_for_what_is_frequent_finds_the_same(
    uri: str, catalog: MongoCatalog, monkeypatch: pytest.MonkeyPatch, candidates: int
) -> None:
    monkeypatch.setattr("catalog.mongo.search._MAX_CANDIDATES", candidates)
    CatalogContract().test_a_search_takes_every_character_literally_in_any_case(
        catalog, workspace := new_workspace(catalog)
    )
    query = ProductQuery(search="DESK LAMP")
    commands = asked(uri, lambda: catalog.list_products(workspace.id, query))
    assert commands[-2]["hint"] == ("listed" if candidates == 0 else "trigrams")


def test_no_search_extends_from_a_name_to_its_model(catalog: MongoCatalog) -> None:
    workspace = new_workspace(catalog)
    new_product(catalog, workspace, name="Lamp", model="X1")
    for search in ("MODEL", "model", "lampmodelx1", "p x", "px"):
        assert catalog.list_products(workspace.id, ProductQuery(search=search)).total == 0


@pytest.mark.parametrize("strict", [False, True])
def test_authentication_reads_linearizably_only_if_that_is_asked(uri: str, strict: bool) -> None:
    with closing(MongoCatalog(uri, strict_revocation=strict)) as catalog:
        list(catalog.prepare())
        user, client = a_user(workspace := new_workspace(catalog)), a_client()
        catalog.create_user(user)
        catalog.create_client(client)
        catalog.create_grant(grant := a_grant(user, client))
        _, credential = new_api_key(workspace.id)
        catalog.create_credential(credential)

        def calls() -> None:
            catalog.find_credential(credential.digest)
            catalog.find_grant(grant.id)
            catalog.get_user(user.id)
            catalog.find_client(client.id)

        commands = asked(uri, calls)
    level = "linearizable" if strict else "majority"
    assert [command["readConcern"] for command in commands] == 4 * [{"level": level}]


def test_a_product_that_is_to_be_changed_is_read_as_the_change_compares_it(
    uri: str, catalog: MongoCatalog
) -> None:
    product = new_product(catalog, new_workspace(catalog))
    for for_change, level in ((False, "majority"), (True, "local")):
        *_, command = asked(
            uri,
            lambda: catalog.get_product(product.workspace_id, product.id, for_change=for_change),  # noqa: B023  # called before the next round
        )
        assert command["readConcern"] == {"level": level}


def test_a_record_that_is_always_overtaken_ends_before_the_deadline_with_pauses(
    catalog: MongoCatalog, uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    product = new_product(catalog, workspace := new_workspace(catalog))
    rounds: list[Product] = []

    def none(product: Product) -> dict[str, Any]:
        rounds.append(product)
        return {"_id": "none"}

    monkeypatch.setattr("catalog.mongo.products._at_version", none)
    with closing(MongoCatalog(uri, timeout=0.5)) as hasty:
        hasty.check()
        calls: list[Callable[[], object]] = [
            lambda: hasty.update_product(workspace.id, product.id, {"name": "New"}),
            lambda: hasty.delete_product(workspace.id, product.id),
        ]
        for call in calls:
            rounds.clear()
            with pytest.raises(CatalogUnavailable):
                call()
            assert 3 < len(rounds) < 60  # the time limit ended the call
    assert catalog.get_product(workspace.id, product.id) == product


def test_a_single_server_is_not_asked_for_what_only_replica_sets_know(tmp_path: Path) -> None:
    server = MongoServer(tmp_path, "--standalone")
    try:
        uri = database_uri(server.uri, "single")
        catalog = MongoCatalog(uri, strict_revocation=True)
        list(catalog.prepare())
        product = new_product(catalog, workspace := new_workspace(catalog))
        catalog.append_image(workspace.id, product.id, hosted_image())
        with pytest.raises(QuotaNotSupported):
            catalog.set_quota(workspace.id, Quota(images=1))
        _, credential = new_api_key(workspace.id)
        catalog.create_credential(credential)
        (command,) = asked(uri, lambda: catalog.find_credential(credential.digest))
        assert command["readConcern"] == {"level": "majority"}
        catalog.close()
    finally:
        server.kill()


# --- threads and processes


def test_records_of_one_millisecond_are_listed_in_the_order_of_their_creation(catalog: MongoCatalog) -> None:
    moment = now()
    workspace = new_workspace(catalog)
    credentials = [replace(new_api_key(workspace.id)[1], created_at=moment) for _ in range(20)]
    for credential in credentials:
        catalog.create_credential(credential)
    assert catalog.list_api_keys() == credentials


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_catalog_that_was_used_before_a_fork_works_on_both_sides(catalog: MongoCatalog) -> None:
    product = new_product(catalog, workspace := new_workspace(catalog))

    def append() -> None:
        catalog.append_image(workspace.id, product.id, hosted_image())

    def append_and_close() -> None:
        append()
        catalog.close()

    child = multiprocessing.get_context("fork").Process(target=append_and_close)
    child.start()
    child.join(60)
    assert child.exitcode == 0
    append()
    assert len(catalog.get_product(workspace.id, product.id).images) == 2


def test_many_threads_that_come_first_share_a_client(uri: str) -> None:
    with closing(MongoCatalog(uri)) as catalog:
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda _: catalog.check(), range(16)))
        assert len(catalog._mongo._processes._slots) == 1


def test_a_collection_that_was_dropped_gets_its_indexes_back(
    catalog: MongoCatalog, database: Database[dict[str, Any]]
) -> None:
    workspace = new_workspace(catalog)
    product = new_product(catalog, workspace)
    documents = list(database.products.find())
    database.products.drop()
    database.products.insert_many(documents)
    with suppress(CatalogUnavailable):
        catalog.list_products(workspace.id, ProductQuery())
    assert catalog.list_products(workspace.id, ProductQuery()).items == [product]
    with pytest.raises(DuplicateModel):
        catalog.create_product(replace(product, id=new_id()))


def test_a_workspace_is_removed_when_the_longest_call_that_began_before_has_ended(
    uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []
    monkeypatch.setattr("catalog.mongo.removal.time", SimpleNamespace(sleep=waits.append))
    with closing(MongoCatalog(uri, timeout=40)) as catalog:
        closed, opened = new_workspace(catalog), new_workspace(catalog)
        catalog.close_workspace(closed.id)
        monkeypatch.setattr("catalog.mongo.removal.now", lambda: now() + timedelta(seconds=30))
        catalog.delete_workspace(closed.id)
        monkeypatch.setattr("catalog.mongo.removal.now", now)
        catalog.delete_workspace(opened.id)
    assert 0 < waits[0] <= 10
    assert 30 < waits[1] <= 40


def test_nothing_is_added_to_a_closed_workspace(catalog: MongoCatalog) -> None:
    workspace = new_workspace(catalog)
    catalog.close_workspace(workspace.id)
    with pytest.raises(WorkspaceNotFound):
        catalog.create_product(a_product(workspace))
