from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta

import pytest
from flask import Flask
from flask.testing import FlaskClient, FlaskCliRunner

from auth.tokens import ALL_SCOPES, READ, WRITE, digest
from catalog.base import Catalog
from catalog.bounds import BOUNDS, Bound
from catalog.identity import CredentialKind
from catalog.ids import now
from cli.listing import seconds
from tests.factories import issue_key, new_user, new_workspace

PATH = "/api/v1/products/6650a1b2c3d4e5f6a7b8c9d0"


@pytest.fixture
def workspace_id(runner: FlaskCliRunner) -> str:
    return runner.invoke(args=["workspace", "create", "Acme"]).stdout.strip()


def create(runner: FlaskCliRunner, workspace_id: str, *args: str) -> str:
    result = runner.invoke(args=["key", "create", "--workspace", workspace_id, *args])
    assert result.exit_code == 0
    assert re.fullmatch(r"tp_[A-Za-z0-9_-]{43}\n", result.stdout)
    return result.stdout.strip()


def status(client: FlaskClient, key: str) -> int:
    return client.get(PATH, headers={"Authorization": f"Bearer {key}"}).status_code


def test_create_prints_a_key_that_works_and_nothing_else(
    runner: FlaskCliRunner, workspace_id: str, anonymous: FlaskClient
) -> None:
    assert status(anonymous, create(runner, workspace_id)) == 404


def test_create_stores_only_the_digest_of_the_key(
    runner: FlaskCliRunner, workspace_id: str, catalog: Catalog
) -> None:
    key = create(runner, workspace_id, "--label", "ERP")
    (credential,) = catalog.list_api_keys()
    assert (credential.digest, credential.label) == (digest(key), "ERP")
    assert key not in repr(credential)


@pytest.mark.parametrize(
    ("options", "scopes"),
    [
        ((), ALL_SCOPES),
        (("--read-only",), frozenset({READ})),
        (("--scope", WRITE), frozenset({WRITE})),
        (("--scope", READ, "--scope", WRITE), ALL_SCOPES),
    ],
)
def test_a_key_has_the_scopes_that_are_given_or_all(
    runner: FlaskCliRunner,
    workspace_id: str,
    catalog: Catalog,
    options: tuple[str, ...],
    scopes: frozenset[str],
) -> None:
    create(runner, workspace_id, *options)
    (key,) = catalog.list_api_keys()
    assert (key.scopes, key.created_by, key.expires_at) == (scopes, "cli", None)


def test_a_read_only_key_reads_and_does_not_write(
    runner: FlaskCliRunner, workspace_id: str, anonymous: FlaskClient
) -> None:
    bearer = {"Authorization": f"Bearer {create(runner, workspace_id, '--read-only')}"}
    assert anonymous.get("/api/v1/products", headers=bearer).status_code == 200
    answer = anonymous.post("/api/v1/products", json={}, headers=bearer)
    assert (answer.status_code, answer.json) == (
        403,
        {"error": "Insufficient scope", "details": {"requiredScope": "products:write"}},
    )


@pytest.mark.parametrize(
    ("when", "expires_at"),
    [
        ("2999-12-31", None),
        ("2090-01-31", datetime(2090, 1, 31, 23, 59, 59, 999000, UTC)),
        ("2090-01-31T12:00Z", datetime(2090, 1, 31, 12, tzinfo=UTC)),
        ("2090-01-31T12:00:30", datetime(2090, 1, 31, 12, 0, 30, tzinfo=UTC)),
        ("2090-01-31T12:00+02:00", datetime(2090, 1, 31, 10, tzinfo=UTC)),
        ("2020-01-31", None),
        ("0d", None),
        ("36501d", None),
        ("soon", None),
        ("2090-02-30", None),
        ("0001-01-01T00:00+14:00", None),
    ],
)
def test_a_key_expires_on_a_day_or_at_a_time_in_the_future(
    runner: FlaskCliRunner, workspace_id: str, catalog: Catalog, when: str, expires_at: datetime | None
) -> None:
    result = runner.invoke(args=["key", "create", "--workspace", workspace_id, "--expires", when])
    keys = catalog.list_api_keys()
    if expires_at is None:
        assert (result.exit_code, keys) == (2, [])
        assert "Invalid value for '--expires'" in result.stderr
    else:
        assert [key.expires_at for key in keys] == [expires_at]


def test_a_key_lives_as_long_as_is_said(runner: FlaskCliRunner, workspace_id: str, catalog: Catalog) -> None:
    before = now()
    create(runner, workspace_id, "--expires", "30d")
    (key,) = catalog.list_api_keys()
    assert key.expires_at is not None
    assert before <= key.expires_at - timedelta(days=30) <= key.created_at


def test_the_two_ways_to_name_scopes_exclude_each_other(runner: FlaskCliRunner, workspace_id: str) -> None:
    args = ["key", "create", "--workspace", workspace_id, "--read-only", "--scope", READ]
    result = runner.invoke(args=args)
    assert result.exit_code == 2
    assert "--read-only and --scope exclude each other." in result.stderr


