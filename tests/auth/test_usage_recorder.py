"""What the recorder of usage writes into the catalog, and when."""

from __future__ import annotations

import socket
import threading
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
import requests
from flask import Flask

from auth.budgets import DAILY_WRITES
from auth.tokens import READ
from auth.usage_recorder import UsageRecorder
from catalog.base import Catalog
from catalog.daily_usage import UsageDay
from catalog.errors import CatalogUnavailable, OutcomeUnknown
from catalog.identity import Plan, Usage, Workspace
from catalog.ids import now
from tests.conftest import NewTenant
from tests.factories import client_with, hosted_image, issue_key, new_product, new_workspace
from tests.faults import fail_with
from tests.servers import gunicorn

EVENING = datetime(2026, 11, 23, 23, 59, tzinfo=UTC)
MONDAY, TUESDAY = date(2026, 11, 23), date(2026, 11, 24)


@pytest.fixture
def time() -> list[datetime]:
    """The only entry is the time of the recorder."""
    return [EVENING]


@pytest.fixture
def recorder(catalog: Catalog, time: list[datetime]) -> UsageRecorder:
    return UsageRecorder(catalog, interval=0, clock=lambda: time[0])


def test_writes_are_recorded_on_their_day_with_what_is_stored_then(
    recorder: UsageRecorder, catalog: Catalog, workspace: Workspace, time: list[datetime]
) -> None:
    new_product(catalog, workspace, images=(hosted_image(size=7),))
    for _ in range(3):
        recorder.count_write(workspace.id)
    assert catalog.list_usage_days(workspace.id) == []
    recorder.record()
    stored = Usage(products=1, images=1, bytes=7)
    monday = UsageDay(workspace_id=workspace.id, day=MONDAY, writes=3, usage=stored)
    assert catalog.list_usage_days(workspace.id) == [monday]
    recorder.count_write(workspace.id)
    time[0] += timedelta(minutes=2)
    recorder.count_write(workspace.id)
    recorder.record()
    days = catalog.list_usage_days(workspace.id)
    assert [(day.day, day.writes) for day in days] == [(MONDAY, 4), (TUESDAY, 1)]
    recorder.record()
    assert catalog.list_usage_days(workspace.id) == days


