"""From a template to an answer that a browser may be trusted with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from flask import Response, render_template, request

from auth.sessions import COOKIE, Session, csrf_token
from catalog.identity import Role
from catalog.ids import now
from console.languages import asked_for

_HEADERS: Final = {
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}


class Pages:
    """Renders pages in the language of the browser, under a policy that lets in no foreign script.

    Args:
        picture_origins: where pictures may come from besides https, such as ``http://127.0.0.1:8000``.
    """

    def __init__(self, picture_origins: Sequence[str]) -> None:
        self._picture_origins = " ".join(picture_origins)

    def render(
        self,
        template: str,
        status: int = 200,
        /,
        *,
        session: Session | None = None,
        leaves: bool = False,
        **context: Any,  # noqa: ANN401  # as a template takes it
    ) -> Response:
        """A page.

        A template knows ``_`` (``Phrasebook.say``), ``time``, ``lang``, ``csrf`` and, with a session,
        ``user`` and ``is_admin``.

        Args:
            template: its file in the folder.
            status: of the answer.
            session: who is signed in.
            leaves: whether a form of it sends the browser to another server.
            context: what else the template knows.
        """
        phrasebook = asked_for()
        known = {
            "_": phrasebook.say,
            "time": phrasebook.time,
            "now": now(),
            "lang": phrasebook.language,
            "csrf": csrf_token(request.cookies.get(COOKIE, "")) if session else "",
            "user": session.user if session else None,
            "is_admin": session is not None and session.user.role is Role.ADMIN,
        }
        response = Response(render_template(template, **{**known, **context}), status)
        return self.secure(response, leaves=leaves)

    def secure(self, response: Response, *, leaves: bool = False) -> Response:
        """Gives an answer the headers of a page, but for those that it has."""
        for name, value in {**_HEADERS, "Content-Security-Policy": self._policy(leaves=leaves)}.items():
            response.headers.setdefault(name, value)
        response.vary.update(["Accept-Language", "Cookie"])
        return response

    def _policy(self, *, leaves: bool) -> str:
        # The favicon is an image of our own. Chromium also asks form-action about every redirect that
        # follows a form, and nobody knows where an app sends its users on to.
        return "; ".join(
            [
                "default-src 'none'",
                "script-src 'self'",
                "style-src 'self'",
                f"img-src 'self' https: data: blob: {self._picture_origins}".rstrip(),
                "connect-src 'self'",
                *([] if leaves else ["form-action 'self'"]),
                "base-uri 'none'",
                "frame-ancestors 'none'",
            ]
        )
