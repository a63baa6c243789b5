"""The days of each workspace in the SQLite catalog. A day is kept as its first millisecond."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from datetime import UTC, date, datetime, time
from typing import Final

from catalog.daily_usage import Totals, UsageDay
from catalog.identity import Usage
from catalog.sqlite.connection import SQLiteConnections
from catalog.sqlite.records import from_ms, to_ms

_ADD: Final = """
    INSERT INTO usage_days (workspace_id, day, writes, products, images, bytes) VALUES (?, ?, ?, ?, ?, ?)
    ON CONFLICT (workspace_id, day) DO UPDATE SET
        writes = writes + excluded.writes,
        products = coalesce(excluded.products, products),
        images = coalesce(excluded.images, images),
        bytes = coalesce(excluded.bytes, bytes)
"""


class SQLiteDailyUsage:
    """See DailyUsage."""

    _file: SQLiteConnections

    def add_usage_days(self, days: Sequence[UsageDay]) -> None:
        with self._file.write() as connection:
            connection.executemany(_ADD, [_row(day) for day in days])

    def list_usage_days(self, workspace_id: str) -> list[UsageDay]:
        select = "SELECT * FROM usage_days WHERE workspace_id = ? ORDER BY day"
        with self._file.read() as connection:
            return [_day(row) for row in connection.execute(select, (workspace_id,))]

    def count_totals(self) -> Totals:
        with self._file.snapshot() as connection:
            (workspaces,) = connection.execute("SELECT count(*) FROM workspaces").fetchone()
            used = connection.execute(
                "SELECT coalesce(sum(products), 0), coalesce(sum(images), 0), coalesce(sum(bytes), 0)"
                " FROM workspace_usage"
            ).fetchone()
        return Totals(workspaces, Usage(products=used[0], images=used[1], bytes=used[2]))


def start_of(day: date) -> int:
    """A day as a column keeps it."""
    return to_ms(datetime.combine(day, time(), UTC))


def _row(day: UsageDay) -> tuple[str | int | None, ...]:
    counted = (None,) * 3 if day.usage is None else (day.usage.products, day.usage.images, day.usage.bytes)
    return (day.workspace_id, start_of(day.day), day.writes, *counted)


def _day(row: sqlite3.Row) -> UsageDay:
    usage = None
    if row["products"] is not None:
        usage = Usage(products=row["products"], images=row["images"], bytes=row["bytes"])
    return UsageDay(
        workspace_id=row["workspace_id"],
        day=from_ms(row["day"]).date(),
        writes=row["writes"],
        usage=usage,
    )
