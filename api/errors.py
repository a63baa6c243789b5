"""The one table from what can go wrong to what the client is told.

Domain errors carry a stable ``code`` and a sentence; only here do they become statuses. Whatever else
happens is a 500 that the client can report by its request id, and that is logged with its traceback.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from flask import Flask, Response, g, jsonify
from pydantic import ValidationError
from werkzeug.exceptions import HTTPException

from api.metrics import STORE_ERRORS
from auth.bearer import InsufficientScope, Unauthenticated
from auth.budgets import BudgetSpent, TooManyFailures
from catalog.errors import CatalogError, CatalogUnavailable
from products import ImageUrlsRefused, NotInPlan
from storage.base import ObjectNotFound, StorageUnavailable
from validators.base import Rejected

log = logging.getLogger(__name__)

STATUS: Final = {
    # validators
    "no_file": 400,
    "several_files": 400,
    "bad_digest": 400,
    "corrupt_image": 400,
    "too_many_parts": 400,
    "too_many_pixels": 400,
    "too_large": 413,
    "unsupported_type": 415,
    # auth
    "unauthenticated": 401,
    "insufficient_scope": 403,
    "budget_spent": 429,
    "too_many_failures": 429,
    # products
    "not_in_plan": 403,
    # catalog
    "workspace_not_found": 404,
    "client_not_found": 404,
    "credential_not_found": 404,
    "user_not_found": 404,
    "product_not_found": 404,
    "image_not_found": 404,
    "duplicate_credential": 409,
    "duplicate_email": 409,
    "duplicate_model": 409,
    "version_mismatch": 412,
    "product_full": 422,
    "product_quota_reached": 422,
    "image_quota_reached": 422,
    "byte_quota_reached": 422,
    "idempotency_keys_used_up": 422,
    "quota_not_supported": 422,
}

#: Seconds after which a client may try again when a store is down.
RETRY_AFTER: Final = 5


class InvalidRequest(Exception):
    """Fields of a request that can't be taken: the contract's validation error.

    Attributes:
        field_errors: for each field, why.
    """

    def __init__(self, field_errors: dict[str, list[str]]) -> None:
        super().__init__("Validation error")
        self.field_errors = field_errors


def error_response(status: int, error: str, details: object = None) -> Response:
    """The contract's error body."""
    response = jsonify({"error": error} if details is None else {"error": error, "details": details})
    response.status_code = status
    return response


def _rejected(error: Rejected) -> Response:
    validator = ", ".join(getattr(error, "__notes__", ["form"]))
    log.info("upload refused by %s: %s (%s)", validator, error.code, error.reason)
    return error_response(STATUS[error.code], error.message)


def _unauthenticated(resource_metadata: str, error: Unauthenticated) -> Response:
    response = error_response(STATUS[error.code], error.message)
    challenge = 'Bearer realm="vetrina"'
    if error.token_sent:
        challenge += ', error="invalid_token"'
    # A client that has no token finds the authorization server by this URL: RFC 9728 section 5.1.
    challenge += f', resource_metadata="{resource_metadata}"'
    response.headers["WWW-Authenticate"] = challenge
    return response


def _insufficient_scope(error: InsufficientScope) -> Response:
    response = error_response(STATUS[error.code], error.message, {"requiredScope": error.scope})
    response.headers["WWW-Authenticate"] = (
        f'Bearer realm="vetrina", error="insufficient_scope", scope="{error.scope}"'
    )
    return response


def _too_many(error: BudgetSpent | TooManyFailures) -> Response:
    response = error_response(STATUS[error.code], error.message)
    response.headers["Retry-After"] = str(error.retry_after)
    return response


def _refused(error: CatalogError | NotInPlan) -> Response:
    return error_response(STATUS[error.code], str(error))


def _unavailable(error: CatalogUnavailable | StorageUnavailable) -> Response:
    log.error("store unavailable: %s", error, exc_info=error)
    STORE_ERRORS.labels("catalog" if isinstance(error, CatalogUnavailable) else "storage").inc()
    response = error_response(503, "Service temporarily unavailable")
    response.headers["Retry-After"] = str(RETRY_AFTER)
    return response


def _object_not_found(_: ObjectNotFound) -> Response:
    response = error_response(404, "Not found")
    response.headers["Cache-Control"] = "no-store"
    return response


def _invalid_request(error: InvalidRequest) -> Response:
    return error_response(400, "Validation error", {"fieldErrors": error.field_errors})


def _image_urls_refused(error: ImageUrlsRefused) -> Response:
    return _invalid_request(InvalidRequest({"imageUrls": list(error.reasons)}))


#: What pydantic says that a client would rather read in other words.
_PLAIN: Final = {"missing": "Required", "extra_forbidden": "Unknown field"}


def _invalid_json(error: ValidationError) -> Response:
    field_errors: dict[str, list[str]] = {}
    for problem in error.errors(include_url=False, include_input=False):
        if problem["type"] == "json_invalid":
            return error_response(400, "Request body is not valid JSON")
        if not problem["loc"]:
            return error_response(400, "Request body must be a JSON object")
        reasons = field_errors.setdefault(str(problem["loc"][0]), [])
        reason = _PLAIN.get(problem["type"], problem["msg"].removeprefix("Value error, "))
        if reason not in reasons:
            reasons.append(reason)
    return _invalid_request(InvalidRequest(field_errors))


def _http_error(error: HTTPException) -> Response:
    status = error.code or 500
    # Werkzeug's own sentences speak of browsers; ours, where a view gave one, say what was wrong.
    given = error.description if error.description != type(error).description else None
    response = error_response(status, given or error.name.capitalize())
    for name, value in error.get_headers():
        if name != "Content-Type":
            response.headers[name] = value
    return response


def _unexpected(error: Exception) -> Response:
    log.error("unexpected error in request %s", g.request_id, exc_info=error)
    return error_response(500, "Internal server error", {"requestId": g.request_id})


def register_errors(app: Flask, public_url: str) -> None:
    """Makes every error of the app, whoever raises it, an answer in the contract's JSON.

    Args:
        app: the application.
        public_url: the server's base URL, where clients find its metadata.
    """
    resource_metadata = f"{public_url}/.well-known/oauth-protected-resource"
    handlers: dict[type[Exception], Callable[[Any], Response]] = {
        Rejected: _rejected,
        Unauthenticated: partial(_unauthenticated, resource_metadata),
        InsufficientScope: _insufficient_scope,
        BudgetSpent: _too_many,
        TooManyFailures: _too_many,
        NotInPlan: _refused,
        ImageUrlsRefused: _image_urls_refused,
        CatalogError: _refused,
        CatalogUnavailable: _unavailable,
        StorageUnavailable: _unavailable,
        ObjectNotFound: _object_not_found,
        InvalidRequest: _invalid_request,
        ValidationError: _invalid_json,
        HTTPException: _http_error,
        Exception: _unexpected,
    }
    for exception, handler in handlers.items():
        app.register_error_handler(exception, handler)
