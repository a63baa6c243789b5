"""The connection to MongoDB: one client per process, one deadline per call, and what a failure means."""

from __future__ import annotations

import logging
import re
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, TypeAlias

import pymongo
from bson.codec_options import CodecOptions
from pymongo import IndexModel, MongoClient, ReadPreference
from pymongo.client_session import ClientSession
from pymongo.collection import Collection
from pymongo.database import Database
from pymongo.errors import DuplicateKeyError, OperationFailure, PyMongoError
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
from catalog.mongo.indexes import Indexes, is_replicated
from process_local import ProcessLocal

Document: TypeAlias = dict[str, Any]

log = logging.getLogger(__name__)

#: The commands that write, as the wire protocol names them.
_WRITES: Final = {"insert", "update", "delete", "findAndModify", "commitTransaction"}

# The error codes after which the server has certainly not executed the write
# (src/mongo/base/error_codes.yml). MaxTimeMSExpired, a shutdown, a step-down and the like are not among them:
# the server may also answer so to a write that it has executed and that waits for a majority.
_REFUSED: Final = {
    13,  # Unauthorized
    18,  # AuthenticationFailed
    20,  # IllegalOperation
    112,  # WriteConflict
    121,  # DocumentValidationFailure
    371,  # UserWritesBlocked
    8000,  # AtlasError: over the quota of the cluster, for example
    10107,  # NotWritablePrimary
    10334,  # BSONObjectTooLarge
    11000,  # DuplicateKey
    13435,  # NotPrimaryNoSecondaryOk
    14031,  # OutOfDiskSpace
}


#: A server that is overloaded refuses a command with these labels before it does anything.
_OVERLOADED: Final = {"SystemOverloadedError", "RetryableError"}

#: The database that is used if the connection string names none.
DEFAULT_DATABASE: Final = "vetrina"

#: AuthenticationFailed.
_WRONG_PASSWORD: Final = 18

#: The warnings of pymongo that do not mean that a connection string is wrong.
_NOTICES: Final = "(Wire protocol compression|Unsupported compressor|You appear to be connected to)"

#: The error for each unique index that a write may violate, by the fields of the index.
Refusals: TypeAlias = Mapping[tuple[str, ...], type[Exception]]


class _Thread(threading.local):
    in_doubt: int = 0
    repeated: bool = False


