"""What every catalog must do with Idempotency-Keys. The tests of a catalog inherit this suite too."""

from __future__ import annotations

import secrets
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Final

import pytest

from catalog.base import Catalog, IdempotencyClaim, StoredAnswer
from catalog.ids import new_id, now

HOUR: Final = timedelta(hours=1)
DAY: Final = timedelta(days=1)
MILLISECOND: Final = timedelta(milliseconds=1)

AT: Final = now()
CREATED: Final = StoredAnswer(
    201, {"Content-Type": "application/json", "Location": "/api/v1/products/1"}, b'{"name": "Ma\xc3\x9f"}\n'
)


def a_claim(at: datetime = AT, **fields: Any) -> IdempotencyClaim:
    """A claim that is made at a time, to a key of its own."""
    claim = IdempotencyClaim(
        workspace_id=new_id(),
        key=secrets.token_hex(8),
        fingerprint=32 * b"f",
        token=secrets.token_hex(8),
        lease_until=at + HOUR,
        expires_at=at + DAY,
    )
    return replace(claim, **fields)


def later(claim: IdempotencyClaim, at: datetime, **fields: Any) -> IdempotencyClaim:
    """Another claim to the same key, made at a later time."""
    new: dict[str, Any] = {"token": secrets.token_hex(8), "lease_until": at + HOUR, "expires_at": at + DAY}
    return replace(claim, **(new | fields))


