"""The Idempotency-Keys of the MongoDB catalog.

The live keys of a workspace are bounded, and counting thousands of them takes long. So a process counts them
once and then allows some claims without a count: one for each ``_PART`` keys that were missing, within
``_KNOWN_FOR``. When few are missing, each claim is counted before and after it is made, and is undone if it
is one too many.
"""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Final

from pymongo import ASCENDING, IndexModel
from pymongo.collection import Collection
from pymongo.errors import DuplicateKeyError

from catalog.base import MAX_LIVE_KEYS, IdempotencyClaim, StoredAnswer
from catalog.errors import CatalogUnavailable, IdempotencyKeysUsedUp
from catalog.mongo.bounds import after_insert
from catalog.mongo.connection import Document, MongoConnection, latest
from process_local import ProcessLocal

#: MongoDB removes a record within about a minute after its ``expiresAt``.
IDEMPOTENCY_INDEXES: Final = [
    IndexModel("expiresAt", name="expiresAt", expireAfterSeconds=0),
    # The live keys of a workspace are counted.
    IndexModel({"companyId": ASCENDING, "expiresAt": ASCENDING}, name="companyId_expiresAt"),
]

#: How long a process relies on a count.
_KNOWN_FOR: Final = timedelta(seconds=2)
#: Of the keys that are missing to the bound, one in this many is claimed without another count.
_PART: Final = 100
#: If no more keys than this are missing, each claim is counted.
_FEW: Final = 1000
#: How many workspaces a process remembers.
_MOST_WORKSPACES: Final = 1000


class _Workspace:
    """What a process knows about the live keys of one workspace.

    Attributes:
        lock: is held while a thread counts the keys, so that the others need not.
        count: the number that was counted last; None if none is known.
        at: the time of the request that counted.
        unchecked: how many claims may be made without another count.
    """

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.count: int | None = None
        self.at = datetime.min.replace(tzinfo=UTC)
        self.unchecked = 0

    def missing(self, at: datetime, count: Callable[[], int]) -> int | None:
        """See ``LiveKeys.claiming``. The caller holds the lock."""
        if self.count is not None and abs(at - self.at) < _KNOWN_FOR:
            if self.unchecked:
                self.unchecked -= 1
                return None
            if self.count >= MAX_LIVE_KEYS:
                return 0
        self.count, self.at = count(), at
        missing = max(0, MAX_LIVE_KEYS - self.count)
        self.unchecked = missing // _PART if missing > _FEW else 0
        return None if self.unchecked else missing


class LiveKeys:
    """What one process knows about the number of live keys of each workspace."""

    def __init__(self) -> None:
        self._workspaces: OrderedDict[str, _Workspace] = OrderedDict()
        self._lock = threading.Lock()

    def _workspace(self, workspace_id: str) -> _Workspace:
        with self._lock:
            known = self._workspaces.setdefault(workspace_id, _Workspace())
            self._workspaces.move_to_end(workspace_id)
            if len(self._workspaces) > _MOST_WORKSPACES:
                self._workspaces.popitem(last=False)
            return known

    def forget(self, workspace_id: str) -> None:
        """Makes the next claim count: a key was released."""
        with self._lock:
            self._workspaces.pop(workspace_id, None)

    @contextmanager
    def claiming(
        self, workspace_id: str, at: datetime, count: Callable[[], int], timeout: float
    ) -> Iterator[int | None]:
        """Yields how many live keys a workspace may still have, or None if it has room for many.

        While few are missing, the claims of a workspace follow each other, because each counts the others.

        Args:
            workspace_id: the workspace that claims a key while the block runs.
            at: the time of the claim.
            count: counts the live keys.
            timeout: how long to wait for other threads, in seconds.

        Raises:
            CatalogUnavailable: other threads count for too long.
            Exception: what ``count`` raises.
        """
        known = self._workspace(workspace_id)
        if not known.lock.acquire(timeout=timeout):
            raise CatalogUnavailable("the Idempotency-Keys are being counted")
        with ExitStack() as held:
            held.callback(known.lock.release)
            missing = known.missing(at, count)
            if missing is None:
                held.close()
            yield missing


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


