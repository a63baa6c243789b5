"""Records who makes the current request, for the log and for the history of what it changes."""

from __future__ import annotations

from dataclasses import replace

import logs
from catalog.history import A_COMMAND, Actor, acting


def act_as(workspace_id: str, actor: Actor) -> None:
    """Records the workspace of the current request and who makes it."""
    logs.workspace_id.set(workspace_id)
    logs.credential_id.set(actor.credential_id)
    logs.user_id.set(actor.user_id)
    acting.set(replace(actor, request_id=logs.request_id.get()))


def stop_acting() -> None:
    """Forgets the request: the thread serves another one next."""
    logs.workspace_id.set(None)
    logs.credential_id.set(None)
    logs.user_id.set(None)
    acting.set(A_COMMAND)
