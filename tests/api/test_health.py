from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from flask.testing import FlaskClient

from catalog.base import Catalog
from catalog.errors import CatalogUnavailable
from storage.base import StorageBackend, StorageUnavailable
from tests.faults import fail_with
from version import VERSION


def test_a_running_process_is_healthy_even_if_its_stores_fail(
    anonymous: FlaskClient, catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catalog, "check", fail_with(CatalogUnavailable()))
    response = anonymous.get("/healthz")
    assert (response.status_code, response.json) == (200, {"status": "ok", "version": VERSION})


def test_a_server_whose_stores_answer_is_ready(anonymous: FlaskClient) -> None:
    response = anonymous.get("/readyz")
    assert (response.status_code, response.json) == (200, {"status": "ok", "storage": "ok", "catalog": "ok"})


def test_a_server_whose_store_fails_is_not_ready_and_says_which(
    anonymous: FlaskClient, storage: StorageBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage, "check", fail_with(StorageUnavailable("can't write to /srv/data")))
    response = anonymous.get("/readyz")
    body = {"error": "Not ready", "details": {"storage": "unavailable", "catalog": "ok"}}
    assert (response.status_code, response.json) == (503, body)
    assert int(response.headers["Retry-After"]) > 0


@pytest.fixture
def hanging() -> Iterator[threading.Event]:
    release = threading.Event()
    yield release
    release.set()


def test_a_store_that_hangs_is_unavailable_after_the_deadline_and_is_asked_once(
    anonymous: FlaskClient,
    storage: StorageBackend,
    catalog: Catalog,
    monkeypatch: pytest.MonkeyPatch,
    hanging: threading.Event,
) -> None:
    asked: list[int] = []

    def hang() -> None:
        asked.append(1)
        hanging.wait(30)

    monkeypatch.setattr("api.health.DEADLINE", 0.5)
    monkeypatch.setattr(storage, "check", lambda: None)  # a disk may take longer than this deadline
    monkeypatch.setattr(catalog, "check", hang)
    for _ in range(3):
        response = anonymous.get("/readyz")
        details = {"storage": "ok", "catalog": "unavailable"}
        assert (response.status_code, response.json) == (503, {"error": "Not ready", "details": details})
    assert asked == [1]


def test_a_server_is_ready_again_when_its_store_is_back(
    anonymous: FlaskClient, storage: StorageBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage, "check", fail_with(StorageUnavailable()))
    assert anonymous.get("/readyz").status_code == 503
    monkeypatch.undo()
    assert anonymous.get("/readyz").status_code == 200
