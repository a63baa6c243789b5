"""The removal of what has expired from a MongoDB that refuses some commands."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta

import pytest

from catalog.errors import CatalogUnavailable
from catalog.expiry import RemovedInPart, remove_all_expired
from catalog.identity import CredentialKind
from catalog.ids import now
from catalog.mongo import MongoCatalog
from tests.catalog.idempotency_contract import a_claim
from tests.factories import a_credential, new_workspace
from tests.mongo import MongoServer, new_database

#: The code of the error that the server answers with: Unauthorized.
REFUSED = 13
HOUR = timedelta(hours=1)
NOTHING = dict.fromkeys(
    ("idempotencyKeys", "apiKeys", "credentials", "grants", "usageDays", "unusedClients"), 0
)


@pytest.fixture
def catalog(mongodb_uri: str) -> Iterator[MongoCatalog]:
    """A catalog with an Idempotency-Key and a session that expire in an hour.

    The server itself removes a key within a minute of its time.
    """
    with new_database(mongodb_uri) as uri, closing(MongoCatalog(uri)) as catalog:
        workspace = new_workspace(catalog)
        session = a_credential(CredentialKind.SESSION, workspace_id=workspace.id, expires_at=now() + HOUR)
        catalog.create_credential(session)
        catalog.claim_idempotency_key(a_claim(expires_at=now() + HOUR), now())
        yield catalog


def test_a_kind_that_can_not_be_removed_does_not_keep_the_others(
    mongodb: MongoServer, catalog: MongoCatalog
) -> None:
    with (
        mongodb.failing("delete", mode={"times": 1}, errorCode=REFUSED),
        pytest.raises(RemovedInPart) as raised,
    ):
        catalog.remove_expired(now() + HOUR, 100)
    assert raised.value.removed == NOTHING | {"credentials": 1}
    assert catalog.remove_expired(now() + HOUR, 100) == NOTHING | {"idempotencyKeys": 1}


def test_a_server_that_refuses_everything_is_soon_given_up(
    mongodb: MongoServer, catalog: MongoCatalog
) -> None:
    with mongodb.failing("find", errorCode=REFUSED), pytest.raises(CatalogUnavailable):
        catalog.remove_expired(now() + HOUR, 100)
    with (
        mongodb.failing("find", mode={"times": 2}, errorCode=REFUSED),
        pytest.raises(CatalogUnavailable),
    ):
        catalog.remove_expired(now() + HOUR, 100)  # the third kind is not tried
    assert catalog.remove_expired(now() + HOUR, 100) == NOTHING | {"idempotencyKeys": 1, "credentials": 1}


def test_all_is_removed_from_a_server_that_refuses_now_and_then(
    mongodb: MongoServer, catalog: MongoCatalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("catalog.expiry._RETRY_PAUSE", 0.0)
    monkeypatch.setattr("catalog.expiry.now", lambda: now() + HOUR)
    with mongodb.failing("delete", mode={"times": 2}, errorCode=REFUSED):
        totals = [dict(total) for total in remove_all_expired(catalog, pause=0)]
    assert totals[-1] == NOTHING | {"idempotencyKeys": 1, "credentials": 1}
