"""Who may see a page, and which forms are believed."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import wraps
from typing import Concatenate, Final, ParamSpec, TypeAlias

from flask import g, request
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import BadRequest, Forbidden

from auth.sessions import COOKIE, Session, Sessions, csrf_holds
from catalog.identity import Role

P = ParamSpec("P")

SessionView: TypeAlias = Callable[Concatenate[Session, P], ResponseReturnValue]

#: Where a browser may be sent after the sign-in: pages of the console, and an app's question.
_RETURN: Final = re.compile(r"/console([/?][!-\[\]-~]*)?|/api/oauth/authorize\?[!-\[\]-~]*")
HOME: Final = "/console"


class SignInNeeded(Exception):
    """Nobody is signed in."""


def return_path(text: str) -> str:
    """The path to go to after the sign-in; the console's first page for all that is not one of ours."""
    return text if _RETURN.fullmatch(text) else HOME


def check_csrf(secret: str) -> None:
    """Returns if the request carries the token that belongs to this cookie.

    Raises:
        BadRequest: another site may have sent it.
    """
    token = request.headers.get("X-CSRF-Token") or request.form.get("csrf", "")
    if not secret or not csrf_holds(secret, token):
        raise BadRequest


class Guards:
    """Decorates views: they get the session as their first argument.

    Args:
        sessions: knows who is signed in.
    """

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    def signed_in(self, view: SessionView[P]) -> Callable[P, ResponseReturnValue]:
        """For everyone who is signed in; what writes must come from a page of ours.

        The view raises SignInNeeded, BadRequest without a good CSRF token, and CatalogUnavailable.
        """

        @wraps(view)
        def guarded(*args: P.args, **kwargs: P.kwargs) -> ResponseReturnValue:
            session = self._sessions.current()
            if session is None:
                raise SignInNeeded
            g.session = session  # an error page shows who is signed in
            if request.method == "POST":
                check_csrf(request.cookies.get(COOKIE, ""))
            return view(session, *args, **kwargs)

        return guarded

    def admin(self, view: SessionView[P]) -> Callable[P, ResponseReturnValue]:
        """For admins; the view raises Forbidden for others, besides what ``signed_in`` says."""

        @wraps(view)
        def checked(session: Session, /, *args: P.args, **kwargs: P.kwargs) -> ResponseReturnValue:
            if session.user.role is not Role.ADMIN:
                raise Forbidden
            return view(session, *args, **kwargs)

        return self.signed_in(checked)
