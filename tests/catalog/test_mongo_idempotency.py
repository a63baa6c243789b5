"""How the MongoDB catalog counts the live Idempotency-Keys of a workspace, without counting at each claim."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import timedelta

import pytest

from catalog.base import IdempotencyClaim
from catalog.errors import CatalogUnavailable, IdempotencyKeysUsedUp, OutcomeUnknown
from catalog.ids import new_id
from catalog.mongo import MongoCatalog
from tests.catalog.idempotency_contract import AT, a_claim, later
from tests.mongo import MongoServer, connect, new_database

#: The code of the error that the server answers with: Unauthorized.
REFUSED = 13


@pytest.fixture
def uri(mongodb_uri: str) -> Iterator[str]:
    with new_database(mongodb_uri) as uri:
        yield uri


@pytest.fixture
def catalog(uri: str) -> Iterator[MongoCatalog]:
    with closing(MongoCatalog(uri)) as catalog:
        catalog.check()
        yield catalog


@pytest.fixture
def elsewhere(uri: str) -> Iterator[MongoCatalog]:
    """The catalog of another process."""
    with closing(MongoCatalog(uri)) as catalog:
        catalog.check()
        yield catalog


@pytest.fixture(autouse=True)
def bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """A workspace has at most 12 live keys; while more than 6 are missing, a third of them is not counted."""
    monkeypatch.setattr("catalog.mongo.idempotency.MAX_LIVE_KEYS", 12)
    monkeypatch.setattr("catalog.mongo.idempotency._FEW", 6)
    monkeypatch.setattr("catalog.mongo.idempotency._PART", 3)


def claims(workspace_id: str, number: int) -> list[IdempotencyClaim]:
    return [a_claim(workspace_id=workspace_id) for _ in range(number)]


def is_made(catalog: MongoCatalog, claim: IdempotencyClaim) -> bool:
    try:
        return catalog.claim_idempotency_key(claim, AT) is None
    except IdempotencyKeysUsedUp:
        return False


def live_keys(uri: str, workspace_id: str) -> int:
    with connect(uri) as client:
        return client.get_default_database().idempotencyKeys.count_documents({"companyId": workspace_id})


def test_after_a_count_some_claims_are_made_without_another(
    mongodb: MongoServer, catalog: MongoCatalog
) -> None:
    first, *others, one_more = claims(new_id(), 6)
    assert is_made(catalog, first)
    with mongodb.failing("aggregate", errorCode=REFUSED):
        assert [is_made(catalog, claim) for claim in others] == [True] * 4
        with pytest.raises(CatalogUnavailable):
            catalog.claim_idempotency_key(one_more, AT)
        with pytest.raises(CatalogUnavailable):  # another workspace
            catalog.claim_idempotency_key(a_claim(), AT)
    assert is_made(catalog, one_more)


def test_a_count_is_not_relied_on_for_long(mongodb: MongoServer, catalog: MongoCatalog) -> None:
    first, second, third = claims(new_id(), 3)
    assert is_made(catalog, first)
    with mongodb.failing("aggregate", errorCode=REFUSED):
        assert catalog.claim_idempotency_key(second, AT + timedelta(seconds=1.9)) is None
        with pytest.raises(CatalogUnavailable):
            catalog.claim_idempotency_key(third, AT + timedelta(seconds=2))


def test_a_workspace_that_has_all_its_keys_is_refused_without_a_count(
    mongodb: MongoServer, catalog: MongoCatalog
) -> None:
    *made, refused = claims(new_id(), 13)
    assert [is_made(catalog, claim) for claim in made] == [True] * 12
    assert not is_made(catalog, refused)
    with mongodb.failing("aggregate", errorCode=REFUSED):
        assert not is_made(catalog, refused)
        assert catalog.claim_idempotency_key(later(made[0], AT), AT) == made[0]


def test_two_processes_together_do_not_exceed_the_bound(
    catalog: MongoCatalog, elsewhere: MongoCatalog, uri: str
) -> None:
    workspace_id = new_id()
    assert [is_made(catalog, claim) for claim in claims(workspace_id, 5)] == [True] * 5
    turns = [(each, claim) for each in (catalog, elsewhere) for claim in claims(workspace_id, 8)]
    with ThreadPoolExecutor(16) as pool:
        made = sum(pool.map(lambda turn: is_made(*turn), turns))
    # Each process may have refused one because of another that the other process undid.
    assert 1 <= made == live_keys(uri, workspace_id) - 5 <= 7


def test_a_claim_that_can_not_be_counted_after_it_was_made_is_of_unknown_outcome(
    mongodb: MongoServer, catalog: MongoCatalog, uri: str
) -> None:
    workspace_id = new_id()
    assert [is_made(catalog, claim) for claim in claims(workspace_id, 8)] == [True] * 8
    with mongodb.failing("aggregate", mode={"skip": 1}, errorCode=REFUSED), pytest.raises(OutcomeUnknown):
        catalog.claim_idempotency_key(a_claim(workspace_id=workspace_id), AT)
    assert live_keys(uri, workspace_id) == 9
