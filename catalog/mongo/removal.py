"""The removal of users and workspaces from the MongoDB catalog.

A workspace that is to be deleted first gets a field ``closedAt``, with which nothing can be added to it
(``require_workspace``). A write whose check came before that ends within the longest time that a call takes.
So the record of the workspace is removed after this time, if it has no products then.
"""

from __future__ import annotations

import time
from datetime import datetime
from typing import Final

from pymongo.database import Database

from catalog.errors import UserNotFound, WorkspaceNotEmpty, WorkspaceNotFound
from catalog.ids import now
from catalog.mongo.connection import Document, MongoConnection, latest, set_once
from catalog.mongo.identity import revoke_grants

#: The longest that the removal of many records takes, in seconds.
_TIMEOUT: Final = 50.0


class MongoRemoval:
    """See Identities."""

    _mongo: MongoConnection

    def rename_workspace(self, workspace_id: str, name: str) -> None:
        change = {"$set": {"name": name}}
        with self._mongo.call() as database:
            if not database.workspaces.update_one({"_id": workspace_id}, change).matched_count:
                raise WorkspaceNotFound

    def close_workspace(self, workspace_id: str) -> None:
        self._close(workspace_id)

    def _close(self, workspace_id: str) -> datetime:
        """Closes a workspace; returns when it was closed first."""
        with self._mongo.call(timeout=_TIMEOUT) as database:
            workspace = database.workspaces.find_one_and_update(
                {"_id": workspace_id}, set_once("closedAt", now()), {"closedAt": True}, return_document=True
            )
            if workspace is None:
                raise WorkspaceNotFound
            _remove_access(database, workspace_id)
        closed_at: datetime = workspace["closedAt"]
        return closed_at

    def delete_workspace(self, workspace_id: str) -> None:
        closed_for = (now() - self._close(workspace_id)).total_seconds()
        time.sleep(max(0.0, self._mongo.longest_call - max(0.0, closed_for)))
        with self._mongo.call(timeout=_TIMEOUT) as database:
            if latest(database.products).find_one({"companyId": workspace_id}, {"_id": True}):
                raise WorkspaceNotEmpty
            _remove_access(database, workspace_id)
            database.usageDays.delete_many({"companyId": workspace_id})
            database.workspaces.delete_one({"_id": workspace_id})

    def delete_user(self, user_id: str) -> None:
        with self._mongo.call(timeout=_TIMEOUT) as database:
            # The user is disabled first and removed last, so that after a failure the call can be repeated.
            if not database.users.update_one({"_id": user_id}, set_once("disabledAt", now())).matched_count:
                raise UserNotFound
            database.credentials.delete_many({"userId": user_id})
            database.grants.delete_many({"userId": user_id})
            database.users.delete_one({"_id": user_id})


def _remove_access(database: Database[Document], workspace_id: str) -> None:
    """Removes the users of a workspace, its credentials and clients, and their grants."""
    mine = {"companyId": workspace_id}
    database.credentials.delete_many(mine)
    users = [user["_id"] for user in database.users.find(mine, {"_id": True})]
    database.grants.delete_many({"userId": {"$in": users}})
    database.users.delete_many(mine)
    for client in database.clients.find(mine, {"_id": True}):
        revoke_grants(database, client["_id"])
    database.clients.delete_many(mine)
