"""Counters in MongoDB, for ``limits``, which the processes of all machines share."""

from __future__ import annotations

import threading
import weakref

from limits.storage import MongoDBStorage
from pymongo import MongoClient
from pymongo.errors import AutoReconnect, PyMongoError

#: The timeout of a count, in milliseconds: short, so that counting delays no request.
_TIMEOUT = 1000


class MongoCounters(MongoDBStorage):
    """The storage of ``limits``, in the database that the URI names, or in ``vetrina`` if it names none.

    Unlike the base class, it has short timeouts and does not retry; it creates the index by which counts
    expire even if the server was down at first; and it connects only to count, not when it is deleted unused.

    Raises:
        ValueError: the URI can't be used; the message may quote it.
    """

    STORAGE_SCHEME = ["mongodb", "mongodb+srv"]  # noqa: RUF012  # as the base class declares it

    def __init__(self, uri: str, wrap_exceptions: bool = False) -> None:  # noqa: FBT001, FBT002  # the base class's signature
        # Opens no connection yet, because connections can't be used after a fork.
        try:
            with MongoClient[dict[str, object]](uri, connect=False) as client:
                name = client.get_default_database("vetrina").name
        except PyMongoError as error:
            raise ValueError(str(error)) from None
        self._making = threading.Lock()
        super().__init__(uri, database_name=name, wrap_exceptions=wrap_exceptions)

    @property
    def storage(self) -> MongoClient[dict[str, object]]:
        """The client; created at first use."""
        if self._storage is not None:
            return self._storage
        # Threads that need the client at the same time share it and do not wait one timeout each in turn.
        if not self._making.acquire(timeout=_TIMEOUT / 1000):
            raise AutoReconnect("another thread is still connecting")
        try:
            if self._storage is None:
                self._storage = self._make()
            return self._storage
        finally:
            self._making.release()

    def _make(self) -> MongoClient[dict[str, object]]:
        client: MongoClient[dict[str, object]] = MongoClient(
            self._storage_uri,
            serverSelectionTimeoutMS=_TIMEOUT,
            connectTimeoutMS=_TIMEOUT,
            socketTimeoutMS=_TIMEOUT,
            waitQueueTimeoutMS=_TIMEOUT,
            retryWrites=False,
            retryReads=False,
        )
        try:
            counters = client[self._database_name][self._collection_mapping["counters"]]
            counters.create_index("expireAt", expireAfterSeconds=0)
        except BaseException:
            client.close()
            raise
        weakref.finalize(self, client.close)
        return client

    def __del__(self) -> None:
        """Does nothing: the base class would connect here if it had not connected before."""
