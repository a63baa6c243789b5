"""``GET /api/v1/products/{id}/history``: docs/contract.md "History"."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import Any, Final, TypeVar

from flask import Blueprint, Response, jsonify
from flask.typing import ResponseReturnValue

from api.answers import large_answer
from api.schemas import time_json
from auth.bearer import BearerAuth, Principal
from auth.tokens import READ
from catalog.base import Catalog
from catalog.errors import UserNotFound
from catalog.history import Actor, ActorKind, Change

_CACHING: Final = {"Cache-Control": "private, no-cache"}

T = TypeVar("T")


def history_blueprint(catalog: Catalog, auth: BearerAuth) -> Blueprint:
    """The history of a product."""
    blueprint = Blueprint("history", __name__, url_prefix="/api/v1/products/<product_id>/history")

    @blueprint.get("")
    @auth.requires(READ)
    def get_history(principal: Principal, product_id: str) -> ResponseReturnValue:
        def make() -> Response:
            return jsonify(_history_json(catalog, principal, product_id))

        return large_answer(principal.workspace_id, make), 200, _CACHING

    return blueprint


def _history_json(catalog: Catalog, principal: Principal, product_id: str) -> dict[str, Any]:
    history = catalog.get_history(principal.workspace_id, product_id)
    actors = [change.actor for change in history]
    # An app that a user has authorized is not told the addresses of the user's colleagues.
    emails: Mapping[str, str] = {}
    if principal.actor.kind is not ActorKind.APP:
        emails = _found((actor.user_id for actor in actors), lambda user_id: _email(catalog, user_id))
    apps = _found((actor.client_id for actor in actors), lambda client_id: _app(catalog, client_id))
    return {"data": {"items": [_change_json(change, emails, apps) for change in history]}}


def _found(ids: Iterable[str | None], find: Callable[[str], T | None]) -> dict[str, T]:
    """What there is of these ids, each of which is looked up once."""
    distinct = {known for known in ids if known is not None}
    return {known: value for known in distinct if (value := find(known)) is not None}


def _email(catalog: Catalog, user_id: str) -> str | None:
    with suppress(UserNotFound):
        return catalog.get_user(user_id).email
    return None


def _app(catalog: Catalog, client_id: str) -> str | None:
    client = catalog.find_client(client_id)
    return client.name if client else None


def _change_json(change: Change, emails: Mapping[str, str], apps: Mapping[str, str]) -> dict[str, Any]:
    return {
        "at": time_json(change.at),
        "action": change.action,
        "fields": list(change.fields),
        "images": [
            {"change": image.touch, "imageId": image.image_id, "url": image.url} for image in change.images
        ],
        "actor": _actor_json(change.actor, emails, apps),
        "requestId": change.actor.request_id,
    }


def _actor_json(actor: Actor, emails: Mapping[str, str], apps: Mapping[str, str]) -> dict[str, Any]:
    return {
        "kind": actor.kind,
        "name": actor.name or apps.get(actor.client_id or ""),
        "email": emails.get(actor.user_id or ""),
        "userId": actor.user_id,
        "credentialId": actor.credential_id,
        "clientId": actor.client_id,
    }
