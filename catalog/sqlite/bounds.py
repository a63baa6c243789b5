"""The bounds on what one owner has, in the SQLite catalog: ``catalog/bounds.py``."""

from __future__ import annotations

import sqlite3
from datetime import datetime
from typing import Final

from catalog.bounds import (
    LiveGrant,
    bound_of,
    grants_to_revoke,
    has_too_many_apps,
    has_too_many_users,
    surplus_of_grants,
)
from catalog.errors import AppLimitReached, ClientLimitReached, CredentialLimitReached, UserLimitReached
from catalog.identity import Credential, Grant
from catalog.sqlite.records import USER, to_ms

_LIVE: Final = "(revoked_at IS NULL AND (expires_at IS NULL OR expires_at > :at))"

_GIVES_ACCESS: Final = "(revoked_at IS NULL AND expires_at > :at AND created_at >= :since)"
_OTHERS: Final = "FROM grants WHERE user_id = :user AND id <> :id AND"
_LIVE_GRANTS: Final = f"SELECT id, client_id {_OTHERS} {_GIVES_ACCESS} ORDER BY created_at, rowid"
_ENDED_GRANTS: Final = f"SELECT id {_OTHERS} NOT {_GIVES_ACCESS} ORDER BY created_at, rowid LIMIT :surplus"

#: The most surplus credentials that one transaction removes.
_MOST_REMOVED: Final = 100


def bound_credentials(connection: sqlite3.Connection, added: Credential, at: datetime) -> None:
    """Applies the bound of its kind to a credential that the transaction has added.

    Raises:
        CredentialLimitReached
    """
    found = bound_of(added)
    if found is None:
        return
    bound, owner = found
    values = {
        "owner": owner,
        "kind": added.kind.value,
        "at": to_ms(at),
        "most": bound.most,
        "removed": _MOST_REMOVED,
    }
    of_owner = f"FROM credentials WHERE {bound.owner} = :owner AND kind = :kind"
    if bound.refuses:
        one_too_many = f"SELECT 1 {of_owner} AND {_LIVE} LIMIT 1 OFFSET :most"
        if connection.execute(one_too_many, values).fetchone():
            raise CredentialLimitReached
    kept_first = f"{_LIVE} DESC, created_at DESC, rowid DESC"
    surplus = f"SELECT rowid {of_owner} ORDER BY {kept_first} LIMIT :removed OFFSET :most"
    connection.execute(f"DELETE FROM credentials WHERE rowid IN ({surplus})", values)  # noqa: S608  # our own SQL


def bound_users(connection: sqlite3.Connection, workspace_id: str) -> None:
    """Raises UserLimitReached if a workspace has more users than it can have."""
    count_users = "SELECT count(*) FROM users WHERE workspace_id = ?"
    (count,) = connection.execute(count_users, (workspace_id,)).fetchone()
    if has_too_many_users(count):
        raise UserLimitReached


def bound_clients(connection: sqlite3.Connection, workspace_id: str | None, most: int | None) -> None:
    """Raises ClientLimitReached if a workspace has more than ``most`` clients; None: those without one."""
    one_too_many = "SELECT 1 FROM clients WHERE workspace_id IS ? LIMIT 1 OFFSET ?"
    if most is not None and connection.execute(one_too_many, (workspace_id, most)).fetchone():
        raise ClientLimitReached


def bound_grants(connection: sqlite3.Connection, added: Grant, at: datetime) -> None:
    """Applies the bounds to a grant that the transaction has added.

    Raises:
        AppLimitReached
    """
    for row in connection.execute("SELECT * FROM users WHERE id = ?", (added.user_id,)):
        since = to_ms(USER.decode(row).admits_since)
        values = {"id": added.id, "user": added.user_id, "at": to_ms(at), "since": since}
        live = [LiveGrant(*row) for row in connection.execute(_LIVE_GRANTS, values)]
        if has_too_many_apps(live, added.client_id):
            raise AppLimitReached
        revoked = [(to_ms(at), grant_id) for grant_id in grants_to_revoke(live, added.client_id)]
        connection.executemany("UPDATE grants SET revoked_at = ? WHERE id = ?", revoked)
        (count,) = connection.execute("SELECT count(*) FROM grants WHERE user_id = :user", values).fetchone()
        surplus = {**values, "surplus": surplus_of_grants(count)}
        ended = connection.execute(_ENDED_GRANTS, surplus).fetchall()
        connection.executemany("DELETE FROM credentials WHERE grant_id = ?", ended)
        connection.executemany("DELETE FROM grants WHERE id = ?", ended)
