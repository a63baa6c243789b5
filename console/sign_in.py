"""Signing in and out, and the token with which a page's scripts call the API."""

from __future__ import annotations

from flask import Blueprint, Response, jsonify, redirect, request
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import BadRequest

from auth.budgets import TooManyFailures
from auth.sessions import Session, Sessions, WrongPassword, csrf_token
from console.guards import Guards, check_csrf, return_path
from console.rendering import Pages


def add_sign_in(blueprint: Blueprint, pages: Pages, guards: Guards, sessions: Sessions) -> None:
    """``/console/sign-in``, ``/console/sign-out`` and ``/console/token``."""

    @blueprint.get("/sign-in")
    def sign_in_page() -> ResponseReturnValue:
        if sessions.current():
            return redirect(return_path(request.args.get("next", "")), 303)
        return _sign_in_page(pages, sessions)

    @blueprint.post("/sign-in")
    def sign_in() -> ResponseReturnValue:
        try:
            check_csrf(sessions.visitor())
            secret, _ = sessions.sign_in(request.form.get("email", ""), request.form.get("password", ""))
        except BadRequest:
            return _sign_in_page(pages, sessions, 400, problem="csrf")
        except WrongPassword:
            return _sign_in_page(pages, sessions, 401, problem="wrong")
        except TooManyFailures as error:
            page = _sign_in_page(pages, sessions, 429, problem="often")
            page.headers["Retry-After"] = str(error.retry_after)
            return page
        response = Response(status=303, headers={"Location": return_path(request.args.get("next", ""))})
        sessions.remember(response, secret)
        return response

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


def _sign_in_page(pages: Pages, sessions: Sessions, status: int = 200, *, problem: str = "") -> Response:
    visitor = sessions.visitor()
    page = pages.render(
        "sign_in.html",
        status,
        csrf=csrf_token(visitor),
        problem=problem,
        email=request.form.get("email", ""),
        next=return_path(request.args.get("next", "")),
    )
    sessions.remember_visitor(page, visitor)
    return page
