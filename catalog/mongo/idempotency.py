"""The Idempotency-Keys of the catalog in MongoDB."""

from __future__ import annotations

import hashlib
from datetime import datetime
from typing import Any, Final

from pymongo import IndexModel
from pymongo.errors import DuplicateKeyError

from catalog.base import IdempotencyClaim, StoredAnswer
from catalog.mongo.connection import Document, MongoConnection

#: MongoDB removes a record when its time has come, within about a minute.
IDEMPOTENCY_INDEXES: Final = [IndexModel("expiresAt", name="expiresAt", expireAfterSeconds=0)]


def _id(claim: IdempotencyClaim) -> str:
    # Of a fixed length and without strange characters, whatever the client sent.
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
            while True:
                try:
                    # Replaces a claim that is free; inserts one where there is none; and where one
                    # stands, the insertion is refused.
                    database.idempotencyKeys.replace_one(free, document, upsert=True)
                except DuplicateKeyError:
                    keys = self._mongo.linearizable(database.idempotencyKeys)
                    standing = keys.find_one({"_id": _id(claim)})
                    if standing is None:  # it was given up in between
                        continue
                    # Our own is that of a first attempt whose answer was lost: pymongo asks again.
                    return None if standing["token"] == claim.token else _claim_of(standing)
                return None

    def complete_idempotency_key(self, claim: IdempotencyClaim, answer: StoredAnswer) -> None:
        stored = {"status": answer.status, "headers": dict(answer.headers), "body": answer.body}
        with self._mongo.call() as database:
            database.idempotencyKeys.update_one(
                {"_id": _id(claim), "token": claim.token}, {"$set": {"answer": stored}}
            )

    def release_idempotency_key(self, claim: IdempotencyClaim) -> None:
        with self._mongo.call() as database:
            database.idempotencyKeys.delete_one({"_id": _id(claim), "token": claim.token, "answer": None})
