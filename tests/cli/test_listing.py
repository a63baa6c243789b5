from __future__ import annotations

import json
import re
from datetime import datetime, timedelta
from typing import Any

import click
from flask import Flask
from flask.testing import FlaskCliRunner

from catalog.base import Catalog
from catalog.identity import Workspace
from catalog.ids import now
from tests.conftest import PUBLIC_URL
from tests.factories import issue_key, new_oauth_client, new_user
from version import VERSION

#: The commands that print nothing when they succeed.
SILENT = {
    "client delete",
    "key revoke",
    "user delete",
    "user disable",
    "user enable",
    "user password",
    "user role",
    "workspace plan",
    "workspace rename",
}


def commands(group: click.Group, path: str = "") -> dict[str, click.Command]:
    """The commands of a group, at any depth, by what is typed."""
    found: dict[str, click.Command] = {}
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            found |= commands(command, f"{path}{name} ")
        else:
            found[path + name] = command
    return found


def test_every_command_that_prints_a_result_can_print_json(app: Flask) -> None:
    found = commands(app.cli)
    without_json = {
        name
        for name, command in found.items()
        if "--json" not in [option for parameter in command.params for option in parameter.opts]
    }
    # `demo` prints instructions for people.
    assert {name for name in without_json if name.split()[0] not in ("limiter", "routes")} == SILENT | {
        "demo"
    }


def test_the_commands_without_json_print_nothing(
    runner: FlaskCliRunner, catalog: Catalog, workspace: Workspace
) -> None:
    user = new_user(catalog, workspace)
    client = new_oauth_client(catalog, workspace_id=workspace.id)
    issue_key(catalog, workspace)
    (key,) = catalog.list_api_keys()
    succeeding = [
        ("client delete", client.id),
        ("key revoke", key.id),
        ("user disable", user.email),
        ("user enable", user.email),
        ("user password", user.email, "--password-stdin"),
        ("user role", user.email, "viewer"),
        ("user delete", user.email, "--yes"),
        ("workspace plan", workspace.id, "basic"),
        ("workspace rename", workspace.id, "Other"),
    ]
    assert {name for name, *_ in succeeding} == SILENT
    for name, *arguments in succeeding:
        result = runner.invoke(args=[*name.split(), *arguments], input="correct horse battery\n")
        assert (name, result.exit_code, result.output) == (name, 0, "")


def test_the_commands_that_make_something_print_it_as_json(runner: FlaskCliRunner) -> None:
    def printed(*args: str) -> Any:
        result = runner.invoke(args=[*args, "--json"], input="correct horse battery\n")
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)

    workspace = printed("workspace", "create", "Müller", "--plan", "basic")
    assert printed("workspace", "list") == [workspace]
    key = printed("key", "create", "--workspace", workspace["id"], "--label", "ERP", "--read-only")
    assert re.fullmatch(r"tp_[\w-]{43}", key.pop("key"))
    assert printed("key", "list") == [key]
    of = ("--workspace", workspace["id"], "--role", "editor")
    user = printed("user", "create", "anna@example.com", *of, "--password-stdin")
    assert printed("user", "list") == [user]
    invitation = printed("user", "invite", "Bea@example.com", *of)
    reset = printed("user", "reset", "anna@example.com")
    for link, email, days in ((invitation, "bea@example.com", 7), (reset, "anna@example.com", 1)):
        assert re.fullmatch(rf"{PUBLIC_URL}/console/link#vl_[\w-]{{43}}", link.pop("link"))
        left = datetime.fromisoformat(link.pop("expiresAt")) - now()
        assert timedelta(days=days - 0.5) < left <= timedelta(days=days)
        assert link == {"workspaceId": workspace["id"], "email": email}
    assert printed("version") == {"version": VERSION}
    (step,) = printed("catalog", "prepare")["steps"]
    assert step.startswith("the schema has version ")
