from __future__ import annotations

import json
import re

import pytest
from flask import Flask
from flask.testing import FlaskClient, FlaskCliRunner

from auth.tokens import digest
from catalog.base import Catalog

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


def test_a_key_needs_a_workspace(runner: FlaskCliRunner) -> None:
    result = runner.invoke(args=["key", "create", "--workspace", "6650a1b2c3d4e5f6a7b8c9d0"])
    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr == "Error: The workspace 6650a1b2c3d4e5f6a7b8c9d0 does not exist.\n"


def test_list_prints_each_key_without_its_secret(runner: FlaskCliRunner, workspace_id: str) -> None:
    keys = [create(runner, workspace_id, "--label", label) for label in ("ERP", "n8n node")]
    other = runner.invoke(args=["workspace", "create", "Other"]).stdout.strip()
    keys.append(create(runner, other))
    output = runner.invoke(args=["key", "list"]).stdout
    assert len(output.splitlines()) == 3
    assert not any(key in output or key.removeprefix("tp_") in output for key in keys)
    own = runner.invoke(args=["key", "list", "--workspace", workspace_id]).stdout.splitlines()
    assert [line.split()[1:3] for line in own] == [[workspace_id, "live"]] * 2
    assert [re.split(r"  +", line)[4:] for line in own] == [["never", "ERP"], ["never", "n8n node"]]


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
            "createdAt": key.created_at.isoformat(timespec="seconds"),
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
