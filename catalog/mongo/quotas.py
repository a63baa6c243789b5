"""The quotas of the MongoDB catalog.

A workspace that has or had a quota has a field ``usage``. Every change of its products and images is then a
transaction, which also updates the usage and compares it with the quota. Two concurrent transactions of a
workspace conflict, and one of them is repeated. So those of one process follow each other, and only those of
different processes conflict. Changes in a workspace without the field need no transaction.

When a workspace gets its first quota, changes that began earlier may still be running, and they do not update
the usage. ``set_quota`` waits until the last of them is over before it counts the products. Until then,
``usage.counted`` is false: changes update the usage, but none is refused.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Final, TypeVar
from weakref import WeakValueDictionary

from pymongo import ASCENDING, IndexModel
from pymongo.client_session import ClientSession
from pymongo.database import Database
from pymongo.errors import PyMongoError
from pymongo.read_concern import ReadConcern

from catalog.attempts import attempts
from catalog.errors import (
    ByteQuotaReached,
    CatalogUnavailable,
    ImageQuotaReached,
    ProductQuotaReached,
    QuotaNotSupported,
    WorkspaceNotFound,
)
from catalog.identity import Quota, Usage
from catalog.mongo.connection import Document, MongoConnection
from process_local import ProcessLocal

T = TypeVar("T")

#: The fields of a quota, in the order in which they are compared, and the error of each.
_LIMITS: Final = {
    "products": ("maxProducts", ProductQuotaReached),
    "images": ("maxImages", ImageQuotaReached),
    "bytes": ("maxBytes", ByteQuotaReached),
}

#: How long a change waits for the others of its workspace, and is repeated, in seconds.
_PATIENCE: Final = 1.5

#: The longest that a count of products takes, in seconds. A transaction ends after 60 s.
COUNT_TIMEOUT: Final = 50.0

#: The counts are read from this index alone.
USAGE_INDEX: Final = IndexModel(
    {"companyId": ASCENDING, "storedImages": ASCENDING, "storedBytes": ASCENDING}, name="usage"
)

# A string is greater than null, and a missing value is not.
_IS_HOSTED: Final = {"$gt": ["$$image.key", None]}
_HOSTED: Final = {"$filter": {"input": "$images", "as": "image", "cond": _IS_HOSTED}}
_SIZES: Final = {"$map": {"input": "$hosted", "as": "image", "in": "$$image.size"}}
_SUM: Final = {
    "$group": {
        "_id": None,
        "products": {"$sum": 1},
        "images": {"$sum": "$storedImages"},
        "bytes": {"$sum": "$storedBytes"},
    }
}


class _Locks:
    """A lock for each workspace. One that nobody holds or waits for is forgotten."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._locks: WeakValueDictionary[str, threading.Lock] = WeakValueDictionary()

    @contextmanager
    def hold(self, workspace_id: str, timeout: float) -> Iterator[None]:
        """Holds the lock of a workspace while the block runs.

        Raises:
            CatalogUnavailable: other threads held it for ``timeout`` seconds.
        """
        with self._guard:
            lock = self._locks.setdefault(workspace_id, threading.Lock())
        if not lock.acquire(timeout=timeout):
            raise CatalogUnavailable("the workspace is changing too often at the moment")
        try:
            yield
        finally:
            lock.release()


_LOCKS: Final = ProcessLocal(_Locks)


class MongoQuotas:
    """See Identities."""

    _mongo: MongoConnection

    def set_quota(self, workspace_id: str, quota: Quota) -> None:
        limits = {field: getattr(quota, name) for name, (field, _) in _LIMITS.items()}
        change = {
            "$set": {field: limit for field, limit in limits.items() if limit is not None},
            "$unset": {field: "" for field, limit in limits.items() if limit is None},
        }
        with self._mongo.call() as database:
            if not self._mongo.replicated:
                raise QuotaNotSupported
            mine = {"_id": workspace_id}
            update = {operator: fields for operator, fields in change.items() if fields}
            if not database.workspaces.update_one(mine, update).matched_count:
                raise WorkspaceNotFound
            uncounted = {"usage": {"products": 0, "images": 0, "bytes": 0, "counted": False}}
            database.workspaces.update_one({**mine, "usage": None}, {"$set": uncounted})
            workspace = database.workspaces.find_one(mine) or {}
        if not workspace["usage"]["counted"]:
            time.sleep(self._mongo.longest_call)
            self._count(workspace_id)

    def _count(self, workspace_id: str) -> None:
        """Counts the products of a workspace. From then on, each change keeps the usage up to date.

        A concurrent change conflicts with the count, so one of the two is repeated after the other.
        """
        with self._mongo.call(timeout=COUNT_TIMEOUT) as database:

            def count(session: ClientSession) -> None:
                usage = _counted(database, workspace_id, session)
                fields = {"products": usage.products, "images": usage.images, "bytes": usage.bytes}
                database.workspaces.update_one(
                    {"_id": workspace_id}, {"$set": {"usage": {**fields, "counted": True}}}, session=session
                )

            _transact(self._mongo, database, count, seconds=COUNT_TIMEOUT)

    def get_usage(self, workspace_id: str) -> Usage:
        with self._mongo.call(timeout=COUNT_TIMEOUT) as database:
            workspace = database.workspaces.find_one({"_id": workspace_id}, {"usage": True})
            usage = (workspace or {}).get("usage")
            if usage and usage["counted"]:
                return Usage(products=usage["products"], images=usage["images"], bytes=usage["bytes"])
            if self._mongo.has_index("products", "usage"):
                return summed(database, workspace_id)
            return _counted(database, workspace_id, None)


