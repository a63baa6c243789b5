"""Decorators that require a session or a role, and the CSRF check of forms."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import wraps
from typing import Concatenate, Final, ParamSpec, TypeAlias

from flask import current_app, g, request
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import BadRequest, Forbidden

from api.answers import while_sent
from auth.requester import requester
from auth.sessions import Session, Sessions, csrf_holds
from catalog.identity import Role
from turns import Bounds, Turns, asking_as

#: The pages that a process makes at a time: one with a thousand users takes 0.15 s of a processor.
_MAKERS: Final = 2
_PAGES: Final = Turns(Bounds(requests=64, own_requests=32, own_turns=1, seconds=1), of="pages")

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

    def listing(self, view: SessionView[P]) -> Callable[P, ResponseReturnValue]:
        """Requires a session, and makes the page in turn: of a workspace one at a time.

        It is for pages that show many records. The decorated view raises what ``signed_in`` lists, and
        ShareUsed, ServerBusy or ClientGone: then it has changed nothing.
        """

        @wraps(view)
        def in_turn(session: Session, /, *args: P.args, **kwargs: P.kwargs) -> ResponseReturnValue:
            with asking_as(requester(session.user.workspace_id)), _PAGES.turn(1, _MAKERS):
                page = current_app.make_response(view(session, *args, **kwargs))
                # After a change, this answer may be the only one that has a new secret.
                return while_sent(page) if request.method == "GET" else page

        return self.signed_in(in_turn)

    def admin(self, view: SessionView[P]) -> Callable[P, ResponseReturnValue]:
        """Requires the session of an admin, whose pages show all users, keys or apps of the workspace.

        The decorated view raises Forbidden for other roles, and what ``listing`` lists.
        """

        @wraps(view)
        def checked(session: Session, /, *args: P.args, **kwargs: P.kwargs) -> ResponseReturnValue:
            if session.user.role is not Role.ADMIN:
                raise Forbidden
            return view(session, *args, **kwargs)

        return self.listing(checked)
