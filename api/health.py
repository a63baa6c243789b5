"""``/healthz``: the process is running. ``/readyz``: its stores answer."""

from __future__ import annotations

import logging
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Final

from flask import Blueprint, jsonify
from flask.typing import ResponseReturnValue

from api.errors import error_response
from catalog.base import Catalog
from errors import Unavailable
from storage.base import StorageBackend
from version import VERSION

#: The most seconds for which ``/readyz`` waits for its stores.
DEADLINE: Final = 2.0

log = logging.getLogger(__name__)


class _Probe:
    """Checks one store in a thread. While a check hangs, no further check of that store starts."""

    def __init__(self, store: StorageBackend | Catalog) -> None:
        self._store = store
        self._pool = ThreadPoolExecutor(1, "readyz")
        self._asked: Future[None] | None = None

    def ask(self) -> Future[None]:
        if self._asked is None or self._asked.done():
            self._asked = self._pool.submit(self._store.check)
        return self._asked


def _answered(asked: Future[None]) -> bool:
    if not asked.done():
        return False
    if error := asked.exception():
        log.warning("a store is not ready: %s", error)
    return error is None


def health_blueprint(storage: StorageBackend, catalog: Catalog) -> Blueprint:
    """The endpoints that an orchestrator or a load balancer probes. They need no token."""
    blueprint = Blueprint("health", __name__)
    probes = {"storage": _Probe(storage), "catalog": _Probe(catalog)}

    @blueprint.get("/healthz")
    def healthz() -> ResponseReturnValue:
        return jsonify({"status": "ok", "version": VERSION})

    @blueprint.get("/readyz")
    def readyz() -> ResponseReturnValue:
        asked = {store: probe.ask() for store, probe in probes.items()}
        wait(asked.values(), timeout=DEADLINE)
        states = {store: "ok" if _answered(future) else "unavailable" for store, future in asked.items()}
        if set(states.values()) == {"ok"}:
            return jsonify({"status": "ok", **states})
        response = error_response(503, "Not ready", states)
        response.headers["Retry-After"] = str(Unavailable.retry_after)
        return response

    return blueprint