def test_an_expired_key_is_refused_and_listed_as_expired(
    runner: FlaskCliRunner, catalog: Catalog, anonymous: FlaskClient
) -> None:
    workspace = new_workspace(catalog)
    user = new_user(catalog, workspace)
    end = now() - timedelta(seconds=1)
    key = issue_key(catalog, workspace, "till", expires_at=end, created_by=user.id)
    answer = anonymous.get(PATH, headers={"Authorization": f"Bearer {key}"})
    assert (answer.status_code, answer.json) == (401, {"error": "Unauthorized"})
    (shown,) = json.loads(runner.invoke(args=["key", "list", "--json"]).stdout)
    assert (shown["state"], shown["expiresAt"]) == ("expired", seconds(end))
    assert (shown["createdBy"], shown["createdByEmail"]) == (user.id, user.email)
    line = runner.invoke(args=["key", "list"]).stdout
    assert f" by {user.email}  expires {seconds(end)}  used never  till" in line


def test_a_key_needs_a_workspace(runner: FlaskCliRunner) -> None:
    result = runner.invoke(args=["key", "create", "--workspace", "6650a1b2c3d4e5f6a7b8c9d0"])
    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr == "Error: The workspace 6650a1b2c3d4e5f6a7b8c9d0 does not exist.\n"


def test_list_prints_each_key_without_its_secret(
    runner: FlaskCliRunner, workspace_id: str, catalog: Catalog
) -> None:
    keys = [create(runner, workspace_id, "--label", label) for label in ("ERP", "n8n node")]
    other = runner.invoke(args=["workspace", "create", "Other"]).stdout.strip()
    keys.append(create(runner, other))
    output = runner.invoke(args=["key", "list"]).stdout
    assert len(output.splitlines()) == 3
    assert not any(key in output or key.removeprefix("tp_") in output for key in keys)
    own = runner.invoke(args=["key", "list", "--workspace", workspace_id]).stdout.splitlines()
    created = [seconds(key.created_at) for key in catalog.list_api_keys(workspace_id)]
    ids = [key.id for key in catalog.list_api_keys(workspace_id)]
    scopes = "products:read,products:write"
    assert [re.split(r"  +", line)[:4] for line in own] == [
        [id_, workspace_id, "live", scopes] for id_ in ids
    ]
    assert [re.split(r"  +", line)[4:] for line in own] == [
        [f"created {created[0]} by cli", "expires never", "used never", "ERP"],
        [f"created {created[1]} by cli", "expires never", "used never", "n8n node"],
    ]


def test_list_prints_the_keys_as_json_with_their_last_use(
    runner: FlaskCliRunner, workspace_id: str, anonymous: FlaskClient, app: Flask, catalog: Catalog
) -> None:
    assert status(anonymous, create(runner, workspace_id, "--label", "ERP")) == 404
    app.extensions["last_used"].flush()
    (key,) = catalog.list_api_keys()
    assert key.last_used_at is not None
    result = runner.invoke(args=["key", "list", "--json"])
    assert json.loads(result.stdout) == [
        {
            "id": key.id,
            "workspaceId": workspace_id,
            "state": "live",
            "scopes": ["products:read", "products:write"],
            "createdAt": key.created_at.isoformat(timespec="seconds"),
            "createdBy": "cli",
            "createdByEmail": None,
            "expiresAt": None,
            "lastUsedAt": key.last_used_at.isoformat(timespec="seconds"),
            "label": "ERP",
        }
    ]


def test_an_empty_list_is_an_empty_json_array(runner: FlaskCliRunner) -> None:
    assert runner.invoke(args=["key", "list", "--json"]).stdout == "[]\n"


def test_revoke_ends_a_key_at_the_next_request(
    runner: FlaskCliRunner, workspace_id: str, anonymous: FlaskClient
) -> None:
    key, other = create(runner, workspace_id), create(runner, workspace_id)
    key_id = runner.invoke(args=["key", "list"]).stdout.split()[0]
    result = runner.invoke(args=["key", "revoke", key_id])
    assert (result.exit_code, result.stdout) == (0, "")
    assert (status(anonymous, key), status(anonymous, other)) == (401, 404)
    assert "revoked" in runner.invoke(args=["key", "list"]).stdout.splitlines()[0]
    assert runner.invoke(args=["key", "revoke", key_id]).exit_code == 0


def test_revoke_refuses_an_unknown_key(runner: FlaskCliRunner) -> None:
    result = runner.invoke(args=["key", "revoke", "nothing"])
    assert (result.exit_code, result.stderr) == (1, "Error: The key nothing does not exist.\n")


def test_create_refuses_a_key_beyond_what_a_workspace_can_have(
    runner: FlaskCliRunner, workspace_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(BOUNDS, CredentialKind.API_KEY, Bound("workspace_id", 1, refuses=True))
    create(runner, workspace_id)
    result = runner.invoke(args=["key", "create", "--workspace", workspace_id])
    refusal = f"Error: The workspace {workspace_id} has 1 API keys (max). Revoke one first.\n"
    assert (result.exit_code, result.stdout, result.stderr) == (1, "", refusal)
