"""The queue of the CDN's purges in the SQLite catalog."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from catalog.purges import Backlog, Purge
from catalog.sqlite.connection import SQLiteConnections
from catalog.sqlite.records import from_ms, to_ms


class SQLitePurges:
    """See PurgeQueue."""

    _file: SQLiteConnections

    def add_purge(self, purge: Purge) -> None:
        row = (purge.url, to_ms(purge.queued_at), to_ms(purge.due_at), purge.attempts)
        self._file.write_one("INSERT OR REPLACE INTO purges VALUES (?, ?, ?, ?)", row)

    def due_purges(self, at: datetime, limit: int) -> Sequence[Purge]:
        with self._file.read() as connection:
            rows = connection.execute(
                "SELECT url, queued_at, due_at, attempts FROM purges"
                " WHERE due_at <= ? ORDER BY due_at LIMIT ?",
                (to_ms(at), limit),
            ).fetchall()
        return [Purge(url, from_ms(queued), from_ms(due), attempts) for url, queued, due, attempts in rows]

    def finish_purges(self, purges: Sequence[Purge]) -> None:
        keys = [(purge.url, to_ms(purge.queued_at)) for purge in purges]
        with self._file.write() as connection:
            connection.executemany("DELETE FROM purges WHERE url = ? AND queued_at = ?", keys)

    def postpone_purges(self, purges: Sequence[Purge], due_at: datetime) -> None:
        values = [(to_ms(due_at), purge.url, to_ms(purge.queued_at)) for purge in purges]
        with self._file.write() as connection:
            connection.executemany(
                "UPDATE purges SET due_at = ?, attempts = attempts + 1 WHERE url = ? AND queued_at = ?",
                values,
            )

    def purge_backlog(self) -> Backlog:
        with self._file.read() as connection:
            length, oldest = connection.execute("SELECT count(*), min(queued_at) FROM purges").fetchone()
        return Backlog(length, None if oldest is None else from_ms(oldest))

    def lease_purges(self, holder: str, at: datetime, until: datetime) -> bool:
        statement = (
            "INSERT INTO leases VALUES ('purges', ?, ?) ON CONFLICT (name) DO UPDATE"
            " SET holder = excluded.holder, ends_at = excluded.ends_at"
            " WHERE leases.holder = excluded.holder OR leases.ends_at <= ?"
        )
        return self._file.write_one(statement, (holder, to_ms(until), to_ms(at))) > 0
