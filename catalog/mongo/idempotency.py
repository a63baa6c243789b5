"""The Idempotency-Keys of the MongoDB catalog."""

from __future__ import annotations

import hashlib
from datetime import datetime
from typing import Any, Final

from pymongo import ASCENDING, IndexModel
from pymongo.database import Database
from pymongo.errors import DuplicateKeyError

from catalog.base import MAX_LIVE_KEYS, IdempotencyClaim, StoredAnswer
from catalog.errors import IdempotencyKeysUsedUp
from catalog.mongo.connection import Document, MongoConnection, latest

#: MongoDB removes a record within about a minute after its ``expiresAt``.
IDEMPOTENCY_INDEXES: Final = [
    IndexModel("expiresAt", name="expiresAt", expireAfterSeconds=0),
    # The live keys of a workspace are counted.
    IndexModel({"companyId": ASCENDING, "expiresAt": ASCENDING}, name="companyId_expiresAt"),
]


def _id(claim: IdempotencyClaim) -> str:
    # A digest has a fixed length and plain characters, whatever the client has sent.
    return hashlib.sha256(f"{claim.workspace_id}\n{claim.key}".encode()).hexdigest()


def _claim_of(document: Document) -> IdempotencyClaim:
    answer = document.get("answer")
    return IdempotencyClaim(
        workspace_id=document["companyId"],
        key=document["key"],
        fingerprint=bytes(document["fingerprint"]),
        token=document["token"],
        lease_until=document["leaseUntil"],
        expires_at=document["expiresAt"],
        answer=answer and StoredAnswer(answer["status"], dict(answer["headers"]), bytes(answer["body"])),
    )


class MongoIdempotencyKeys:
    """See Catalog."""

    _mongo: MongoConnection

    def claim_idempotency_key(self, claim: IdempotencyClaim, at: datetime) -> IdempotencyClaim | None:
        dead = {"answer": None, "leaseUntil": {"$lte": at}, "fingerprint": claim.fingerprint}
        free: dict[str, Any] = {"_id": _id(claim), "$or": [{"expiresAt": {"$lte": at}}, dead]}
        document = {
            "_id": _id(claim),
            "companyId": claim.workspace_id,
            "key": claim.key,
            "fingerprint": claim.fingerprint,
            "token": claim.token,
            "leaseUntil": claim.lease_until,
            "expiresAt": claim.expires_at,
            "answer": None,
        }
        with self._mongo.call() as database:
            self._require_room(database, claim, at)
            for _ in self._mongo.attempts():
                try:
                    # Replaces a claim that is expired or dead, inserts one if there is none, and violates the
                    # unique key if there is a valid claim.
                    database.idempotencyKeys.replace_one(free, document, upsert=True)
                except DuplicateKeyError:
                    standing = latest(database.idempotencyKeys).find_one({"_id": _id(claim)})
                    if standing is None:  # it was released meanwhile
                        continue
                    # Our own claim stands after a first attempt whose answer was lost.
                    return None if standing["token"] == claim.token else _claim_of(standing)
                return None
        raise AssertionError  # the attempts end with an exception

    @staticmethod
    def _require_room(database: Database[Document], claim: IdempotencyClaim, at: datetime) -> None:
        """Raises IdempotencyKeysUsedUp if the workspace has ``MAX_LIVE_KEYS`` live keys without this one."""
        live = {"companyId": claim.workspace_id, "expiresAt": {"$gt": at}}
        if database.idempotencyKeys.count_documents(live, limit=MAX_LIVE_KEYS) < MAX_LIVE_KEYS:
            return
        if database.idempotencyKeys.find_one({"_id": _id(claim), **live}, {"_id": True}) is None:
            raise IdempotencyKeysUsedUp

    def complete_idempotency_key(self, claim: IdempotencyClaim, answer: StoredAnswer) -> None:
        stored = {"status": answer.status, "headers": dict(answer.headers), "body": answer.body}
        with self._mongo.call() as database:
            database.idempotencyKeys.update_one(
                {"_id": _id(claim), "token": claim.token}, {"$set": {"answer": stored}}
            )

    def release_idempotency_key(self, claim: IdempotencyClaim) -> None:
        with self._mongo.call() as database:
            database.idempotencyKeys.delete_one({"_id": _id(claim), "token": claim.token, "answer": None})
