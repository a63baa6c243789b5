"""The page of a workspace's API keys."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import Any, Final

from flask import Blueprint, redirect, request
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import BadRequest, Forbidden, NotFound

from auth.key_expiry import LONGEST_LIFE, ExpiryRefused, check_expiry, end_of_day
from auth.sessions import Session
from auth.tokens import ALL_SCOPES, READ, ROLE_SCOPES, new_api_key
from catalog.base import Catalog
from catalog.errors import CredentialLimitReached
from catalog.identity import EXPIRED_KEPT_FOR, Role
from catalog.ids import now
from console.guards import Guards
from console.rendering import Pages

MAX_LABEL: Final = 100

#: What a key allows, by the value of the form's field.
_ACCESS: Final = {"write": ALL_SCOPES, "read": frozenset({READ})}
_NEVER: Final = "never"
#: The value of the form's field for an expiry on a day, which another field names.
_ON_A_DAY: Final = "day"
#: How long a key lives, by the value of the form's field.
_LIVES: Final = {str(days): timedelta(days=days) for days in (30, 90, 365)}


def add_keys(blueprint: Blueprint, pages: Pages, guards: Guards, catalog: Catalog) -> None:
    """``/console/keys``."""

    def page(session: Session, status: int = 200, **context: Any) -> ResponseReturnValue:  # noqa: ANN401  # values of a template
        workspace_id = session.user.workspace_id
        return pages.render(
            "keys.html",
            status,
            session=session,
            keys=catalog.list_api_keys(workspace_id)[::-1],
            emails={user.id: user.email for user in catalog.list_users(workspace_id)},
            max_label=MAX_LABEL,
            first_day=now().date().isoformat(),
            last_day=(now() + LONGEST_LIFE).date().isoformat(),
            kept_for=EXPIRED_KEPT_FOR.days,
            **context,
        )

    @blueprint.get("/keys")
    @guards.admin
    def keys(session: Session) -> ResponseReturnValue:
        return page(session)

    @blueprint.post("/keys")
    @guards.admin
    def create_key(session: Session) -> ResponseReturnValue:
        label = request.form.get("label", "").strip()
        scopes = _scopes(session.user.role)
        try:
            expires_at = _expiry()
        except ExpiryRefused:
            return page(session, 400, problem="day", form=request.form)
        if not (label and len(label) <= MAX_LABEL and label.isprintable()):
            return page(session, 400, problem="label", form=request.form)
        secret, key = new_api_key(
            session.user.workspace_id,
            label,
            scopes=scopes,
            expires_at=expires_at,
            created_by=session.user.id,
        )
        try:
            catalog.create_credential(key)
        except CredentialLimitReached:
            return page(session, 400, problem="full", form=request.form)
        # Only this answer shows the secret. No URL shows it again, and Cache-Control: no-store applies.
        return page(session, 201, secret=secret, new_key=key)

    @blueprint.post("/keys/<key_id>/revoke")
    @guards.admin
    def revoke_key(session: Session, key_id: str) -> ResponseReturnValue:
        if all(key.id != key_id for key in catalog.list_api_keys(session.user.workspace_id)):
            raise NotFound
        catalog.revoke_credential(key_id, now())
        return redirect("/console/keys", 303)


def _scopes(role: Role) -> frozenset[str]:
    """The scopes that the form asks for.

    Raises:
        BadRequest: the form has no such choice.
        Forbidden: a user of this role may not do so much.
    """
    scopes = _ACCESS.get(request.form.get("access", "write"))
    if scopes is None:
        raise BadRequest
    if not scopes <= ROLE_SCOPES[role]:
        raise Forbidden
    return scopes


def _expiry() -> datetime | None:
    """The expiry that the form asks for; None for a key that never expires.

    Raises:
        BadRequest: the form has no such choice.
        ExpiryRefused: the day is none, has passed, or is too far away.
    """
    choice, at = request.form.get("expires", _NEVER), now()
    if choice == _NEVER:
        return None
    if choice in _LIVES:
        return at + _LIVES[choice]
    if choice != _ON_A_DAY:
        raise BadRequest
    try:
        expires_at = end_of_day(date.fromisoformat(request.form.get("day", "")))
    except ValueError as error:
        raise ExpiryRefused(str(error)) from None
    check_expiry(expires_at, at)
    return expires_at
