"""What every catalog must do with what has expired: a catalog's tests inherit this too."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta

import pytest

from catalog.base import Catalog
from catalog.errors import IdempotencyKeysUsedUp
from catalog.expiry import remove_all_expired
from catalog.identity import EXPIRED_KEPT_FOR, UNUSED_CLIENTS_KEPT_FOR, CredentialKind
from catalog.ids import new_id, now
from tests.catalog.idempotency_contract import AT, CREATED, a_claim, later
from tests.factories import a_client, a_credential, a_grant, a_user, new_grant, new_user, new_workspace

SECOND = timedelta(seconds=1)
KINDS = ("idempotencyKeys", "apiKeys", "credentials", "grants", "usageDays", "unusedClients")
LATER = AT + timedelta(days=30)


class ExpiryContract:
    """The suite."""

    def test_nothing_is_removed_before_it_has_expired(self, catalog: Catalog) -> None:
        workspace = new_workspace(catalog)
        at = now()
        credentials = [
            a_credential(kind, workspace_id=workspace.id, expires_at=at + SECOND) for kind in CredentialKind
        ]
        credentials.append(a_credential(CredentialKind.API_KEY, workspace_id=workspace.id))
        for credential in credentials:
            catalog.create_credential(credential)
        claim = a_claim(at)
        catalog.claim_idempotency_key(claim, at)
        assert sum(catalog.remove_expired(at, 100).values()) == 0
        assert [catalog.find_credential(credential.digest) for credential in credentials] == credentials
        assert catalog.claim_idempotency_key(later(claim, at), at) == claim

    def test_sessions_access_tokens_and_links_are_removed_at_once_and_other_credentials_later(
        self, catalog: Catalog
    ) -> None:
        workspace = new_workspace(catalog)
        end = now() + timedelta(hours=1)
        credentials = {
            kind: a_credential(kind, workspace_id=workspace.id, expires_at=end) for kind in CredentialKind
        }
        for credential in credentials.values():
            catalog.create_credential(credential)

        def left() -> set[CredentialKind]:
            return {kind for kind, one in credentials.items() if catalog.find_credential(one.digest)}

        assert catalog.remove_expired(end, 100)["credentials"] == 4
        assert left() == {
            CredentialKind.API_KEY,
            CredentialKind.REFRESH_TOKEN,
            CredentialKind.AUTHORIZATION_CODE,
        }
        before, after = end + EXPIRED_KEPT_FOR - SECOND, end + EXPIRED_KEPT_FOR
        nothing = dict.fromkeys(KINDS, 0)
        assert catalog.remove_expired(before, 100) == nothing
        assert catalog.remove_expired(after, 100) == nothing | {"apiKeys": 1, "credentials": 2}
        assert left() == set()

    def test_grants_are_removed_a_week_after_their_end(self, catalog: Catalog) -> None:
        workspace = new_workspace(catalog)
        user, client = a_user(workspace), a_client()
        catalog.create_user(user)
        catalog.create_client(client)
        grant = a_grant(user, client)
        catalog.create_grant(grant)
        end = grant.expires_at + EXPIRED_KEPT_FOR
        assert catalog.remove_expired(end - SECOND, 100)["grants"] == 0
        assert catalog.remove_expired(end, 100)["grants"] == 1
        assert catalog.list_grants(user.id) == []

    def test_a_self_registered_client_is_removed_after_a_day_without_a_live_grant(
        self, catalog: Catalog
    ) -> None:
        workspace = new_workspace(catalog)
        user = new_user(catalog, workspace)
        at = now()
        unused, used = a_client(created_at=at), a_client(created_at=at)
        for client in (unused, used, a_client(created_at=at, workspace_id=workspace.id)):
            catalog.create_client(client)
        grant = new_grant(catalog, user, used)
        end = at + UNUSED_CLIENTS_KEPT_FOR
        assert catalog.remove_expired(end, 100)["unusedClients"] == 0
        assert catalog.remove_expired(end + SECOND, 100)["unusedClients"] == 1
        assert [client.id for client in catalog.list_clients(None)] == [used.id]
        catalog.revoke_grant(grant.id, now())
        assert catalog.remove_expired(end + SECOND, 100)["unusedClients"] == 1
        assert len(catalog.list_clients(workspace.id)) == 1

    def test_idempotency_keys_are_removed_with_their_answers(self, catalog: Catalog) -> None:
        claim = a_claim()
        catalog.claim_idempotency_key(claim, AT)
        catalog.complete_idempotency_key(claim, CREATED)
        assert catalog.remove_expired(claim.expires_at, 100)["idempotencyKeys"] == 1
        assert catalog.remove_expired(claim.expires_at, 100)["idempotencyKeys"] == 0

    def test_a_batch_is_no_larger_than_its_limit(self, catalog: Catalog) -> None:
        workspace = new_workspace(catalog)
        for _ in range(4):
            catalog.create_client(a_client())
            catalog.claim_idempotency_key(a_claim(), AT)
            for kind in (CredentialKind.SESSION, CredentialKind.ACCESS_TOKEN, CredentialKind.API_KEY):
                catalog.create_credential(
                    a_credential(kind, workspace_id=workspace.id, expires_at=now() + SECOND)
                )
        batches = [dict(catalog.remove_expired(LATER, 3)) for _ in range(4)]
        nothing = dict.fromkeys(KINDS, 0)
        assert batches == [
            nothing | {"idempotencyKeys": 3, "apiKeys": 3, "credentials": 3, "unusedClients": 3},
            nothing | {"idempotencyKeys": 1, "apiKeys": 1, "credentials": 3, "unusedClients": 1},
            nothing | {"credentials": 2},
            nothing,
        ]

    def test_all_that_has_expired_is_removed_batch_by_batch(
        self, catalog: Catalog, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("catalog.expiry.BATCH", 2)
        long_ago = now() - timedelta(days=3)
        workspace_id = new_id()
        living = a_claim(now())
        catalog.claim_idempotency_key(living, now())
        for _ in range(5):
            catalog.claim_idempotency_key(a_claim(long_ago, workspace_id=workspace_id), long_ago)
        totals = [dict(total)["idempotencyKeys"] for total in remove_all_expired(catalog, pause=0)]
        assert totals[-1] == 5
        assert totals == sorted(totals)
        assert catalog.claim_idempotency_key(later(living, now()), now()) == living

    def test_a_workspace_has_so_many_live_keys_and_no_more(
        self, catalog: Catalog, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(f"{type(catalog).__module__}.idempotency.MAX_LIVE_KEYS", 3)
        workspace_id = new_id()
        claims = [a_claim(workspace_id=workspace_id) for _ in range(3)]
        for claim in claims:
            assert catalog.claim_idempotency_key(claim, AT) is None
        with pytest.raises(IdempotencyKeysUsedUp):
            catalog.claim_idempotency_key(a_claim(workspace_id=workspace_id), AT)
        assert catalog.claim_idempotency_key(a_claim(), AT) is None
        assert catalog.claim_idempotency_key(later(claims[0], AT), AT) == claims[0]
        dead = claims[1].lease_until
        heir = later(claims[1], dead)
        assert catalog.claim_idempotency_key(heir, dead) is None
        catalog.release_idempotency_key(heir)
        assert catalog.claim_idempotency_key(a_claim(workspace_id=workspace_id), AT) is None
        end = claims[0].expires_at
        assert catalog.claim_idempotency_key(a_claim(end, workspace_id=workspace_id), end) is None

    def test_claims_at_once_do_not_exceed_the_live_keys_of_a_workspace(
        self, catalog: Catalog, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(f"{type(catalog).__module__}.idempotency.MAX_LIVE_KEYS", 3)
        workspace_id = new_id()

        def is_made(_: int) -> bool:
            try:
                return catalog.claim_idempotency_key(a_claim(workspace_id=workspace_id), AT) is None
            except IdempotencyKeysUsedUp:
                return False

        with ThreadPoolExecutor(8) as pool:
            assert sum(pool.map(is_made, range(8))) == 3

    def test_a_key_that_has_expired_is_claimed_again_though_it_was_not_removed(
        self, catalog: Catalog
    ) -> None:
        claims = [a_claim(expires_at=AT + SECOND) for _ in range(30)]
        for claim in claims:
            catalog.claim_idempotency_key(claim, AT)
            catalog.complete_idempotency_key(claim, CREATED)
        anew = [replace(later(claim, AT + SECOND), fingerprint=b"g") for claim in reversed(claims)]
        assert [catalog.claim_idempotency_key(claim, AT + SECOND) for claim in anew] == [None] * 30
