"""The way to MongoDB: one client for each process, one deadline for each call, and what a failure means."""

from __future__ import annotations

import re
import threading
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC
from typing import Any, Final, TypeAlias

import pymongo
from bson.codec_options import CodecOptions
from pymongo import IndexModel, MongoClient, ReadPreference
from pymongo.collection import Collection
from pymongo.database import Database
from pymongo.errors import DuplicateKeyError, NetworkTimeout, OperationFailure, PyMongoError
from pymongo.monitoring import (
    CommandFailedEvent,
    CommandListener,
    CommandStartedEvent,
    CommandSucceededEvent,
)
from pymongo.read_concern import ReadConcern
from pymongo.write_concern import WriteConcern

from catalog.errors import CatalogUnavailable, OutcomeUnknown
from process_local import ProcessLocal

Document: TypeAlias = dict[str, Any]

#: The commands that our writes are, as the wire names them.
_WRITES: Final = {"insert", "update", "delete", "findAndModify"}

# What a server answers to a write that it has certainly not done (src/mongo/base/error_codes.yml).
# Not among them: MaxTimeMSExpired, a shutdown, a step-down and the like, which also come while a
# write that was done waits for its majority.
_REFUSED: Final = {
    13,  # Unauthorized
    18,  # AuthenticationFailed
    20,  # IllegalOperation
    112,  # WriteConflict
    121,  # DocumentValidationFailure
    10107,  # NotWritablePrimary
    10334,  # BSONObjectTooLarge
    13435,  # NotPrimaryNoSecondaryOk
    14031,  # OutOfDiskSpace
}


class _Thread(threading.local):
    in_doubt: int = 0
    repeated: bool = False


class _Writes(CommandListener):
    """Counts, for each thread, the writes that went out and that no answer has settled.

    The exception that pymongo raises does not tell: a connection that breaks is AutoReconnect before
    the command was sent and after it, and where pymongo tried twice, the last failure hides the
    first. A listener sees every attempt, on the calling thread, just before its bytes are sent.
    """

    def __init__(self) -> None:
        self._thread = _Thread()

    def begin(self) -> None:
        self._thread.in_doubt = 0

    @property
    def in_doubt(self) -> bool:
        return self._thread.in_doubt > 0

    @property
    def repeated(self) -> bool:
        return self._thread.repeated

    def started(self, event: CommandStartedEvent) -> None:
        if event.command_name in _WRITES:
            self._thread.in_doubt += 1

    def succeeded(self, event: CommandSucceededEvent) -> None:
        # Done, but not (yet) by a majority: a new primary may not know of it.
        if event.command_name in _WRITES and "writeConcernError" not in event.reply:
            self._thread.repeated = self._thread.in_doubt > 1
            self._thread.in_doubt = 0

    def failed(self, event: CommandFailedEvent) -> None:
        if event.command_name in _WRITES and _is_refusal(event.failure):
            self._thread.in_doubt -= 1


def _is_refusal(failure: Mapping[str, Any]) -> bool:
    # A write concern error has codes too, but no "ok"; a broken connection has neither.
    return failure.get("ok") == 0 and (
        failure.get("code") in _REFUSED or "NoWritesPerformed" in failure.get("errorLabels", ())
    )


def _sentence(error: PyMongoError) -> str:
    """What pymongo says, without its dumps of the topology and of the server's whole answer."""
    return re.split(", (?:Timeout: |full error: )", str(error))[0]


@dataclass
class _Process:
    """What one process has of the connection; pymongo's clients can't cross a fork.

    Attributes:
        prepared: the collections whose indexes are there.
        replicated: whether there are several servers; None: not asked yet.
    """

    client: MongoClient[Document]
    database: Database[Document]
    prepared: set[str] = field(default_factory=set)
    replicated: bool | None = None


