"""The queue of the CDN's purges in the MongoDB catalog."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from pymongo import ASCENDING, DeleteOne, IndexModel, UpdateOne
from pymongo.errors import DuplicateKeyError

from catalog.mongo.connection import Document, MongoConnection
from catalog.purges import Backlog, Purge

PURGE_INDEXES: Final = [IndexModel({"dueAt": ASCENDING}, name="dueAt")]


class MongoPurges:
    """See PurgeQueue."""

    _mongo: MongoConnection

    def add_purge(self, purge: Purge) -> None:
        fields = {"queuedAt": purge.queued_at, "dueAt": purge.due_at, "attempts": purge.attempts}
        with self._mongo.call() as database:
            database.purges.replace_one({"_id": purge.url}, fields, upsert=True)

    def due_purges(self, at: datetime, limit: int) -> Sequence[Purge]:
        with self._mongo.call() as database:
            found = database.purges.find({"dueAt": {"$lte": at}}, limit=limit).sort("dueAt")
            return [_decode(document) for document in found]

    def finish_purges(self, purges: Sequence[Purge]) -> None:
        with self._mongo.call() as database:
            database.purges.bulk_write([DeleteOne(_same(purge)) for purge in purges], ordered=False)

    def postpone_purges(self, purges: Sequence[Purge], due_at: datetime) -> None:
        change = {"$set": {"dueAt": due_at}, "$inc": {"attempts": 1}}
        with self._mongo.call() as database:
            database.purges.bulk_write([UpdateOne(_same(purge), change) for purge in purges], ordered=False)

    def purge_backlog(self) -> Backlog:
        with self._mongo.call() as database:
            length = database.purges.count_documents({})
            oldest = database.purges.find_one({}, {"queuedAt": True}, sort=[("queuedAt", ASCENDING)])
        return Backlog(length, oldest["queuedAt"] if oldest else None)

    def lease_purges(self, holder: str, at: datetime, until: datetime) -> bool:
        free = {"_id": "purges", "$or": [{"holder": holder}, {"endsAt": {"$lte": at}}]}
        change = {"$set": {"holder": holder, "endsAt": until}}
        with self._mongo.call() as database:
            try:
                database.leases.update_one(free, change, upsert=True)
            except DuplicateKeyError:
                return False
        return True


def _decode(document: Document) -> Purge:
    return Purge(document["_id"], document["queuedAt"], document["dueAt"], document["attempts"])


def _same(purge: Purge) -> Document:
    return {"_id": purge.url, "queuedAt": purge.queued_at}
