"""Sign-in, sign-out, and the page token with which a page's scripts call the API."""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit

from authlib.oauth2.rfc6749 import InvalidScopeError
from flask import Blueprint, Response, jsonify, redirect, request
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import BadRequest

from auth.budgets import TooManyFailures
from auth.oauth.scopes import DISPLAYED_SCOPES, known_scopes
from auth.passwords import HashingBusy
from auth.sessions import Session, Sessions, WrongPassword, csrf_token
from auth.tokens import READ
from catalog.base import Catalog
from console.guards import Guards, check_csrf, return_path
from console.rendering import Pages

_CONSENT: Final = "/api/oauth/authorize?"


def add_sign_in(
    blueprint: Blueprint, pages: Pages, guards: Guards, sessions: Sessions, catalog: Catalog
) -> None:
    """``/console/sign-in``, ``/console/sign-out`` and ``/console/token``."""

    def page(status: int = 200, *, problem: str = "") -> Response:
        target = return_path(request.args.get("next", ""))
        visitor = sessions.visitor()
        page = pages.render(
            "sign_in.html",
            status,
            csrf=csrf_token(visitor),
            problem=problem,
            email=request.form.get("email", ""),
            next=target,
            public_url=pages.public_url,
            **_asking(catalog, target),
        )
        sessions.remember_visitor(page, visitor)
        return page

    @blueprint.get("/sign-in")
    def sign_in_page() -> ResponseReturnValue:
        if sessions.current():
            return redirect(return_path(request.args.get("next", "")), 303)
        return page()

    @blueprint.post("/sign-in")
    def sign_in() -> ResponseReturnValue:
        try:
            check_csrf(csrf_token(sessions.visitor()))
            secret, _ = sessions.sign_in(request.form.get("email", ""), request.form.get("password", ""))
        except BadRequest:
            if sessions.current():  # the user signed in in another tab in the meantime
                return redirect(return_path(request.args.get("next", "")), 303)
            # Over plain http a browser does not keep the cookies of a server whose public URL is https.
            plain = pages.public_url.startswith("https:") and not request.is_secure
            lost = plain and not sessions.has_visitor_cookie()
            return page(400, problem="insecure" if lost else "csrf")
        except WrongPassword:
            return page(401, problem="wrong")
        except (TooManyFailures, HashingBusy) as error:
            often = isinstance(error, TooManyFailures)
            answer = page(429 if often else 503, problem="often" if often else "busy")
            answer.headers["Retry-After"] = str(error.retry_after)
            return answer
        response = Response(status=303, headers={"Location": return_path(request.args.get("next", ""))})
        sessions.remember(response, secret)
        return response

    _add_session(blueprint, guards, sessions)


def _add_session(blueprint: Blueprint, guards: Guards, sessions: Sessions) -> None:
    @blueprint.post("/sign-out")
    @guards.signed_in
    def sign_out(session: Session) -> ResponseReturnValue:
        sessions.sign_out(session)
        response = Response(status=303, headers={"Location": "/console/sign-in"})
        sessions.forget(response)
        return response

    @blueprint.post("/token")
    @guards.signed_in
    def token(session: Session) -> ResponseReturnValue:
        access_token, life = sessions.page_token(session)
        return jsonify({"accessToken": access_token, "expiresIn": round(life.total_seconds())})


def _asking(catalog: Catalog, target: str) -> dict[str, Any]:
    """The app whose request led to the sign-in, and the scopes that it requests, for display.

    The consent page validates the request; this page only shows it.
    """
    if not target.startswith(_CONSENT):
        return {}
    asked = dict(parse_qsl(urlsplit(target).query))
    client = catalog.find_client(asked.get("client_id", ""))
    try:
        scopes = known_scopes(asked.get("scope", READ))
    except InvalidScopeError:
        scopes = frozenset()
    return {"client": client, "scopes": [scope for scope in DISPLAYED_SCOPES if scope in scopes]}
