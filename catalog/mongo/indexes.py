"""The indexes of the MongoDB catalog: which ones exist, and how the missing ones are built.

A server continues a build after its client has disconnected, and every further request for the same index
waits on the server (SERVER-101507). So no call of the catalog builds an index: one thread per process does,
on a connection without a timeout, one index at a time. Calls succeed meanwhile if the unique indexes exist.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Final, TypeAlias

from pymongo import IndexModel
from pymongo.database import Database
from pymongo.errors import OperationFailure, PyMongoError

from catalog.errors import CatalogUnavailable

#: IndexOptionsConflict and IndexKeySpecsConflict: there is another index of that name, or with those keys.
_CONFLICTS: Final = {85, 86}

# What a build fails with while another process does something with the same collection
# (src/mongo/base/error_codes.yml).
_CONCURRENT: Final = {
    24,  # LockTimeout
    48,  # NamespaceExists: both create the collection
    112,  # WriteConflict
    117,  # ConflictingOperationInProgress
    276,  # IndexBuildAborted
    285,  # IndexBuildAlreadyInProgress
    11602,  # InterruptedDueToReplStateChange
    12587,  # BackgroundOperationInProgressForNamespace
}
#: How often such a build is tried, and the seconds between two tries.
_TRIES: Final = 5
_RETRY_PAUSE: Final = 0.2

#: Seconds after which a build that failed is tried again.
_PAUSE: Final = 30.0

#: How long ``stop`` waits for the end of a build, in seconds.
_MOMENT: Final = 1.0

#: The options by which two indexes with the same keys differ, and their defaults.
_OPTIONS: Final = {
    "unique": False,
    "sparse": False,
    "expireAfterSeconds": None,
    "partialFilterExpression": None,
    "collation": None,
}

#: An index: its collection and its name.
_Key: TypeAlias = tuple[str, str]

log = logging.getLogger(__name__)


class Indexes:
    """What one process knows about the indexes of the catalog.

    Args:
        wanted: the indexes of each collection.
        connect: opens the database on a connection without a timeout.
        finish: updates the records of earlier versions when the indexes are built; yields a sentence for each
            step.
    """

    def __init__(
        self,
        wanted: Mapping[str, Sequence[IndexModel]],
        connect: Callable[[], AbstractContextManager[Database[dict[str, Any]]]],
        finish: Callable[[Database[dict[str, Any]]], Iterator[str]],
    ) -> None:
        self._wanted = {
            (collection, index.document["name"]): index.document
            for collection, indexes in wanted.items()
            for index in indexes
        }
        self._connect = connect
        self._finish = finish
        self._ready: set[_Key] = set()
        self._replaced: set[_Key] = set()  # another unique index, or a hidden one, does the work
        self._conflicts: set[_Key] = set()  # another index has the name
        self._refused: set[_Key] = set()  # the server has refused to build the index beside another one
        self._changed = threading.Condition()
        self._builder: threading.Thread | None = None
        self._looked = self._building = False
        self._changes = 0  # how often what is known has changed
        self._finished = self._updated = False
        self._told: set[_Key] = set()
        self._not_before = 0.0
        self._reason = ""  # why the last build has failed
        self._stopped = False

    def has(self, collection: str, name: str) -> bool:
        """Whether an index exists, so that a query may name it as its hint."""
        return (collection, name) in self._ready

    @property
    def updated(self) -> bool:
        """Whether the records of earlier versions are updated."""
        return self._updated

    @property
    def finished(self) -> bool:
        """Whether all indexes exist and the records of earlier versions are updated."""
        return self._finished

    def require(self, database: Database[dict[str, Any]], timeout: float) -> None:
        """Returns if the unique indexes exist; starts to build the missing indexes.

        A unique index is waited for while it is built, but not if it is in conflict or its build has failed.

        Args:
            database: the database whose indexes are listed at the first call.
            timeout: how long to wait for the unique indexes, in seconds.

        Raises:
            CatalogUnavailable: a unique index is being built, could not be built, or is in conflict.
            PyMongoError: the database can't be read.
        """
        if self._finished:
            return
        if not self._looked:
            self.look(database)
        if not self._finished:
            self._start()
        with self._changed:
            self._changed.wait_for(lambda: not self._may_become_ready(), timeout)
            missing = self._missing_unique()
            if not missing:
                return
            for key in missing:
                if self._is_in_conflict(key):
                    raise CatalogUnavailable(_conflict(key))
            state = "is being built" if self._building else f"could not be built: {self._reason}"
        collection, name = missing[0]
        raise CatalogUnavailable(f"the index {name} of {collection} {state}")

    def forget(self) -> None:
        """Makes the next call list the indexes again: one was dropped, perhaps with its collection."""
        with self._changed:
            self._looked = self._finished = False
            self._ready.clear()
            self._replaced.clear()
            self._not_before = 0.0
            self._changes += 1

    def stop(self) -> None:
        """Ends the builder thread when its current index is built; waits up to ``_MOMENT`` for the thread."""
        self._stopped = True
        if self._builder is not None:
            self._builder.join(_MOMENT)

    def look(self, database: Database[dict[str, Any]]) -> None:
        """Finds out which indexes exist, unless another thread finds it out or builds one meanwhile.

        A list that is older than that could hide an index that exists by now, after its build has ended.

        Raises:
            PyMongoError
        """
        seen = self._changes
        found: dict[str, list[dict[str, Any]]] = {}
        for collection in {collection for collection, _ in self._wanted}:
            found[collection] = [dict(index) for index in database[collection].list_indexes()]
        ready: set[_Key] = set()
        replaced: set[_Key] = set()
        conflicts: set[_Key] = set()
        for key, wanted in self._wanted.items():
            for index in found[key[0]]:
                has_name, is_hidden = index["name"] == key[1], bool(index.get("hidden"))
                is_equivalent = _is_equivalent(index, wanted)
                if is_equivalent and has_name and not is_hidden:
                    ready.add(key)
                elif is_equivalent and wanted.get("unique"):
                    replaced.add(key)
                if has_name and key not in ready:
                    conflicts.add(key)
        with self._changed:
            if self._changes != seen:
                return
            self._changes += 1
            self._looked = True
            self._ready, self._replaced, self._conflicts = ready, replaced, conflicts
            self._refused -= ready | replaced
            self._told &= conflicts | self._refused
            self._tell_conflicts()
            self._changed.notify_all()

    def prepare(self, database: Database[dict[str, Any]]) -> Iterator[str]:
        """Builds the missing indexes one by one, then finishes; yields a sentence for each step.

        Args:
            database: on a connection without a timeout.

        Raises:
            PyMongoError
        """
        self.look(database)
        replicated = is_replicated(database)
        for key in sorted(self._wanted, key=lambda key: not self._wanted[key].get("unique")):
            if key in self._ready | self._replaced | self._conflicts:
                continue
            collection, name = key
            # By default a build waits for every member that votes, also for one that is down (SERVER-65670).
            options: dict[str, Any] = {"commitQuorum": "majority"} if replicated else {}
            try:
                self._build_one(database, key, options)
            except OperationFailure as error:
                if error.code not in _CONFLICTS:
                    raise
                with self._changed:
                    self._refused.add(key)
                    self._tell_conflicts()
                    self._changed.notify_all()
                continue
            with self._changed:
                self._ready.add(key)
                self._refused.discard(key)
                self._changes += 1
                self._changed.notify_all()
            yield f"built the index {name} of {collection}"
        yield from map(_conflict, sorted(self._conflicts | self._refused))
        yield from self._finish(database)
        self._updated = True
        self._finished = not self._missing() and not self._conflicts

    def _build_one(self, database: Database[dict[str, Any]], key: _Key, options: Mapping[str, Any]) -> None:
        """Builds an index unless another process has built it meanwhile. Raises PyMongoError."""
        for tries_left in reversed(range(_TRIES)):
            try:
                database[key[0]].create_indexes([_model(self._wanted[key])], **options)
            except OperationFailure as error:
                if error.code not in _CONCURRENT or not tries_left:
                    raise
                time.sleep(_RETRY_PAUSE)
                self.look(database)
                if key in self._ready | self._replaced:
                    return
            else:
                return

    def _missing(self) -> list[_Key]:
        return [key for key in self._wanted if key not in self._ready | self._replaced]

    def _missing_unique(self) -> list[_Key]:
        return [key for key in self._missing() if self._wanted[key].get("unique")]

    def _is_in_conflict(self, key: _Key) -> bool:
        return key in self._conflicts or key in self._refused

    def _may_become_ready(self) -> bool:
        """Whether unique indexes are missing, and the builder may build all of them."""
        missing = self._missing_unique()
        return bool(missing) and self._building and not any(map(self._is_in_conflict, missing))

    def _tell_conflicts(self) -> None:
        """Logs the conflicts that are new."""
        for key in sorted((self._conflicts | self._refused) - self._told):
            log.error("%s", _conflict(key))
            self._told.add(key)

    def _start(self) -> None:
        """Starts the builder thread, unless it is running or ended less than ``_PAUSE`` ago."""
        with self._changed:
            if time.monotonic() < self._not_before or self._building:
                return
            self._builder = threading.Thread(target=self._build, name="index-builder", daemon=True)
            self._builder.start()
            self._building = True

    def _build(self) -> None:
        try:
            with self._connect() as database:
                for step in self.prepare(database):
                    if step not in map(_conflict, self._wanted):  # a conflict is logged once, as an error
                        log.info("%s", step)
                    if self._stopped:
                        return
        except PyMongoError as error:
            self._reason = str(error).partition(", full error")[0]
            log.warning("the indexes could not be built: %s", self._reason)
        except CatalogUnavailable as error:
            self._reason = str(error)
            log.warning("the records of earlier versions could not be updated: %s", error)
        finally:
            with self._changed:
                self._building = False
                # Also after a success: otherwise an index in conflict would make every request start a build.
                self._not_before = time.monotonic() + _PAUSE
                self._changed.notify_all()


def is_replicated(database: Database[dict[str, Any]]) -> bool:
    """Whether there are several servers: a replica set or a sharded cluster. Raises PyMongoError."""
    hello = database.command("hello")
    return "setName" in hello or hello.get("msg") == "isdbgrid"


def _is_equivalent(index: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    """Whether an index has the keys and the options that are wanted; its name may be another one."""
    return list(index["key"].items()) == list(wanted["key"].items()) and all(
        index.get(name, default) == wanted.get(name, default) for name, default in _OPTIONS.items()
    )


def _conflict(key: _Key) -> str:
    """The sentence about an index in whose place there is another one."""
    collection, name = key
    return (
        f"another index is in the place of {name} of {collection}: drop it, "
        "then run 'flask --app wsgi catalog prepare'"
    )


def _model(wanted: Mapping[str, Any]) -> IndexModel:
    options = {name: value for name, value in wanted.items() if name != "key"}
    return IndexModel(list(wanted["key"].items()), **options)
