"""``user invite`` and ``user reset``, which print a link."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from click.testing import Result
from flask.testing import FlaskCliRunner

from auth.tokens import digest
from catalog.base import Catalog
from catalog.bounds import BOUNDS, Bound
from catalog.identity import LINKS, CredentialKind, Role, Workspace
from catalog.ids import now
from tests.conftest import PUBLIC_URL
from tests.factories import new_user

Print = Callable[..., str]


@pytest.fixture
def printed(runner: FlaskCliRunner) -> Print:
    """Runs a command that prints a link. Returns the secret of the link."""

    def run(*args: str) -> str:
        result = runner.invoke(args=["user", *args])
        assert result.exit_code == 0, result.output
        match = re.fullmatch(rf"{PUBLIC_URL}/console/link#(vl_[\w-]{{43}})\n", result.stdout)
        assert match is not None
        return match[1]

    return run


def test_invite_prints_a_link_for_a_new_user(printed: Print, workspace: Workspace, catalog: Catalog) -> None:
    args = ("invite", " Anna@Example.com", "--workspace", workspace.id, "--role", "editor")
    first, second = printed(*args), printed(*args)
    link = catalog.find_credential(digest(second))
    assert link is not None
    assert (link.kind, link.workspace_id, link.label, link.role) == (
        *(CredentialKind.INVITATION, workspace.id),
        *("anna@example.com", Role.EDITOR),
    )
    assert link.is_live(now())
    earlier = catalog.find_credential(digest(first))
    assert earlier is not None
    assert not earlier.is_live(now()), "the newest link is the one that works"
    assert catalog.list_users() == []


def test_reset_prints_a_link_for_a_user_by_address_or_id(
    printed: Print, workspace: Workspace, catalog: Catalog
) -> None:
    user = new_user(catalog, workspace)
    for name in (user.email.upper(), user.id):
        link = catalog.find_credential(digest(printed("reset", name)))
        assert link is not None
        assert (link.kind, link.user_id) == (CredentialKind.PASSWORD_RESET, user.id)
    assert catalog.get_user(user.id) == user


def test_what_can_have_no_link_is_said(
    runner: FlaskCliRunner, workspace: Workspace, catalog: Catalog
) -> None:
    user = new_user(catalog, workspace)
    disabled = new_user(catalog, workspace, disabled_at=now())
    role = ("--role", "editor")
    nowhere = "6650a1b2c3d4e5f6a7b8c9d0"
    for args, said in (
        (
            ("invite", user.email, "--workspace", workspace.id, *role),
            f"The user {user.email} already exists.",
        ),
        (("invite", "a@b.it", "--workspace", nowhere, *role), f"The workspace {nowhere} does not exist."),
        (("reset", "nobody@example.com"), "The user nobody@example.com does not exist."),
        (("reset", disabled.email), f"The user {disabled.email} is disabled."),
    ):
        result = runner.invoke(args=["user", *args])
        assert (result.exit_code, result.stdout, result.stderr) == (1, "", f"Error: {said}\n")
    assert catalog.list_links(workspace.id) == []


@pytest.mark.parametrize("kind", sorted(LINKS))
def test_a_workspace_has_so_many_unused_links_and_no_more(
    runner: FlaskCliRunner,
    workspace: Workspace,
    catalog: Catalog,
    monkeypatch: pytest.MonkeyPatch,
    kind: CredentialKind,
) -> None:
    monkeypatch.setitem(BOUNDS, kind, Bound("workspace_id", 1, refuses=True))

    def invoke(number: int) -> Result:
        if kind is CredentialKind.PASSWORD_RESET:
            return runner.invoke(args=["user", "reset", new_user(catalog, workspace).email])
        address = f"{number}@example.com"
        return runner.invoke(
            args=["user", "invite", address, "--workspace", workspace.id, "--role", "viewer"]
        )

    assert invoke(1).exit_code == 0
    refused = invoke(2)
    assert (refused.exit_code, refused.stderr) == (
        1,
        f"Error: The workspace {workspace.id} has 1 links that nobody has used (max). "
        "Wait until some have expired, or withdraw some in the console.\n",
    )
