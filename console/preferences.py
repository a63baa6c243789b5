"""The choice of a language and a theme, which cookies keep for this browser."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from flask import Blueprint, redirect, request
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import BadRequest

from api.appearance import THEME_COOKIE, THEMES
from auth.sessions import Sessions, csrf_token
from console.guards import check_csrf, return_path
from console.languages import LANGUAGE_COOKIE, LANGUAGES
from console.rendering import Pages

_KEPT_FOR: Final = timedelta(days=365)

#: The values of each field of the form. An empty value means the preference of the browser.
_CHOICES: Final = {"language": (LANGUAGE_COOKIE, ("", *LANGUAGES)), "theme": (THEME_COOKIE, ("", *THEMES))}


def add_preferences(blueprint: Blueprint, pages: Pages, sessions: Sessions) -> None:
    """``/console/preferences``: for people who are signed in, and for the sign-in page."""

    @blueprint.post("/preferences")
    def set_preferences() -> ResponseReturnValue:
        session = sessions.current()
        check_csrf(session.csrf if session else csrf_token(sessions.visitor()))
        answer = redirect(return_path(request.form.get("next", "")), 303)
        for field, (cookie, values) in _CHOICES.items():
            value = request.form.get(field)
            if value is None:
                continue
            if value not in values:
                raise BadRequest
            answer.set_cookie(
                cookie,
                value,
                max_age=round(_KEPT_FOR.total_seconds()) if value else 0,
                secure=pages.public_url.startswith("https:"),
                httponly=True,
                samesite="Lax",
            )
        return answer
