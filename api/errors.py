"""The one table that maps domain errors to HTTP statuses, and the JSON body of every error.

A domain error has a stable code and a message (``errors.py``); only this module maps codes to statuses. Any
other exception becomes a 500: it is logged with its traceback and the request id that the client receives.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from functools import partial
from http import HTTPStatus
from typing import Any, Final

from flask import Flask, Response, g, jsonify
from pydantic import ValidationError
from werkzeug.exceptions import HTTPException

from api.metrics import STORE_ERRORS
from api.requests import note
from auth.bearer import InsufficientScope, Unauthenticated
from catalog.errors import CatalogUnavailable
from errors import DomainError, InvalidFields
from storage.base import ObjectNotFound, StorageUnavailable
from validators.base import Rejected

log = logging.getLogger(__name__)

#: How often the traceback of a store that is down is logged, in seconds.
_TRACEBACK_EVERY: Final = 60.0

#: The status of each ``code``. The codes that are missing here belong to the console and the commands.
STATUS: Final = {
    "invalid_fields": 400,
    # validators
    "no_file": 400,
    "several_files": 400,
    "bad_digest": 400,
    "corrupt_image": 400,
    "too_many_parts": 400,
    "too_many_pixels": 400,
    "too_large": 413,
    "unsupported_type": 415,
    "decoder_unavailable": 503,
    # auth
    "unauthenticated": 401,
    "insufficient_scope": 403,
    "not_local": 403,
    "budget_spent": 429,
    "too_many_failures": 429,
    "hashing_busy": 503,
    # turns
    "share_used": 429,
    "client_gone": 499,  # nginx's status for its access log; the client has already disconnected
    "server_busy": 503,
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
    "workspace_not_empty": 409,
    "version_mismatch": 412,
    "product_full": 422,
    "product_quota_reached": 422,
    "image_quota_reached": 422,
    "byte_quota_reached": 422,
    "idempotency_keys_used_up": 422,
    "quota_not_supported": 422,
    "catalog_unavailable": 503,
    "outcome_unknown": 503,
    # storage
    "object_not_found": 404,
    "storage_unavailable": 503,
    # sizes
    "not_resizable": 500,  # every stored picture is readable, so its file is damaged
    "size_unavailable": 503,
}


def error_response(status: int, error: str, details: object = None, *, message: str = "") -> Response:
    """The contract's error body.

    Args:
        status: the HTTP status.
        error: the stable text.
        details: JSON data about the error, or None.
        message: a sentence for a person, which published clients show. A conflict always has one: by default
            ``error``.
    """
    body: dict[str, object] = {"error": error}
    if message or status == HTTPStatus.CONFLICT:
        body["message"] = message or error
    if details is not None:
        body["details"] = details
    response = jsonify(body)
    response.status_code = status
    return response


def _domain_error(error: DomainError) -> Response:
    if error.code not in STATUS:
        return _unexpected(error)
    note(outcome=error.code)
    message = str(error) if isinstance(error, InvalidFields) else ""
    response = error_response(STATUS[error.code], error.message, error.details, message=message)
    if error.retry_after is not None:
        response.headers["Retry-After"] = str(error.retry_after)
    return response


def _rejected(error: Rejected) -> Response:
    log.info("upload refused by %s: %s (%s)", error.validator, error.code, error.reason)
    return _domain_error(error)


def _unauthenticated(resource_metadata: str, error: Unauthenticated) -> Response:
    challenge = 'Bearer realm="vetrina"'
    if error.token_sent:
        challenge += ', error="invalid_token"'
    # A client that has no token finds the authorization server by this URL: RFC 9728 section 5.1.
    challenge += f', resource_metadata="{resource_metadata}"'
    response = _domain_error(error)
    response.headers["WWW-Authenticate"] = challenge
    return response


def _insufficient_scope(error: InsufficientScope) -> Response:
    response = _domain_error(error)
    response.headers["WWW-Authenticate"] = (
        f'Bearer realm="vetrina", error="insufficient_scope", scope="{error.scope}"'
    )
    return response


class _Outages:
    """Logs the traceback of an unavailable store once a minute. The line of each request has the reason."""

    def __init__(self) -> None:
        self._reported: dict[str, float] = {}

    def report(self, store: str, error: Exception) -> None:
        at = time.monotonic()
        if at - self._reported.get(store, -_TRACEBACK_EVERY) >= _TRACEBACK_EVERY:
            self._reported[store] = at
            log.error("%s unavailable: %s", store, error, exc_info=error)


_OUTAGES: Final = _Outages()


def _store_unavailable(store: str, error: CatalogUnavailable | StorageUnavailable) -> Response:
    note(reason=str(error))
    _OUTAGES.report(store, error)
    STORE_ERRORS.labels(store).inc()
    return _domain_error(error)


def _object_not_found(error: ObjectNotFound) -> Response:
    response = _domain_error(error)
    response.headers["Cache-Control"] = "no-store"  # the object may be written later
    return response


#: Sentences that replace those of pydantic.
_PLAIN: Final = {"missing": "Required", "extra_forbidden": "Unknown field"}

#: The most fields that an answer names, and the most characters of a name. A body of 1 MB can have a hundred
#: thousand unknown fields, and its answer, which Idempotency-Key stores, would be five times as long.
_MAX_FIELDS: Final = 50
_MAX_NAME: Final = 100


def _invalid_json(error: ValidationError) -> Response:
    if error.error_count() == 1:  # a body that is not a JSON object has no other error
        [problem] = error.errors(include_url=False, include_input=False)
        if problem["type"] == "json_invalid":
            return error_response(400, "Request body is not valid JSON")
        if not problem["loc"]:
            return error_response(400, "Request body must be a JSON object")
    return _domain_error(invalid_fields(error))


def invalid_fields(error: ValidationError) -> InvalidFields:
    """The sentences about each field of a JSON object that a schema refuses, at most ``_MAX_FIELDS``."""
    field_errors: dict[str, list[str]] = {}
    for problem in error.errors(include_url=False, include_input=False):
        field = str(problem["loc"][0])[:_MAX_NAME]
        if field not in field_errors and len(field_errors) == _MAX_FIELDS:
            break
        reasons = field_errors.setdefault(field, [])
        reason = _PLAIN.get(problem["type"], problem["msg"].removeprefix("Value error, "))
        if reason not in reasons:
            reasons.append(reason)
    return InvalidFields(field_errors)


def _http_error(error: HTTPException) -> Response:
    status = error.code or 500
    note(outcome=error.name.lower().replace(" ", "_"))
    # Werkzeug's default descriptions address users of browsers, so only descriptions from our code are kept.
    given = error.description if error.description != type(error).description else None
    response = error_response(status, given or error.name.capitalize())
    for name, value in error.get_headers():
        if name != "Content-Type":
            response.headers[name] = value
    return response


def _unexpected(error: Exception) -> Response:
    note(outcome="internal_error")
    log.error("unexpected error in request %s", g.request_id, exc_info=error)
    return error_response(500, "Internal server error", {"requestId": g.request_id})


def register_errors(app: Flask, public_url: str) -> None:
    """Registers handlers that turn every error of the app into a response in the contract's JSON.

    Args:
        app: the application.
        public_url: the server's base URL, under which clients find its OAuth metadata.
    """
    resource_metadata = f"{public_url}/.well-known/oauth-protected-resource"
    handlers: dict[type[Exception], Callable[[Any], Response]] = {
        DomainError: _domain_error,
        Rejected: _rejected,
        Unauthenticated: partial(_unauthenticated, resource_metadata),
        InsufficientScope: _insufficient_scope,
        CatalogUnavailable: partial(_store_unavailable, "catalog"),
        StorageUnavailable: partial(_store_unavailable, "storage"),
        ObjectNotFound: _object_not_found,
        ValidationError: _invalid_json,
        HTTPException: _http_error,
        Exception: _unexpected,
    }
    for exception, handler in handlers.items():
        app.register_error_handler(exception, handler)
