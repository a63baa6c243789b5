"""The connections to the SQLite file, its transactions, and what a failure means.

A connection is opened at first use, and one thread at a time uses it. Writes are synced
(``synchronous=FULL``): when a write returns, it is on the disk.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeAlias

from catalog.errors import CatalogUnavailable, OutcomeUnknown, WorkspaceNotFound
from catalog.sqlite.schema import migrate
from catalog.sqlite.search import add_functions
from process_local import ProcessLocal
from sqlite_busy import execute_when_free

# Failures after which SQLite has certainly not committed: the primary result codes of section 3 of
# https://www.sqlite.org/rescode.html. After any other (an I/O error at COMMIT, say) it may have committed.
_NOT_COMMITTED: Final = {
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_NOTADB,
    sqlite3.SQLITE_ERROR,
    sqlite3.SQLITE_CONSTRAINT,
}

#: The error for each constraint that a statement may violate, by the message of SQLite.
Refusals: TypeAlias = Mapping[str, type[Exception]]

#: The error for a row that refers to a workspace that does not exist.
NO_WORKSPACE: Final[Refusals] = {"FOREIGN KEY constraint failed": WorkspaceNotFound}


@dataclass(slots=True, eq=False)
class _Process:
    """What the threads of one process share.

    Attributes:
        file: the device and the inode of the file that is open; None before the first connection.
        idle: the connections that no thread uses at the moment.
        writing: held by the one thread that writes. SQLite's waiting writers poll; the threads of one process
            queue here instead, and only the first of them polls, for other processes.
    """

    file: tuple[int, int] | None = None
    idle: deque[sqlite3.Connection] = field(default_factory=deque)
    writing: threading.Lock = field(default_factory=threading.Lock)


class SQLiteConnections:
    """The connections to one file.

    Args:
        path: the path of the database; the file and its folder are created at first use.
        busy_timeout: how long a write waits for other writers, in seconds.
    """

    def __init__(self, path: Path, *, busy_timeout: float) -> None:
        self._path = Path(os.path.abspath(path))
        self._busy_timeout = busy_timeout
        # A child must neither use nor close a connection that was opened before the fork:
        # https://www.sqlite.org/howtocorrupt.html section 2.7.
        self._processes = ProcessLocal(_Process)

    def _open(self) -> sqlite3.Connection:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(
            self._path, timeout=self._busy_timeout, isolation_level=None, check_same_thread=False
        )
        try:
            connection.row_factory = sqlite3.Row
            execute_when_free(connection, "PRAGMA journal_mode = WAL", self._busy_timeout)
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA foreign_keys = ON")
            add_functions(connection)
            migrate(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    @contextmanager
    def connection(self) -> Iterator[sqlite3.Connection]:
        """A connection that no other thread uses meanwhile. One that failed is closed and not used again."""
        process = self._processes.get()
        self._check_file(process)
        idle = process.idle
        try:
            connection = idle.pop()
        except IndexError:
            connection = self._open()
            process.file = process.file or self._file()
        sound = True
        try:
            yield connection
        except sqlite3.Error as error:
            sound = isinstance(error, sqlite3.IntegrityError)  # it does not affect the connection
            raise
        finally:
            if sound and process.idle is idle:
                idle.append(connection)
            else:
                connection.close()

    def _check_file(self, process: _Process) -> None:
        """Closes the idle connections if the path names another file now, after a restore for example.

        A removed file exists while a process has it open, and what is written to it is lost.

        Raises:
            CatalogUnavailable: the file was removed. No other file is created in its place.
        """
        file = self._file()
        if file == process.file:
            return
        if file is None:
            raise CatalogUnavailable(f"{self._path} is gone")
        process.file, idle, process.idle = file, process.idle, deque()
        while idle:
            idle.pop().close()

    def _file(self) -> tuple[int, int] | None:
        """The device and the inode of the file at the path; None if there is no file."""
        try:
            status = self._path.stat()
        except FileNotFoundError:
            return None
        return status.st_dev, status.st_ino

    @contextmanager
    def read(self) -> Iterator[sqlite3.Connection]:
        """A connection to read with.

        Raises:
            CatalogUnavailable
        """
        try:
            with self.connection() as connection:
                yield connection
        except (sqlite3.Error, OSError) as error:
            raise CatalogUnavailable(str(error)) from error

    @contextmanager
    def snapshot(self) -> Iterator[sqlite3.Connection]:
        """A connection whose reads all see the database as of one moment.

        Raises:
            CatalogUnavailable
        """
        with self.read() as connection:
            connection.execute("BEGIN")
            try:
                yield connection
            finally:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")

    @contextmanager
    def _writing(self, refusals: Refusals) -> Iterator[sqlite3.Connection]:
        """The connection of this process's one writer.

        Its ``busy_timeout`` is 0, because ``execute_when_free`` waits instead. SQLite's busy handler sleeps
        for increasing times, up to a tenth of a second, although a commit takes a millisecond. The disk would
        be idle meanwhile, and the same writer might lose each time.

        Raises:
            CatalogUnavailable: nothing was written.
            OutcomeUnknown: it may have been written.
        """
        writing = self._processes.get().writing
        if not writing.acquire(timeout=self._busy_timeout):
            raise CatalogUnavailable("the database is busy")
        try:
            with self.connection() as connection:
                connection.execute("PRAGMA busy_timeout = 0")
                try:
                    yield connection
                finally:
                    connection.execute(f"PRAGMA busy_timeout = {int(1000 * self._busy_timeout)}")
        except OSError as error:
            raise CatalogUnavailable(str(error)) from error
        except sqlite3.Error as error:
            if refusal := refusals.get(str(error)):
                raise refusal from None
            # The low byte of an extended code is its primary code.
            code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_INTERNAL) & 0xFF
            unavailable = CatalogUnavailable if code in _NOT_COMMITTED else OutcomeUnknown
            raise unavailable(str(error)) from error
        finally:
            writing.release()

    @contextmanager
    def write(self, refusals: Refusals = NO_WORKSPACE) -> Iterator[sqlite3.Connection]:
        """A transaction that commits when the block ends and rolls back when the block raises.

        Args:
            refusals: the catalog's constraints that a statement may violate. The violation of any other is a
                fault of the database: a trigger or an index that someone else has added, for example.

        Raises:
            CatalogUnavailable, OutcomeUnknown: see ``_writing``.
            Exception: the error that ``refusals`` has for the constraint.
        """
        with self._writing(refusals) as connection:
            execute_when_free(connection, "BEGIN IMMEDIATE", self._busy_timeout)
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                # A statement that failed may have ended the transaction itself.
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise

    def write_one(self, statement: str, values: Sequence[object], refusals: Refusals = NO_WORKSPACE) -> int:
        """Executes one statement in its own transaction.

        This delays other writers as briefly as possible: the thread need not acquire the interpreter lock
        between the statement and its commit.

        Returns:
            The number of rows that it changed.

        Raises:
            as ``write`` does.
        """
        with self._writing(refusals) as connection:
            try:
                return execute_when_free(connection, statement, self._busy_timeout, values).rowcount
            except sqlite3.IntegrityError as error:
                # RAISE(FAIL) in a trigger ends the statement and keeps its earlier changes, which are then
                # committed:
                # https://www.sqlite.org/lang_conflict.html
                if connection.execute("SELECT changes()").fetchone()[0]:
                    raise OutcomeUnknown(str(error)) from error
                raise

    def close(self) -> None:
        """Closes the idle connections of this process."""
        idle = self._processes.get().idle
        while idle:
            idle.pop().close()
