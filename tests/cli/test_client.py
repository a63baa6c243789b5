from __future__ import annotations

import json
import re
from datetime import timedelta

import pytest
from flask.testing import FlaskCliRunner

from catalog.base import Catalog
from catalog.identity import OAuthClient, Workspace
from catalog.ids import now
from tests.factories import new_grant, new_oauth_client, new_user, new_workspace


@pytest.fixture
def workspace(catalog: Catalog) -> Workspace:
    return new_workspace(catalog)


@pytest.fixture
def clients(catalog: Catalog, workspace: Workspace) -> list[OAuthClient]:
    """A self-registered client that was used, and a confidential one of a workspace that was not."""
    stranger = new_oauth_client(catalog, name="Stranger", created_at=now() - timedelta(hours=1))
    new_grant(catalog, new_user(catalog, workspace), stranger)
    n8n = new_oauth_client(catalog, workspace_id=workspace.id, secret_digest=b"d" * 32)
    return [stranger, n8n]


def test_list_shows_each_client_without_secrets(
    runner: FlaskCliRunner, clients: list[OAuthClient], workspace: Workspace
) -> None:
    stranger, n8n = clients
    lines = runner.invoke(args=["client", "list"]).stdout.splitlines()
    assert re.fullmatch(
        rf"{stranger.id}  self-registered           public        \S+  20\S+  Stranger", lines[0]
    )
    assert re.fullmatch(rf"{n8n.id}  {workspace.id}  confidential  \S+  never {{20}}  n8n", lines[1])
    assert len(lines) == 2


@pytest.mark.parametrize(("option", "names"), [("--workspace", ["n8n"]), ("--self-registered", ["Stranger"])])
def test_list_can_be_limited_to_one_owner(
    runner: FlaskCliRunner, clients: list[OAuthClient], workspace: Workspace, option: str, names: list[str]
) -> None:
    args = ["client", "list", option, *([workspace.id] if option == "--workspace" else [])]
    listed = json.loads(runner.invoke(args=[*args, "--json"]).stdout)
    assert [client["name"] for client in listed] == names
    assert [client["id"] for client in listed] == [each.id for each in clients if each.name in names]


def test_list_as_json_has_the_same_facts(
    runner: FlaskCliRunner, clients: list[OAuthClient], workspace: Workspace
) -> None:
    listed = json.loads(runner.invoke(args=["client", "list", "--json"]).stdout)
    assert listed[1] == {
        "id": clients[1].id,
        "workspaceId": workspace.id,
        "kind": "confidential",
        "createdAt": clients[1].created_at.isoformat(timespec="seconds"),
        "usedAt": None,
        "name": "n8n",
        "redirectUris": ["https://app.example.com/callback", "http://127.0.0.1/callback"],
    }


def test_list_refuses_two_limits(runner: FlaskCliRunner) -> None:
    result = runner.invoke(args=["client", "list", "--workspace", "x", "--self-registered"])
    assert (result.exit_code, result.stdout) == (2, "")
    assert "Give either --workspace or --self-registered." in result.stderr


def test_delete_ends_the_grants_of_a_client(
    runner: FlaskCliRunner, catalog: Catalog, clients: list[OAuthClient]
) -> None:
    (user,) = catalog.list_users()
    for client in clients:
        assert runner.invoke(args=["client", "delete", client.id]).exit_code == 0
        assert catalog.find_client(client.id) is None
    assert not any(grant.is_live(now()) for grant in catalog.list_grants(user.id))
    result = runner.invoke(args=["client", "delete", clients[0].id])
    assert (result.exit_code, result.stderr) == (1, f"Error: The client {clients[0].id} does not exist.\n")
