"""The removal of users and workspaces from the SQLite catalog."""

from __future__ import annotations

import sqlite3
from typing import Final

from catalog.errors import UserNotFound, WorkspaceNotEmpty, WorkspaceNotFound
from catalog.sqlite.connection import SQLiteConnections

#: The tables of what gives access to a workspace. The rows of users come after those that refer to them.
_ACCESS: Final = ("credentials", "grants", "users", "clients")

#: The tables in which a deleted workspace has no rows, or whose rows expire: an answer to an Idempotency-Key
#: may be large, and removing thousands of them would delay other writers.
_KEPT: Final = frozenset({"products", "idempotency_keys", *_ACCESS})


class SQLiteRemoval:
    """See Identities."""

    _file: SQLiteConnections

    def rename_workspace(self, workspace_id: str, name: str) -> None:
        if not self._file.write_one("UPDATE workspaces SET name = ? WHERE id = ?", (name, workspace_id)):
            raise WorkspaceNotFound

    def close_workspace(self, workspace_id: str) -> None:
        with self._file.write() as connection:
            _require_workspace(connection, workspace_id)
            _remove_access(connection, workspace_id)

    def delete_workspace(self, workspace_id: str) -> None:
        with self._file.write() as connection:
            _require_workspace(connection, workspace_id)
            mine = (workspace_id,)
            if connection.execute("SELECT 1 FROM products WHERE workspace_id = ?", mine).fetchone():
                raise WorkspaceNotEmpty
            _remove_access(connection, workspace_id)
            for table in _tables_of_workspaces(connection):
                if table not in _KEPT:
                    connection.execute(f"DELETE FROM {table} WHERE workspace_id = ?", mine)  # noqa: S608  # our own names
            connection.execute("DELETE FROM workspaces WHERE id = ?", mine)

    def delete_user(self, user_id: str) -> None:
        with self._file.write() as connection:
            for table in ("credentials", "grants"):
                connection.execute(f"DELETE FROM {table} WHERE user_id = ?", (user_id,))  # noqa: S608  # our own names
            if not connection.execute("DELETE FROM users WHERE id = ?", (user_id,)).rowcount:
                raise UserNotFound


def _require_workspace(connection: sqlite3.Connection, workspace_id: str) -> None:
    if connection.execute("SELECT 1 FROM workspaces WHERE id = ?", (workspace_id,)).fetchone() is None:
        raise WorkspaceNotFound


def _remove_access(connection: sqlite3.Connection, workspace_id: str) -> None:
    """Removes the users of a workspace, its credentials and clients, and all grants to these."""
    connection.execute(
        "DELETE FROM grants WHERE client_id IN (SELECT id FROM clients WHERE workspace_id = ?)",
        (workspace_id,),
    )
    for table in _ACCESS:
        connection.execute(f"DELETE FROM {table} WHERE workspace_id = ?", (workspace_id,))  # noqa: S608  # our own names


def _tables_of_workspaces(connection: sqlite3.Connection) -> list[str]:
    """The tables whose rows each belong to a workspace."""
    rows = connection.execute(
        "SELECT tables.name FROM sqlite_schema AS tables, pragma_table_info(tables.name) AS columns"
        " WHERE tables.type = 'table' AND columns.name = 'workspace_id'"
    )
    return [row[0] for row in rows]
