"""Renders templates to responses with security headers."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from http import HTTPStatus
from typing import Any, Final

from flask import Response, render_template, request

from api.appearance import chosen_theme
from auth.sessions import Session
from catalog.base import Catalog, Image
from catalog.errors import CatalogError
from catalog.identity import Role, Workspace
from catalog.ids import now
from console.guards import HOME, page_of
from console.languages import chosen_language, preferred_translator
from sizes import Sizes

_HEADERS: Final = {
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}

#: The width of the size that a browser without ``srcset`` loads, in pixels.
_FALLBACK: Final = 320


def alternative_text(image: Image, language: str) -> str:
    """The alternative text of an image in a language, or in the first one that it has, or an empty text."""
    alt = image.alt or {}
    return alt.get(language) or next(iter(alt.values()), "")


class Pages:
    """Renders pages in the browser's language, with a Content-Security-Policy that blocks foreign scripts.

    Args:
        picture_origins: origins of pictures that the policy allows besides https, such as
            ``http://127.0.0.1:8000``.
        sizes: knows the sizes of hosted images.
        public_url: the origin at which browsers reach the server.
        catalog: knows the workspace that the header names.
    """

    def __init__(
        self, picture_origins: Sequence[str], sizes: Sizes, public_url: str, catalog: Catalog
    ) -> None:
        self._catalog = catalog
        self._picture_origins = " ".join(picture_origins)
        self._sizes = sizes
        self.public_url = public_url

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

        Every template has the variables ``_`` (``Translator.translate``), ``time``, ``day``, ``number``,
        ``size``, ``ago``, ``now``, ``lang``, ``csrf``, ``user`` and ``workspace`` (None without a session),
        ``is_admin``, ``sources`` (``picture_sources``), ``alt_text`` (``alternative_text``), ``theme``
        (``chosen_theme``), ``chosen_language``, and ``here`` (the path to which a choice of these returns).

        Args:
            template: the template's file name.
            status: the HTTP status.
            session: the session of the signed-in user.
            leaves: whether a form on the page leads to a redirect to another server.
            context: further variables of the template.
        """
        translator, at = preferred_translator(), now()
        known = {
            "_": translator.translate,
            "time": translator.time,
            "day": translator.day,
            "number": translator.number,
            "size": translator.size,
            "ago": partial(translator.ago, since=at),
            "now": at,
            "lang": translator.language,
            "csrf": session.csrf if session else "",
            "user": session.user if session else None,
            "workspace": self.workspace_of(session.user.workspace_id) if session else None,
            "theme": chosen_theme(),
            "chosen_language": chosen_language(),
            "here": _here(status),
            "is_admin": session is not None and session.user.role is Role.ADMIN,
            "sources": self.picture_sources,
            "alt_text": partial(alternative_text, language=translator.language),
        }
        response = Response(render_template(template, **{**known, **context}), status)
        return self.secure(response, leaves=leaves)

    def workspace_of(self, workspace_id: str) -> Workspace | None:
        """The workspace that a page names; None if the catalog can't say."""
        try:
            return self._catalog.get_workspace(workspace_id)
        except CatalogError:  # the page may be the one that reports this
            return None

    def picture_sources(self, image: Image) -> dict[str, str | int]:
        """The attributes of an ``<img>`` element that shows an image small, in the widths that there are.

        The original is not among the sources if there are sizes: it can have 5 MB. See
        https://html.spec.whatwg.org/multipage/images.html#srcset-attributes.
        """
        sizes = self._sizes.of(image)
        attributes: dict[str, str | int] = {"src": image.url}
        if sizes:
            attributes["src"] = next((size.url for size in sizes if size.width >= _FALLBACK), sizes[-1].url)
            attributes["srcset"] = ", ".join(f"{size.url} {size.width}w" for size in sizes)
        if image.width and image.height:
            attributes |= {"width": image.width, "height": image.height}
        return attributes

    def secure(self, response: Response, *, leaves: bool = False, compiles: bool = False) -> Response:
        """Adds the security headers to a response, except those that it already has.

        Args:
            response: a page, a script or another file.
            leaves: whether a form on the page leads to a redirect to another server.
            compiles: whether the response is the script of a worker that compiles WebAssembly. A worker has
                the policy of its own script: https://www.w3.org/TR/CSP3/#security-inherit-csp.
        """
        policy = self._policy(leaves=leaves, compiles=compiles)
        for name, value in {**_HEADERS, "Content-Security-Policy": policy}.items():
            response.headers.setdefault(name, value)
        response.vary.update(["Accept-Language", "Cookie"])
        return response

    def _policy(self, *, leaves: bool, compiles: bool) -> str:
        # The server's favicon is covered by img-src. Chromium applies form-action also to every redirect
        # after a form submission, and it is not known where an app redirects its users next, so a page that
        # leads to an app has no form-action.
        return "; ".join(
            [
                "default-src 'none'",
                "script-src 'self' 'wasm-unsafe-eval'" if compiles else "script-src 'self'",
                "style-src 'self'",
                "font-src 'self'",
                f"img-src 'self' https: data: blob: {self._picture_origins}".rstrip(),
                "connect-src 'self'",
                *([] if leaves else ["form-action 'self'"]),
                "base-uri 'none'",
                "frame-ancestors 'none'",
            ]
        )


def _here(status: int) -> str:
    """The path of the current page, or of the page whose form was submitted."""
    if request.method != "GET":
        return page_of(request.path)
    return request.full_path.rstrip("?") if status < HTTPStatus.BAD_REQUEST else HOME
