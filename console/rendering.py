"""Renders templates to responses with security headers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from flask import Response, render_template

from auth.sessions import Session
from catalog.identity import Role
from catalog.ids import now
from console.languages import preferred_translator

_HEADERS: Final = {
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}


class Pages:
    """Renders pages in the browser's language, with a Content-Security-Policy that blocks foreign scripts.

    Args:
        picture_origins: origins of pictures that the policy allows besides https, such as
            ``http://127.0.0.1:8000``.
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
        **context: Any,  # noqa: ANN401  # templates accept any value
    ) -> Response:
        """Renders a page.

        Every template has the variables ``_`` (``Translator.translate``), ``time``, ``now``, ``lang``,
        ``csrf``, ``user`` (None without a session) and ``is_admin``.

        Args:
            template: the template's file name.
            status: the HTTP status.
            session: the session of the signed-in user.
            leaves: whether a form on the page leads to a redirect to another server.
            context: further variables of the template.
        """
        translator = preferred_translator()
        known = {
            "_": translator.translate,
            "time": translator.time,
            "now": now(),
            "lang": translator.language,
            "csrf": session.csrf if session else "",
            "user": session.user if session else None,
            "is_admin": session is not None and session.user.role is Role.ADMIN,
        }
        response = Response(render_template(template, **{**known, **context}), status)
        return self.secure(response, leaves=leaves)

    def secure(self, response: Response, *, leaves: bool = False) -> Response:
        """Adds the security headers to a response, except those that it already has."""
        for name, value in {**_HEADERS, "Content-Security-Policy": self._policy(leaves=leaves)}.items():
            response.headers.setdefault(name, value)
        response.vary.update(["Accept-Language", "Cookie"])
        return response

    def _policy(self, *, leaves: bool) -> str:
        # The server's favicon is covered by img-src. Chromium applies form-action also to every redirect
        # after a form submission, and it is not known where an app redirects its users next, so a page that
        # leads to an app has no form-action.
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
