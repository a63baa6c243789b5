"""The page of the OAuth apps that a workspace manages."""

from __future__ import annotations

import secrets
from typing import Any, Final

from flask import Blueprint, redirect, request
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import NotFound

from auth.redirect_uris import is_redirect_uri
from auth.sessions import Session
from auth.tokens import ALL_SCOPES, digest
from catalog.base import Catalog, new_id, now
from catalog.identity import OAuthClient
from console.guards import Guards
from console.rendering import Pages

MAX_NAME: Final = 100
MAX_REDIRECT_URIS: Final = 10

#: A client's secret starts so, and can be told in a log, a search or a leak scanner.
_SECRET_PREFIX: Final = "vs_"  # noqa: S105
_SCOPES: Final = ALL_SCOPES | {"offline_access"}


def add_apps(blueprint: Blueprint, pages: Pages, guards: Guards, catalog: Catalog) -> None:
    """``/console/apps``."""

    def page(session: Session, status: int = 200, **context: Any) -> ResponseReturnValue:  # noqa: ANN401
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
        name, uris = request.form.get("name", "").strip(), request.form.get("redirect_uris", "").split()
        problems = _problems(name, uris)
        if problems:
            return page(session, 400, problems=problems, form=request.form)
        secret = _new_secret() if request.form.get("type") != "public" else None
        client = _new_client(session, name, uris, secret)
        catalog.create_client(client)
        return page(session, 201, new_app=client, secret=secret)

    @blueprint.post("/apps/<client_id>/rotate")
    @guards.admin
    def rotate_secret(session: Session, client_id: str) -> ResponseReturnValue:
        clients = {client.id: client for client in catalog.list_clients(session.user.workspace_id)}
        if client_id not in clients or clients[client_id].secret_digest is None:
            raise NotFound
        secret = _new_secret()
        catalog.set_client_secret(session.user.workspace_id, client_id, digest(secret))
        return page(session, 201, new_app=clients[client_id], secret=secret)

    @blueprint.post("/apps/<client_id>/delete")
    @guards.admin
    def delete_app(session: Session, client_id: str) -> ResponseReturnValue:
        catalog.delete_client(session.user.workspace_id, client_id)
        return redirect("/console/apps", 303)


def _problems(name: str, uris: list[str]) -> set[str]:
    """The fields of the form that can't be taken."""
    problems = set()
    if not (name and len(name) <= MAX_NAME and name.isprintable()):
        problems.add("name")
    if not (1 <= len(uris) <= MAX_REDIRECT_URIS and all(map(is_redirect_uri, uris))):
        problems.add("redirect_uris")
    return problems


def _new_secret() -> str:
    return _SECRET_PREFIX + secrets.token_urlsafe(32)


def _new_client(session: Session, name: str, uris: list[str], secret: str | None) -> OAuthClient:
    return OAuthClient(
        id=new_id(),
        name=name,
        redirect_uris=tuple(dict.fromkeys(uris)),
        scopes=_SCOPES,
        secret_digest=None if secret is None else digest(secret),
        workspace_id=session.user.workspace_id,
        created_at=now(),
    )
