"""The identities of the SQLite catalog: workspaces, users, OAuth clients, grants and credentials."""

from __future__ import annotations

import json
import sqlite3
from datetime import datetime
from typing import Final

from catalog.errors import (
    ClientNotFound,
    CredentialNotFound,
    DuplicateCredential,
    DuplicateEmail,
    LastAdmin,
    UserNotFound,
    WorkspaceNotFound,
)
from catalog.identity import (
    LINKS,
    Credential,
    CredentialKind,
    Grant,
    OAuthClient,
    Plan,
    Role,
    User,
    Workspace,
)
from catalog.ids import now
from catalog.sqlite.bounds import bound_clients, bound_credentials, bound_grants, bound_users
from catalog.sqlite.connection import NO_WORKSPACE, Refusals, SQLiteConnections
from catalog.sqlite.expiry import FEW, remove_expired_credentials, remove_expired_grants
from catalog.sqlite.records import CLIENT, CREDENTIAL, GRANT, USER, WORKSPACE, insert, to_ms

_USER_REFUSALS: Final[Refusals] = {**NO_WORKSPACE, "UNIQUE constraint failed: users.email": DuplicateEmail}
_CREDENTIAL_REFUSALS: Final[Refusals] = {
    **NO_WORKSPACE,
    "UNIQUE constraint failed: credentials.digest": DuplicateCredential,
}


#: Whether the row of ``users`` is the only active admin of its workspace.
_LAST_ADMIN: Final = """(
    role = 'admin' AND disabled_at IS NULL AND NOT EXISTS (
        SELECT 1 FROM users AS other
        WHERE other.workspace_id = users.workspace_id AND other.id <> users.id
            AND other.role = 'admin' AND other.disabled_at IS NULL
    )
)"""

#: Whether the row of ``clients`` has no live grant. The parameter is the time.
_UNUSED: Final = """NOT EXISTS (
    SELECT 1 FROM grants WHERE client_id = clients.id AND revoked_at IS NULL AND expires_at > ?
)"""

_GRANTS_OF_USER: Final = "SELECT * FROM grants WHERE user_id = ? ORDER BY created_at, rowid"
_REVOKE_GRANT: Final = "UPDATE grants SET revoked_at = coalesce(revoked_at, ?) WHERE id = ?"


