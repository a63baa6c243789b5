"""The errors of the MongoDB catalog, and how soon they come, when the server or the connection fails."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from typing import Any

import pytest
from pymongo.database import Database

from auth.tokens import new_api_key
from catalog.base import Product
from catalog.bounds import BOUNDS, Bound
from catalog.errors import CatalogUnavailable, DuplicateModel, OutcomeUnknown
from catalog.identity import CredentialKind, Plan, Quota
from catalog.ids import new_id
from catalog.mongo import TIMEOUT, MongoCatalog
from tests.catalog.idempotency_contract import AT, CREATED, a_claim, later
from tests.factories import (
    a_credential,
    a_grant,
    a_product,
    current,
    externals,
    hosted_image,
    new_oauth_client,
    new_product,
    new_user,
    new_workspace,
)
from tests.mongo import Fault, MongoServer, Proxy, connect, database_uri, new_database, proxy_of

#: For what lasts as long as the catalog waits, in seconds.
SHORT_TIMEOUT = 0.5
#: Within this a call that waits so long is over, on a slow machine too.
BOUND = 4 * SHORT_TIMEOUT

CHANGE = b"findAndModify"


@pytest.fixture
def uri(mongodb: MongoServer) -> Iterator[str]:
    with new_database(mongodb.uri) as uri:
        yield uri


@pytest.fixture
def catalog(uri: str) -> Iterator[MongoCatalog]:
    """Goes to the server directly, and has built all indexes."""
    with closing(MongoCatalog(uri)) as catalog:
        list(catalog.prepare())
        yield catalog


@pytest.fixture
def proxy(mongodb: MongoServer) -> Iterator[Proxy]:
    with proxy_of(mongodb) as proxy:
        yield proxy


@pytest.fixture
def far(proxy: Proxy, uri: str) -> Iterator[MongoCatalog]:
    """Goes to the same database through the proxy."""
    database = database_uri(proxy.uri, uri.rpartition("/")[2])
    with closing(MongoCatalog(database, timeout=SHORT_TIMEOUT)) as catalog:
        yield catalog


@pytest.fixture
def patient(proxy: Proxy, uri: str) -> Iterator[MongoCatalog]:
    """Goes the same way, and waits long enough to look for the server again."""
    database = database_uri(proxy.uri, uri.rpartition("/")[2])
    with closing(MongoCatalog(database, timeout=TIMEOUT)) as catalog:
        catalog.check()
        yield catalog


@pytest.fixture
def hasty(catalog: MongoCatalog, uri: str) -> Iterator[MongoCatalog]:
    """Goes to the same database directly, and waits a short time only."""
    assert list(catalog.prepare()) == []  # a build could take longer than it waits
    with closing(MongoCatalog(uri, timeout=SHORT_TIMEOUT)) as hasty:
        hasty.check()
        yield hasty


@pytest.fixture
def product(catalog: MongoCatalog) -> Product:
    return new_product(catalog, new_workspace(catalog), images=externals(1))


@contextmanager
def soon(seconds: float = BOUND) -> Iterator[None]:
    start = time.monotonic()
    yield
    assert time.monotonic() - start < seconds


@contextmanager
def raises_exactly(error: type[Exception]) -> Iterator[pytest.ExceptionInfo[Exception]]:
    """OutcomeUnknown is a CatalogUnavailable too; the difference is what these tests are about."""
    with pytest.raises(error) as caught:
        yield caught
    assert caught.type is error


def test_a_request_of_three_calls_is_answered_within_ten_seconds() -> None:
    assert 3 * TIMEOUT < 10


# --- the connection breaks or goes silent


def test_an_append_whose_answer_is_lost_is_sent_again_and_done_once(
    proxy: Proxy, patient: MongoCatalog, catalog: MongoCatalog, product: Product
) -> None:
    proxy.fault = Fault(CHANGE, times=1)
    image = hosted_image()
    appended = patient.append_image(product.workspace_id, product.id, image)
    assert proxy.fault.times == 0
    assert appended.product.images == (*product.images, image)
    assert current(catalog, product) == appended.product


def test_a_removal_whose_answer_is_lost_is_done_once(
    proxy: Proxy, patient: MongoCatalog, catalog: MongoCatalog
) -> None:
    product = new_product(catalog, new_workspace(catalog), images=externals(5))
    proxy.fault = Fault(CHANGE, times=1)
    # The second attempt of it is answered well by MongoDB. SecantusDB takes it for another removal,
    # finds the version gone, and leaves it open who has changed it.
    with suppress(OutcomeUnknown):
        patient.remove_image(product.workspace_id, product.id, 1)
    assert proxy.fault.times == 0
    assert current(catalog, product).images == (product.images[0], *product.images[2:])


def test_a_change_whose_answer_is_lost_is_done_once(
    proxy: Proxy, patient: MongoCatalog, catalog: MongoCatalog, product: Product
) -> None:
    proxy.fault = Fault(CHANGE, times=1)
    with suppress(OutcomeUnknown):
        patient.update_product(product.workspace_id, product.id, {"name": "New"})
    assert proxy.fault.times == 0
    after = current(catalog, product)
    assert (after.name, after.version) == ("New", 2)


def test_a_deletion_whose_answer_is_lost_is_done_or_unknown_and_never_not_found(
    proxy: Proxy, patient: MongoCatalog, catalog: MongoCatalog, product: Product
) -> None:
    proxy.fault = Fault(b"delete", times=1)
    with suppress(OutcomeUnknown):
        assert patient.delete_product(product.workspace_id, product.id) == product
    assert proxy.fault.times == 0
    assert list(catalog.iter_products()) == []


def test_an_append_unless_present_whose_answer_is_lost_recognizes_its_own_image(
    proxy: Proxy, patient: MongoCatalog, catalog: MongoCatalog, product: Product
) -> None:
    proxy.fault = Fault(CHANGE, times=1)
    image = hosted_image()
    appended = patient.append_image(product.workspace_id, product.id, image, unless_present=True)
    assert proxy.fault.times == 0
    assert appended.image is image  # otherwise its object would be taken for a second one, and deleted
    assert current(catalog, product).images == (*product.images, image)


@pytest.mark.parametrize("hangs", [False, True], ids=["breaks", "hangs"])
def test_when_no_answer_comes_the_outcome_is_unknown_and_the_append_may_be_there(
    proxy: Proxy, far: MongoCatalog, catalog: MongoCatalog, product: Product, hangs: bool
) -> None:
    far.check()
    proxy.fault = Fault(CHANGE, hangs=hangs)
    image = hosted_image()
    with soon(), raises_exactly(OutcomeUnknown):
        far.append_image(product.workspace_id, product.id, image)
    assert current(catalog, product).images == (*product.images, image)


@pytest.mark.parametrize("hangs", [False, True], ids=["breaks", "hangs"])
def test_when_the_request_is_lost_the_outcome_is_as_unknown_and_it_may_not_be_there(
    proxy: Proxy, far: MongoCatalog, catalog: MongoCatalog, product: Product, hangs: bool
) -> None:
    far.check()
    proxy.fault = Fault(CHANGE, answer=False, hangs=hangs)
    with soon(), raises_exactly(OutcomeUnknown):
        far.append_image(product.workspace_id, product.id, hosted_image())
    assert current(catalog, product) == product


def test_a_product_whose_creation_is_not_answered_may_exist(
    proxy: Proxy, far: MongoCatalog, catalog: MongoCatalog
) -> None:
    product = a_product(new_workspace(catalog))
    far.check()
    proxy.fault = Fault(b"insert", hangs=True)
    with soon(), raises_exactly(OutcomeUnknown):
        far.create_product(product)
    assert current(catalog, product) == product


def test_a_creation_whose_answer_is_lost_is_no_duplicate_of_itself(
    proxy: Proxy, patient: MongoCatalog, catalog: MongoCatalog
) -> None:
    product = a_product(new_workspace(catalog))
    proxy.fault = Fault(b"insert", times=1)
    patient.create_product(product)
    assert current(catalog, product) == product
    with pytest.raises(DuplicateModel):
        patient.create_product(replace(product, id=new_id()))


def test_a_claim_whose_answer_is_lost_is_not_taken_for_another_claim(
    proxy: Proxy, patient: MongoCatalog, catalog: MongoCatalog
) -> None:
    claim = a_claim()
    proxy.fault = Fault(b"insert", times=1)
    assert patient.claim_idempotency_key(claim, AT) is None
    assert proxy.fault.times == 0
    assert catalog.claim_idempotency_key(later(claim, AT), AT) == claim


def test_a_claim_that_took_over_and_whose_answer_is_lost_is_not_taken_for_another_claim(
    proxy: Proxy, patient: MongoCatalog, catalog: MongoCatalog
) -> None:
    dead = a_claim()
    catalog.claim_idempotency_key(dead, AT)
    at = dead.lease_until
    heir = later(dead, at)
    proxy.fault = Fault(b"update", times=1)
    assert patient.claim_idempotency_key(heir, at) is None
    assert proxy.fault.times == 0
    assert catalog.claim_idempotency_key(later(dead, at), at) == heir


def test_a_claim_that_is_not_answered_may_have_been_made(
    proxy: Proxy, far: MongoCatalog, catalog: MongoCatalog
) -> None:
    far.check()
    claim = a_claim()
    proxy.fault = Fault(b"insert", hangs=True)
    with soon(), raises_exactly(OutcomeUnknown):
        far.claim_idempotency_key(claim, AT)
    assert catalog.claim_idempotency_key(later(claim, AT), AT) == claim


def test_a_completion_whose_answer_is_lost_is_done_once(
    proxy: Proxy, patient: MongoCatalog, catalog: MongoCatalog
) -> None:
    claim = a_claim()
    catalog.claim_idempotency_key(claim, AT)
    proxy.fault = Fault(b"update", times=1)
    patient.complete_idempotency_key(claim, CREATED)
    assert proxy.fault.times == 0
    assert catalog.claim_idempotency_key(later(claim, AT), AT) == replace(claim, answer=CREATED)


@pytest.mark.parametrize("hangs", [False, True], ids=["breaks", "hangs"])
def test_a_read_that_is_not_answered_is_unavailable(
    proxy: Proxy, far: MongoCatalog, product: Product, hangs: bool
) -> None:
    far.check()
    proxy.fault = Fault(b"find", hangs=hangs)
    with soon(), raises_exactly(CatalogUnavailable):
        current(far, product)


@pytest.mark.parametrize("hangs", [False, True], ids=["breaks", "hangs"])
def test_a_server_that_accepts_connections_and_says_nothing_is_unavailable_for_writes_too(
    proxy: Proxy, far: MongoCatalog, product: Product, hangs: bool
) -> None:
    proxy.fault = Fault(b"", answer=False, hangs=hangs)
    with soon(), raises_exactly(CatalogUnavailable):
        far.append_image(product.workspace_id, product.id, hosted_image())


def test_the_way_back_is_found_without_a_new_catalog(
    proxy: Proxy, patient: MongoCatalog, product: Product
) -> None:
    proxy.fault = Fault(b"", answer=False)
    with raises_exactly(CatalogUnavailable):
        current(patient, product)
    proxy.fault = Fault(b"", times=0)
    assert current(patient, product) == product


# --- the server says no


@pytest.mark.parametrize(
    "fault",
    [
        {"errorCode": 13},  # Unauthorized
        {"errorCode": 14031},  # OutOfDiskSpace
        {"errorCode": 371},  # UserWritesBlocked
        {"errorCode": 8000},  # AtlasError
        {"errorCode": 462, "errorLabels": ["SystemOverloadedError", "RetryableError"]},
        {"errorCode": 10107, "errorLabels": []},  # NotWritablePrimary
        {"errorCode": 11600, "errorLabels": ["NoWritesPerformed"]},  # InterruptedAtShutdown
    ],
    ids=str,
)
def test_a_write_that_the_server_refuses_is_not_done(
    mongodb: MongoServer, hasty: MongoCatalog, catalog: MongoCatalog, product: Product, fault: dict[str, Any]
) -> None:
    with mongodb.failing("findAndModify", **fault), raises_exactly(CatalogUnavailable):
        hasty.append_image(product.workspace_id, product.id, hosted_image())
    assert current(catalog, product) == product


@pytest.mark.parametrize(
    "fault",
    [
        {"errorCode": 50},  # MaxTimeMSExpired
        {"errorCode": 11602, "errorLabels": []},  # InterruptedDueToReplStateChange
        {"errorCode": 189, "errorLabels": []},  # PrimarySteppedDown
        {"errorCode": 462, "errorLabels": ["RetryableError"]},
        {"closeConnection": True},
    ],
    ids=str,
)
def test_a_write_that_the_server_could_not_finish_is_of_unknown_outcome(
    mongodb: MongoServer, hasty: MongoCatalog, product: Product, fault: dict[str, Any]
) -> None:
    with mongodb.failing("findAndModify", **fault), soon(), raises_exactly(OutcomeUnknown):
        hasty.append_image(product.workspace_id, product.id, hosted_image())


def test_of_two_attempts_the_one_without_an_answer_counts(
    proxy: Proxy, mongodb: MongoServer, patient: MongoCatalog, catalog: MongoCatalog, product: Product
) -> None:
    proxy.fault = Fault(CHANGE, times=1)
    image = hosted_image()
    # The first attempt gets through, its answer is lost; the second is refused.
    with mongodb.failing("findAndModify", mode={"skip": 1}, errorCode=13), raises_exactly(OutcomeUnknown):
        patient.append_image(product.workspace_id, product.id, image)
    assert current(catalog, product).images == (*product.images, image)


@pytest.mark.parametrize("code", [64, 100, 10107, 91])
def test_a_write_that_a_majority_does_not_have_is_of_unknown_outcome(
    mongodb: MongoServer, hasty: MongoCatalog, catalog: MongoCatalog, product: Product, code: int
) -> None:
    image = hosted_image()
    error = {"code": code, "errmsg": "not replicated"}
    with mongodb.failing("findAndModify", writeConcernError=error), raises_exactly(OutcomeUnknown):
        hasty.append_image(product.workspace_id, product.id, image)
    assert current(catalog, product).images == (*product.images, image)


def test_a_creation_that_a_majority_does_not_have_is_of_unknown_outcome(
    mongodb: MongoServer, catalog: MongoCatalog
) -> None:
    product = a_product(new_workspace(catalog))
    error = {"code": 64, "errmsg": "waiting for replication timed out"}
    with mongodb.failing("insert", writeConcernError=error), raises_exactly(OutcomeUnknown):
        catalog.create_product(product)


def test_a_look_that_fails_after_an_append_was_refused_leaves_no_doubt(
    mongodb: MongoServer, catalog: MongoCatalog
) -> None:
    product = new_product(catalog, new_workspace(catalog), images=externals(20))
    with mongodb.failing("find", errorCode=13), raises_exactly(CatalogUnavailable):
        catalog.append_image(product.workspace_id, product.id, hosted_image())


# --- what another program has added to the database


@pytest.fixture
def database(uri: str) -> Iterator[Database[dict[str, Any]]]:
    with connect(uri) as client:
        yield client.get_default_database()


WRITES: dict[str, tuple[str, Callable[[MongoCatalog, Product], object]]] = {
    "append": ("products", lambda c, p: c.append_image(p.workspace_id, p.id, hosted_image())),
    "remove": ("products", lambda c, p: c.remove_image(p.workspace_id, p.id, 0)),
    "change": ("products", lambda c, p: c.update_product(p.workspace_id, p.id, {"name": "New"})),
    "create": ("products", lambda c, p: c.create_product(a_product(c.get_workspace(p.workspace_id)))),
    "workspace": ("workspaces", lambda c, _: new_workspace(c)),
    "plan": ("workspaces", lambda c, p: c.set_plan(p.workspace_id, Plan.FREE)),
    "key": ("credentials", lambda c, p: c.create_credential(new_api_key(p.workspace_id)[1])),
    "claim": ("idempotencyKeys", lambda c, _: c.claim_idempotency_key(a_claim(), AT)),
}


@pytest.mark.parametrize("name", WRITES)
def test_a_validator_that_refuses_a_write_makes_the_catalog_unavailable_and_changes_nothing(
    catalog: MongoCatalog, database: Database[dict[str, Any]], product: Product, name: str
) -> None:
    collection, write = WRITES[name]
    workspaces = catalog.list_workspaces()
    database.command("collMod", collection, validator={"approved": True}, validationLevel="strict")
    with raises_exactly(CatalogUnavailable):
        write(catalog, product)
    assert list(catalog.iter_products()) == [product]
    assert catalog.list_workspaces() == workspaces
    assert catalog.list_api_keys() == []
    database.command("collMod", collection, validator={})
    write(catalog, product)


def test_a_unique_index_of_another_program_is_not_taken_for_a_duplicate_of_ours(
    catalog: MongoCatalog, database: Database[dict[str, Any]], product: Product
) -> None:
    other = new_product(catalog, workspace := catalog.get_workspace(product.workspace_id), name="Other")
    database.products.create_index("name", unique=True)
    with raises_exactly(CatalogUnavailable):
        new_product(catalog, workspace, name=product.name)
    with raises_exactly(CatalogUnavailable):
        catalog.update_product(workspace.id, other.id, {"name": product.name})
    assert sorted(catalog.iter_products(), key=lambda found: found.created_at) == [product, other]
    with pytest.raises(DuplicateModel):
        catalog.update_product(workspace.id, other.id, {"model": product.model})


# --- transactions, of a workspace with a quota


@pytest.mark.parametrize("hangs", [False, True], ids=["breaks", "hangs"])
def test_when_a_commit_is_not_answered_the_outcome_is_unknown(
    proxy: Proxy, far: MongoCatalog, catalog: MongoCatalog, product: Product, hangs: bool
) -> None:
    far.set_quota(product.workspace_id, Quota(images=1))
    proxy.fault = Fault(b"commitTransaction", hangs=hangs)
    image = hosted_image()
    with soon(), raises_exactly(OutcomeUnknown):
        far.append_image(product.workspace_id, product.id, image)
    assert current(catalog, product).images in (product.images, (*product.images, image))
    assert catalog.get_usage(product.workspace_id) == current(catalog, product).usage


def test_a_change_that_its_transaction_could_not_count_has_not_happened(
    mongodb: MongoServer, hasty: MongoCatalog, catalog: MongoCatalog, product: Product
) -> None:
    hasty.set_quota(product.workspace_id, Quota(images=1))
    counting = {"errorCode": 13, "mode": {"skip": 1}}  # the second of two findAndModify
    with mongodb.failing("findAndModify", **counting), raises_exactly(CatalogUnavailable):
        hasty.append_image(product.workspace_id, product.id, hosted_image())
    assert current(catalog, product) == product
    assert catalog.get_usage(product.workspace_id) == product.usage


@pytest.mark.parametrize(
    ("kind", "command", "skipped"),
    [(CredentialKind.API_KEY, "aggregate", 1), (CredentialKind.SESSION, "delete", 0)],
)
def test_a_credential_whose_bound_can_not_be_applied_may_have_been_added(
    mongodb: MongoServer,
    catalog: MongoCatalog,
    monkeypatch: pytest.MonkeyPatch,
    kind: CredentialKind,
    command: str,
    skipped: int,
) -> None:
    monkeypatch.setitem(BOUNDS, CredentialKind.SESSION, Bound("user_id", 1))
    owner = {"workspace_id": new_workspace(catalog).id, "user_id": new_id()}
    catalog.create_credential(a_credential(kind, **owner))
    added = a_credential(kind, **owner)
    with mongodb.failing(command, mode={"skip": skipped}, errorCode=13), raises_exactly(OutcomeUnknown):
        catalog.create_credential(added)
    assert catalog.find_credential(added.digest) == added


def test_a_grant_whose_client_can_not_be_updated_may_have_been_added(
    mongodb: MongoServer, catalog: MongoCatalog
) -> None:
    user = new_user(catalog, new_workspace(catalog))
    grant = a_grant(user, new_oauth_client(catalog))
    with mongodb.failing("update", errorCode=13), raises_exactly(OutcomeUnknown):
        catalog.create_grant(grant)
    assert catalog.find_grant(grant.id) == grant
