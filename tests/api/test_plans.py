from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import requests
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from app import create_app
from auth.budgets import DAILY_WRITES
from catalog.base import Catalog
from catalog.identity import Plan
from config import Settings
from storage.base import StorageBackend
from tests.api.fixtures import on_both_catalogs
from tests.conftest import NewTenant
from tests.servers import gunicorn

SPENT = {"error": "Daily write limit reached. It resets at midnight UTC."}
NOTHING = "/api/v1/products/6650a1b2c3d4e5f6a7b8c9d0"
WRONG = "tp_wrong"
BUDGET_HEADERS = ("X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset")

NewClient = Callable[[Plan], FlaskClient]


@pytest.fixture
def on_plan(new_tenant: NewTenant) -> NewClient:
    """Makes a client of a new workspace on a plan."""

    return lambda plan: new_tenant(plan).client


def budget(response: TestResponse) -> tuple[str | None, ...]:
    return tuple(response.headers.get(name) for name in BUDGET_HEADERS)


def write(client: FlaskClient) -> TestResponse:
    return client.delete(f"{NOTHING}/images/0")


@on_both_catalogs
@pytest.mark.parametrize(("plan", "limit"), [(Plan.FREE, 100), (Plan.BASIC, 200)])
def test_a_small_plan_has_a_budget_of_writes_a_day(
    clock: list[datetime], on_plan: NewClient, plan: Plan, limit: int
) -> None:
    client = on_plan(plan)
    midnight = str(int(datetime(2026, 11, 24, tzinfo=UTC).timestamp()))
    for left in range(limit - 1, -1, -1):
        response = write(client)
        assert (response.status_code, budget(response)) == (404, (str(limit), str(left), midnight))
    response = write(client)
    assert (response.status_code, response.json) == (429, SPENT)
    assert budget(response) == (str(limit), "0", midnight)
    assert response.headers["Retry-After"] == str(6 * 3600)
    assert client.get("/api/v1/products").status_code == 200
    # Rounded up, so that a client that retries then is not too early.
    clock[0] += timedelta(hours=6) - timedelta(seconds=1.2)
    assert write(client).headers["Retry-After"] == "2"
    clock[0] += timedelta(seconds=1.2) - timedelta(microseconds=1)
    assert write(client).headers["Retry-After"] == "1"
    clock[0] += timedelta(microseconds=1)
    response = write(client)
    assert response.status_code == 404
    assert response.headers["X-RateLimit-Remaining"] == str(limit - 1)


@pytest.mark.parametrize("plan", [Plan.STARTER, Plan.GROWTH, Plan.SCALE, Plan.PRO, Plan.ENTERPRISE])
def test_other_plans_have_none_and_cost_no_count(on_plan: NewClient, settings: Settings, plan: Plan) -> None:
    assert budget(write(on_plan(plan))) == (None, None, None)
    assert not (settings.data_dir / "limits.sqlite3").exists()


def test_reads_do_not_count(on_plan: NewClient) -> None:
    client = on_plan(Plan.FREE)
    for _ in range(3):
        assert budget(client.get("/api/v1/products")) == (None, None, None)
    assert write(client).headers["X-RateLimit-Remaining"] == "99"


def test_every_write_counts_whatever_comes_of_it(on_plan: NewClient) -> None:
    client = on_plan(Plan.FREE)
    calls = [
        ("POST", "/api/v1/products", 400),
        ("PATCH", NOTHING, 400),
        ("POST", f"{NOTHING}/archive", 404),
        ("DELETE", NOTHING, 403),
        ("POST", f"{NOTHING}/images", 404),
        ("DELETE", f"{NOTHING}/images/x", 400),
    ]
    for count, (method, path, status) in enumerate(calls, 1):
        response = client.open(path, method=method)
        assert (response.status_code, response.headers["X-RateLimit-Remaining"]) == (status, str(100 - count))


def test_a_replayed_write_counts_too(on_plan: NewClient) -> None:
    client = on_plan(Plan.FREE)
    body = {"name": "a", "model": "b", "category": "toys"}
    for left in ("99", "98"):
        response = client.post("/api/v1/products", json=body, headers={"Idempotency-Key": "k"})
        assert (response.status_code, response.headers["X-RateLimit-Remaining"]) == (201, left)


@on_both_catalogs
def test_workspaces_do_not_share_a_budget(on_plan: NewClient) -> None:
    write(on_plan(Plan.FREE))
    assert write(on_plan(Plan.FREE)).headers["X-RateLimit-Remaining"] == "99"


