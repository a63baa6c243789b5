"""The server's counters, and ``GET /metrics``, which shows them in Prometheus' text format.

Under gunicorn each worker counts in files of the folder ``PROMETHEUS_MULTIPROC_DIR``, which
``gunicorn.conf.py`` makes. The worker that answers ``/metrics`` adds up the files of all workers.
"""

from __future__ import annotations

import hmac
import os
import platform
import time
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from functools import wraps
from http import HTTPMethod, HTTPStatus
from ipaddress import ip_address
from typing import Final, ParamSpec

from flask import Blueprint, Response, g, make_response, request
from flask.typing import ResponseReturnValue
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, Counter, Histogram
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.exposition import generate_latest
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector
from werkzeug.exceptions import HTTPException

from api.process_metrics import ServerProcesses
from api.totals_metrics import CatalogTotals
from auth.bearer import Unauthenticated
from catalog.daily_usage import Totals
from catalog.errors import CatalogError
from catalog.ids import now
from catalog.purges import Backlog
from errors import DomainError
from version import VERSION

P = ParamSpec("P")

_BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)

REQUESTS: Final = Counter(
    "vetrina_requests_total", "Requests by method, route and status.", ["method", "route", "status"]
)
REQUEST_SECONDS: Final = Histogram(
    "vetrina_request_seconds",
    "Seconds from the first view of a request to its answer, by route.",
    ["route"],
    buckets=_BUCKETS,
)
UPLOADS: Final = Counter("vetrina_uploads_total", "Uploads by outcome.", ["outcome"])
UPLOAD_BYTES: Final = Counter("vetrina_upload_bytes_total", "Bytes of the accepted uploads.")
STAGE_SECONDS: Final = Histogram(
    "vetrina_upload_stage_seconds",
    "Seconds of each stage of an upload: parse, validate, store, append.",
    ["stage"],
    buckets=_BUCKETS,
)
SIZES: Final = Counter(
    "vetrina_sizes_total",
    "Sizes of images by outcome: made, served by this server (or redirected to the bucket), failed, or "
    "refused because the server has no room for the work.",
    ["outcome"],
)
SIZE_WAIT_SECONDS: Final = Histogram(
    "vetrina_size_wait_seconds",
    "Seconds that a request for a missing size waited before it was made, by this request or another one.",
    buckets=_BUCKETS,
)
SIGN_INS: Final = Counter(
    "vetrina_sign_ins_total", "Attempts to sign in to the console by outcome: ok, or why not.", ["outcome"]
)
STORE_ERRORS: Final = Counter(
    "vetrina_store_errors_total", "Requests that failed because a store was unavailable.", ["store"]
)
PURGES: Final = Counter("vetrina_purges_total", "URLs by the outcome of their purge.", ["outcome"])
LIMITER_ERRORS: Final = Counter(
    "vetrina_limiter_errors_total",
    "Counts that a process made on its own because the limiter's storage was unavailable.",
)


class _BuildInfo(Collector):
    """A gauge that is always 1; its labels are the versions of the server and of Python."""

    def collect(self) -> Iterable[Metric]:
        labels = {"version": VERSION, "python": platform.python_version()}
        gauge = GaugeMetricFamily("vetrina_build_info", "Versions of the server.", labels=list(labels))
        gauge.add_metric(list(labels.values()), 1)
        yield gauge


REGISTRY.register(_BuildInfo())


def stage(name: str) -> AbstractContextManager[object]:
    """Times a block as one stage of an upload."""
    return STAGE_SECONDS.labels(name).time()


def count_outcome(view: Callable[P, ResponseReturnValue]) -> Callable[P, ResponseReturnValue]:
    """Decorates the upload view: counts ``created``, ``present``, or the code of the error that it raises."""

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


def _count_request(response: Response) -> Response:
    # A client can send any path and any word as the method. Only routes and known methods become labels, so
    # that the number of time series is bounded.
    route = request.url_rule.rule if request.url_rule else "(none)"
    method = request.method if request.method in HTTPMethod.__members__ else "(other)"
    REQUESTS.labels(method, route, response.status_code).inc()
    REQUEST_SECONDS.labels(route).observe(time.monotonic() - g.started)
    return response


class PurgeBacklog(Collector):
    """Gauges of the queue of purges, read from the catalog when they are asked for."""

    def __init__(self, backlog: Callable[[], Backlog]) -> None:
        self._backlog = backlog

    def collect(self) -> Iterable[Metric]:
        try:
            backlog = self._backlog()
        except CatalogError:
            return  # its own metrics tell that it is down
        age = (now() - backlog.oldest).total_seconds() if backlog.oldest else 0
        yield GaugeMetricFamily(
            "vetrina_purges_waiting", "URLs that Cloudflare has still to drop.", value=backlog.length
        )
        yield GaugeMetricFamily(
            "vetrina_purges_oldest_seconds", "Seconds since the oldest of them was queued.", value=max(age, 0)
        )


class NotLocal(DomainError):
    """Without METRICS_TOKEN, the metrics are for this machine alone."""

    code = "not_local"
    message = "The metrics are for this machine alone, unless METRICS_TOKEN is set"


#: The headers, in lower case, by which a proxy shows itself. RFC 7239 defines Forwarded, and RFC 9110
#: section 7.6.3 Via.
_PROXY_HEADERS: Final = frozenset(
    {"forwarded", "via", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-real-ip"}
)


def _is_local() -> bool:
    """Whether the request comes from this machine. One that a proxy has passed on does not.

    ``ProxyFix`` reads the client's address from ``X-Forwarded-For`` alone. Without that header, the address
    is that of the proxy.
    """
    is_trusted = "werkzeug.proxy_fix.orig" in request.environ and "X-Forwarded-For" in request.headers
    if not is_trusted and not _PROXY_HEADERS.isdisjoint(map(str.lower, request.headers.keys())):
        return False
    try:
        address = ip_address(request.remote_addr or "")
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return bool((mapped or address).is_loopback)


def metrics_blueprint(
    token: str,
    count_failure: Callable[[str], None],
    totals: Callable[[], Totals],
    backlog: Callable[[], Backlog] | None = None,
) -> Blueprint:
    """``GET /metrics``, and the counting of every request.

    Args:
        token: the bearer token that ``/metrics`` requires; empty: it answers this machine alone.
        count_failure: counts a wrong token of an address; raises TooManyFailures.
        totals: counts what all workspaces have.
        backlog: returns the length of the queue of purges; None if nothing is purged.
    """
    own = CollectorRegistry()
    own.register(CatalogTotals(totals))
    if backlog:
        own.register(PurgeBacklog(backlog))
    blueprint = Blueprint("metrics", __name__)
    blueprint.after_app_request(_count_request)

    @blueprint.get("/metrics")
    def metrics() -> ResponseReturnValue:
        sent = request.headers.get("Authorization", "")
        if not token and not _is_local():
            raise NotLocal
        if token and not hmac.compare_digest(sent.encode(), f"Bearer {token}".encode()):
            count_failure(request.remote_addr or "")
            raise Unauthenticated(token_sent=bool(sent))
        text = generate_latest(_registry()) + generate_latest(own)
        return Response(text, content_type=CONTENT_TYPE_LATEST)

    return blueprint


def _registry() -> CollectorRegistry:
    if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
        return REGISTRY
    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]  # prometheus_client leaves it untyped
    registry.register(_BuildInfo())
    registry.register(ServerProcesses())
    return registry