class MongoConnection:
    """Gives each call to the catalog its database, and tells in the catalog's words how it failed.

    Writes are acknowledged by a majority, from its journals; reads come from the primary and see
    only what a majority has. So nothing is shown, or answered, that a failover takes back.

    Args:
        uri: a connection string that names a database.
        timeout: the most that a call takes, in seconds.
        indexes: for each collection, what is made at the first call of a process.

    Raises:
        ValueError: the connection string can't be used; the message has no part of it.
    """

    def __init__(self, uri: str, *, timeout: float, indexes: Mapping[str, Sequence[IndexModel]]) -> None:
        self._uri = uri
        self._timeout = timeout
        self._indexes = indexes
        self._writes = _Writes()
        self._processes = ProcessLocal(self._open)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error")  # of an option that is misspelt, say
                self._open()
        except (PyMongoError, ValueError, TypeError, OSError, Warning):
            # Without pymongo's own words: they may quote a piece of the password.
            raise ValueError(
                "must be a MongoDB connection string with a database, such as mongodb://127.0.0.1/vetrina, "
                "its user name and password percent-encoded, its options known to pymongo"
            ) from None

    def _open(self) -> _Process:
        milliseconds = round(self._timeout * 1000)
        client: MongoClient[Document] = MongoClient(
            self._uri,
            connect=False,
            event_listeners=[self._writes],
            serverSelectionTimeoutMS=milliseconds,
            connectTimeoutMS=milliseconds,
            socketTimeoutMS=milliseconds,
        )
        database = client.get_default_database(
            codec_options=CodecOptions(tz_aware=True, tzinfo=UTC),
            read_preference=ReadPreference.PRIMARY,
            write_concern=WriteConcern("majority", j=True),
            read_concern=ReadConcern("majority"),
        )
        return _Process(client, database)

    def _process(self) -> _Process:
        process = self._processes.get()
        if len(process.prepared) < len(self._indexes):
            self._prepare(process)
        return process

    def _prepare(self, process: _Process) -> None:
        """Makes the indexes that are missing; a server that is down is asked again by the next call.

        Not under the call's deadline: that is also sent to the server, which would give up building
        an index on a large collection, again and again. Without it the server goes on when we hang
        up, and the calls fail until the index is there. With a server that is slow it takes some calls.
        """
        end = time.monotonic() + self._timeout
        if process.replicated is None:
            hello = process.database.command("hello")
            process.replicated = "setName" in hello or hello.get("msg") == "isdbgrid"
        for collection, indexes in self._indexes.items():
            if collection not in process.prepared:
                if time.monotonic() > end:
                    raise NetworkTimeout("the indexes are not all there yet")
                process.database[collection].create_indexes(list(indexes))
                process.prepared.add(collection)

    @contextmanager
    def call(self) -> Iterator[Database[Document]]:
        """One call to the catalog, with one deadline for all that it asks of the database.

        Raises:
            CatalogUnavailable: it failed before a write was sent, or the server refused the write.
            OutcomeUnknown: it failed with a write sent, and no answer that settles it.
        """
        self._writes.begin()
        try:
            process = self._process()
            with pymongo.timeout(self._timeout):
                yield process.database
        except PyMongoError as error:
            if isinstance(error, OperationFailure) and "hint" in str(error):
                # An index is gone, with its collection perhaps: the next call makes what is missing.
                self._processes.get().prepared.clear()
            unavailable = OutcomeUnknown if self._writes.in_doubt else CatalogUnavailable
            raise unavailable(_sentence(error)) from error

    @property
    def repeated(self) -> bool:
        """Whether this thread's last write was answered only after an attempt that was not.

        MongoDB knows the attempts of a write by their transaction number and does it once. Not all
        that speaks its protocol does (SecantusDB forgets when the time limit differs), and then the
        answer may be about the second attempt alone.
        """
        return self._writes.repeated

    def insert(self, collection: Collection[Document], document: Document) -> None:
        """Raises DuplicateKeyError, unless it was this very document that was in the way."""
        try:
            collection.insert_one(document)
        except DuplicateKeyError:
            ours = self.repeated and latest(collection).find_one({"_id": document["_id"]})
            if not ours:
                raise

    def linearizable(self, collection: Collection[Document]) -> Collection[Document]:
        """The collection, read so that a write which was acknowledged before is always seen.

        A primary that was cut off answers other reads for some seconds after its successor was
        elected. It costs a round trip between the members. A single server refuses it, and needs it
        as little.
        """
        if not self._process().replicated:
            return collection
        return collection.with_options(read_concern=ReadConcern("linearizable"))

    def close(self) -> None:
        """Closes the client of this process; the next call makes another."""
        process = self._processes.pop()
        if process is not None:
            process.client.close()


def latest(collection: Collection[Document]) -> Collection[Document]:
    """The collection, read as a filter does it: with what a majority does not have yet."""
    return collection.with_options(read_concern=ReadConcern("local"))
