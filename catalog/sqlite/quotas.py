"""The quotas of the SQLite catalog. Triggers of its schema keep the usage and compare it with the quota."""

from __future__ import annotations

from typing import Final

from catalog.errors import ByteQuotaReached, ImageQuotaReached, ProductQuotaReached, WorkspaceNotFound
from catalog.identity import Quota, Usage
from catalog.sqlite.connection import Refusals, SQLiteConnections

#: The message with which a trigger refuses a change, and the error that it becomes.
QUOTAS: Final[Refusals] = {
    "quota reached: products": ProductQuotaReached,
    "quota reached: images": ImageQuotaReached,
    "quota reached: bytes": ByteQuotaReached,
}


class SQLiteQuotas:
    """See Identities."""

    _file: SQLiteConnections

    def set_quota(self, workspace_id: str, quota: Quota) -> None:
        update = "UPDATE workspaces SET max_products = ?, max_images = ?, max_bytes = ? WHERE id = ?"
        values = (quota.products, quota.images, quota.bytes, workspace_id)
        if not self._file.write_one(update, values):
            raise WorkspaceNotFound

    def get_usage(self, workspace_id: str) -> Usage:
        with self._file.read() as connection:
            row = connection.execute(
                "SELECT products, images, bytes FROM workspace_usage WHERE workspace_id = ?", (workspace_id,)
            ).fetchone()
        return Usage() if row is None else Usage(products=row[0], images=row[1], bytes=row[2])
