"""The removal of what has expired, in the SQLite catalog."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from itertools import accumulate
from typing import Final

from catalog.daily_usage import DAYS_KEPT_FOR
from catalog.expiry import FORGOTTEN_AT_ONCE, REMEMBERED
from catalog.identity import EXPIRED_KEPT_FOR, UNUSED_CLIENTS_KEPT_FOR, CredentialKind
from catalog.sqlite.connection import SQLiteConnections
from catalog.sqlite.records import to_ms

#: How many expired records of a kind a transaction removes when it adds a record of that kind.
FEW: Final = 10

#: The most bytes of answers to Idempotency-Keys that a transaction removes, if it removes more than one.
_MOST_BYTES: Final = 1_000_000


class SQLiteExpiry:
    """See Catalog."""

    _file: SQLiteConnections
    remove_unused_clients: Callable[[datetime, int], int]

    def remove_expired(self, at: datetime, limit: int) -> Mapping[str, int]:
        removed = {}
        # A transaction for each kind, so that each is short.
        with self._file.write() as connection:
            removed["idempotencyKeys"] = remove_expired_keys(connection, at, limit)
        with self._file.write() as connection:
            removed["apiKeys"] = _remove_credentials(
                connection, [CredentialKind.API_KEY], at - EXPIRED_KEPT_FOR, limit
            )
        with self._file.write() as connection:
            removed["credentials"] = remove_expired_credentials(connection, at, limit)
        with self._file.write() as connection:
            removed["grants"] = remove_expired_grants(connection, at, limit)
        with self._file.write() as connection:
            removed["usageDays"] = connection.execute(
                "DELETE FROM usage_days WHERE (workspace_id, day) IN"
                " (SELECT workspace_id, day FROM usage_days WHERE day <= ? LIMIT ?)",
                (to_ms(at - DAYS_KEPT_FOR), limit),
            ).rowcount
        removed["unusedClients"] = self.remove_unused_clients(at - UNUSED_CLIENTS_KEPT_FOR, limit)
        return removed


def remove_expired_keys(connection: sqlite3.Connection, at: datetime, limit: int) -> int:
    """Removes up to ``limit`` expired Idempotency-Keys; returns how many.

    There are fewer if their answers are large.
    """
    expired = connection.execute(
        "SELECT rowid, coalesce(length(body), 0) FROM idempotency_keys"
        " WHERE expires_at <= ? ORDER BY expires_at LIMIT ?",
        (to_ms(at), limit),
    ).fetchall()
    totals = accumulate(size for _, size in expired)
    removed = [
        (rowid,)
        for number, ((rowid, _), total) in enumerate(zip(expired, totals, strict=True))
        if number == 0 or total <= _MOST_BYTES
    ]
    connection.executemany("DELETE FROM idempotency_keys WHERE rowid = ?", removed)
    return len(removed)


def remove_expired_credentials(connection: sqlite3.Connection, at: datetime, limit: int) -> int:
    """Removes up to ``limit`` expired credentials that are not API keys; returns how many."""
    removed = _remove_credentials(connection, FORGOTTEN_AT_ONCE, at, limit)
    return removed + _remove_credentials(connection, REMEMBERED, at - EXPIRED_KEPT_FOR, limit - removed)


def _remove_credentials(
    connection: sqlite3.Connection, kinds: Sequence[CredentialKind], end: datetime, limit: int
) -> int:
    removed = 0
    for kind in kinds:
        expired = (kind.value, to_ms(end))
        removed += _remove(
            connection, "credentials", "kind = ? AND expires_at <= ?", expired, limit - removed
        )
    return removed


def remove_expired_grants(connection: sqlite3.Connection, at: datetime, limit: int) -> int:
    """Removes up to ``limit`` expired grants; returns how many."""
    return _remove(connection, "grants", "expires_at <= ?", (to_ms(at - EXPIRED_KEPT_FOR),), limit)


def _remove(
    connection: sqlite3.Connection, table: str, condition: str, values: Sequence[object], limit: int
) -> int:
    delete = (
        f"DELETE FROM {table} WHERE rowid IN"  # noqa: S608  # our own names
        f" (SELECT rowid FROM {table} WHERE {condition} ORDER BY expires_at LIMIT ?)"
    )
    return connection.execute(delete, (*values, limit)).rowcount