def test_writes_within_the_budget_that_the_key_allows_are_counted(
    app: Flask, new_tenant: NewTenant, catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(DAILY_WRITES, Plan.FREE, 2)
    for plan, writes in ((Plan.FREE, 2), (Plan.PRO, 3)):
        tenant = new_tenant(plan)
        reader = client_with(app, issue_key(catalog, tenant.workspace, scopes=frozenset({READ})))
        for _ in range(3):
            tenant.client.post("/api/v1/products", json={})
        assert reader.post("/api/v1/products", json={}).status_code == 403
        assert reader.get("/api/v1/products").status_code == 200
        app.extensions["usage"].record()
        assert [day.writes for day in catalog.list_usage_days(tenant.workspace.id)] == [writes]


def test_what_is_stored_is_counted_again_after_a_while(
    recorder: UsageRecorder, catalog: Catalog, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def recorded() -> Usage | None:
        recorder.record()
        (day,) = catalog.list_usage_days(workspace.id)
        return day.usage

    recorder.count_write(workspace.id)
    assert recorded() == Usage()
    new_product(catalog, workspace)
    recorder.count_write(workspace.id)
    assert recorded() == Usage()
    monkeypatch.setattr("auth.usage_recorder._COUNT_EVERY", 0)
    monkeypatch.setattr("auth.usage_recorder._TIMES", 0)
    recorder._next_count.clear()
    recorder._counted.clear()
    assert recorded() == Usage(products=1)  # without a further write


def test_a_count_that_is_older_than_the_writes_is_not_recorded(
    recorder: UsageRecorder, catalog: Catalog, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("auth.usage_recorder._TIMES", 10**12)
    assert recorder.current(workspace.id) == Usage()
    new_product(catalog, workspace)
    recorder.count_write(workspace.id)
    assert recorder.current(workspace.id) == Usage()
    recorder.record()
    unknown = UsageDay(workspace_id=workspace.id, day=MONDAY, writes=1)
    assert catalog.list_usage_days(workspace.id) == [unknown]
    recorder.finish()
    assert catalog.list_usage_days(workspace.id) == [replace(unknown, usage=Usage(products=1))]


def test_one_workspace_is_recorded_alone(recorder: UsageRecorder, catalog: Catalog) -> None:
    ours, theirs = (new_workspace(catalog).id for _ in range(2))
    recorder.count_write(ours)
    recorder.count_write(theirs)
    recorder.record(only=ours)
    assert [day.writes for day in catalog.list_usage_days(ours)] == [1]
    assert catalog.list_usage_days(theirs) == []
    recorder.record()
    assert [day.writes for day in catalog.list_usage_days(theirs)] == [1]


@pytest.mark.parametrize(("error", "writes"), [(CatalogUnavailable(), 2), (OutcomeUnknown(), 1)])
def test_writes_are_recorded_later_if_the_catalog_is_down_and_never_twice(
    recorder: UsageRecorder,
    catalog: Catalog,
    workspace: Workspace,
    monkeypatch: pytest.MonkeyPatch,
    error: CatalogUnavailable,
    writes: int,
) -> None:
    with monkeypatch.context() as context:
        context.setattr(catalog, "add_usage_days", fail_with(error))
        recorder.count_write(workspace.id)
        recorder.record()
    recorder.count_write(workspace.id)
    recorder.record()
    assert [day.writes for day in catalog.list_usage_days(workspace.id)] == [writes]


def test_a_request_starts_the_record_when_it_is_due(
    recorder: UsageRecorder, catalog: Catalog, workspace: Workspace
) -> None:
    recorder.run_if_due()
    assert "usage" not in {thread.name for thread in threading.enumerate()}
    recorder.count_write(workspace.id)
    recorder.run_if_due()
    for thread in threading.enumerate():
        if thread.name == "usage":
            thread.join(10)
    assert [day.writes for day in catalog.list_usage_days(workspace.id)] == [1]


def test_writes_after_the_last_record_are_recorded_at_once(
    recorder: UsageRecorder, catalog: Catalog, workspace: Workspace
) -> None:
    recorder.finish()
    recorder.count_write(workspace.id)
    assert [day.writes for day in catalog.list_usage_days(workspace.id)] == [1]


def test_a_worker_that_is_killed_when_its_time_to_stop_is_over_has_recorded_its_writes(
    tmp_path: Path,
) -> None:
    environ = {"WEB_CONCURRENCY": "1", "GUNICORN_CMD_ARGS": "--graceful-timeout 8"}
    with gunicorn(tmp_path, **environ) as server:
        head = (
            f"POST /api/v1/products HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {server.issue_key()}\r\n"
            "Content-Type: application/json\r\nContent-Length: 9\r\nExpect: 100-continue\r\n\r\n"
        )
        with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
            connection.sendall(head.encode())
            assert connection.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"  # the write is counted
            server.stop()
        with server.catalog() as catalog:
            (workspace,) = catalog.list_workspaces()
            days = catalog.list_usage_days(workspace.id)
    assert [day.writes for day in days] == [1]


def test_a_worker_that_ends_records_its_writes(tmp_path: Path) -> None:
    with gunicorn(tmp_path, WEB_CONCURRENCY="2") as server:
        headers = {"Authorization": f"Bearer {server.issue_key()}"}
        body = {"name": "A", "category": "toys"}
        for number in range(6):  # each over a connection of its own
            answer = requests.post(
                f"{server.url}/api/v1/products",
                json=body | {"model": f"{number}"},
                headers=headers,
                timeout=10,
            )
            assert answer.status_code == 201
        server.stop()
        with server.catalog() as catalog:
            (workspace,) = catalog.list_workspaces()
            days = catalog.list_usage_days(workspace.id)
    assert sum(day.writes for day in days) == 6
    assert days[-1].usage == Usage(products=6)
    assert days[-1].day in {now().date(), now().date() - timedelta(days=1)}
