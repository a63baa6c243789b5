"""The bounds on what one owner has, in the MongoDB catalog: ``catalog/bounds.py``.

No filter of a write can count other documents, and a single server has no transactions. So a document is
inserted, the others are counted, and the document is removed again if it is one too many. Two calls that take
the last place at the same time may see each other: then both remove their documents, and both try again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Final

from pymongo import ASCENDING, DESCENDING, IndexModel
from pymongo.collection import Collection
from pymongo.database import Database
from pymongo.errors import PyMongoError

from catalog.bounds import Bound, LiveGrant, bound_of, grants_to_revoke, has_too_many_apps, surplus_of_grants
from catalog.errors import (
    AppLimitReached,
    CatalogError,
    ClientNotFound,
    CredentialLimitReached,
    OutcomeUnknown,
)
from catalog.identity import Credential, CredentialKind, Grant
from catalog.mongo.connection import Document, MongoConnection, latest, set_once
from catalog.mongo.records import CREDENTIAL, GRANT, OLDEST_FIRST, USER, stored_name

#: The names of the indexes by which the credentials of a grant and the API keys are found.
GRANT_INDEX: Final = "grantId_kind_createdAt"
KEY_INDEX: Final = "api_keys"

BOUND_INDEXES: Final = [
    # Not every credential has a grant.
    IndexModel(
        {"grantId": ASCENDING, "kind": ASCENDING, "createdAt": ASCENDING, "_id": ASCENDING},
        name=GRANT_INDEX,
        partialFilterExpression={"grantId": {"$exists": True}},
    )
]

#: The most surplus credentials that one call removes.
_MOST_REMOVED: Final = 100


@contextmanager
def after_insert() -> Iterator[None]:
    """Raises OutcomeUnknown if a command fails, because the inserted document may stay."""
    try:
        yield
    except PyMongoError as error:
        raise OutcomeUnknown("the record was added, and a later command failed") from error


def insert_within(
    mongo: MongoConnection,
    collection: Collection[Document],
    document: Document,
    fits: Callable[[], bool],
    refusal: type[CatalogError],
) -> None:
    """Inserts a document if it fits.

    Args:
        mongo, collection, document: as ``MongoConnection.insert`` has them.
        fits: whether the other documents leave room for this one, read as ``latest`` reads.
        refusal: the error if it does not fit.

    Raises:
        Exception: ``refusal``, and what ``MongoConnection.insert`` raises.
    """
    for _ in mongo.attempts():
        if not fits():
            raise refusal
        mongo.insert(collection, document)
        with after_insert():
            if fits():
                return
            collection.delete_one({"_id": document["_id"]})
    raise AssertionError  # the attempts end with an exception


def count_below(
    collection: Collection[Document], others: Document, most: int, *, hint: str | None = None
) -> bool:
    """Whether fewer than ``most`` documents match. ``hint`` is the name of the index that is used."""
    options: Document = {} if hint is None else {"hint": hint}
    return latest(collection).count_documents(others, limit=max(1, most), **options) < most


def insert_credential(
    mongo: MongoConnection, database: Database[Document], credential: Credential, at: datetime
) -> None:
    """Inserts a credential within the bound of its kind.

    Raises:
        CredentialLimitReached
        DuplicateKeyError: its digest is taken.
    """
    credentials, document = database.credentials, CREDENTIAL.encode(credential)
    found = bound_of(credential)
    if found is None:
        mongo.insert(credentials, document)
        return
    bound, owner = found
    of_owner: Document = {stored_name(bound.owner): owner, "kind": credential.kind.value}
    if bound.refuses:
        live = {"revokedAt": None, "$or": [{"expiresAt": None}, {"expiresAt": {"$gt": at}}]}
        others = {**of_owner, **live, "_id": {"$ne": credential.id}}
        is_key = credential.kind is CredentialKind.API_KEY
        hint = KEY_INDEX if is_key and mongo.indexes.has("credentials", KEY_INDEX) else None
        insert_within(
            *(mongo, credentials, document),
            fits=lambda: count_below(credentials, others, bound.most, hint=hint),
            refusal=CredentialLimitReached,
        )
    else:
        mongo.insert(credentials, document)
    if bound.owner != "grant_id" or mongo.indexes.has("credentials", GRANT_INDEX):
        with after_insert():
            _remove_surplus(credentials, of_owner, bound, at)


def _remove_surplus(
    credentials: Collection[Document], of_owner: Document, bound: Bound, at: datetime
) -> None:
    """Removes the oldest of an owner's credentials beyond the bound, those that ended first.

    Where a further live one is refused, no live one is removed: it may be counted only until it is refused.
    """

    def ended(document: Document) -> bool:
        return "revokedAt" in document or ("expiresAt" in document and document["expiresAt"] <= at)

    found = latest(credentials).find(of_owner, {"revokedAt": True, "expiresAt": True})
    newest_first = found.sort({"createdAt": DESCENDING, "_id": DESCENDING}).limit(bound.most + _MOST_REMOVED)
    surplus = sorted(newest_first, key=ended)[bound.most :]
    ids = [document["_id"] for document in surplus if ended(document) or not bound.refuses]
    if ids:
        credentials.delete_many({"_id": {"$in": ids}})


def insert_grant(mongo: MongoConnection, database: Database[Document], grant: Grant, at: datetime) -> None:
    """Inserts a grant within the bounds, and records that its client is used.

    Raises:
        ClientNotFound, AppLimitReached
    """
    grants, clients = database.grants, database.clients
    user = database.users.find_one({"_id": grant.user_id})
    since = grant.created_at if user is None else USER.decode(user).admits_since
    others = {"userId": grant.user_id, "_id": {"$ne": grant.id}}
    gives_access = {"revokedAt": None, "expiresAt": {"$gt": at}, "createdAt": {"$gte": since}}

    def live() -> list[LiveGrant]:
        found = latest(grants).find({**others, **gives_access}, {"clientId": True}).sort(OLDEST_FIRST)
        return [LiveGrant(each["_id"], each["clientId"]) for each in found]

    insert_within(
        *(mongo, grants, GRANT.encode(grant)),
        fits=lambda: not has_too_many_apps(live(), grant.client_id),
        refusal=AppLimitReached,
    )
    with after_insert():
        # In this order, whoever removes unused clients sees the grant, or does not remove this client.
        used = [*set_once("usedAt", grant.created_at), {"$set": {"lastGrant": grant.id}}]
        if not clients.update_one({"_id": grant.client_id}, used).matched_count:
            grants.delete_one({"_id": grant.id})
            raise ClientNotFound
        if revoked := grants_to_revoke(live(), grant.client_id):
            grants.update_many({"_id": {"$in": revoked}}, set_once("revokedAt", at))
        surplus = surplus_of_grants(latest(grants).count_documents(others) + 1)
        if surplus and mongo.indexes.has("credentials", GRANT_INDEX):
            ended = latest(grants).find({**others, "$nor": [gives_access]}, {"_id": True}, limit=surplus)
            removed = [each["_id"] for each in ended.sort(OLDEST_FIRST)]
            database.credentials.delete_many({"grantId": {"$in": removed}})
            grants.delete_many({"_id": {"$in": removed}})
