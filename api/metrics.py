"""What is counted, and ``GET /metrics``, which tells it in Prometheus' text format.

Under gunicorn each worker counts in files of the folder ``PROMETHEUS_MULTIPROC_DIR``, which
``gunicorn.conf.py`` makes, and whichever worker answers adds up all of them.
"""

from __future__ import annotations

import hmac
import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import wraps
from http import HTTPStatus
from typing import Final, ParamSpec

from flask import Blueprint, Response, make_response, request
from flask.typing import ResponseReturnValue
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, Counter, Histogram
from prometheus_client.exposition import generate_latest
from prometheus_client.multiprocess import MultiProcessCollector
from werkzeug.exceptions import HTTPException

from auth.bearer import Unauthenticated

P = ParamSpec("P")

UPLOADS: Final = Counter("vetrina_uploads_total", "Uploads by outcome.", ["outcome"])
UPLOAD_BYTES: Final = Counter("vetrina_upload_bytes_total", "Bytes of the uploads that were accepted.")
STAGE_SECONDS: Final = Histogram(
    "vetrina_upload_stage_seconds",
    "How long each stage of an upload took: parse, validate, store, append.",
    ["stage"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60),
)
STORE_ERRORS: Final = Counter(
    "vetrina_store_errors_total", "Requests that a store could not serve.", ["store"]
)

LIMITER_ERRORS: Final = Counter(
    "vetrina_limiter_errors_total", "Requests that were not counted, because the limiter's storage is down."
)


def stage(name: str) -> AbstractContextManager[object]:
    """Times a block as one stage of an upload."""
    return STAGE_SECONDS.labels(name).time()


def count_outcome(view: Callable[P, ResponseReturnValue]) -> Callable[P, ResponseReturnValue]:
    """Decorates a view whose outcome is counted: its status, or the code of the error it raises."""

    @wraps(view)
    def counted(*args: P.args, **kwargs: P.kwargs) -> ResponseReturnValue:
        try:
            answer = view(*args, **kwargs)
        except HTTPException:
            UPLOADS.labels("malformed").inc()
            raise
        except Exception as error:
            UPLOADS.labels(getattr(error, "code", "error")).inc()
            raise
        response = make_response(answer)
        UPLOADS.labels("created" if response.status_code == HTTPStatus.CREATED else "present").inc()
        return response

    return counted


def metrics_blueprint(token: str) -> Blueprint:
    """``GET /metrics``. If ``token`` is not empty, a request must bring it as a bearer token."""
    blueprint = Blueprint("metrics", __name__)

    @blueprint.get("/metrics")
    def metrics() -> ResponseReturnValue:
        sent = request.headers.get("Authorization", "")
        if token and not hmac.compare_digest(sent.encode(), f"Bearer {token}".encode()):
            raise Unauthenticated(token_sent=bool(sent))
        return Response(generate_latest(_registry()), content_type=CONTENT_TYPE_LATEST)

    return blueprint


def _registry() -> CollectorRegistry:
    if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
        return REGISTRY
    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return registry
