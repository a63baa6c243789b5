"""The connection to MongoDB: one client a process, one deadline a call, and what a failure means."""

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
from pymongo.client_session import ClientSession
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

from catalog.attempts import attempts
from catalog.errors import CatalogUnavailable, OutcomeUnknown
from process_local import ProcessLocal

Document: TypeAlias = dict[str, Any]

#: The commands that write, as the wire protocol names them.
_WRITES: Final = {"insert", "update", "delete", "findAndModify", "commitTransaction"}

# The codes of a write that the server has certainly not done (src/mongo/base/error_codes.yml).
# MaxTimeMSExpired, a shutdown, a step-down and the like are not among them: a write that was done, and waits
# for its majority, is answered so too.
_REFUSED: Final = {
    13,  # Unauthorized
    18,  # AuthenticationFailed
    20,  # IllegalOperation
    112,  # WriteConflict
    121,  # DocumentValidationFailure
    10107,  # NotWritablePrimary
    10334,  # BSONObjectTooLarge
    11000,  # DuplicateKey
    13435,  # NotPrimaryNoSecondaryOk
    14031,  # OutOfDiskSpace
}


#: What the catalog refuses, by the fields of the unique index whose key is there already.
Refusals: TypeAlias = Mapping[tuple[str, ...], type[Exception]]


class _Thread(threading.local):
    in_doubt: int = 0
    repeated: bool = False


class _Writes(CommandListener):
    """Counts, for each thread, the writes that were sent and whose outcome no answer has settled.

    The exception that pymongo raises does not say it: a connection that breaks is AutoReconnect both before
    and after the command was sent, and when pymongo tried twice, the second failure hides the first. A
    listener sees every attempt, on the calling thread, just before its bytes are sent.
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
        # With a write concern error it is done, but not by a majority: a failover may undo it.
        if event.command_name in _WRITES and "writeConcernError" not in event.reply:
            self._thread.repeated = self._thread.in_doubt > 1
            self._thread.in_doubt = 0

    def failed(self, event: CommandFailedEvent) -> None:
        if event.command_name in _WRITES and _is_refusal(event.failure):
            self._thread.in_doubt -= 1


def _is_refusal(failure: Mapping[str, Any]) -> bool:
    # A write concern error has a code too, but no "ok": 0; a broken connection has neither.
    return failure.get("ok") == 0 and (
        failure.get("code") in _REFUSED or "NoWritesPerformed" in failure.get("errorLabels", ())
    )


def _sentence(error: PyMongoError) -> str:
    """Pymongo's message without the descriptions of the topology and of the server's whole answer."""
    return re.split(", (?:Timeout: |full error: )", str(error))[0]


@dataclass
class _Process:
    """What belongs to one process: pymongo's clients can't cross a fork.

    Attributes:
        prepared: the collections whose indexes are there.
        replicated: whether there are several servers; None: not known yet.
    """

    client: MongoClient[Document]
    database: Database[Document]
    prepared: set[str] = field(default_factory=set)
    replicated: bool | None = None


class MongoConnection:
    """Gives each call of the catalog its database, and raises the catalog's errors when the call fails.

    Writes are acknowledged by a majority, journaled; reads come from the primary and see only what a majority
    has. So a failover undoes nothing that was shown or acknowledged.

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
    def call(
        self, refusals: Refusals | None = None, *, timeout: float | None = None
    ) -> Iterator[Database[Document]]:
        """One call of the catalog, with one deadline for all that it asks of the database.

        Args:
            refusals: the unique indexes of our own that a write may violate. The violation of any other is a
                fault of the database: of an index that someone else has added, for example.
            timeout: the most that the call takes, in seconds, if it is not that of the constructor.

        Raises:
            CatalogUnavailable: it failed before a write was sent, or the server refused the write.
            OutcomeUnknown: it failed after a write was sent, and no answer settles the write.
            Exception: that of ``refusals``.
        """
        self._writes.begin()
        try:
            process = self._process()
            with pymongo.timeout(timeout or self._timeout):
                yield process.database
        except PyMongoError as error:
            if refusal := (refusals or {}).get(_duplicate_fields(error)):
                raise refusal from None
            if isinstance(error, OperationFailure) and "hint" in str(error):
                # An index is gone, perhaps with its collection: the next call makes the missing ones.
                self._processes.get().prepared.clear()
            unavailable = OutcomeUnknown if self._writes.in_doubt else CatalogUnavailable
            raise unavailable(_sentence(error)) from error

    @property
    def longest_call(self) -> float:
        """The most that a call takes, in seconds, if it has no timeout of its own."""
        return self._timeout

    @property
    def replicated(self) -> bool:
        """Whether there are several servers: a single one has no transactions."""
        return bool(self._process().replicated)

    def forget_writes(self) -> None:
        """Notes that what this call has written was undone."""
        self._writes.begin()

    def attempts(self) -> Iterator[None]:
        """The attempts of one call, until its deadline.

        Raises:
            CatalogUnavailable: see ``catalog.attempts``.
        """
        return attempts(self._timeout)

    @property
    def repeated(self) -> bool:
        """Whether an attempt of this thread's last write had no answer before the one that was answered.

        MongoDB recognizes the attempts of a write by their transaction number and does it once. Not every
        server of its protocol does so (SecantusDB does not if the time limit differs), and then the answer
        may be about the second attempt alone.
        """
        return self._writes.repeated

    def insert(
        self,
        collection: Collection[Document],
        document: Document,
        session: ClientSession | None = None,
    ) -> None:
        """Inserts a document.

        Raises:
            DuplicateKeyError: another document has a key of a unique index.
        """
        try:
            collection.insert_one(document, session=session)
        except DuplicateKeyError:
            ours = not session and self.repeated and latest(collection).find_one({"_id": document["_id"]})
            if not ours:
                raise

    def linearizable(self, collection: Collection[Document]) -> Collection[Document]:
        """The collection, read so that every write that was acknowledged before is seen.

        A primary that was cut off answers other reads for some seconds after its successor was elected. Such
        a read costs a round trip between the members. A single server refuses it and does not need it.
        """
        if not self._process().replicated:
            return collection
        return collection.with_options(read_concern=ReadConcern("linearizable"))

    def close(self) -> None:
        """Closes the client of this process; the next call makes another one."""
        process = self._processes.pop()
        if process is not None:
            process.client.close()


def latest(collection: Collection[Document]) -> Collection[Document]:
    """The collection, read as the filter of a write reads it: with what a majority does not have yet."""
    return collection.with_options(read_concern=ReadConcern("local"))


def _duplicate_fields(error: PyMongoError) -> tuple[str, ...]:
    """The fields of the unique index whose key is there already; empty if it is another error."""
    details = error.details if isinstance(error, DuplicateKeyError) else None
    return tuple((details or {}).get("keyPattern", ()))
