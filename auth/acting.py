"""Records who makes the current request, for the log."""

from __future__ import annotations

import logs


def act_as(workspace_id: str, credential_id: str, user_id: str | None) -> None:
    """Records the workspace, the credential and the user of the current request."""
    logs.workspace_id.set(workspace_id)
    logs.credential_id.set(credential_id)
    logs.user_id.set(user_id)
