"""The page on which admins manage the users of their workspace."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from auth.links import LIFETIMES, LINK_PATH
from auth.tokens import digest
from catalog.base import Catalog
from catalog.bounds import BOUNDS, Bound
from catalog.identity import CredentialKind, Role, User, Workspace
from catalog.ids import now
from tests.api.fixtures import on_both_catalogs
from tests.conftest import PUBLIC_URL
from tests.console.conftest import NewPerson, Person
from tests.factories import issue_token, new_grant, new_user, new_workspace

PATH = "/console/users"


def invite(admin: Person, email: str = "new@example.com", role: str = "editor") -> TestResponse:
    return admin.post(PATH, PATH, email=email, role=role)


def link_in(page: TestResponse) -> str:
    """The link that a page shows."""
    match = re.search(r'<input id="secret" readonly value="([^"]+)"', page.text)
    assert match is not None, page.text
    return match[1]


def post(admin: Person, user: User, action: str, **form: str) -> TestResponse:
    return admin.post(f"{PATH}/{user.id}/{action}", PATH, **form)


@on_both_catalogs
def test_an_invitation_is_shown_once_and_only_its_digest_is_stored(
    admin: Person, workspace: Workspace, catalog: Catalog
) -> None:
    page = invite(admin, " New@Example.com ", "viewer")
    assert page.status_code == 201
    assert "The link for new@example.com" in page.text
    address, _, secret = link_in(page).partition("#")
    assert address == f"{PUBLIC_URL}{LINK_PATH}", "no server receives the secret, which is in the fragment"
    assert re.fullmatch(r"vl_[\w-]{43}", secret)
    stored = catalog.find_credential(digest(secret))
    assert stored is not None
    assert secret not in repr(stored)
    assert (stored.kind, stored.workspace_id, stored.label, stored.role, stored.user_id) == (
        *(CredentialKind.INVITATION, workspace.id, "new@example.com", Role.VIEWER),
        None,
    )
    assert stored.expires_at == stored.created_at + LIFETIMES[CredentialKind.INVITATION]
    again = admin.browser.get(PATH).text
    assert secret not in again
    assert "Withdraw: new@example.com" in again
    assert catalog.list_users(workspace.id) == [admin.user]


@pytest.mark.parametrize(
    ("email", "sentence"),
    [
        ("", "An email address looks like name@example.com."),
        ("anna", "An email address looks like name@example.com."),
        ("a" * 250 + "@b.it", "An email address looks like name@example.com."),
        ("bert@example.com", "bert@example.com is a user of this workspace already."),
    ],
)
def test_an_address_that_can_not_be_invited_is_refused(
    admin: Person, workspace: Workspace, catalog: Catalog, email: str, sentence: str
) -> None:
    new_user(catalog, workspace, email="bert@example.com")
    page = invite(admin, email)
    assert page.status_code == 400
    assert sentence in page.text
    assert catalog.list_links(workspace.id) == []


def test_a_role_that_does_not_exist_is_refused(admin: Person, workspace: Workspace, catalog: Catalog) -> None:
    other = new_user(catalog, workspace)
    assert invite(admin, role="king").status_code == 400
    assert post(admin, other, "role", role="").status_code == 400
    assert catalog.list_links(workspace.id) == []
    assert catalog.get_user(other.id) == other


def test_an_invitation_does_not_reveal_who_uses_other_workspaces(admin: Person, catalog: Catalog) -> None:
    new_user(catalog, new_workspace(catalog), email="elsewhere@example.com")
    page = invite(admin, "elsewhere@example.com")
    assert page.status_code == 201
    assert "elsewhere@example.com is a user" not in page.text


def test_a_new_invitation_or_link_ends_the_earlier_one(
    admin: Person, workspace: Workspace, catalog: Catalog
) -> None:
    other = new_user(catalog, workspace)
    pages = [invite(admin), invite(admin), post(admin, other, "reset"), post(admin, other, "reset")]
    links = catalog.list_links(workspace.id)
    assert [link.is_live(now()) for link in links] == [False, True, False, True]
    assert [page.status_code for page in pages] == [201] * 4
    renewed = admin.post(f"{PATH}/invitations/{links[1].id}/renew", PATH)
    assert renewed.status_code == 201
    (live,) = (
        link
        for link in catalog.list_links(workspace.id)
        if link.is_live(now()) and link.kind is CredentialKind.INVITATION
    )
    assert live.digest == digest(link_in(renewed).partition("#")[2])
    assert (live.label, live.role) == ("new@example.com", Role.EDITOR)


def test_a_withdrawn_invitation_is_gone(admin: Person, workspace: Workspace, catalog: Catalog) -> None:
    invite(admin)
    (link,) = catalog.list_links(workspace.id)
    answer = admin.post(f"{PATH}/invitations/{link.id}/withdraw", PATH)
    assert (answer.status_code, answer.location) == (303, PATH)
    assert "new@example.com" not in admin.browser.get(PATH).text
    assert admin.post(f"{PATH}/invitations/{link.id}/withdraw", PATH).status_code == 404
    assert admin.post(f"{PATH}/invitations/{link.id}/renew", PATH).status_code == 404


def test_a_workspace_has_so_many_users_and_links_and_no_more(
    admin: Person, workspace: Workspace, catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr("catalog.bounds.MAX_USERS", 2)
        assert invite(admin, "a@example.com").status_code == 201
        full = invite(admin, "b@example.com")
    assert full.status_code == 400
    assert "This workspace has as many users and links as it can have." in full.text
    monkeypatch.setitem(BOUNDS, CredentialKind.PASSWORD_RESET, Bound("workspace_id", 2, refuses=True))
    answers = [post(admin, new_user(catalog, workspace), "reset").status_code for _ in range(3)]
    assert answers == [201, 201, 400]


@on_both_catalogs
def test_another_role_holds_from_the_next_request_on(new_person: NewPerson, catalog: Catalog) -> None:
    admin, other = new_person(), new_person(Role.ADMIN)
    assert other.browser.get(PATH).status_code == 200
    answer = post(admin, other.user, "role", role="viewer")
    assert (answer.status_code, answer.location) == (303, PATH)
    assert catalog.get_user(other.user.id).role is Role.VIEWER
    assert other.browser.get(PATH).status_code == 403


def test_a_disabled_user_has_no_access_until_enabled(
    app: Flask, new_person: NewPerson, catalog: Catalog
) -> None:
    admin, other = new_person(), new_person(Role.EDITOR)
    grant = new_grant(catalog, other.user)
    token = issue_token(catalog, other.user, CredentialKind.ACCESS_TOKEN, grant_id=grant.id)
    bearer = {"Authorization": f"Bearer {token}"}
    assert app.test_client().get("/api/v1/products", headers=bearer).status_code == 200
    assert post(admin, other.user, "disable").status_code == 303
    assert other.browser.get("/console").status_code == 303
    assert app.test_client().get("/api/v1/products", headers=bearer).status_code == 401
    page = admin.browser.get(PATH).text
    assert f"Enable: {other.user.email}" in page
    assert f"Disable: {other.user.email}" not in page
    refused = post(admin, other.user, "reset")
    assert refused.status_code == 409
    assert "This user is disabled. Enable them first." in refused.text
    assert post(admin, other.user, "enable").status_code == 303
    assert other.browser.get("/console").status_code == 303, "earlier sessions stay ended"
    assert catalog.get_user(other.user.id).disabled_at is None


@pytest.mark.parametrize("action", ["role", "disable", "enable", "reset"])
def test_admins_do_not_lock_themselves_out(admin: Person, catalog: Catalog, action: str) -> None:
    answer = post(admin, admin.user, action, role="viewer")
    assert answer.status_code == 409
    assert "You can&#39;t change your own role" in answer.text
    assert catalog.get_user(admin.user.id) == admin.user
    assert f"/console/users/{admin.user.id}/" not in admin.browser.get(PATH).text


@on_both_catalogs
def test_two_admins_who_remove_each_other_at_once_leave_an_admin(
    new_person: NewPerson, workspace: Workspace, catalog: Catalog
) -> None:
    first, second = new_person(), new_person()
    csrf = {person.user.id: person.csrf() for person in (first, second)}

    def removed(pair: tuple[Person, Person, str]) -> bool:
        person, other, action = pair
        form = {"csrf": csrf[person.user.id], "role": "viewer"}
        # One who is removed first is sent to the sign-in page.
        return person.browser.post(f"{PATH}/{other.user.id}/{action}", data=form).location == PATH

    with ThreadPoolExecutor(2) as threads:
        done = list(threads.map(removed, [(first, second, "disable"), (second, first, "role")]))
    active = [
        user
        for user in catalog.list_users(workspace.id)
        if user.role is Role.ADMIN and user.disabled_at is None
    ]
    assert len(active) == 2 - sum(done)
    assert active


def test_the_last_admin_is_not_removed_by_one_who_is_none_any_more(
    new_person: NewPerson, catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = new_person(), new_person()
    set_role = catalog.set_role

    def second_was_demoted_meanwhile(user_id: str, role: Role, *, keep_admin: bool = False) -> None:
        set_role(second.user.id, Role.VIEWER)
        set_role(user_id, role, keep_admin=keep_admin)

    monkeypatch.setattr(catalog, "set_role", second_was_demoted_meanwhile)
    csrf = second.csrf()
    answer = second.browser.post(f"{PATH}/{first.user.id}/role", data={"csrf": csrf, "role": "editor"})
    assert answer.status_code == 409
    assert "Nothing was changed: a workspace needs an admin who can sign in." in answer.text
    assert catalog.get_user(first.user.id).role is Role.ADMIN


def test_users_and_invitations_of_other_workspaces_are_not_found(
    admin: Person, new_person: NewPerson, catalog: Catalog
) -> None:
    other = new_workspace(catalog)
    stranger = new_person(of=other)
    invite(stranger, "theirs@example.com")
    (link,) = catalog.list_links(other.id)
    unknown = admin.post(f"{PATH}/6650a1b2c3d4e5f6a7b8c9d0/disable", PATH)
    for action in ("role", "disable", "enable", "reset"):
        answer = post(admin, stranger.user, action, role="viewer")
        assert answer.status_code == 404
        assert re.sub("[0-9a-f]{64}", "", answer.text) == re.sub("[0-9a-f]{64}", "", unknown.text)
    for action in ("renew", "withdraw"):
        assert admin.post(f"{PATH}/invitations/{link.id}/{action}", PATH).status_code == 404
    assert catalog.get_user(stranger.user.id) == stranger.user
    assert catalog.list_links(other.id) == [link]
    page = admin.browser.get(PATH).text
    assert stranger.user.email not in page
    assert "theirs@example.com" not in page


def test_the_header_names_the_workspace_and_the_role(new_person: NewPerson, catalog: Catalog) -> None:
    workspace = new_workspace(catalog, "Lumen <Lampade>")
    page = new_person(Role.EDITOR, of=workspace).browser.get("/console").text
    header = page.partition("<header")[2].partition("</header>")[0]
    assert '<span class="where">Lumen &lt;Lampade&gt;</span>' in header
    assert "<span>Editor<" in header
    for path in ("/console/password", "/console/sessions", "/console/sign-out"):
        assert path in header


def test_the_log_names_the_user_who_was_changed(
    admin: Person, workspace: Workspace, catalog: Catalog, caplog: pytest.LogCaptureFixture
) -> None:
    user = new_user(catalog, workspace)
    stranger = new_user(catalog, new_workspace(catalog))
    caplog.set_level("INFO", "vetrina.access")
    for action, form in (("role", {"role": "viewer"}), ("disable", {}), ("enable", {}), ("reset", {})):
        post(admin, user, action, **form)
    post(admin, stranger, "disable")
    lines = [record.__dict__["fields"] for record in caplog.records if record.name == "vetrina.access"]
    assert [fields.get("targetUserId") for fields in lines if fields["method"] == "POST"] == [
        *[user.id] * 4,
        None,
    ]