class _Writes(CommandListener):
    """Counts, for each thread, the writes that were sent and whose outcome no answer has settled.

    Pymongo's exception does not tell this: a broken connection raises AutoReconnect both before and after the
    command was sent, and after two attempts the second failure hides the first. A listener is called for
    every attempt, on the calling thread, just before the command is sent.
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
        # With a write concern error, the write is done, but not by a majority: a failover may undo it.
        if event.command_name in _WRITES and "writeConcernError" not in event.reply:
            self._thread.repeated = self._thread.in_doubt > 1
            self._thread.in_doubt = 0

    def failed(self, event: CommandFailedEvent) -> None:
        if event.command_name in _WRITES and _is_refusal(event.failure):
            self._thread.in_doubt -= 1


def _is_refusal(failure: Mapping[str, Any]) -> bool:
    # A write concern error has a code too, but no "ok": 0; a broken connection has neither.
    labels = set(failure.get("errorLabels", ()))
    return failure.get("ok") == 0 and (
        failure.get("code") in _REFUSED or "NoWritesPerformed" in labels or labels >= _OVERLOADED
    )


def _sentence(error: PyMongoError) -> str:
    """Pymongo's message without its descriptions of the topology and of the server's complete answer."""
    sentence = re.split(", (?:Timeout: |full error: )", str(error))[0]
    if isinstance(error, OperationFailure) and error.code == _WRONG_PASSWORD:
        sentence += " (a user that was created in the database admin needs ?authSource=admin)"
    return sentence


@dataclass
class _Process:
    """The state of one process: pymongo's clients can't be used after a fork.

    Attributes:
        indexes: what is known about the indexes.
        replicated: whether there are several servers; None: not known yet.
    """

    client: MongoClient[Document]
    database: Database[Document]
    indexes: Indexes
    replicated: bool | None = None


class MongoConnection:
    """Gives each call of the catalog its database, and raises the catalog's errors when the call fails.

    A write is acknowledged when a majority has journaled it. A read goes to the primary and sees only what a
    majority has. So a failover undoes nothing that was read or acknowledged.

    Args:
        uri: a connection string; ``DEFAULT_DATABASE`` is used if it names no database.
        timeout: the longest that a call takes, in seconds.
        indexes: the indexes of each collection; the missing ones are built (``catalog/mongo/indexes.py``).
        finish: is called when the indexes are built; yields a sentence for each step.
        strict_revocation: see ``for_authentication``.

    Raises:
        ValueError: the connection string can't be used; the message has no part of it.
    """

    def __init__(  # what the catalog states once
        self,
        uri: str,
        *,
        timeout: float,
        indexes: Mapping[str, Sequence[IndexModel]],
        finish: Callable[[Database[Document]], Iterator[str]],
        strict_revocation: bool,
    ) -> None:
        self._uri = uri
        self._finish = finish
        self._strict_revocation = strict_revocation
        self._timeout = timeout
        self._indexes = indexes
        self._writes = _Writes()
        self._processes = ProcessLocal(self._open)
        try:
            notices = self._check_uri()
        except (PyMongoError, ValueError, TypeError, OSError, Warning):
            # Pymongo's message is left out: it may quote a part of the password.
            raise ValueError(
                "must be a MongoDB connection string such as mongodb://127.0.0.1/vetrina, "
                "its user name and password percent-encoded, its options known to pymongo"
            ) from None
        for notice in notices:
            log.warning("the connection string of MongoDB: %s", notice)

    def _check_uri(self) -> list[str]:
        """Creates a client to check the connection string; returns the warnings that are only notices.

        A compressor without its module and a server that is not MongoDB are notices. Any other warning is
        about an option that is misspelt or has no meaning.

        Raises:
            PyMongoError, ValueError, TypeError, OSError: the connection string can't be used.
        """
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            with MongoClient[Document](self._uri, connect=False) as client:
                self._database(client)
        messages = [str(warning.message) for warning in caught]
        notices = [message for message in messages if re.match(_NOTICES, message)]
        if len(notices) < len(caught):
            raise ValueError
        return notices

    def _client(self, *, hurried: bool = True) -> MongoClient[Document]:
        milliseconds = round(self._timeout * 1000)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", _NOTICES)  # ``_check_uri`` logs them once
            return MongoClient(
                self._uri,
                connect=False,
                event_listeners=[self._writes],
                serverSelectionTimeoutMS=milliseconds,
                connectTimeoutMS=milliseconds,
                socketTimeoutMS=milliseconds if hurried else None,
            )

    @staticmethod
    def _database(client: MongoClient[Document]) -> Database[Document]:
        return client.get_default_database(
            DEFAULT_DATABASE,
            codec_options=CodecOptions(tz_aware=True, tzinfo=UTC),
            read_preference=ReadPreference.PRIMARY,
            write_concern=WriteConcern("majority", j=True),
            read_concern=ReadConcern("majority"),
        )

    def _open(self) -> _Process:
        client = self._client()
        return _Process(client, self._database(client), Indexes(self._indexes, self._unhurried, self._finish))

    @contextmanager
    def _unhurried(self) -> Iterator[Database[Document]]:
        """The database on a separate connection that has no timeout."""
        with self._client(hurried=False) as client:
            yield self._database(client)

    def _process(self) -> _Process:
        process = self._processes.get()
        if process.replicated is None:
            process.replicated = is_replicated(process.database)
        process.indexes.require(process.database, self._timeout)
        return process

    @property
    def indexes(self) -> Indexes:
        """What this process knows of the indexes."""
        return self._processes.get().indexes

    def has_index(self, collection: str, name: str) -> bool:
        """Whether an index exists, and the records of earlier versions have the fields that it needs."""
        indexes = self._process().indexes
        return indexes.updated and indexes.has(collection, name)

    def require_index(self, collection: str, name: str) -> None:
        """Raises CatalogUnavailable unless ``has_index``."""
        if not self.has_index(collection, name):
            raise CatalogUnavailable(f"the index {name} of {collection} is being built")

    def prepare(self, clean: Callable[[Database[Document]], Iterator[str]]) -> Iterator[str]:
        """Builds missing indexes and updates records of earlier versions; yields a sentence for each step.

        Args:
            clean: then removes what is no longer needed; yields a sentence for each step.

        Raises:
            CatalogUnavailable
        """
        try:
            with self._unhurried() as database:
                yield from self.indexes.prepare(database)
                yield from clean(database)
        except PyMongoError as error:
            raise CatalogUnavailable(_sentence(error)) from error

    @contextmanager
    def call(
        self, refusals: Refusals | None = None, *, timeout: float | None = None
    ) -> Iterator[Database[Document]]:
        """One call of the catalog, with one deadline for all its commands.

        Args:
            refusals: the catalog's unique indexes that a write may violate. The violation of any other is a
                fault of the database: an index that someone else has added, for example.
            timeout: the longest that the call takes, in seconds; the constructor's timeout if it is None.

        Raises:
            CatalogUnavailable: it failed before a write was sent, or the server refused the write.
            OutcomeUnknown: it failed after a write was sent, and no answer settles the write.
            Exception: the error that ``refusals`` has for the index.
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
                self.indexes.forget()
            unavailable = OutcomeUnknown if self._writes.in_doubt else CatalogUnavailable
            raise unavailable(_sentence(error)) from error

    @property
    def longest_call(self) -> float:
        """The longest that a call takes, in seconds, if ``call`` is given no timeout."""
        return self._timeout

    @property
    def replicated(self) -> bool:
        """Whether there are several servers: a single one has no transactions."""
        return bool(self._process().replicated)

    def forget_writes(self) -> None:
        """Records that the writes of this call were undone."""
        self._writes.begin()

    def attempts(self) -> Iterator[None]:
        """The attempts of one call, until its deadline.

        Raises:
            CatalogUnavailable: see ``catalog.attempts``.
        """
        return attempts(self._timeout)

    @property
    def repeated(self) -> bool:
        """Whether this thread's last write was answered only after an attempt that had no answer.

        MongoDB recognizes the attempts of a write by their transaction number and executes the write once.
        Not every server with this protocol does so (SecantusDB does not if the time limit differs), and then
        the answer may describe the second attempt alone.
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

    def for_authentication(self, collection: Collection[Document]) -> Collection[Document]:
        """The collection, with a read concern with which the next request sees a revocation.

        A read from the primary sees all that was acknowledged before, except during a failover: a primary
        that is cut off can still answer for some seconds after its successor was elected. With
        ``strict_revocation`` the read is linearizable, which prevents this. The primary then writes to its
        log and waits for a majority at each read, and without a majority no request is authenticated. A
        single server refuses such a read and does not need it.
        """
        if not (self._strict_revocation and self._process().replicated):
            return collection
        return collection.with_options(read_concern=ReadConcern("linearizable"))

    def close(self) -> None:
        """Closes the client of this process; the next call creates another one."""
        process = self._processes.pop()
        if process is not None:
            process.indexes.stop()
            process.client.close()


def latest(collection: Collection[Document]) -> Collection[Document]:
    """The collection, read as the filter of a write reads it: with changes that no majority may have yet."""
    return collection.with_options(read_concern=ReadConcern("local"))


def set_once(field: str, at: datetime) -> list[Document]:
    """The update that sets a time unless it is set already."""
    return [{"$set": {field: {"$ifNull": [f"${field}", at]}}}]


def _duplicate_fields(error: PyMongoError) -> tuple[str, ...]:
    """The fields of the unique index that was violated; empty for any other error."""
    details = error.details if isinstance(error, DuplicateKeyError) else None
    return tuple((details or {}).get("keyPattern", ()))
