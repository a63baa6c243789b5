"""``/api/oauth/authorize``: the consent page, on which a user allows or denies an app's request."""

from __future__ import annotations

from typing import Final, cast
from urllib.parse import quote, urlsplit

from authlib.oauth2 import OAuth2Error
from flask import Blueprint, Response, request
from flask.typing import ResponseReturnValue

from api.oauth import form_parameters, oauth_response
from auth.oauth.grants import AuthorizationCodeGrant
from auth.oauth.records import OFFLINE, Client
from auth.oauth.server import OAuthServer
from auth.sessions import COOKIE, Session, Sessions, csrf_holds
from auth.tokens import READ, ROLE_SCOPES, WRITE
from catalog.base import Catalog
from console.rendering import Pages

#: In the order of display.
_SCOPES: Final = (READ, WRITE, OFFLINE)

_DECISIONS: Final = {"allow", "deny"}


def consent_blueprint(oauth: OAuthServer, sessions: Sessions, catalog: Catalog, pages: Pages) -> Blueprint:
    """The authorization endpoint: RFC 6749 section 3.1."""
    blueprint = Blueprint("consent", __name__, template_folder="templates")

    @blueprint.errorhandler(OAuth2Error)
    def refuse(error: OAuth2Error) -> ResponseReturnValue:
        answer = oauth.refuse(error)
        if answer.location is None and _is_browser():
            return pages.render("refused.html", 400, error=error.error, description=error.description)
        return oauth_response(answer)

    @blueprint.get("/api/oauth/authorize")
    def ask() -> ResponseReturnValue:
        grant = oauth.consent(_parameters(), None)
        session = sessions.current()
        if session is None:
            return _to_sign_in()
        return _page(pages, grant, session, catalog)

    @blueprint.post("/api/oauth/authorize")
    def decide() -> ResponseReturnValue:
        form = form_parameters()
        session = sessions.current()
        decision, csrf = (form.get(name, [""])[0] for name in ("decision", "csrf"))
        proven = session is None or csrf_holds(request.cookies[COOKIE], csrf)
        if decision not in _DECISIONS or not csrf or not proven:
            return pages.render("error.html", 400, session=session, status=400)
        grant = oauth.consent(_parameters(), session.user if session else None)
        if session is None:  # for example, the user signed out in another tab
            return _to_sign_in()
        return oauth_response(oauth.decide(grant, session.user if decision == "allow" else None))

    return blueprint


def _to_sign_in() -> Response:
    """Redirects to the sign-in page, which returns to this request afterwards."""
    address = f"/console/sign-in?next={quote(request.full_path, safe='')}"
    return Response(status=303, headers={"Location": address})


def _parameters() -> dict[str, list[str]]:
    return request.args.to_dict(flat=False)


def _is_browser() -> bool:
    return "text/html" in request.headers.get("Accept", "")


def _page(pages: Pages, grant: AuthorizationCodeGrant, session: Session, catalog: Catalog) -> Response:
    client = cast("Client", grant.request.client)
    asked = grant.request.scope.split()
    target = urlsplit(grant.redirect_uri)
    page = pages.render(
        "consent.html",
        session=session,
        leaves=True,
        client=client.record,
        target=target.hostname or target.scheme,
        scopes=[scope for scope in _SCOPES if scope in asked],
        read_only=WRITE in asked and WRITE not in ROLE_SCOPES[session.user.role],
        workspace=catalog.get_workspace(session.user.workspace_id),
    )
    # The page's URL contains the authorization request.
    page.headers["Referrer-Policy"] = "no-referrer"
    return page