def test_a_write_beyond_the_budget_is_not_done(
    clock: list[datetime], on_plan: NewClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert clock
    monkeypatch.setitem(DAILY_WRITES, Plan.FREE, 1)
    client = on_plan(Plan.FREE)
    body = {"name": "a", "model": "b", "category": "toys"}
    assert client.post("/api/v1/products", json=body).status_code == 201
    assert client.post("/api/v1/products", json={**body, "model": "c"}).status_code == 429
    listed: Any = client.get("/api/v1/products").json
    assert listed["data"]["total"] == 1


@on_both_catalogs
def test_the_count_is_shared_by_all_processes(tmp_path: Path, catalog_url: str) -> None:
    with gunicorn(tmp_path, WEB_CONCURRENCY="3", CATALOG_URL=catalog_url) as server:
        headers = {"Authorization": f"Bearer {server.issue_key(Plan.FREE)}"}

        def call(_: int) -> tuple[int, int]:
            url = f"{server.url}{NOTHING}/images/0"
            response = requests.delete(url, headers=headers, timeout=30)
            return response.status_code, int(response.headers["X-RateLimit-Remaining"])

        # The first one alone: SecantusDB miscounts when several begin a count at once.
        answers = [call(0)]
        with ThreadPoolExecutor(12) as pool:
            answers = sorted([*answers, *pool.map(call, range(119))])
    # Each write reports a different number of remaining writes, down to the last one.
    assert answers == [(404, left) for left in range(100)] + [(429, 0)] * 20


# --- failed authentications


def guess(client: FlaskClient, token: str = WRONG, address: str = "192.0.2.1") -> TestResponse:
    return client.get(
        NOTHING, headers={"Authorization": f"Bearer {token}"}, environ_base={"REMOTE_ADDR": address}
    )


@on_both_catalogs
def test_guessing_is_slowed_down_and_who_has_a_key_is_served(
    anonymous: FlaskClient, on_plan: NewClient
) -> None:
    good = str(on_plan(Plan.PRO).environ_base["HTTP_AUTHORIZATION"]).removeprefix("Bearer ")
    assert [guess(anonymous).status_code for _ in range(30)] == [401] * 30
    response = guess(anonymous)
    assert (response.status_code, response.json) == (
        429,
        {"error": "Too many attempts. Try again later."},
    )
    assert 0 < int(response.headers["Retry-After"]) <= 60
    assert guess(anonymous, good).status_code == 404
    assert guess(anonymous, address="192.0.2.2").status_code == 401


def test_good_keys_do_not_count_as_guesses(anonymous: FlaskClient, on_plan: NewClient) -> None:
    good = str(on_plan(Plan.PRO).environ_base["HTTP_AUTHORIZATION"]).removeprefix("Bearer ")
    for _ in range(40):
        assert guess(anonymous, good).status_code == 404


@pytest.mark.parametrize(
    ("hops", "expected"), [(0, "127.0.0.1"), (1, "192.0.2.9"), (2, "192.0.2.8"), (3, "192.0.2.7")]
)
def test_the_address_comes_from_as_many_proxies_as_are_trusted(
    behind: Callable[[int], FlaskClient], hops: int, expected: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    behind(hops).get("/api/v1/products", headers={"X-Forwarded-For": "192.0.2.7, 192.0.2.8, 192.0.2.9"})
    (record,) = [record for record in caplog.records if record.name == "vetrina.access"]
    assert record.__dict__["fields"]["client"] == expected


@pytest.fixture
def behind(settings: Settings, storage: StorageBackend, catalog: Catalog) -> Callable[[int], FlaskClient]:
    """Makes a client of an application behind this number of proxies."""

    def make(hops: int) -> FlaskClient:
        trusting = replace(settings, trusted_proxy_hops=hops, auth_failures_per_minute=3)
        return create_app(trusting, storage=storage, catalog=catalog).test_client()

    return make


def statuses(client: FlaskClient, *chains: str) -> list[int]:
    """The answers to wrong tokens that are sent with these X-Forwarded-For headers."""
    headers = {"Authorization": f"Bearer {WRONG}"}
    return [
        client.get(NOTHING, headers={**headers, "X-Forwarded-For": chain}).status_code for chain in chains
    ]


def test_clients_behind_one_proxy_are_told_apart(behind: Callable[[int], FlaskClient]) -> None:
    client = behind(1)
    assert statuses(client, *["192.0.2.1"] * 4) == [401, 401, 401, 429]
    assert statuses(client, "192.0.2.2") == [401]


@pytest.mark.parametrize("hops", [0, 1])
def test_who_makes_up_addresses_is_slowed_down_all_the_same(
    behind: Callable[[int], FlaskClient], hops: int
) -> None:
    # The last one is what the proxy itself has seen.
    chains = [f"198.51.100.{number}, 192.0.2.1" for number in range(5)]
    assert statuses(behind(hops), *chains) == [401, 401, 401, 429, 429]