class IdempotencyKeysContract:
    """The suite."""

    def test_a_key_is_claimed_once(self, catalog: Catalog) -> None:
        claim = a_claim()
        assert catalog.claim_idempotency_key(claim, AT) is None
        assert catalog.claim_idempotency_key(later(claim, AT), AT) == claim
        assert catalog.claim_idempotency_key(later(claim, AT, fingerprint=32 * b"g"), AT) == claim

    def test_the_answer_is_kept_to_the_byte(self, catalog: Catalog) -> None:
        claim = a_claim()
        catalog.claim_idempotency_key(claim, AT)
        catalog.complete_idempotency_key(claim, CREATED)
        completed = replace(claim, answer=CREATED)
        assert catalog.claim_idempotency_key(later(claim, AT), AT) == completed
        assert catalog.claim_idempotency_key(later(claim, AT, fingerprint=b""), AT) == completed

    @pytest.mark.parametrize(
        "answer",
        [
            StoredAnswer(200, {}, b""),
            StoredAnswer(400, {"ETag": '"é"', "X.Y-$Z": ""}, bytes(range(256))),
            StoredAnswer(404, {"Content-Type": "text/plain"}, 1_500_000 * b"x"),
        ],
        ids=["an empty one", "any byte", "a large one"],
    )
    def test_any_answer_is_kept_to_the_byte(self, catalog: Catalog, answer: StoredAnswer) -> None:
        claim = a_claim()
        catalog.claim_idempotency_key(claim, AT)
        catalog.complete_idempotency_key(claim, answer)
        standing = catalog.claim_idempotency_key(later(claim, AT), AT)
        assert standing == replace(claim, answer=answer)

    @pytest.mark.parametrize("key", ["x", "é" * 255, "$a.b", '{"$ne": null}', "a\nb", "a\0b", " ", "A", "a"])
    def test_a_key_is_any_string_and_means_itself(self, catalog: Catalog, key: str) -> None:
        workspace_id = new_id()
        for other in (key + " ", key * 2, "a" if key == "A" else "A"):
            if other != key:
                catalog.claim_idempotency_key(a_claim(workspace_id=workspace_id, key=other), AT)
        claim = a_claim(workspace_id=workspace_id, key=key)
        assert catalog.claim_idempotency_key(claim, AT) is None
        assert catalog.claim_idempotency_key(later(claim, AT), AT) == claim

    def test_workspaces_do_not_share_keys(self, catalog: Catalog) -> None:
        mine = a_claim()
        theirs = later(mine, AT, workspace_id=new_id())
        assert catalog.claim_idempotency_key(mine, AT) is None
        assert catalog.claim_idempotency_key(theirs, AT) is None
        catalog.complete_idempotency_key(mine, CREATED)
        catalog.release_idempotency_key(theirs)
        assert catalog.claim_idempotency_key(later(mine, AT), AT) == replace(mine, answer=CREATED)
        assert catalog.claim_idempotency_key(theirs, AT) is None

    def test_a_key_that_was_released_is_free_for_any_request(self, catalog: Catalog) -> None:
        claim = a_claim()
        catalog.claim_idempotency_key(claim, AT)
        catalog.release_idempotency_key(claim)
        other = later(claim, AT, fingerprint=32 * b"g")
        assert catalog.claim_idempotency_key(other, AT) is None
        assert catalog.claim_idempotency_key(claim, AT) == other

    def test_a_completed_claim_can_not_be_released(self, catalog: Catalog) -> None:
        claim = a_claim()
        catalog.claim_idempotency_key(claim, AT)
        catalog.complete_idempotency_key(claim, CREATED)
        catalog.release_idempotency_key(claim)
        assert catalog.claim_idempotency_key(later(claim, AT), AT) == replace(claim, answer=CREATED)

    def test_a_key_that_was_never_claimed_can_not_be_completed(self, catalog: Catalog) -> None:
        claim = a_claim()
        catalog.complete_idempotency_key(claim, CREATED)
        catalog.release_idempotency_key(claim)
        assert catalog.claim_idempotency_key(claim, AT) is None

    # --- the lease

    def test_a_claim_stands_to_the_end_of_its_lease(self, catalog: Catalog) -> None:
        claim = a_claim()
        catalog.claim_idempotency_key(claim, AT)
        at = claim.lease_until
        heir = later(claim, at)
        assert catalog.claim_idempotency_key(heir, at - MILLISECOND) == claim
        assert catalog.claim_idempotency_key(heir, at) is None
        assert catalog.claim_idempotency_key(later(claim, at), at) == heir

    def test_after_it_the_claim_gives_way_to_the_same_request_only(self, catalog: Catalog) -> None:
        claim = a_claim()
        catalog.claim_idempotency_key(claim, AT)
        at = claim.lease_until + HOUR
        assert catalog.claim_idempotency_key(later(claim, at, fingerprint=32 * b"g"), at) == claim
        assert catalog.claim_idempotency_key(later(claim, at), at) is None

    def test_an_answer_stands_after_the_lease_too(self, catalog: Catalog) -> None:
        claim = a_claim()
        catalog.claim_idempotency_key(claim, AT)
        catalog.complete_idempotency_key(claim, CREATED)
        at = claim.lease_until + HOUR
        assert catalog.claim_idempotency_key(later(claim, at), at) == replace(claim, answer=CREATED)

    def test_a_late_completion_changes_nothing_of_the_claim_that_took_over(self, catalog: Catalog) -> None:
        claim = a_claim()
        catalog.claim_idempotency_key(claim, AT)
        at = claim.lease_until
        heir = later(claim, at)
        catalog.claim_idempotency_key(heir, at)
        catalog.release_idempotency_key(claim)
        catalog.complete_idempotency_key(claim, CREATED)
        assert catalog.claim_idempotency_key(later(claim, at), at) == heir
        answer = StoredAnswer(200, {}, b"of the heir")
        catalog.complete_idempotency_key(heir, answer)
        catalog.complete_idempotency_key(claim, CREATED)
        assert catalog.claim_idempotency_key(later(claim, at), at) == replace(heir, answer=answer)

    def test_a_late_completion_of_a_claim_that_none_took_over_is_kept(self, catalog: Catalog) -> None:
        claim = a_claim()
        catalog.claim_idempotency_key(claim, AT)
        at = claim.lease_until + HOUR
        catalog.complete_idempotency_key(claim, CREATED)
        assert catalog.claim_idempotency_key(later(claim, at), at) == replace(claim, answer=CREATED)

    # --- expiry

    @pytest.mark.parametrize("completed", [False, True])
    @pytest.mark.parametrize("fingerprint", [32 * b"f", 32 * b"g"], ids=["the same", "another"])
    def test_a_key_that_has_expired_is_free_for_any_request(
        self, catalog: Catalog, completed: bool, fingerprint: bytes
    ) -> None:
        claim = a_claim(lease_until=AT + 2 * DAY)
        catalog.claim_idempotency_key(claim, AT)
        if completed:
            catalog.complete_idempotency_key(claim, CREATED)
        at = claim.expires_at
        new = later(claim, at, fingerprint=fingerprint)
        standing = catalog.claim_idempotency_key(new, at - MILLISECOND)
        assert standing == replace(claim, answer=CREATED if completed else None)
        assert catalog.claim_idempotency_key(new, at) is None
        assert catalog.claim_idempotency_key(later(new, at), at) == new

    def test_a_claim_that_expired_can_not_be_completed_over_a_new_one(self, catalog: Catalog) -> None:
        claim = a_claim()
        catalog.claim_idempotency_key(claim, AT)
        new = later(claim, claim.expires_at)
        catalog.claim_idempotency_key(new, claim.expires_at)
        catalog.complete_idempotency_key(claim, CREATED)
        catalog.release_idempotency_key(claim)
        assert catalog.claim_idempotency_key(later(new, new.lease_until - HOUR), claim.expires_at) == new

    # --- many at once

    @staticmethod
    def _claimed_by_one(catalog: Catalog, claims: list[IdempotencyClaim], at: datetime) -> IdempotencyClaim:
        """Makes all claims at once; returns the one that was made, which all others get."""
        with ThreadPoolExecutor(len(claims)) as pool:
            standing = list(pool.map(lambda claim: catalog.claim_idempotency_key(claim, at), claims))
        (made,) = [claim for claim, other in zip(claims, standing, strict=True) if other is None]
        assert [other for other in standing if other is not None] == [made] * (len(claims) - 1)
        return made

    def test_of_many_claims_at_once_one_is_made(self, catalog: Catalog) -> None:
        for _ in range(4):
            claim = a_claim()
            self._claimed_by_one(catalog, [later(claim, AT) for _ in range(12)], AT)

    def test_of_many_claims_to_a_dead_key_at_once_one_takes_over(self, catalog: Catalog) -> None:
        for _ in range(4):
            claim = a_claim()
            catalog.claim_idempotency_key(claim, AT)
            at = claim.lease_until
            heir = self._claimed_by_one(catalog, [later(claim, at) for _ in range(12)], at)
            catalog.complete_idempotency_key(heir, CREATED)
            assert catalog.claim_idempotency_key(claim, at) == replace(heir, answer=CREATED)

    def test_of_many_claims_to_an_expired_key_at_once_one_is_made(self, catalog: Catalog) -> None:
        claim = a_claim()
        catalog.claim_idempotency_key(claim, AT)
        catalog.complete_idempotency_key(claim, CREATED)
        at = claim.expires_at
        claims = [later(claim, at, fingerprint=bytes([number])) for number in range(12)]
        self._claimed_by_one(catalog, claims, at)

    def test_never_two_of_many_requests_at_once_have_a_key(self, catalog: Catalog) -> None:
        claim = a_claim()
        having: list[str] = []
        most: list[int] = []

        def claim_and_release(_: int) -> None:
            mine = later(claim, AT)
            if catalog.claim_idempotency_key(mine, AT) is None:
                having.append(mine.token)
                most.append(len(having))
                having.remove(mine.token)
                catalog.release_idempotency_key(mine)

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(claim_and_release, range(64)))
        assert set(most) == {1}
        assert catalog.claim_idempotency_key(later(claim, AT), AT) is None
