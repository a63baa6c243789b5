"""``/console``: the blueprint, and the error handling and headers that all its pages share."""

from __future__ import annotations

from typing import Final
from urllib.parse import urlencode

from flask import Blueprint, Response, g, jsonify, redirect, request
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import NotFound

from auth.budgets import Budgets
from auth.links import Links
from auth.sessions import Session, Sessions
from auth.usage_recorder import UsageRecorder
from catalog.base import Catalog
from console.compression import compress
from console.connections import add_connections
from console.guards import Guards, SignInNeeded, page_of
from console.keys import add_keys
from console.link import add_link
from console.my_sessions import add_sessions
from console.oauth_apps import add_apps
from console.password import add_password
from console.preferences import add_preferences
from console.products import add_products
from console.rendering import Pages
from console.sign_in import add_sign_in
from console.usage import add_usage
from console.users import add_users

#: The largest form, in bytes; enforced by Flask.
_MAX_FORM: Final = 64 * 1024

#: The folder of the fonts. The name of a file has its version, so its content never changes.
_FONTS: Final = "/console/static/fonts/"

#: The script of the worker that decodes HEIC with a library in WebAssembly, which nothing else may compile.
HEIC_WORKER: Final = "/console/static/heic_worker.js"

_METHODS: Final = ["GET", "POST", "PUT", "PATCH", "DELETE"]
_CLIENT_ERROR: Final = 400


def console_blueprint(
    catalog: Catalog, sessions: Sessions, budgets: Budgets, usage: UsageRecorder, pages: Pages
) -> Blueprint:
    """Makes the blueprint of the console.

    Args:
        catalog: supplies the data of the first render of a page. Pictures and products are changed by
            scripts that call the public API with a token of the user, so the API's rules apply here too.
        sessions: signs users in and out.
        budgets: tells how many of the day's writes are left.
        usage: knows what is stored now.
        pages: renders the templates.
    """
    blueprint = Blueprint(
        "console", __name__, url_prefix="/console", template_folder="templates", static_folder="static"
    )
    guards = Guards(sessions)
    add_sign_in(blueprint, pages, guards, sessions, catalog)
    add_products(blueprint, pages, guards, catalog)
    add_keys(blueprint, pages, guards, catalog)
    add_apps(blueprint, pages, guards, catalog)
    add_connections(blueprint, pages, guards, catalog)
    add_usage(blueprint, pages, guards, catalog, budgets, usage)
    add_password(blueprint, pages, guards, sessions)
    add_sessions(blueprint, pages, guards, sessions)
    add_preferences(blueprint, pages, sessions)
    links = Links(catalog)
    add_users(blueprint, pages, guards, catalog, links)
    add_link(blueprint, pages, sessions, budgets, links)
    _add_errors(blueprint, pages, sessions)
    return blueprint


def _add_errors(blueprint: Blueprint, pages: Pages, sessions: Sessions) -> None:
    @blueprint.before_request
    def bound_forms() -> None:
        request.max_content_length = _MAX_FORM

    @blueprint.errorhandler(SignInNeeded)
    def ask_to_sign_in(_: SignInNeeded) -> ResponseReturnValue:
        if request.endpoint == "console.token":
            return jsonify({"error": "Unauthorized"}), 401
        # After the sign-in the form is not submitted again; the page that contains it is shown.
        back = request.full_path.rstrip("?") if request.method == "GET" else page_of(request.path)
        return redirect(f"/console/sign-in?{urlencode({'next': back})}", 303)

    # Unknown paths need a view here: without one, Flask would not associate the request with this blueprint,
    # and the answer would be the API's JSON.
    @blueprint.route("", methods=_METHODS[1:])
    @blueprint.route("/", methods=_METHODS)
    @blueprint.route("/<path:_>", methods=_METHODS)
    def nothing(_: str = "") -> ResponseReturnValue:
        g.session = sessions.current()
        raise NotFound

    @blueprint.after_request
    def finish(response: Response) -> Response:
        """Renders an error page in place of the JSON answer of ``api/errors.py``, the one table of errors."""
        if response.status_code >= _CLIENT_ERROR and response.is_json and request.endpoint != "console.token":
            session: Session | None = g.get("session")
            page = pages.render(
                "error.html", response.status_code, session=session, status=response.status_code
            )
            if "Retry-After" in response.headers:
                page.headers["Retry-After"] = response.headers["Retry-After"]
            response = page
        if request.path.startswith(_FONTS):
            return _cached(response)
        if request.endpoint == "console.static":
            compress(response)
        return pages.secure(response, compiles=request.path == HEIC_WORKER)


def _cached(font: Response) -> Response:
    """Lets a browser keep a font for a year: RFC 8246."""
    font.headers["X-Content-Type-Options"] = "nosniff"
    if font.status_code < _CLIENT_ERROR:
        font.headers["Cache-Control"] = "public, max-age=31536000, immutable"
    return font
