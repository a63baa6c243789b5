"""``/api/oauth`` and ``/.well-known``: the OAuth endpoints that apps call.

The authorization endpoint, which the user's browser opens, is in ``console/consent.py``.
"""

from __future__ import annotations

import json
from typing import Final
from urllib.parse import parse_qs

from flask import Blueprint, Response, jsonify, request
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import BadRequest, HTTPException, NotFound, RequestEntityTooLarge

from api.body import TooManyValues, json_body, read_body
from auth.budgets import Budgets
from auth.oauth.metadata import resource_metadata, server_metadata
from auth.oauth.server import Answer, OAuthServer
from errors import InvalidFields

_MAX_FORM: Final = 16 * 1024
_FORM_TYPE: Final = "application/x-www-form-urlencoded"


def oauth_response(answer: Answer) -> Response:
    """Converts an answer of the authorization server to a Flask response."""
    response = Response(answer.body) if isinstance(answer.body, str) else jsonify(answer.body)
    response.status_code = answer.status
    for name, value in answer.headers:
        response.headers[name] = value
    response.headers["Cache-Control"] = "no-store"
    return response


def form_parameters() -> dict[str, list[str]]:
    """The parameters of the form in the body (RFC 6749 appendix B).

    Parameters in the query are ignored: RFC 6749 section 3.2.

    Raises:
        BadRequest: the form can't be parsed.
    """
    if request.mimetype != _FORM_TYPE:
        return {}
    try:
        text = read_body(_MAX_FORM).decode("ascii")
        return parse_qs(text, encoding="utf-8", errors="strict", max_num_fields=50)
    except ValueError:
        raise BadRequest("Malformed form") from None


def oauth_blueprint(oauth: OAuthServer, budgets: Budgets) -> Blueprint:
    """The endpoints of OAuth 2.0, except the authorization endpoint."""
    blueprint = Blueprint("oauth", __name__)
    registration = oauth.max_registered_clients > 0

    @blueprint.errorhandler(BadRequest)
    @blueprint.errorhandler(RequestEntityTooLarge)
    def refuse(_: HTTPException) -> ResponseReturnValue:
        return oauth_response(oauth.malformed())

    @blueprint.get("/.well-known/oauth-authorization-server")
    def authorization_server() -> ResponseReturnValue:
        return jsonify(server_metadata(oauth.issuer, registration=registration))

    @blueprint.get("/.well-known/oauth-protected-resource")
    def protected_resource() -> ResponseReturnValue:
        return jsonify(resource_metadata(oauth.issuer))

    @blueprint.post("/api/oauth/token")
    def token() -> ResponseReturnValue:
        return oauth_response(oauth.token(dict(request.headers), form_parameters()))

    @blueprint.post("/api/oauth/revoke")
    def revoke() -> ResponseReturnValue:
        return oauth_response(oauth.revoke(dict(request.headers), form_parameters()))

    @blueprint.post("/api/oauth/register")
    def register() -> ResponseReturnValue:
        if not registration:
            raise NotFound
        budgets.count_registration(request.remote_addr or "")
        try:
            metadata = json.loads(json_body())
        except (ValueError, RecursionError, TooManyValues, InvalidFields):
            metadata = None
        return oauth_response(oauth.register(metadata))

    return blueprint
