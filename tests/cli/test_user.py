from __future__ import annotations

import json
import re

import pytest
from flask.testing import FlaskCliRunner

from auth.passwords import verify_password
from catalog.base import Catalog
from catalog.identity import Role

PASSWORD = "correct horse battery"  # of nobody


@pytest.fixture
def workspace_id(runner: FlaskCliRunner) -> str:
    return runner.invoke(args=["workspace", "create", "Acme"]).stdout.strip()


def create(
    runner: FlaskCliRunner, workspace_id: str, email: str = "anna@example.com", role: str = "editor"
) -> str:
    args = ["user", "create", email, "--workspace", workspace_id, "--role", role, "--password-stdin"]
    result = runner.invoke(args=args, input=f"{PASSWORD}\n")
    assert result.exit_code == 0, result.output
    assert re.fullmatch(r"[0-9a-f]{24}\n", result.stdout)
    return result.stdout.strip()


def test_create_takes_the_password_from_standard_input_and_prints_the_id_alone(
    runner: FlaskCliRunner, workspace_id: str, catalog: Catalog
) -> None:
    user_id = create(runner, workspace_id, " Anna@Example.com ", "viewer")
    user = catalog.get_user(user_id)
    assert (user.email, user.role, user.workspace_id) == ("anna@example.com", Role.VIEWER, workspace_id)
    assert verify_password(user.password_hash, PASSWORD)
    assert PASSWORD not in repr(user)


def test_create_asks_for_the_password_twice_on_a_terminal(
    runner: FlaskCliRunner, workspace_id: str, catalog: Catalog
) -> None:
    args = ["user", "create", "anna@example.com", "--workspace", workspace_id, "--role", "admin"]
    result = runner.invoke(args=args, input=f"{PASSWORD}\n{PASSWORD}\n")
    assert result.exit_code == 0
    assert PASSWORD not in result.output
    user = catalog.find_user("anna@example.com")
    assert user is not None
    assert verify_password(user.password_hash, PASSWORD)


@pytest.mark.parametrize(
    ("args", "password", "exit_code", "said"),
    [
        (["anna@example.com", "--role", "editor"], "short", 1, "A password has 12 to 1024 characters."),
        (["anna", "--role", "editor"], PASSWORD, 2, "An email address looks like name@example.com."),
        (["anna@example.com", "--role", "king"], PASSWORD, 2, "Invalid value for '--role'"),
        (["anna@example.com"], PASSWORD, 2, "Missing option '--role'"),
    ],
)
def test_what_can_not_be_taken_is_said(
    runner: FlaskCliRunner,
    workspace_id: str,
    catalog: Catalog,
    args: list[str],
    password: str,
    exit_code: int,
    said: str,
) -> None:
    command = ["user", "create", *args, "--workspace", workspace_id, "--password-stdin"]
    result = runner.invoke(args=command, input=f"{password}\n")
    assert (result.exit_code, result.stdout) == (exit_code, "")
    assert said in result.stderr
    assert catalog.list_users() == []


def test_a_user_needs_a_workspace_and_an_address_of_their_own(
    runner: FlaskCliRunner, workspace_id: str
) -> None:
    create(runner, workspace_id)
    for email, workspace, said in (
        ("ANNA@example.com", workspace_id, "The user anna@example.com already exists."),
        (
            "b@example.com",
            "6650a1b2c3d4e5f6a7b8c9d0",
            "The workspace 6650a1b2c3d4e5f6a7b8c9d0 does not exist.",
        ),
    ):
        args = ["user", "create", email, "--workspace", workspace, "--role", "editor"]
        result = runner.invoke(args=[*args, "--password-stdin"], input=f"{PASSWORD}\n")
        assert (result.exit_code, result.stderr) == (1, f"Error: {said}\n")


