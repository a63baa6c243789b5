from __future__ import annotations

import json
import re

import pytest
from flask.testing import FlaskCliRunner

from catalog.base import Catalog
from catalog.identity import Plan


def test_create_prints_the_new_id_and_nothing_else(runner: FlaskCliRunner, catalog: Catalog) -> None:
    result = runner.invoke(args=["workspace", "create", "Acme Srl"])
    assert result.exit_code == 0
    assert re.fullmatch(r"[0-9a-f]{24}\n", result.stdout)
    workspace = catalog.get_workspace(result.stdout.strip())
    assert (workspace.name, workspace.plan) == ("Acme Srl", Plan.ENTERPRISE)


@pytest.mark.parametrize("plan", ["free", "basic", "starter", "growth", "scale", "pro", "enterprise"])
def test_create_takes_a_plan(runner: FlaskCliRunner, catalog: Catalog, plan: str) -> None:
    result = runner.invoke(args=["workspace", "create", "Acme", "--plan", plan])
    assert catalog.get_workspace(result.stdout.strip()).plan == plan


@pytest.mark.parametrize("args", [["Acme", "--plan", "gold"], [" "], []])
def test_create_refuses_a_blank_name_and_an_unknown_plan(
    runner: FlaskCliRunner, catalog: Catalog, args: list[str]
) -> None:
    result = runner.invoke(args=["workspace", "create", *args])
    assert result.exit_code == 2
    assert result.stdout == ""
    assert catalog.list_workspaces() == []


def test_list_prints_each_workspace(runner: FlaskCliRunner) -> None:
    ids = [runner.invoke(args=["workspace", "create", name]).stdout.strip() for name in ("B", "A a")]
    lines = runner.invoke(args=["workspace", "list"]).stdout.splitlines()
    assert [line.split()[0] for line in lines] == ids
    assert [line.split()[1] for line in lines] == ["enterprise", "enterprise"]
    assert lines[1].endswith("  A a")


def test_list_prints_the_workspaces_as_json(runner: FlaskCliRunner, catalog: Catalog) -> None:
    runner.invoke(args=["workspace", "create", "Müller", "--plan", "basic"])
    (workspace,) = catalog.list_workspaces()
    result = runner.invoke(args=["workspace", "list", "--json"])
    created = workspace.created_at.isoformat(timespec="seconds")
    assert json.loads(result.stdout) == [
        {"id": workspace.id, "plan": "basic", "createdAt": created, "name": "Müller"}
    ]
    (with_usage,) = json.loads(runner.invoke(args=["workspace", "list", "--json", "--usage"]).stdout)
    assert with_usage["usage"] == {key: {"used": 0, "quota": None} for key in ("products", "images", "bytes")}


def test_plan_changes_the_plan(runner: FlaskCliRunner, catalog: Catalog) -> None:
    workspace_id = runner.invoke(args=["workspace", "create", "Acme"]).stdout.strip()
    result = runner.invoke(args=["workspace", "plan", workspace_id, "basic"])
    assert (result.exit_code, result.stdout) == (0, "")
    assert catalog.get_workspace(workspace_id).plan is Plan.BASIC


def test_plan_refuses_an_unknown_workspace(runner: FlaskCliRunner) -> None:
    result = runner.invoke(args=["workspace", "plan", "6650a1b2c3d4e5f6a7b8c9d0", "basic"])
    assert (result.exit_code, result.stderr) == (
        1,
        "Error: The workspace 6650a1b2c3d4e5f6a7b8c9d0 does not exist.\n",
    )


def test_rename_gives_another_name(runner: FlaskCliRunner, catalog: Catalog) -> None:
    workspace_id = runner.invoke(args=["workspace", "create", "Acme"]).stdout.strip()
    result = runner.invoke(args=["workspace", "rename", workspace_id, "Müller & Söhne"])
    assert (result.exit_code, result.stdout) == (0, "")
    assert catalog.get_workspace(workspace_id).name == "Müller & Söhne"
    blank = runner.invoke(args=["workspace", "rename", workspace_id, " "])
    assert (blank.exit_code, catalog.get_workspace(workspace_id).name) == (2, "Müller & Söhne")
    unknown = runner.invoke(args=["workspace", "rename", 24 * "0", "Acme"])
    assert (unknown.exit_code, unknown.stderr) == (
        1,
        f"Error: The workspace {24 * '0'} does not exist.\n",
    )
