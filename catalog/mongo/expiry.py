"""The removal of what has expired, in the MongoDB catalog.

MongoDB itself removes a record when the time of its TTL index (``expireAfterSeconds``) has passed. This
module removes records sooner, among them the kinds of credentials that are not kept that long.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from pymongo.collection import Collection

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
            keys = {"kind": CredentialKind.API_KEY.value, **long_over}
            removed["apiKeys"] = _remove(database.credentials, keys, limit)
            removed["credentials"] = 0
            for kinds, condition in ((FORGOTTEN_AT_ONCE, over), (REMEMBERED, long_over)):
                expired = {"kind": {"$in": [kind.value for kind in kinds]}, **condition}
                left = limit - removed["credentials"]
                removed["credentials"] += left and _remove(database.credentials, expired, left)
            removed["grants"] = _remove(database.grants, long_over, limit)
            old = {"day": {"$lte": at - DAYS_KEPT_FOR}}
            removed["usageDays"] = _remove(database.usageDays, old, limit)
        removed["unusedClients"] = self.remove_unused_clients(at - UNUSED_CLIENTS_KEPT_FOR, limit)
        return removed


def _remove(collection: Collection[Document], expired: dict[str, Any], limit: int) -> int:
    ids = [document["_id"] for document in collection.find(expired, {"_id": True}, limit=limit)]
    if not ids:
        return 0
    # The condition again: a record may have been renewed meanwhile.
    return collection.delete_many({"_id": {"$in": ids}, **expired}).deleted_count
