"""The page on which users change their own password."""

from __future__ import annotations

from flask import Blueprint, Response, request
from flask.typing import ResponseReturnValue

from auth.budgets import TooManyFailures
from auth.passwords import MAX_LENGTH, MIN_LENGTH, HashingBusy, PasswordRefused
from auth.sessions import Session, Sessions, WrongPassword
from console.guards import Guards
from console.rendering import Pages


def add_password(blueprint: Blueprint, pages: Pages, guards: Guards, sessions: Sessions) -> None:
    """``/console/password``."""

    def page(session: Session, status: int = 200, *, problem: str = "", changed: bool = False) -> Response:
        return pages.render(
            "password.html",
            status,
            session=session,
            problem=problem,
            changed=changed,
            min_length=MIN_LENGTH,
            max_length=MAX_LENGTH,
        )

    def refused(
        session: Session, error: TooManyFailures | HashingBusy, status: int, problem: str
    ) -> Response:
        answer = page(session, status, problem=problem)
        answer.headers["Retry-After"] = str(error.retry_after)
        return answer

    @blueprint.get("/password")
    @guards.signed_in
    def password(session: Session) -> ResponseReturnValue:
        return page(session)

    @blueprint.post("/password")
    @guards.signed_in
    def change_password(session: Session) -> ResponseReturnValue:
        current, new, again = (request.form.get(name, "") for name in ("current", "new", "again"))
        if new != again:
            return page(session, 400, problem="again")
        try:
            secret, session = sessions.change_password(session, current, new)
        except PasswordRefused as error:
            return page(session, 400, problem=error.code)
        except WrongPassword:
            return page(session, 400, problem="current")
        except TooManyFailures as error:
            return refused(session, error, 429, "often")
        except HashingBusy as error:
            return refused(session, error, 503, "busy")
        answer = page(session, changed=True)
        sessions.remember(answer, secret)
        return answer