def with_usage(
    mongo: MongoConnection,
    database: Database[Document],
    workspace_id: str,
    added: Usage,
    write: Callable[[ClientSession | None], T],
) -> T:
    """Executes a write that adds to the usage of a workspace, and counts it if the workspace has a quota.

    Args:
        mongo, database: the connection, and its database.
        workspace_id: the workspace whose usage changes.
        added: what the write adds; negative numbers for what it removes.
        write: executes the write, in the session if there is one. A false result means that nothing was
            written. It may be called several times; the effect of a call is undone before the next one.

    Returns:
        The result of ``write``.

    Raises:
        ProductQuotaReached, ImageQuotaReached, ByteQuotaReached: nothing was written.
        CatalogUnavailable: other changes of the workspace came first for ``_PATIENCE`` seconds.
    """
    if added == Usage():
        return write(None)
    if database.workspaces.find_one({"_id": workspace_id, "usage": {"$ne": None}}, {"_id": True}) is None:
        return write(None)

    def write_and_count(session: ClientSession) -> T:
        result = write(session)
        if result:
            _add_usage(database, workspace_id, added, session)
        return result

    end = time.monotonic() + _PATIENCE
    with _LOCKS.get().hold(workspace_id, _PATIENCE):
        return _transact(mongo, database, write_and_count, seconds=end - time.monotonic())


def _transact(
    mongo: MongoConnection,
    database: Database[Document],
    body: Callable[[ClientSession], T],
    *,
    seconds: float,
) -> T:
    """Executes a transaction, and repeats it while it conflicts with another one.

    Raises:
        CatalogUnavailable: every attempt met a conflict.
    """
    for _ in attempts(seconds):
        with database.client.start_session() as session:
            try:
                with session.start_transaction(
                    read_concern=ReadConcern("snapshot"), write_concern=database.write_concern
                ):
                    return body(session)
            except PyMongoError as error:
                if not error.has_error_label("TransientTransactionError"):
                    raise
                mongo.forget_writes()
    raise AssertionError  # the attempts end with an exception


def _add_usage(database: Database[Document], workspace_id: str, added: Usage, session: ClientSession) -> None:
    increase = {f"usage.{name}": getattr(added, name) for name in _LIMITS}
    workspace = database.workspaces.find_one_and_update(
        {"_id": workspace_id}, {"$inc": increase}, return_document=True, session=session
    )
    if workspace is None or not workspace["usage"]["counted"]:
        return
    for name, (field, reached) in _LIMITS.items():
        limit = workspace.get(field)
        if limit is not None and getattr(added, name) > 0 and workspace["usage"][name] > limit:
            raise reached


def _counted(database: Database[Document], workspace_id: str, session: ClientSession | None) -> Usage:
    """The usage of a workspace, counted image by image.

    It does not rely on the fields that a server of an earlier version has not kept.
    """
    pipeline: list[Document] = [
        {"$match": {"companyId": workspace_id}},
        {"$project": {"hosted": _HOSTED}},
        {"$project": {"storedImages": {"$size": "$hosted"}, "storedBytes": {"$sum": _SIZES}}},
        _SUM,
    ]
    return _usage(database.products.aggregate(pipeline, session=session))


def summed(database: Database[Document], workspace_id: str | None) -> Usage:
    """The usage of a workspace, or of all together for None, from ``USAGE_INDEX``, which must exist."""
    match = [] if workspace_id is None else [{"$match": {"companyId": workspace_id}}]
    return _usage(database.products.aggregate([*match, _SUM], hint="usage"))


def _usage(documents: Iterable[Document]) -> Usage:
    for document in documents:
        return Usage(products=document["products"], images=document["images"], bytes=document["bytes"])
    return Usage()
