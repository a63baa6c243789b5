"""The page of a workspace's API keys."""

from __future__ import annotations

from typing import Any, Final

from flask import Blueprint, redirect, request
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import NotFound

from auth.sessions import Session
from auth.tokens import new_api_key
from catalog.base import Catalog
from catalog.ids import now
from console.guards import Guards
from console.rendering import Pages

MAX_LABEL: Final = 100
#: The most keys of a workspace, revoked ones included.
MAX_KEYS: Final = 1000


def add_keys(blueprint: Blueprint, pages: Pages, guards: Guards, catalog: Catalog) -> None:
    """``/console/keys``."""

    def page(session: Session, status: int = 200, **context: Any) -> ResponseReturnValue:  # noqa: ANN401
        keys = catalog.list_api_keys(session.user.workspace_id)[::-1]
        return pages.render("keys.html", status, session=session, keys=keys, max_label=MAX_LABEL, **context)

    @blueprint.get("/keys")
    @guards.admin
    def keys(session: Session) -> ResponseReturnValue:
        return page(session)

    @blueprint.post("/keys")
    @guards.admin
    def create_key(session: Session) -> ResponseReturnValue:
        label = request.form.get("label", "").strip()
        if not (label and len(label) <= MAX_LABEL and label.isprintable()):
            return page(session, 400, problem="label", label=label)
        if len(catalog.list_api_keys(session.user.workspace_id)) >= MAX_KEYS:
            return page(session, 400, problem="full", label=label)
        secret, key = new_api_key(session.user.workspace_id, label)
        catalog.create_credential(key)
        # Only this answer shows the secret. No URL shows it again, and Cache-Control: no-store applies.
        return page(session, 201, secret=secret, new_key=key)

    @blueprint.post("/keys/<key_id>/revoke")
    @guards.admin
    def revoke_key(session: Session, key_id: str) -> ResponseReturnValue:
        if all(key.id != key_id for key in catalog.list_api_keys(session.user.workspace_id)):
            raise NotFound
        catalog.revoke_credential(key_id, now())
        return redirect("/console/keys", 303)
