"""``/api/oauth/authorize``: the page on which a user lets an app in, or does not."""

from __future__ import annotations

from typing import Final, cast
from urllib.parse import quote, urlsplit

from authlib.oauth2 import OAuth2Error
from flask import Blueprint, Response, abort, redirect, render_template, request
from flask.typing import ResponseReturnValue

from api.oauth import form_parameters, oauth_response
from auth.oauth.grants import AuthorizationCodeGrant
from auth.oauth.records import OFFLINE, Client
from auth.oauth.server import OAuthServer
from auth.sessions import COOKIE, Session, Sessions, csrf_holds, csrf_token
from auth.tokens import READ, ROLE_SCOPES, WRITE
from catalog.base import Catalog

#: What the scopes allow, in plain words, in the order in which they are told.
SCOPE_WORDS: Final = {
    READ: "See your products and their pictures",
    WRITE: "Create, change and delete products and their pictures",
    OFFLINE: "Keep this access while you are away, until you take it back",
}


def consent_blueprint(oauth: OAuthServer, sessions: Sessions, catalog: Catalog) -> Blueprint:
    """The authorization endpoint: RFC 6749 section 3.1."""
    blueprint = Blueprint("consent", __name__, template_folder="templates")

    @blueprint.errorhandler(OAuth2Error)
    def refuse(error: OAuth2Error) -> ResponseReturnValue:
        answer = oauth.refuse(error)
        if answer.location is None and request.accept_mimetypes.accept_html and _is_browser():
            return render_template("refused.html", description=error.description), 400
        return oauth_response(answer)

    @blueprint.get("/api/oauth/authorize")
    def ask() -> ResponseReturnValue:
        grant = oauth.consent(_parameters(), None)
        session = sessions.current()
        if session is None:
            return redirect(f"/console/sign-in?next={quote(request.full_path, safe='')}", 303)
        return _page(grant, session, catalog)

    @blueprint.post("/api/oauth/authorize")
    def decide() -> ResponseReturnValue:
        form = form_parameters()
        session = sessions.current()
        if session is None or not csrf_holds(request.cookies[COOKIE], form.get("csrf", [""])[0]):
            abort(400, "The form is out of date. Go back to the app and start again.")
        grant = oauth.consent(_parameters(), session.user)
        allowed = form.get("decision") == ["allow"]
        return oauth_response(oauth.decide(grant, session.user if allowed else None))

    return blueprint


def _parameters() -> dict[str, list[str]]:
    return request.args.to_dict(flat=False)


def _is_browser() -> bool:
    return "text/html" in request.headers.get("Accept", "")


def _page(grant: AuthorizationCodeGrant, session: Session, catalog: Catalog) -> Response:
    client = cast("Client", grant.request.client)
    asked = grant.request.scope.split()
    target = urlsplit(grant.redirect_uri)
    page = Response(
        render_template(
            "consent.html",
            client=client.record,
            target=target.hostname or target.scheme,
            words=[words for scope, words in SCOPE_WORDS.items() if scope in asked],
            read_only=WRITE in asked and WRITE not in ROLE_SCOPES[session.user.role],
            user=session.user,
            workspace=catalog.get_workspace(session.user.workspace_id),
            csrf=csrf_token(request.cookies[COOKIE]),
        )
    )
    # Browsers also hold a redirect that answers a form against form-action.
    origin = f"{target.scheme}://{target.netloc}" if target.netloc else f"{target.scheme}:"
    page.headers["Content-Security-Policy"] = (
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; "
        f"form-action 'self' {origin}; base-uri 'none'; frame-ancestors 'none'"
    )
    page.headers["Cache-Control"] = "no-store"
    page.headers["Referrer-Policy"] = "no-referrer"
    page.headers["X-Content-Type-Options"] = "nosniff"
    return page
