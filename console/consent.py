"""``/api/oauth/authorize``: the consent page, on which a user allows or denies an app's request."""

from __future__ import annotations

from typing import Final, cast
from urllib.parse import quote, urlsplit

from authlib.oauth2 import OAuth2Error
from flask import Blueprint, Response, request
from flask.typing import ResponseReturnValue

from api.oauth import form_parameters, oauth_response
from auth.oauth.grants import AuthorizationCodeGrant
from auth.oauth.records import Client
from auth.oauth.scopes import DISPLAYED_SCOPES
from auth.oauth.server import OAuthServer
from auth.sessions import Session, Sessions, csrf_holds
from auth.tokens import ROLE_SCOPES, WRITE
from catalog.base import Catalog
from catalog.bounds import has_too_many_apps
from catalog.errors import AppLimitReached
from catalog.identity import OAuthClient
from catalog.ids import now
from console.connections import live_grants
from console.rendering import Pages

_PATH: Final = "/api/oauth/authorize"

_DECISIONS: Final = {"allow", "deny"}


def consent_blueprint(oauth: OAuthServer, sessions: Sessions, catalog: Catalog, pages: Pages) -> Blueprint:
    """The authorization endpoint: RFC 6749 section 3.1."""
    blueprint = Blueprint("consent", __name__, template_folder="templates")
    views = _Views(oauth, sessions, catalog, pages)
    blueprint.get(_PATH)(views.ask)
    blueprint.post(_PATH)(views.decide)
    return blueprint


class _Views:
    """The views of the authorization endpoint.

    The endpoint must not be an open redirector: anyone can register an app with any address, and send people
    a link with an invalid request (RFC 9700 section 4.11.2). So it redirects only users who are signed in,
    and it redirects without a page only if an admin of the user's workspace registered the app.
    """

    def __init__(self, oauth: OAuthServer, sessions: Sessions, catalog: Catalog, pages: Pages) -> None:
        self._oauth = oauth
        self._sessions = sessions
        self._catalog = catalog
        self._pages = pages

    def ask(self) -> ResponseReturnValue:
        """Shows the consent page."""
        session = self._sessions.current()
        try:
            grant = self._oauth.consent(_parameters(), None)
        except OAuth2Error as error:
            return self._refuse(error, session)
        if session is None:
            return _to_sign_in()
        if has_too_many_apps(live_grants(self._catalog, session.user), _client(grant).id):
            return self._too_many_apps_page(session)
        return self._consent_page(grant, session)

    def decide(self) -> ResponseReturnValue:
        """Redirects to the app after the user's decision."""
        form = form_parameters()
        at = now()
        session = self._sessions.current()
        decision, csrf = (form.get(name, [""])[0] for name in ("decision", "csrf"))
        proven = session is None or csrf_holds(session.csrf, csrf)
        if decision not in _DECISIONS or not csrf or not proven:
            return self._pages.render("error.html", 400, session=session, status=400)
        try:
            grant = self._oauth.consent(_parameters(), session.user if session else None)
        except OAuth2Error as error:
            return self._refuse(error, session)
        if session is None:  # for example, the user signed out in another tab
            return _to_sign_in()
        if decision == "deny":
            return oauth_response(self._oauth.decide(grant, None, at))
        try:
            return oauth_response(self._oauth.decide(grant, session.user, at))
        except AppLimitReached:  # reached since the page was shown
            return self._too_many_apps_page(session)

    def _refuse(self, error: OAuth2Error, session: Session | None) -> ResponseReturnValue:
        """Reports an invalid request: to the app if that is allowed, else to the user."""
        answer = self._oauth.refuse(error)
        if answer.location is None:
            return self._refused_page(error) if _is_browser() else oauth_response(answer)
        if session is None:
            return _to_sign_in()
        client = self._catalog.find_client(request.args.get("client_id", ""))
        if client is None or _unchecked(client, session):
            return self._refused_page(error, session, back=answer.location)
        return oauth_response(answer)

    def _consent_page(self, grant: AuthorizationCodeGrant, session: Session) -> Response:
        client = _client(grant)
        granted = grant.request.scope.split()
        page = self._pages.render(
            "consent.html",
            session=session,
            leaves=True,
            client=client,
            unchecked=_unchecked(client, session),
            target=_target(grant.redirect_uri),
            scopes=[scope for scope in DISPLAYED_SCOPES if scope in granted],
            read_only=WRITE in granted and WRITE not in ROLE_SCOPES[session.user.role],
            workspace=self._catalog.get_workspace(session.user.workspace_id),
        )
        return _without_referrer(page)

    def _too_many_apps_page(self, session: Session) -> Response:
        page = self._pages.render("refused.html", 400, session=session, error="too_many_apps")
        return _without_referrer(page)

    def _refused_page(
        self, error: OAuth2Error, session: Session | None = None, *, back: str = ""
    ) -> Response:
        """The page about an invalid request, with a link to the app if ``back`` is its address."""
        page = self._pages.render(
            "refused.html",
            400,
            session=session,
            error=error.error,
            description=error.description,
            back=back,
            target=_target(back),
        )
        return _without_referrer(page)


def _client(grant: AuthorizationCodeGrant) -> OAuthClient:
    return cast("Client", grant.request.client).record


def _unchecked(client: OAuthClient, session: Session) -> str:
    """Why no admin of the user's workspace has checked the app: ``self`` or ``other``; empty if one has."""
    if client.workspace_id is None:
        return "self"
    return "" if client.workspace_id == session.user.workspace_id else "other"


def _target(uri: str) -> str:
    """The part of a redirect URI that tells a user where it leads."""
    parts = urlsplit(uri)
    return parts.hostname or parts.scheme


def _without_referrer(page: Response) -> Response:
    """Keeps the page's URL, which contains the authorization request, from the next site."""
    page.headers["Referrer-Policy"] = "no-referrer"
    return page


def _to_sign_in() -> Response:
    """Redirects to the sign-in page, which returns to this request afterwards."""
    address = f"/console/sign-in?next={quote(request.full_path, safe='')}"
    return Response(status=303, headers={"Location": address})


def _parameters() -> dict[str, list[str]]:
    return request.args.to_dict(flat=False)


def _is_browser() -> bool:
    return "text/html" in request.headers.get("Accept", "")
