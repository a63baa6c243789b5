"""The removal of what has expired, in the MongoDB catalog.

MongoDB itself removes a record when the time of its TTL index (``expireAfterSeconds``) has passed. This
module removes records sooner, among them the kinds of credentials that are not kept that long.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from pymongo.collection import Collection
from pymongo.database import Database

from catalog.daily_usage import DAYS_KEPT_FOR
from catalog.errors import CatalogUnavailable
from catalog.expiry import FORGOTTEN_AT_ONCE, REMEMBERED, RemovedInPart
from catalog.identity import EXPIRED_KEPT_FOR, UNUSED_CLIENTS_KEPT_FOR, CredentialKind
from catalog.mongo.connection import Document, MongoConnection

#: The longest that the removal of a batch of one kind takes, in seconds. No request waits for it.
_TIMEOUT: Final = 10.0
#: After this many kinds have failed, the others are not tried: the server is down, or too busy.
_MOST_FAILURES: Final = 2


class MongoExpiry:
    """See Catalog."""

    _mongo: MongoConnection
    remove_unused_clients: Callable[[datetime, int], int]

    def remove_expired(self, at: datetime, limit: int) -> Mapping[str, int]:
        over = {"expiresAt": {"$lte": at}}
        long_over = {"expiresAt": {"$lte": at - EXPIRED_KEPT_FOR}}
        old = {"day": {"$lte": at - DAYS_KEPT_FOR}}

        def credentials(database: Database[Document]) -> int:
            removed = _remove_credentials(database, FORGOTTEN_AT_ONCE, over, limit)
            return removed + _remove_credentials(database, REMEMBERED, long_over, limit - removed)

        return self._remove_each(
            {
                "idempotencyKeys": lambda database: _remove(database.idempotencyKeys, over, limit),
                "apiKeys": lambda database: _remove_credentials(
                    database, [CredentialKind.API_KEY], long_over, limit
                ),
                "credentials": credentials,
                "grants": lambda database: _remove(database.grants, long_over, limit),
                "usageDays": lambda database: _remove(database.usageDays, old, limit),
                "unusedClients": lambda _: self.remove_unused_clients(at - UNUSED_CLIENTS_KEPT_FOR, limit),
            }
        )

    def _remove_each(self, kinds: Mapping[str, Callable[[Database[Document]], int]]) -> Mapping[str, int]:
        """Removes one kind after the other; a kind that fails does not keep the next one.

        Raises:
            CatalogUnavailable, RemovedInPart: see Expiring.
        """
        removed: dict[str, int] = dict.fromkeys(kinds, 0)
        failures: list[CatalogUnavailable] = []
        for kind, remove in kinds.items():
            try:
                with self._mongo.call(timeout=_TIMEOUT) as database:
                    removed[kind] = remove(database)
            except CatalogUnavailable as error:
                failures.append(error)
                if len(failures) == _MOST_FAILURES:
                    break
        if not failures:
            return removed
        if any(removed.values()):
            raise RemovedInPart(str(failures[0]), removed)
        raise failures[0]


def _remove_credentials(
    database: Database[Document], kinds: Sequence[CredentialKind], expired: Document, limit: int
) -> int:
    removed = 0
    for kind in kinds:  # one by one, so that each query reads only what it finds
        if removed < limit:
            of_kind = {"kind": kind.value, **expired}
            removed += _remove(database.credentials, of_kind, limit - removed)
    return removed


def _remove(collection: Collection[Document], expired: dict[str, Any], limit: int) -> int:
    ids = [document["_id"] for document in collection.find(expired, {"_id": True}, limit=limit)]
    if not ids:
        return 0
    # The condition again: a record may have been renewed meanwhile.
    return collection.delete_many({"_id": {"$in": ids}, **expired}).deleted_count