def _if_free(standing: Document, claim: IdempotencyClaim, at: datetime) -> Document | None:
    """The filter that finds a claim as long as another one may replace it; None if no other one may."""
    same = {"_id": standing["_id"], "token": standing["token"]}
    if standing["expiresAt"] <= at:
        return same
    is_dead = standing["answer"] is None and standing["leaseUntil"] <= at
    if is_dead and bytes(standing["fingerprint"]) == claim.fingerprint:
        return {**same, "answer": None}  # its answer may come late
    return None


class MongoIdempotencyKeys:
    """See Catalog."""

    _mongo: MongoConnection
    _live_keys: ProcessLocal[LiveKeys]

    def claim_idempotency_key(self, claim: IdempotencyClaim, at: datetime) -> IdempotencyClaim | None:
        with self._mongo.call() as database:
            keys = database.idempotencyKeys
            for _ in self._mongo.attempts():
                with self._room(keys, claim, at) as is_counted:
                    standing = self._claim(keys, claim, at)
                    if standing is not None:
                        return _claim_of(standing)
                    with after_insert():
                        if not is_counted or _count(keys, claim, at, MAX_LIVE_KEYS + 1) <= MAX_LIVE_KEYS:
                            return None
                        # Another process may have taken the last place, or may undo its claim like this one.
                        keys.delete_one({"_id": _id(claim), "token": claim.token})
        raise AssertionError  # the attempts end with an exception

    def _claim(self, keys: Collection[Document], claim: IdempotencyClaim, at: datetime) -> Document | None:
        """Returns None if it made the claim; else the claim that stands."""
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
        for _ in self._mongo.attempts():
            try:
                keys.insert_one(document)
            except DuplicateKeyError:
                standing = latest(keys).find_one({"_id": _id(claim)})
                if standing is None:  # it was released meanwhile
                    continue
                if standing["token"] == claim.token:  # a first attempt succeeded, and its answer was lost
                    return None
                free = _if_free(standing, claim, at)
                if free is None:
                    return standing
                if not keys.replace_one(free, document).matched_count:  # it has changed meanwhile
                    continue
            return None
        raise AssertionError  # the attempts end with an exception

    @contextmanager
    def _room(self, keys: Collection[Document], claim: IdempotencyClaim, at: datetime) -> Iterator[bool]:
        """Yields whether the claim that the block makes must be counted afterwards.

        Raises:
            IdempotencyKeysUsedUp: the workspace has ``MAX_LIVE_KEYS`` live keys without this one.
        """
        live_keys = self._live_keys.get()
        count = partial(_count, keys, claim, at, MAX_LIVE_KEYS)
        with live_keys.claiming(claim.workspace_id, at, count, self._mongo.longest_call) as missing:
            own = {"_id": _id(claim), "expiresAt": {"$gt": at}}
            if missing == 0 and latest(keys).find_one(own, {"_id": True}) is None:
                raise IdempotencyKeysUsedUp
            yield missing is not None

    def complete_idempotency_key(self, claim: IdempotencyClaim, answer: StoredAnswer) -> None:
        stored = {"status": answer.status, "headers": dict(answer.headers), "body": answer.body}
        with self._mongo.call() as database:
            database.idempotencyKeys.update_one(
                {"_id": _id(claim), "token": claim.token}, {"$set": {"answer": stored}}
            )

    def release_idempotency_key(self, claim: IdempotencyClaim) -> None:
        with self._mongo.call() as database:
            database.idempotencyKeys.delete_one({"_id": _id(claim), "token": claim.token, "answer": None})
        self._live_keys.get().forget(claim.workspace_id)


def _count(keys: Collection[Document], claim: IdempotencyClaim, at: datetime, most: int) -> int:
    """The number of live keys of the workspace that claims one, up to ``most``."""
    live = {"companyId": claim.workspace_id, "expiresAt": {"$gt": at}}
    return latest(keys).count_documents(live, limit=most)
