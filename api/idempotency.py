"""``Idempotency-Key``: stores the first answer to a write, and sends it again if the write is repeated.

The key is claimed in the catalog before the request runs, so that only one of two simultaneous requests
runs. A process that dies before it stores the answer leaves a claim without one; once the lease of the claim
has ended, a repeated request runs.
"""

from __future__ import annotations

import hashlib
import logging
import secrets
import time
from collections.abc import Callable
from datetime import timedelta
from functools import wraps
from threading import BoundedSemaphore
from typing import Concatenate, Final, ParamSpec

from flask import Response, current_app, request
from flask.typing import ResponseReturnValue

from api.body import json_body
from api.errors import error_response
from api.requests import note
from auth.bearer import Principal
from catalog.base import Catalog, IdempotencyClaim, StoredAnswer
from catalog.errors import CatalogUnavailable
from catalog.ids import now
from errors import InvalidFields

MAX_KEY: Final = 255
KEPT_FOR: Final = timedelta(hours=24)
#: Longer than a request takes after it has claimed its key, when its body has arrived. The longest one
#: replaces the images of a product: a second of retries, three calls of a catalog of up to 8 s each, 8 s of
#: deletions in a store, and a last call of it, of up to 8 s. If a second request ran earlier,
#: ``DELETE …/images/0`` would delete two images. The key of a worker that died stays claimed as long.
LEASE: Final = timedelta(seconds=60)
#: How long a second request waits for the first, and the interval between two checks, in seconds.
WAIT: Final = 1.0
POLL: Final = 0.05
#: The most requests of a process that wait so. Each holds a thread, of which a process has 320.
MAX_WAITING: Final = 48

#: The request has not run: it came too often, or its client hung up while it waited.
_NOT_STORED: Final = {429, 499}
_REPLAYED_HEADERS: Final = ("Content-Type", "Location", "ETag", "Cache-Control", "WWW-Authenticate")
_REUSED: Final = (
    "Idempotency-Key has already been used with a different request body. "
    "Use a new key for the new request, or reuse the original body."
)
_RUNNING: Final = "The first request with this Idempotency-Key is still running"

log = logging.getLogger(__name__)

P = ParamSpec("P")
View = Callable[Concatenate[Principal, P], ResponseReturnValue]


class IdempotencyKeys:
    """Makes views idempotent: a repeated request gets the stored answer."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._waiting = BoundedSemaphore(MAX_WAITING)

    def idempotent(self, view: View[P]) -> View[P]:
        """Decorates a view that takes a principal. It has no effect on a request without the header."""

        @wraps(view)
        def repeatable(principal: Principal, /, *args: P.args, **kwargs: P.kwargs) -> ResponseReturnValue:
            key = request.headers.get("Idempotency-Key")
            if key is None:
                return view(principal, *args, **kwargs)
            if not 1 <= len(key) <= MAX_KEY:
                raise InvalidFields({"Idempotency-Key": [f"Must have 1 to {MAX_KEY} characters"]})
            claim = _claim(principal.workspace_id, key)
            standing = self._wait(claim)
            if standing is not None:
                return _answer_of(standing, claim)
            return self._run(claim, lambda: view(principal, *args, **kwargs))

        return repeatable

    def _wait(self, claim: IdempotencyClaim) -> IdempotencyClaim | None:
        """Returns None if it claimed the key; else the existing claim, after a short wait for its answer.

        If too many requests wait already, it does not wait.
        """
        standing = self._catalog.claim_idempotency_key(claim, now())
        if not _is_running(standing, claim) or not self._waiting.acquire(blocking=False):
            return standing
        try:
            deadline = time.monotonic() + WAIT
            while _is_running(standing, claim) and time.monotonic() < deadline:
                time.sleep(POLL)
                standing = self._catalog.claim_idempotency_key(claim, now())
        finally:
            self._waiting.release()
        return standing

    def _run(self, claim: IdempotencyClaim, view: Callable[[], ResponseReturnValue]) -> Response:
        try:
            answer = current_app.make_response(view())
        except Exception as error:  # noqa: BLE001  # an error becomes an answer, which may be stored
            answer = current_app.make_response(current_app.handle_user_exception(error))
        try:
            if answer.status_code >= 500 or answer.status_code in _NOT_STORED:  # noqa: PLR2004  # HTTP status
                self._catalog.release_idempotency_key(claim)
            else:
                self._catalog.complete_idempotency_key(claim, _stored(answer))
        except CatalogUnavailable as error:
            # The answer still tells whether the write succeeded, but a repetition may not get it again.
            log.warning("the answer of an Idempotency-Key could not be kept: %s", error)
        return answer


def _is_running(standing: IdempotencyClaim | None, claim: IdempotencyClaim) -> bool:
    """Whether the key belongs to the same request, which has no answer yet."""
    return standing is not None and standing.answer is None and standing.fingerprint == claim.fingerprint


def _claim(workspace_id: str, key: str) -> IdempotencyClaim:
    head = f"{request.method} {request.full_path}\n{request.headers.get('If-Match', '')}\n"
    at = now()
    return IdempotencyClaim(
        workspace_id=workspace_id,
        key=key,
        fingerprint=hashlib.sha256(head.encode() + json_body()).digest(),
        token=secrets.token_hex(8),
        lease_until=at + LEASE,
        expires_at=at + KEPT_FOR,
    )


def _stored(answer: Response) -> StoredAnswer:
    headers = {name: answer.headers[name] for name in _REPLAYED_HEADERS if name in answer.headers}
    return StoredAnswer(answer.status_code, headers, answer.get_data())


def _answer_of(standing: IdempotencyClaim, claim: IdempotencyClaim) -> Response:
    if standing.fingerprint != claim.fingerprint:
        return error_response(422, _REUSED)
    if standing.answer is None:
        return error_response(409, _RUNNING)
    answer = Response(standing.answer.body, standing.answer.status, dict(standing.answer.headers))
    answer.headers["Idempotency-Replayed"] = "true"
    note(outcome="replayed")
    return answer
