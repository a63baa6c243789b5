"""The catalog in a SQLite file in WAL mode, which the threads and processes of one machine share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from catalog.sqlite.connection import SQLiteConnections
from catalog.sqlite.daily_usage import SQLiteDailyUsage
from catalog.sqlite.expiry import SQLiteExpiry
from catalog.sqlite.idempotency import SQLiteIdempotencyKeys
from catalog.sqlite.identity import SQLiteIdentities
from catalog.sqlite.products import SQLiteProducts
from catalog.sqlite.purges import SQLitePurges
from catalog.sqlite.quotas import SQLiteQuotas
from catalog.sqlite.removal import SQLiteRemoval

#: How long a write waits for the writes of its process, and then for those of other processes, in seconds.
#: The sum of both is below the 10 s within which a request is answered during an outage.
BUSY_TIMEOUT: Final = 4.0


class SQLiteCatalog(
    SQLiteProducts,
    SQLiteIdentities,
    SQLiteRemoval,
    SQLiteQuotas,
    SQLiteDailyUsage,
    SQLiteIdempotencyKeys,
    SQLiteExpiry,
    SQLitePurges,
):
    """A catalog in the SQLite file at ``path``; the file and its folder are created at first use.

    Args:
        path: the path of the database.
        busy_timeout: how long a write waits for other writers, in seconds.
    """

    def __init__(self, path: Path, *, busy_timeout: float = BUSY_TIMEOUT) -> None:
        self._file = SQLiteConnections(path, busy_timeout=busy_timeout)

    def prepare(self) -> Iterator[str]:
        with self._file.read() as connection:
            (version,) = connection.execute("PRAGMA user_version").fetchone()
        yield f"the schema has version {version}"

    def close(self) -> None:
        self._file.close()

    def check(self) -> None:
        with self._file.read() as connection:
            connection.execute("SELECT 1 FROM workspaces LIMIT 1").fetchone()
