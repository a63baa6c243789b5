"""The way to the SQLite file: connections, transactions, and what a failure means.

Each thread has its own connection, made at first use. A write is ``BEGIN IMMEDIATE`` … ``COMMIT``
with ``synchronous=FULL``: when it returns, it is on the disk.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from catalog.errors import CatalogUnavailable, OutcomeUnknown
from catalog.sqlite.schema import migrate
from catalog.sqlite.search import add_functions
from process_local import ProcessLocal

# Failures after which SQLite has certainly not committed: the primary result codes of section 3 of
# https://www.sqlite.org/rescode.html. Any other (an I/O error at COMMIT, say) leaves it open.
_NOT_COMMITTED: Final = {
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_NOTADB,
    sqlite3.SQLITE_ERROR,
}


#: How often a writer tries again while another process writes, in seconds.
_POLL: Final = 0.0005


def _execute_when_free(
    connection: sqlite3.Connection, statement: str, timeout: float, values: Sequence[object] = ()
) -> sqlite3.Cursor:
    """Tries a statement again and again while SQLite says at once that the database is busy."""
    deadline = time.monotonic() + timeout
    while True:
        try:
            return connection.execute(statement, values)
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() >= deadline:
                raise
            time.sleep(_POLL)


@dataclass(slots=True, eq=False)
class _Process:
    """What the threads of one process share.

    Attributes:
        file: the device and the number of the file that the connections are to; None before the first.
        idle: the connections to it that no thread uses at the moment.
        writing: SQLite's waiting writers poll. Those of one process queue here instead, so that they only
            poll for other processes.
    """

    file: tuple[int, int] | None = None
    idle: deque[sqlite3.Connection] = field(default_factory=deque)
    writing: threading.Lock = field(default_factory=threading.Lock)


class SQLiteConnections:
    """The connections to one file, of which each is used by one thread at a time.

    Args:
        path: of the database; the file and its folder are made at first use.
        busy_timeout: how long a write waits for other writers, in seconds.
    """

    def __init__(self, path: Path, *, busy_timeout: float) -> None:
        self._path = Path(os.path.abspath(path))
        self._busy_timeout = busy_timeout
        # A connection must not be used across a fork, nor closed on its other side:
        # https://www.sqlite.org/howtocorrupt.html section 2.7.
        self._processes = ProcessLocal(_Process)

    def _open(self) -> sqlite3.Connection:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(
            self._path, timeout=self._busy_timeout, isolation_level=None, check_same_thread=False
        )
        try:
            connection.row_factory = sqlite3.Row
            # SQLite does not wait here, when others change the mode of a new file just now.
            _execute_when_free(connection, "PRAGMA journal_mode = WAL", self._busy_timeout)
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
        """A connection that no other thread uses meanwhile. One that failed is not used again."""
        process = self._processes.get()
        self._look_at_the_file(process)
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
            sound = isinstance(error, sqlite3.IntegrityError)  # the statement was refused, no more
            raise
        finally:
            if sound and process.idle is idle:
                idle.append(connection)
            else:
                connection.close()

    def _look_at_the_file(self, process: _Process) -> None:
        """Lets go of the connections if the path is another file's now, after a restore, say.

        A file that was removed lives on for who has it open, and what is written to it is lost.

        Raises:
            CatalogUnavailable: the file was there, and is gone. No other one is made in its place.
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
        """The device and the number of the file that is there now, if any."""
        try:
            status = self._path.stat()
        except FileNotFoundError:
            return None
        return status.st_dev, status.st_ino

    @contextmanager
    def read(self) -> Iterator[sqlite3.Connection]:
        try:
            with self.connection() as connection:
                yield connection
        except (sqlite3.Error, OSError) as error:
            raise CatalogUnavailable(str(error)) from error

    @contextmanager
    def snapshot(self) -> Iterator[sqlite3.Connection]:
        """A read whose statements all see the database as of one moment.

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
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """The connection of this process's one writer, and what a failure of a write means.

        Its ``busy_timeout`` is 0, for ``_execute_when_free``: SQLite's own waiting sleeps ever longer, up to
        a tenth of a second, where a commit takes a millisecond. The disk would be idle, and the same writer
        might lose each time.
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
        except sqlite3.IntegrityError:
            raise
        except OSError as error:
            raise CatalogUnavailable(str(error)) from error
        except sqlite3.Error as error:
            # The low byte of an extended code is its primary code.
            code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_INTERNAL) & 0xFF
            unavailable = CatalogUnavailable if code in _NOT_COMMITTED else OutcomeUnknown
            raise unavailable(str(error)) from error
        finally:
            writing.release()

    @contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """A transaction that commits when the block ends and rolls back when it raises."""
        with self._writing() as connection:
            _execute_when_free(connection, "BEGIN IMMEDIATE", self._busy_timeout)
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                # A statement that failed may have ended the transaction itself.
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise

    def write_one(self, statement: str, values: Sequence[object]) -> int:
        """Does one statement, which is a transaction of its own; returns how many rows it found.

        No thread has to get hold of the interpreter again before others may write.
        """
        with self._writing() as connection:
            return _execute_when_free(connection, statement, self._busy_timeout, values).rowcount

    def close(self) -> None:
        idle = self._processes.get().idle
        while idle:
            idle.pop().close()