def test_create_makes_no_user_beyond_the_bound_of_the_workspace(
    runner: FlaskCliRunner, workspace_id: str, catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("catalog.bounds.MAX_USERS", 1)
    create(runner, workspace_id)
    args = ["user", "create", "bert@example.com", "--workspace", workspace_id, "--role", "editor"]
    result = runner.invoke(args=[*args, "--password-stdin"], input=f"{PASSWORD}\n")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "The workspace has as many users as it can have." in result.stderr
    assert [user.email for user in catalog.list_users()] == ["anna@example.com"]


def test_list_tells_of_each_user_but_not_the_hash(runner: FlaskCliRunner, workspace_id: str) -> None:
    user_id = create(runner, workspace_id)
    line = runner.invoke(args=["user", "list", "--workspace", workspace_id]).stdout
    assert re.fullmatch(rf"{user_id}  {workspace_id}  editor  live      \S+  anna@example.com\n", line)
    assert runner.invoke(args=["user", "list", "--workspace", "0" * 24]).stdout == ""


def test_disable_is_by_address_or_id_and_shows_in_the_list(runner: FlaskCliRunner, workspace_id: str) -> None:
    bert = create(runner, workspace_id, "bert@example.com")
    create(runner, workspace_id)
    assert runner.invoke(args=["user", "disable", "Anna@example.com"]).exit_code == 0
    assert runner.invoke(args=["user", "disable", bert]).exit_code == 0
    assert runner.invoke(args=["user", "list"]).stdout.count("  disabled  ") == 2
    result = runner.invoke(args=["user", "disable", "nobody@example.com"])
    assert (result.exit_code, result.stderr) == (1, "Error: The user nobody@example.com does not exist.\n")


def test_list_as_json_has_the_same_facts(runner: FlaskCliRunner, workspace_id: str, catalog: Catalog) -> None:
    user = catalog.get_user(create(runner, workspace_id))
    assert json.loads(runner.invoke(args=["user", "list", "--json"]).stdout) == [
        {
            "id": user.id,
            "workspaceId": workspace_id,
            "role": "editor",
            "state": "live",
            "createdAt": user.created_at.isoformat(timespec="seconds"),
            "email": "anna@example.com",
        }
    ]


def test_enable_lets_a_disabled_user_in_again(
    runner: FlaskCliRunner, workspace_id: str, catalog: Catalog
) -> None:
    user_id = create(runner, workspace_id)
    runner.invoke(args=["user", "disable", "anna@example.com"])
    assert runner.invoke(args=["user", "enable", "Anna@example.com"]).exit_code == 0
    assert catalog.get_user(user_id).disabled_at is None
    result = runner.invoke(args=["user", "enable", "nobody@example.com"])
    assert (result.exit_code, result.stderr) == (1, "Error: The user nobody@example.com does not exist.\n")


def test_role_gives_another_role(runner: FlaskCliRunner, workspace_id: str, catalog: Catalog) -> None:
    user_id = create(runner, workspace_id)
    assert runner.invoke(args=["user", "role", "anna@example.com", "admin"]).exit_code == 0
    assert catalog.get_user(user_id).role is Role.ADMIN
    result = runner.invoke(args=["user", "role", "anna@example.com", "king"])
    assert (result.exit_code, catalog.get_user(user_id).role) == (2, Role.ADMIN)
    result = runner.invoke(args=["user", "role", "nobody@example.com", "admin"])
    assert (result.exit_code, result.stderr) == (1, "Error: The user nobody@example.com does not exist.\n")


@pytest.mark.parametrize(
    ("password", "said"),
    [
        ("11 letters!", "A password has 12 to 1024 characters."),
        (" " * 12, "A password must have characters other than blanks."),
        ("anna@example.com", "A password is not the user's email address."),
        ("qwerty123456", "This password is one of the most common ones. Choose another."),
    ],
)
def test_a_new_password_follows_the_same_rules(
    runner: FlaskCliRunner, workspace_id: str, catalog: Catalog, password: str, said: str
) -> None:
    before = catalog.get_user(create(runner, workspace_id))
    args = ["user", "password", "anna@example.com", "--password-stdin"]
    result = runner.invoke(args=args, input=f"{password}\n")
    assert (result.exit_code, result.stderr) == (1, f"Error: {said}\n")
    assert catalog.get_user(before.id) == before


def test_password_replaces_the_password(runner: FlaskCliRunner, workspace_id: str, catalog: Catalog) -> None:
    before = catalog.get_user(create(runner, workspace_id))
    args = ["user", "password", "anna@example.com", "--password-stdin"]
    assert runner.invoke(args=args, input="another password\n").exit_code == 0
    after = catalog.get_user(before.id)
    assert verify_password(after.password_hash, "another password")
    assert not verify_password(after.password_hash, PASSWORD)
    assert after.password_set_at >= before.password_set_at


def test_delete_removes_the_user_after_a_question(
    runner: FlaskCliRunner, workspace_id: str, catalog: Catalog
) -> None:
    create(runner, workspace_id)
    bert = create(runner, workspace_id, "bert@example.com")
    result = runner.invoke(args=["user", "delete", "anna@example.com"], input="n\n")
    assert (result.exit_code, len(catalog.list_users())) == (1, 2)
    assert "Delete the user anna@example.com for good? [y/N]" in result.stderr
    result = runner.invoke(args=["user", "delete", "Anna@example.com"], input="y\n")
    assert (result.exit_code, result.stdout) == (0, "")
    assert [user.email for user in catalog.list_users()] == ["bert@example.com"]
    assert runner.invoke(args=["user", "delete", bert, "--yes"]).exit_code == 0
    assert catalog.list_users() == []
    result = runner.invoke(args=["user", "delete", "anna@example.com", "--yes"])
    assert (result.exit_code, result.stderr) == (1, "Error: The user anna@example.com does not exist.\n")
