"""The removal of what has expired, in the MongoDB catalog.

MongoDB itself removes a record when the time of its TTL index (``expireAfterSeconds``) has passed. This
module removes records sooner, among them the kinds of credentials that are not kept that long.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from pymongo.collection import Collection
from pymongo.database import Database

from catalog.daily_usage import DAYS_KEPT_FOR
from catalog.expiry import FORGOTTEN_AT_ONCE, REMEMBERED
from catalog.identity import EXPIRED_KEPT_FOR, UNUSED_CLIENTS_KEPT_FOR, CredentialKind
from catalog.mongo.connection import Document, MongoConnection


class MongoExpiry:
    """See Catalog."""

    _mongo: MongoConnection
    remove_unused_clients: Callable[[datetime, int], int]

    def remove_expired(self, at: datetime, limit: int) -> Mapping[str, int]:
        over = {"expiresAt": {"$lte": at}}
        long_over = {"expiresAt": {"$lte": at - EXPIRED_KEPT_FOR}}
        removed = {}
        with self._mongo.call() as database:
            removed["idempotencyKeys"] = _remove(database.idempotencyKeys, over, limit)
            removed["apiKeys"] = _remove_credentials(database, [CredentialKind.API_KEY], long_over, limit)
            removed["credentials"] = _remove_credentials(database, FORGOTTEN_AT_ONCE, over, limit)
            left = limit - removed["credentials"]
            removed["credentials"] += _remove_credentials(database, REMEMBERED, long_over, left)
            removed["grants"] = _remove(database.grants, long_over, limit)
            old = {"day": {"$lte": at - DAYS_KEPT_FOR}}
            removed["usageDays"] = _remove(database.usageDays, old, limit)
        removed["unusedClients"] = self.remove_unused_clients(at - UNUSED_CLIENTS_KEPT_FOR, limit)
        return removed


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
