from __future__ import annotations

import json
import threading
import time
from datetime import timedelta

import pytest
from flask.testing import FlaskCliRunner

from catalog.base import Catalog
from catalog.expiry import Cleanup
from catalog.identity import CredentialKind
from catalog.ids import now
from tests.catalog.idempotency_contract import a_claim
from tests.factories import a_client, a_credential, new_workspace

HOUR = timedelta(hours=1)


@pytest.fixture(autouse=True)
def two_hours_later(monkeypatch: pytest.MonkeyPatch) -> None:
    """The time of the cleanup. Records that have expired already are removed by the next write as well."""
    monkeypatch.setattr("catalog.expiry.now", lambda: now() + 2 * HOUR)


def fill(catalog: Catalog) -> None:
    """One record of each kind that will have expired then, and one that will not."""
    workspace = new_workspace(catalog)
    for end in (now() + HOUR, now() + 3 * HOUR):
        catalog.create_client(a_client(created_at=end - 26 * HOUR))
        catalog.create_credential(
            a_credential(CredentialKind.ACCESS_TOKEN, workspace_id=workspace.id, expires_at=end)
        )
        catalog.claim_idempotency_key(a_claim(expires_at=end), now())


def test_cleanup_removes_what_has_expired_and_counts_it(runner: FlaskCliRunner, catalog: Catalog) -> None:
    fill(catalog)
    first = runner.invoke(args=["cleanup", "--json"])
    assert first.exit_code == 0, first.output
    assert json.loads(first.stdout) == {
        "idempotencyKeys": 1,
        "apiKeys": 0,
        "credentials": 1,
        "grants": 0,
        "usageDays": 0,
        "unusedClients": 1,
    }
    assert runner.invoke(args=["cleanup"]).stdout == (
        "removed 0 Idempotency-Keys, 0 API keys, 0 codes, tokens and sessions, 0 grants, "
        "0 records of days, 0 OAuth clients without a grant\n"
    )


def wait_for_cleanup() -> None:
    for thread in threading.enumerate():
        if thread.name == "cleanup":
            thread.join(10)


def test_a_running_server_removes_what_has_expired_now_and_then(catalog: Catalog) -> None:
    fill(catalog)
    cleanup = Cleanup(catalog, interval=0.2)
    cleanup.run_if_due()
    wait_for_cleanup()
    assert catalog.count_registered_clients() == 2  # not due yet, and only commands remove clients
    time.sleep(0.2)
    cleanup.run_if_due()
    wait_for_cleanup()
    assert sum(catalog.remove_expired(now() + 2 * HOUR, 100).values()) == 0
    assert sum(catalog.remove_expired(now() + 4 * HOUR, 100).values()) == 2
