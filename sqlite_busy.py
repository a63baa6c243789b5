"""Waiting for a SQLite database that another connection is using."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Sequence
from typing import Final

#: Seconds between two attempts. A commit takes about a millisecond.
_POLL: Final = 0.0005


def execute_when_free(
    connection: sqlite3.Connection, statement: str, timeout: float, values: Sequence[object] = ()
) -> sqlite3.Cursor:
    """Executes a statement, and repeats it while SQLite reports immediately that the database is busy.

    SQLite reports this without waiting while another connection changes the journal mode, whatever the
    ``busy_timeout``, and for every lock if the ``busy_timeout`` is 0.

    Args:
        connection: a connection in autocommit mode, or in a transaction that the statement ends.
        statement: one statement of SQL.
        timeout: how long to try, in seconds.
        values: the statement's parameters.

    Raises:
        sqlite3.OperationalError: the database is still busy, or the statement failed otherwise.
    """
    deadline = time.monotonic() + timeout
    while True:
        try:
            return connection.execute(statement, values)
        except sqlite3.OperationalError as error:
            # The low byte of an extended code is its primary code: https://www.sqlite.org/rescode.html
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() >= deadline:
                raise
            time.sleep(_POLL)
