"""The page of a user's own sessions, which the user can end."""

from __future__ import annotations

from typing import Final

from flask import Blueprint, Response, redirect, request
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import NotFound

from auth.sessions import Session, Sessions
from console.guards import Guards
from console.rendering import Pages

#: The most sessions that the page lists, the newest first.
_LISTED: Final = 100


def add_sessions(blueprint: Blueprint, pages: Pages, guards: Guards, sessions: Sessions) -> None:
    """``/console/sessions``."""

    def signed_out() -> Response:
        answer = Response(status=303, headers={"Location": "/console/sign-in"})
        sessions.forget(answer)
        return answer

    @blueprint.get("/sessions")
    @guards.listing
    def list_sessions(session: Session) -> ResponseReturnValue:
        live = sessions.live(session.user)[::-1]
        return pages.render(
            "sessions.html",
            session=session,
            sessions=live[:_LISTED],
            unlisted=max(0, len(live) - _LISTED),
            here=session.credential.id,
        )

    @blueprint.post("/sessions/<session_id>/end")
    @guards.signed_in
    def end_session(session: Session, session_id: str) -> ResponseReturnValue:
        if session_id == session.credential.id:
            sessions.sign_out(session)
            return signed_out()
        for other in sessions.live(session.user):
            if other.id == session_id:
                sessions.sign_out(Session(session.user, other))
                return redirect("/console/sessions", 303)
        raise NotFound

    @blueprint.post("/sessions/end")
    @guards.signed_in
    def end_sessions(session: Session) -> ResponseReturnValue:
        but_here = request.form.get("but") == "here"
        sessions.sign_out_everywhere(session, but_here=but_here)
        return redirect("/console/sessions", 303) if but_here else signed_out()
