"""The page of a user's connections: the OAuth apps to which the user granted access."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from flask import Blueprint, redirect
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import NotFound

from auth.sessions import Session
from catalog.base import Catalog
from catalog.identity import Grant, User
from catalog.ids import now
from console.guards import Guards
from console.rendering import Pages


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """An app and the union of a user's live grants to it.

    Attributes:
        since: UTC; the creation time of the oldest live grant.
    """

    client_id: str
    name: str
    scopes: frozenset[str]
    since: datetime


def add_connections(blueprint: Blueprint, pages: Pages, guards: Guards, catalog: Catalog) -> None:
    """``/console/connections``."""

    @blueprint.get("/connections")
    @guards.listing
    def connections(session: Session) -> ResponseReturnValue:
        grants = live_grants(catalog, session.user)
        return pages.render("connections.html", session=session, connections=_connections(catalog, grants))

    @blueprint.post("/connections/<client_id>/revoke")
    @guards.signed_in
    def revoke_connection(session: Session, client_id: str) -> ResponseReturnValue:
        grants = [grant for grant in live_grants(catalog, session.user) if grant.client_id == client_id]
        if not grants:
            raise NotFound
        for grant in grants:
            catalog.revoke_grant(grant.id, now())
        return redirect("/console/connections", 303)


def live_grants(catalog: Catalog, user: User) -> list[Grant]:
    """The grants of a user that give access now, oldest first. Raises CatalogUnavailable."""
    grants = catalog.list_grants(user.id)
    return [grant for grant in grants if grant.is_live(now()) and user.admits(grant.created_at)]


def _connections(catalog: Catalog, grants: list[Grant]) -> list[Connection]:
    connections: dict[str, Connection] = {}
    for grant in grants:  # oldest first
        earlier = connections.get(grant.client_id)
        client = None if earlier else catalog.find_client(grant.client_id)
        connections[grant.client_id] = Connection(
            client_id=grant.client_id,
            name=earlier.name if earlier else client.name if client else grant.client_id,
            scopes=grant.scopes | (earlier.scopes if earlier else frozenset()),
            since=earlier.since if earlier else grant.created_at,
        )
    return list(connections.values())
