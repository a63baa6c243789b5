"""Counters in a SQLite file, for ``limits``, which the processes of one machine share.

The file is separate from the catalog's, so counting never waits for the catalog. It is not synced: after a
power failure a count may restart at zero, which does no harm.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Final

from limits.storage import Storage

from errors import Unavailable
from sqlite_busy import execute_when_free

_TIMEOUT = 1.0  # seconds

#: How many expired counts a new one removes: few, so that no request is slow, but more than one, so that a
#: flood of new counts can't outrun the removal.
_FEW: Final = 10

_REMOVE_EXPIRED: Final = (
    "DELETE FROM counters WHERE rowid IN"
    " (SELECT rowid FROM counters WHERE expires_at <= ? ORDER BY expires_at LIMIT ?)"
)


class CountsUnavailable(Unavailable):
    """The file of the counts can't be used. The message is for the operator."""


class SQLiteCounters(Storage):
    """A ``limits`` storage at ``sqlite:///<path>``.

    Each call opens its own connection: counting is rare, and a connection can't be used after a fork.
    """

    STORAGE_SCHEME = ["sqlite"]  # noqa: RUF012  # as the base class declares it

    def __init__(self, uri: str, wrap_exceptions: bool = False, **options: float | str | bool) -> None:  # noqa: FBT001, FBT002  # the base class's signature
        super().__init__(uri, wrap_exceptions, **options)
        self._path = Path(uri.removeprefix("sqlite:///"))

    @property
    def base_exceptions(self) -> tuple[type[Exception], ...]:
        """What its methods raise when the file can't be used."""
        return (sqlite3.Error, OSError)

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with closing(sqlite3.connect(self._path, timeout=_TIMEOUT, isolation_level=None)) as connection:
            execute_when_free(connection, "PRAGMA journal_mode = WAL", _TIMEOUT)
            connection.execute("PRAGMA synchronous = OFF")
            connection.execute(
                "CREATE TABLE IF NOT EXISTS counters"
                " (key TEXT PRIMARY KEY, value INTEGER NOT NULL, expires_at REAL NOT NULL) STRICT"
            )
            connection.execute("CREATE INDEX IF NOT EXISTS counters_by_expiry ON counters (expires_at)")
            yield connection

    def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        """Adds to the count, or starts a new one if it has expired; returns the count.

        The amount may be negative, as in the other storages of ``limits``.
        """
        now = time.time()
        with self._connection() as connection:
            ((value,),) = connection.execute(
                "INSERT INTO counters VALUES (:key, :amount, :end) ON CONFLICT (key) DO UPDATE SET"
                " value = CASE WHEN expires_at <= :now THEN 0 ELSE value END + :amount,"
                " expires_at = CASE WHEN expires_at <= :now THEN :end ELSE expires_at END"
                " RETURNING value",
                {"key": key, "amount": amount, "end": now + expiry, "now": now},
            ).fetchall()
            if value == amount:
                with suppress(sqlite3.OperationalError):  # the hit is counted; a later one removes them
                    connection.execute(_REMOVE_EXPIRED, (now, _FEW))
        return int(value)

    def remove_expired(self, at: datetime, limit: int) -> Mapping[str, int]:
        """Removes up to ``limit`` expired ``counts``; returns how many.

        Raises:
            CountsUnavailable
        """
        try:
            with self._connection() as connection:
                return {"counts": connection.execute(_REMOVE_EXPIRED, (at.timestamp(), limit)).rowcount}
        except self.base_exceptions as error:
            raise CountsUnavailable(str(error)) from error

    def _read(self, key: str) -> tuple[int, float]:
        now = time.time()
        with self._connection() as connection:
            row = connection.execute(
                "SELECT value, expires_at FROM counters WHERE key = ? AND expires_at > ?", (key, now)
            ).fetchone()
        return (row[0], row[1]) if row else (0, now)

    def get(self, key: str) -> int:
        """The count; 0 if it has expired."""
        return self._read(key)[0]

    def get_expiry(self, key: str) -> float:
        """When the count expires, in seconds since 1970."""
        return self._read(key)[1]

    def check(self) -> bool:
        """Whether the file can be used."""
        try:
            self.get("")
        except self.base_exceptions:
            return False
        return True

    def reset(self) -> int | None:
        """Deletes all counts."""
        with self._connection() as connection:
            return connection.execute("DELETE FROM counters").rowcount

    def clear(self, key: str) -> None:
        """Deletes one count."""
        with self._connection() as connection:
            connection.execute("DELETE FROM counters WHERE key = ?", (key,))
