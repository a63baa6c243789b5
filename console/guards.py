"""Decorators that require a session or a role, and the CSRF check of forms."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import wraps
from typing import Concatenate, Final, ParamSpec, TypeAlias

from flask import g, request
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import BadRequest, Forbidden

from auth.sessions import Session, Sessions, csrf_holds
from catalog.identity import Role

P = ParamSpec("P")

SessionView: TypeAlias = Callable[Concatenate[Session, P], ResponseReturnValue]

#: The paths to which the sign-in may redirect: pages of the console, and an app's authorization request.
_RETURN: Final = re.compile(r"/console([/?][!-\[\]-~]*)?|/api/oauth/authorize\?[!-\[\]-~]*")
HOME: Final = "/console"

#: The paths that have a form and no page.
_WITHOUT_PAGE: Final = {"/console/sign-out", "/console/preferences"}


class SignInNeeded(Exception):
    """The request has no live session."""


def return_path(text: str) -> str:
    """The path to redirect to after the sign-in: ``text`` if it is allowed, else the console's home."""
    return text if _RETURN.fullmatch(text) else HOME


def page_of(path: str) -> str:
    """The page whose form posts to a path: ``/console/keys`` for ``/console/keys/<id>/revoke``."""
    section = "/".join(path.split("/")[:3])
    return HOME if section in _WITHOUT_PAGE else section


def check_csrf(expected: str) -> None:
    """Verifies that the request carries the expected CSRF token.

    Raises:
        BadRequest: it does not; another site may have sent the request.
    """
    token = request.headers.get("X-CSRF-Token") or request.form.get("csrf", "")
    if not csrf_holds(expected, token):
        raise BadRequest


class Guards:
    """Decorators for views; a decorated view receives the session as its first argument.

    Args:
        sessions: finds the session of a request.
    """

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    def signed_in(self, view: SessionView[P]) -> Callable[P, ResponseReturnValue]:
        """Requires a session, and for a POST a valid CSRF token.

        The decorated view raises SignInNeeded without a session, BadRequest without a valid CSRF token,
        and CatalogUnavailable.
        """

        @wraps(view)
        def guarded(*args: P.args, **kwargs: P.kwargs) -> ResponseReturnValue:
            session = self._sessions.current()
            if session is None:
                raise SignInNeeded
            g.session = session  # for the header of an error page
            if request.method == "POST":
                check_csrf(session.csrf)
            return view(session, *args, **kwargs)

        return guarded

    def admin(self, view: SessionView[P]) -> Callable[P, ResponseReturnValue]:
        """Requires the session of an admin.

        The decorated view raises Forbidden for other roles, and what ``signed_in`` lists.
        """

        @wraps(view)
        def checked(session: Session, /, *args: P.args, **kwargs: P.kwargs) -> ResponseReturnValue:
            if session.user.role is not Role.ADMIN:
                raise Forbidden
            return view(session, *args, **kwargs)

        return self.signed_in(checked)