class SQLiteIdentities:
    """See Identities."""

    _file: SQLiteConnections

    def _rows(self, select: str, *values: str | bytes | int | None) -> list[sqlite3.Row]:
        with self._file.read() as connection:
            return connection.execute(select, values).fetchall()

    def _execute(self, statement: str, *values: str | bytes | int | None) -> int:
        """Executes one write; returns the number of rows that it changed."""
        return self._file.write_one(statement, values)

    # --- workspaces and users

    def create_workspace(self, workspace: Workspace) -> None:
        with self._file.write() as connection:
            insert(connection, "workspaces", WORKSPACE.encode(workspace))

    def get_workspace(self, workspace_id: str) -> Workspace:
        for row in self._rows("SELECT * FROM workspaces WHERE id = ?", workspace_id):
            return WORKSPACE.decode(row)
        raise WorkspaceNotFound

    def list_workspaces(self) -> list[Workspace]:
        rows = self._rows("SELECT * FROM workspaces ORDER BY created_at, rowid")
        return [WORKSPACE.decode(row) for row in rows]

    def set_plan(self, workspace_id: str, plan: Plan) -> None:
        if not self._execute("UPDATE workspaces SET plan = ? WHERE id = ?", plan, workspace_id):
            raise WorkspaceNotFound

    def create_user(self, user: User) -> None:
        with self._file.write(_USER_REFUSALS) as connection:
            insert(connection, "users", USER.encode(user))
            bound_users(connection, user.workspace_id)

    def get_user(self, user_id: str) -> User:
        for row in self._rows("SELECT * FROM users WHERE id = ?", user_id):
            return USER.decode(row)
        raise UserNotFound

    def find_user(self, email: str) -> User | None:
        for row in self._rows("SELECT * FROM users WHERE email = ?", email):
            return USER.decode(row)
        return None

    def list_users(self, workspace_id: str | None = None) -> list[User]:
        rows = self._rows(
            "SELECT * FROM users WHERE ? IS NULL OR workspace_id = ? ORDER BY created_at, rowid",
            *(workspace_id, workspace_id),
        )
        return [USER.decode(row) for row in rows]

    def set_password(self, user_id: str, password_hash: str, at: datetime) -> None:
        update = "UPDATE users SET password_hash = ?, password_set_at = ? WHERE id = ?"
        if not self._execute(update, password_hash, to_ms(at), user_id):
            raise UserNotFound

    def set_role(self, user_id: str, role: Role, *, keep_admin: bool = False) -> None:
        kept = keep_admin and role is not Role.ADMIN
        self._change_user("role = ?", role, user_id, keep_admin=kept)

    def enable_user(self, user_id: str, at: datetime) -> None:
        update = (
            "UPDATE users SET disabled_at = NULL, enabled_at = iif(disabled_at IS NULL, enabled_at, ?)"
            " WHERE id = ?"
        )
        if not self._execute(update, to_ms(at), user_id):
            raise UserNotFound

    def disable_user(self, user_id: str, at: datetime, *, keep_admin: bool = False) -> None:
        change = "disabled_at = coalesce(disabled_at, ?)"
        self._change_user(change, to_ms(at), user_id, keep_admin=keep_admin)

    def _change_user(self, change: str, value: str | int, user_id: str, *, keep_admin: bool) -> None:
        """Changes a user.

        Args:
            change: an assignment of SQL, whose parameter is ``value``.
            keep_admin: whether the last active admin of a workspace is not changed.
        """
        update = f"UPDATE users SET {change} WHERE id = ? AND (? OR NOT {_LAST_ADMIN})"  # noqa: S608  # our own SQL
        with self._file.write() as connection:
            if connection.execute(update, (value, user_id, not keep_admin)).rowcount:
                return
            known = connection.execute("SELECT 1 FROM users WHERE id = ?", (user_id,)).fetchone()
        raise UserNotFound if known is None else LastAdmin

    # --- OAuth clients and what is granted to them

    def create_client(self, client: OAuthClient, *, most: int | None = None) -> None:
        with self._file.write() as connection:
            insert(connection, "clients", CLIENT.encode(client))
            bound_clients(connection, client.workspace_id, most)

    def find_client(self, client_id: str) -> OAuthClient | None:
        for row in self._rows("SELECT * FROM clients WHERE id = ?", client_id):
            return CLIENT.decode(row)
        return None

    def list_clients(self, workspace_id: str | None) -> list[OAuthClient]:
        rows = self._rows(
            "SELECT * FROM clients WHERE workspace_id IS ? ORDER BY created_at, rowid", workspace_id
        )
        return [CLIENT.decode(row) for row in rows]

    def set_client_secret(self, workspace_id: str, client_id: str, secret_digest: bytes) -> None:
        update = "UPDATE clients SET secret_digest = ? WHERE id = ? AND workspace_id = ?"
        if not self._execute(update, secret_digest, client_id, workspace_id):
            raise ClientNotFound

    def set_client_pkce(self, workspace_id: str, client_id: str, *, required: bool) -> None:
        update = "UPDATE clients SET pkce_required = ? WHERE id = ? AND workspace_id = ?"
        if not self._execute(update, required, client_id, workspace_id):
            raise ClientNotFound

    def delete_client(self, workspace_id: str | None, client_id: str) -> None:
        mine = (client_id, workspace_id)
        with self._file.write() as connection:
            if not connection.execute(
                "DELETE FROM clients WHERE id = ? AND workspace_id IS ?", mine
            ).rowcount:
                raise ClientNotFound
            connection.execute(
                "UPDATE grants SET revoked_at = coalesce(revoked_at, ?) WHERE client_id = ?",
                (to_ms(now()), client_id),
            )

    def remove_unused_clients(self, created_before: datetime, limit: int) -> int:
        # Every old client is looked at, so this is done before the transaction, in which others must wait.
        unused = self._rows(
            f"SELECT id FROM clients WHERE workspace_id IS NULL AND created_at < ? AND {_UNUSED} LIMIT ?",  # noqa: S608  # our own SQL
            *(to_ms(created_before), to_ms(now()), limit),
        )
        if not unused:
            return 0
        return self._execute(
            f"DELETE FROM clients WHERE id IN (SELECT value FROM json_each(?)) AND {_UNUSED}",  # noqa: S608  # our own SQL
            *(json.dumps([row["id"] for row in unused]), to_ms(now())),
        )

    def create_grant(self, grant: Grant) -> None:
        used = "UPDATE clients SET used_at = coalesce(used_at, ?) WHERE id = ?"
        with self._file.write() as connection:
            if not connection.execute(used, (to_ms(grant.created_at), grant.client_id)).rowcount:
                raise ClientNotFound
            insert(connection, "grants", GRANT.encode(grant))
            bound_grants(connection, grant, now())
            remove_expired_grants(connection, now(), FEW)

    def find_grant(self, grant_id: str) -> Grant | None:
        for row in self._rows("SELECT * FROM grants WHERE id = ?", grant_id):
            return GRANT.decode(row)
        return None

    def list_grants(self, user_id: str) -> list[Grant]:
        return [GRANT.decode(row) for row in self._rows(_GRANTS_OF_USER, user_id)]

    def extend_grant(self, grant_id: str, until: datetime) -> bool:
        update = "UPDATE grants SET expires_at = max(expires_at, ?) WHERE id = ? AND revoked_at IS NULL"
        return self._execute(update, to_ms(until), grant_id) > 0

    def revoke_grant(self, grant_id: str, at: datetime) -> None:
        self._execute(_REVOKE_GRANT, to_ms(at), grant_id)

    # --- credentials

    def create_credential(self, credential: Credential) -> None:
        with self._file.write(_CREDENTIAL_REFUSALS) as connection:
            insert(connection, "credentials", CREDENTIAL.encode(credential))
            bound_credentials(connection, credential, now())
            remove_expired_credentials(connection, now(), FEW)

    def find_credential(self, digest: bytes) -> Credential | None:
        for row in self._rows("SELECT * FROM credentials WHERE digest = ?", digest):
            return CREDENTIAL.decode(row)
        return None

    def list_api_keys(self, workspace_id: str | None = None) -> list[Credential]:
        rows = self._rows(
            "SELECT * FROM credentials WHERE kind = ? AND (? IS NULL OR workspace_id = ?)"
            " ORDER BY created_at, rowid",
            *(CredentialKind.API_KEY, workspace_id, workspace_id),
        )
        return [CREDENTIAL.decode(row) for row in rows]

    def list_links(self, workspace_id: str) -> list[Credential]:
        rows = self._rows(
            "SELECT * FROM credentials WHERE workspace_id = ? AND kind IN (?, ?) ORDER BY created_at, rowid",
            *(workspace_id, *sorted(LINKS)),
        )
        return [CREDENTIAL.decode(row) for row in rows]

    def list_sessions(self, user_id: str) -> list[Credential]:
        rows = self._rows(
            "SELECT * FROM credentials WHERE user_id = ? AND kind = ? AND revoked_at IS NULL"
            " ORDER BY created_at, rowid",
            *(user_id, CredentialKind.SESSION),
        )
        return [CREDENTIAL.decode(row) for row in rows]

    def end_sessions(self, user_id: str, at: datetime, *, kept: str = "") -> int:
        revoke = (
            "UPDATE credentials SET revoked_at = ?"
            " WHERE user_id = ? AND kind = ? AND revoked_at IS NULL AND id <> ?"
        )
        return self._execute(revoke, to_ms(at), user_id, CredentialKind.SESSION, kept)

    def revoke_credential(self, credential_id: str, at: datetime) -> bool:
        revoke = "UPDATE credentials SET revoked_at = ? WHERE id = ? AND revoked_at IS NULL"
        with self._file.write() as connection:
            if connection.execute(revoke, (to_ms(at), credential_id)).rowcount:
                return True
            known = connection.execute("SELECT 1 FROM credentials WHERE id = ?", (credential_id,)).fetchone()
        if known is None:
            raise CredentialNotFound
        return False

    def touch_credential(self, credential_id: str, at: datetime) -> None:
        self._execute("UPDATE credentials SET last_used_at = ? WHERE id = ?", to_ms(at), credential_id)
