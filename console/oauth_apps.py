"""The page of a workspace's OAuth apps: registration, new secrets, deletion."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

from flask import Blueprint, redirect, request
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import NotFound

from auth.oauth.clients import MAX_NAME, ClientRefused, new_client, new_client_secret
from auth.oauth.redirects import MAX_REDIRECT_URIS
from auth.sessions import Session
from catalog.base import Catalog
from catalog.errors import ClientLimitReached
from console.guards import Guards
from console.rendering import Pages

#: The most apps of a workspace.
MAX_APPS: Final = 100


def add_apps(blueprint: Blueprint, pages: Pages, guards: Guards, catalog: Catalog) -> None:
    """``/console/apps``."""

    def page(session: Session, status: int = 200, **context: Any) -> ResponseReturnValue:  # noqa: ANN401  # values of a template
        apps = catalog.list_clients(session.user.workspace_id)[::-1]
        context |= {"apps": apps, "max_name": MAX_NAME, "max_uris": MAX_REDIRECT_URIS}
        return pages.render("apps.html", status, session=session, **context)

    @blueprint.get("/apps")
    @guards.admin
    def apps(session: Session) -> ResponseReturnValue:
        return page(session)

    @blueprint.post("/apps")
    @guards.admin
    def register_app(session: Session) -> ResponseReturnValue:
        try:
            client, secret = new_client(
                request.form.get("name", ""),
                tuple(dict.fromkeys(request.form.get("redirect_uris", "").split())),
                confidential=request.form.get("type") != "public",
                workspace_id=session.user.workspace_id,
            )
        except ClientRefused as error:
            return page(session, 400, problem=error.code, form=request.form)
        try:
            catalog.create_client(replace(client, pkce_required=_pkce_required()), most=MAX_APPS)
        except ClientLimitReached:
            return page(session, 400, problem="full", form=request.form)
        return page(session, 201, new_app=client, secret=secret)

    @blueprint.post("/apps/<client_id>/rotate")
    @guards.admin
    def rotate_secret(session: Session, client_id: str) -> ResponseReturnValue:
        clients = {client.id: client for client in catalog.list_clients(session.user.workspace_id)}
        if client_id not in clients or clients[client_id].secret_digest is None:
            raise NotFound
        secret, secret_digest = new_client_secret()
        catalog.set_client_secret(session.user.workspace_id, client_id, secret_digest)
        return page(session, 201, new_app=clients[client_id], secret=secret)

    @blueprint.post("/apps/<client_id>/pkce")
    @guards.admin
    def set_pkce(session: Session, client_id: str) -> ResponseReturnValue:
        catalog.set_client_pkce(session.user.workspace_id, client_id, required=_pkce_required())
        return redirect("/console/apps", 303)

    @blueprint.post("/apps/<client_id>/delete")
    @guards.admin
    def delete_app(session: Session, client_id: str) -> ResponseReturnValue:
        catalog.delete_client(session.user.workspace_id, client_id)
        return redirect("/console/apps", 303)


def _pkce_required() -> bool:
    return request.form.get("pkce") == "required"
