"""The Idempotency-Keys of the SQLite catalog."""

from __future__ import annotations

import json
import sqlite3
from datetime import datetime

from catalog.base import MAX_LIVE_KEYS, IdempotencyClaim, StoredAnswer
from catalog.errors import IdempotencyKeysUsedUp
from catalog.sqlite.connection import SQLiteConnections
from catalog.sqlite.expiry import FEW, remove_expired_keys
from catalog.sqlite.records import from_ms, to_ms


def _claim_of(row: sqlite3.Row) -> IdempotencyClaim:
    running = row["status"] is None
    return IdempotencyClaim(
        workspace_id=row["workspace_id"],
        key=row["key"],
        fingerprint=row["fingerprint"],
        token=row["token"],
        lease_until=from_ms(row["lease_until"]),
        expires_at=from_ms(row["expires_at"]),
        answer=None if running else StoredAnswer(row["status"], json.loads(row["headers"]), row["body"]),
    )


def _standing(
    connection: sqlite3.Connection, claim: IdempotencyClaim, at: datetime
) -> IdempotencyClaim | None:
    """The claim that has the key, if it has not expired."""
    row = connection.execute(
        "SELECT * FROM idempotency_keys WHERE workspace_id = ? AND key = ? AND expires_at > ?",
        (claim.workspace_id, claim.key, to_ms(at)),
    ).fetchone()
    return None if row is None else _claim_of(row)


def _gives_way(standing: IdempotencyClaim, claim: IdempotencyClaim, at: datetime) -> bool:
    """Whether the claim that has the key is replaced: its request died, and this one is the same."""
    is_dead = standing.answer is None and standing.lease_until <= at
    return is_dead and standing.fingerprint == claim.fingerprint


def _require_room(connection: sqlite3.Connection, workspace_id: str, at: datetime) -> None:
    """Raises IdempotencyKeysUsedUp if the workspace has ``MAX_LIVE_KEYS`` live keys."""
    live = "SELECT 1 FROM idempotency_keys WHERE workspace_id = ? AND expires_at > ? LIMIT ?"
    (count,) = connection.execute(
        f"SELECT count(*) FROM ({live})",  # noqa: S608  # our own words
        (workspace_id, to_ms(at), MAX_LIVE_KEYS),
    ).fetchone()
    if count >= MAX_LIVE_KEYS:
        raise IdempotencyKeysUsedUp


class SQLiteIdempotencyKeys:
    """See Catalog."""

    _file: SQLiteConnections

    def claim_idempotency_key(self, claim: IdempotencyClaim, at: datetime) -> IdempotencyClaim | None:
        # Most repetitions end here: requests that wait for an answer ask many times a second, and would keep
        # other writers waiting.
        with self._file.read() as connection:
            standing = _standing(connection, claim, at)
        if standing is not None and not _gives_way(standing, claim, at):
            return standing
        with self._file.write() as connection:
            remove_expired_keys(connection, at, FEW)
            standing = _standing(connection, claim, at)
            if standing is None:
                _require_room(connection, claim.workspace_id, at)
            elif not _gives_way(standing, claim, at):
                return standing
            connection.execute(
                "INSERT OR REPLACE INTO idempotency_keys"
                " (workspace_id, key, fingerprint, token, lease_until, expires_at) VALUES (?, ?, ?, ?, ?, ?)",
                (
                    claim.workspace_id,
                    claim.key,
                    claim.fingerprint,
                    claim.token,
                    to_ms(claim.lease_until),
                    to_ms(claim.expires_at),
                ),
            )
            return None

    def complete_idempotency_key(self, claim: IdempotencyClaim, answer: StoredAnswer) -> None:
        with self._file.write() as connection:
            connection.execute(
                "UPDATE idempotency_keys SET status = ?, headers = ?, body = ?"
                " WHERE workspace_id = ? AND key = ? AND token = ?",
                (
                    answer.status,
                    json.dumps(dict(answer.headers)),
                    answer.body,
                    claim.workspace_id,
                    claim.key,
                    claim.token,
                ),
            )

    def release_idempotency_key(self, claim: IdempotencyClaim) -> None:
        with self._file.write() as connection:
            connection.execute(
                "DELETE FROM idempotency_keys"
                " WHERE workspace_id = ? AND key = ? AND token = ? AND status IS NULL",
                (claim.workspace_id, claim.key, claim.token),
            )
