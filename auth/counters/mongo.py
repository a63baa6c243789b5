"""Counters in MongoDB, for ``limits``: what the processes of all machines count together."""

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

    Unlike that, it does not wait for long or ask twice; it makes the index by which counts expire also if
    the server was down at first; and it connects to count only, not when it is thrown away unused.

    Raises:
        ValueError: the URI can't be used; the message may quote it.
    """

    STORAGE_SCHEME = ["mongodb", "mongodb+srv"]  # noqa: RUF012  # as the base class declares it

    def __init__(self, uri: str, wrap_exceptions: bool = False) -> None:  # noqa: FBT001, FBT002  # the base class's signature
        # Connects to nothing yet: connections can't cross a fork.
        try:
            with MongoClient[dict[str, object]](uri, connect=False) as client:
                name = client.get_default_database("vetrina").name
        except PyMongoError as error:
            raise ValueError(str(error)) from None
        self._making = threading.Lock()
        super().__init__(uri, database_name=name, wrap_exceptions=wrap_exceptions)

    @property
    def storage(self) -> MongoClient[dict[str, object]]:
        """The client; made at first use."""
        if self._storage is not None:
            return self._storage
        # Threads that count first share one client. They do not wait for each other's timeouts in turn.
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
        """Does nothing, where the base class would connect if it never did."""
