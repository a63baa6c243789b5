from __future__ import annotations

import json
import threading
import time
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from flask.testing import FlaskCliRunner

from app import create_app
from auth.counters.sqlite import SQLiteCounters
from catalog.base import Catalog
from catalog.errors import CatalogUnavailable
from catalog.expiry import Cleanup
from catalog.identity import CredentialKind
from catalog.ids import now
from config import Settings
from tests.catalog.idempotency_contract import a_claim
from tests.factories import a_client, a_credential, new_workspace
from tests.faults import fail_with

HOUR = timedelta(hours=1)


@pytest.fixture(autouse=True)
def two_hours_later(monkeypatch: pytest.MonkeyPatch) -> None:
    """The time of the cleanup. Records that have expired already are removed by the next write as well."""
    monkeypatch.setattr("catalog.expiry.now", lambda: now() + 2 * HOUR)


def counts_of(settings: Settings) -> SQLiteCounters:
    return SQLiteCounters(f"sqlite:///{settings.data_dir}/limits.sqlite3")


def fill(catalog: Catalog) -> None:
    """One record of each kind that will have expired then, and one that will not."""
    workspace = new_workspace(catalog)
    for end in (now() + HOUR, now() + 3 * HOUR):
        catalog.create_client(a_client(created_at=end - 24 * HOUR))
        catalog.create_credential(
            a_credential(CredentialKind.ACCESS_TOKEN, workspace_id=workspace.id, expires_at=end)
        )
        catalog.claim_idempotency_key(a_claim(expires_at=end), now())


def test_cleanup_removes_what_has_expired_and_counts_it(
    runner: FlaskCliRunner, catalog: Catalog, settings: Settings
) -> None:
    fill(catalog)
    counts = counts_of(settings)
    counts.incr("ends before", 3600)
    counts.incr("ends after", 3 * 3600)
    first = runner.invoke(args=["cleanup", "--json"])
    assert first.exit_code == 0, first.output
    assert json.loads(first.stdout) == {
        "idempotencyKeys": 1,
        "apiKeys": 0,
        "credentials": 1,
        "grants": 0,
        "usageDays": 0,
        "unusedClients": 1,
        "counts": 1,
    }
    assert counts.get("ends after") == 1
    assert runner.invoke(args=["cleanup"]).stdout == (
        "removed 0 Idempotency-Keys, 0 API keys, 0 codes, tokens and sessions, 0 grants, "
        "0 records of days, 0 OAuth clients without a grant, 0 counts of rate limits\n"
    )


def test_cleanup_removes_the_rest_if_the_counts_cannot_be_used(
    runner: FlaskCliRunner, catalog: Catalog, settings: Settings
) -> None:
    fill(catalog)
    (settings.data_dir / "limits.sqlite3").mkdir()
    result = runner.invoke(args=["cleanup", "--json"])
    assert result.exit_code == 1
    removed = json.loads(result.stdout)
    assert (removed["credentials"], removed["unusedClients"], removed["counts"]) == (1, 1, 0)
    assert (
        result.stderr == "Error: The counts of the rate limits can't be used: unable to open database file.\n"
    )


def test_cleanup_prints_what_it_has_removed_if_the_catalog_can_not_be_used_any_longer(
    runner: FlaskCliRunner, catalog: Catalog, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(catalog)
    counts_of(settings).incr("ends before", 3600)
    remove_expired = catalog.remove_expired

    def remove_then_fail(at: datetime, limit: int) -> Mapping[str, int]:
        monkeypatch.setattr(catalog, "remove_expired", fail_with(CatalogUnavailable("it is too busy")))
        return remove_expired(at, limit)

    monkeypatch.setattr(catalog, "remove_expired", remove_then_fail)
    monkeypatch.setattr("catalog.expiry._RETRY_PAUSE", 0.0)
    result = runner.invoke(args=["cleanup"])
    assert result.exit_code == 1
    assert result.stdout == (
        "removed 1 Idempotency-Keys, 0 API keys, 1 codes, tokens and sessions, 0 grants, "
        "0 records of days, 1 OAuth clients without a grant, 1 counts of rate limits\n"
    )
    assert result.stderr == "Error: The catalog can't be used: it is too busy.\n"


def test_the_cleanup_has_nothing_to_do_with_counts_that_expire_by_themselves(settings: Settings) -> None:
    settings = replace(settings, ratelimit_storage_uri="memory://")
    result = create_app(settings).test_cli_runner().invoke(args=["cleanup", "--json"])
    assert json.loads(result.stdout)["counts"] == 0


def wait_for_cleanup() -> None:
    for thread in threading.enumerate():
        if thread.name == "cleanup":
            thread.join(10)


def test_a_running_server_removes_what_has_expired_now_and_then(catalog: Catalog, settings: Settings) -> None:
    fill(catalog)
    counts = counts_of(settings)
    counts.incr("ends before", 3600)
    cleanup = Cleanup(catalog, counts, interval=0.2)
    cleanup.run_if_due()
    wait_for_cleanup()
    assert len(catalog.list_clients(None)) == 2  # not due yet
    time.sleep(0.2)
    cleanup.run_if_due()
    wait_for_cleanup()
    assert sum(catalog.remove_expired(now() + 2 * HOUR, 100).values()) == 0
    assert counts.remove_expired(now() + 2 * HOUR, 100) == {"counts": 0}
    assert sum(catalog.remove_expired(now() + 4 * HOUR, 100).values()) == 3
