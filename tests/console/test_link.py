"""The page on which a person with a link chooses a password."""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta

import pytest
from argon2 import PasswordHasher
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

import auth.links
import auth.passwords
from app import create_app
from auth.links import LINK_PATH, Links, new_invitation, new_reset
from auth.passwords import HashingBusy, verify_password
from catalog.base import Catalog
from catalog.identity import COMMAND_LINE, Credential, CredentialKind, Role, User, Workspace
from catalog.ids import now
from config import Settings
from storage.base import StorageBackend
from tests.api.fixtures import on_both_catalogs
from tests.auth.oauth.conftest import COOKIE
from tests.console.conftest import NewPerson, Person, csrf_in
from tests.factories import issue_token, new_grant, new_session, new_user, new_workspace

NEW = "a new horse battery"
DEAD = "This link does not work."


@pytest.fixture(autouse=True)
def cheap_hashes(monkeypatch: pytest.MonkeyPatch) -> None:
    hasher = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
    monkeypatch.setattr(auth.passwords, "_HASHER", hasher)


def stored(catalog: Catalog, made: tuple[str, Credential], **fields: object) -> str:
    """Stores a link; returns its secret."""
    secret, record = made
    catalog.create_credential(replace(record, **fields))  # type: ignore[arg-type]  # fields of the record
    return secret


def an_invitation(
    catalog: Catalog, workspace: Workspace, role: Role = Role.EDITOR, *, created_by: str = COMMAND_LINE
) -> str:
    return stored(catalog, new_invitation(workspace.id, "new@example.com", role, created_by=created_by))


def open_link(browser: FlaskClient, secret: str) -> TestResponse:
    return browser.post(LINK_PATH, data={"csrf": csrf_in(browser.get(LINK_PATH)), "link": secret})


def choose(browser: FlaskClient, secret: str, new: str = NEW, again: str | None = None) -> TestResponse:
    form = {"csrf": csrf_in(browser.get(LINK_PATH)), "link": secret, "new": new}
    return browser.post(f"{LINK_PATH}/password", data=form | {"again": new if again is None else again})


@on_both_catalogs
def test_an_invited_person_chooses_a_password_and_is_signed_in(
    anonymous: FlaskClient, workspace: Workspace, catalog: Catalog
) -> None:
    secret = an_invitation(catalog, workspace, Role.VIEWER)
    page = open_link(anonymous, secret)
    assert page.status_code == 200
    assert "You are invited to the workspace Acme, in the role Viewer." in page.text
    assert 'value="new@example.com"' in page.text
    answer = choose(anonymous, secret)
    assert (answer.status_code, answer.location) == (303, "/console")
    assert "new@example.com" in anonymous.get("/console").text
    (user,) = catalog.list_users(workspace.id)
    assert (user.email, user.role) == ("new@example.com", Role.VIEWER)
    assert verify_password(user.password_hash, NEW)
    for again in (open_link(anonymous, secret), choose(anonymous, secret, "another password")):
        assert again.status_code == 400
        assert DEAD in again.text
    assert catalog.list_users(workspace.id) == [user]


@on_both_catalogs
def test_a_reset_ends_all_sessions_and_grants_of_the_user(
    app: Flask, new_person: NewPerson, catalog: Catalog
) -> None:
    person = new_person(Role.EDITOR)
    grant = new_grant(catalog, person.user)
    token = issue_token(catalog, person.user, CredentialKind.ACCESS_TOKEN, grant_id=grant.id)
    bearer = {"Authorization": f"Bearer {token}"}
    secret = stored(catalog, new_reset(person.user, created_by=COMMAND_LINE))
    browser = app.test_client()
    assert "Choose a new password" in open_link(browser, secret).text
    assert person.browser.get("/console").status_code == 200, "nothing has happened yet"
    assert choose(browser, secret).status_code == 303
    assert browser.get("/console").status_code == 200
    assert person.browser.get("/console").status_code == 303
    assert app.test_client().get("/api/v1/products", headers=bearer).status_code == 401
    user = catalog.get_user(person.user.id)
    assert verify_password(user.password_hash, NEW)
    assert user == replace(
        person.user, password_hash=user.password_hash, password_set_at=user.password_set_at
    )
    assert DEAD in choose(browser, secret).text


@on_both_catalogs
@pytest.mark.parametrize("kind", [CredentialKind.INVITATION, CredentialKind.PASSWORD_RESET])
def test_of_many_uses_of_a_link_at_once_one_succeeds(
    app: Flask, workspace: Workspace, catalog: Catalog, kind: CredentialKind
) -> None:
    user = new_user(catalog, workspace)
    secret = (
        an_invitation(catalog, workspace)
        if kind is CredentialKind.INVITATION
        else stored(catalog, new_reset(user, created_by=COMMAND_LINE))
    )
    passwords = [f"the password of number {number}" for number in range(6)]

    def use(password: str) -> bool:
        return choose(app.test_client(), secret, password).status_code == 303

    with ThreadPoolExecutor(6) as threads:
        won = [
            password for password, done in zip(passwords, threads.map(use, passwords), strict=True) if done
        ]
    assert len(won) == 1
    users = catalog.list_users(workspace.id)
    assert len(users) == (2 if kind is CredentialKind.INVITATION else 1)
    assert verify_password(users[-1].password_hash, won[0])


@pytest.mark.parametrize(
    ("form", "sentence"),
    [
        ({"again": "a new horse batterY"}, "The two new passwords differ."),
        ({"new": "11 letters!"}, "A password has 12 to 1024 characters."),
        ({"new": " " * 14}, "A password must have characters other than blanks."),
        ({"new": "qwerty123456"}, "This password is one of the most common ones. Choose another."),
        ({"new": "New@example.com"}, "Your email address is not a password."),
    ],
)
def test_an_unacceptable_password_shows_the_problem_and_the_link_still_works(
    anonymous: FlaskClient, workspace: Workspace, catalog: Catalog, form: dict[str, str], sentence: str
) -> None:
    secret = an_invitation(catalog, workspace)
    page = choose(anonymous, secret, **form)
    assert page.status_code == 400
    assert sentence in page.text
    assert catalog.list_users(workspace.id) == []
    assert choose(anonymous, secret).status_code == 303


def test_a_busy_server_says_when_to_come_back_and_the_link_still_works(
    anonymous: FlaskClient, workspace: Workspace, catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    def busy(*_: object) -> str:
        raise HashingBusy

    secret = an_invitation(catalog, workspace)
    with monkeypatch.context() as patch:
        patch.setattr(auth.links, "hash_password", busy)
        page = choose(anonymous, secret)
    assert (page.status_code, page.headers["Retry-After"]) == (503, "2")
    assert "The server is busy. Please try again in a moment." in page.text
    assert choose(anonymous, secret).status_code == 303


def expired(catalog: Catalog, user: User) -> str:
    return stored(catalog, new_reset(user, created_by=COMMAND_LINE), expires_at=now() - timedelta(seconds=1))


def withdrawn(catalog: Catalog, user: User) -> str:
    made = new_reset(user, created_by=COMMAND_LINE)
    secret = stored(catalog, made)
    Links(catalog).withdraw(made[1])
    return secret


def of_a_disabled_user(catalog: Catalog, user: User) -> str:
    secret = stored(catalog, new_reset(user, created_by=COMMAND_LINE))
    catalog.disable_user(user.id, now())
    return secret


def from_before_a_new_password(catalog: Catalog, user: User) -> str:
    secret = stored(catalog, new_reset(user, created_by=COMMAND_LINE))
    catalog.set_password(user.id, user.password_hash, now() + timedelta(seconds=1))
    return secret


def of_another_kind(catalog: Catalog, user: User) -> str:
    return new_session(catalog, user)


def of_nobody(catalog: Catalog, user: User) -> str:
    return stored(catalog, new_reset(replace(user, id="6650a1b2c3d4e5f6a7b8c9d0"), created_by=COMMAND_LINE))


@pytest.mark.parametrize(
    "make",
    [expired, withdrawn, of_a_disabled_user, from_before_a_new_password, of_another_kind, of_nobody],
)
def test_a_link_that_does_not_work_gets_one_answer_whatever_the_reason(
    anonymous: FlaskClient, workspace: Workspace, catalog: Catalog, make: object
) -> None:
    user = new_user(catalog, workspace)
    assert callable(make)
    secret = make(catalog, user)
    before = catalog.get_user(user.id)
    unknown = open_link(anonymous, "vl_unknown")
    for answer in (open_link(anonymous, secret), choose(anonymous, secret)):
        assert answer.status_code == 400
        assert DEAD in answer.text
        assert answer.text == unknown.text
    assert catalog.get_user(user.id) == before


def test_an_invitation_of_an_address_that_is_taken_by_now_makes_no_user(
    anonymous: FlaskClient, workspace: Workspace, catalog: Catalog
) -> None:
    secret = an_invitation(catalog, workspace)
    new_user(catalog, new_workspace(catalog), email="new@example.com")
    page = choose(anonymous, secret)
    assert page.status_code == 400
    assert "Someone with your email address uses this server already" in page.text
    assert catalog.list_users(workspace.id) == []


@on_both_catalogs
def test_an_invitation_to_a_workspace_that_is_full_by_now_makes_no_user(
    anonymous: FlaskClient, workspace: Workspace, catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("catalog.bounds.MAX_USERS", 1)
    secret = an_invitation(catalog, workspace)
    user = new_user(catalog, workspace)
    page = choose(anonymous, secret)
    assert page.status_code == 400
    assert "The workspace has as many users as it can have" in page.text
    assert catalog.list_users(workspace.id) == [user]


@pytest.mark.parametrize("change", ["disabled", "demoted", "deleted", "of another workspace"])
def test_the_links_of_an_admin_end_with_their_rights(
    anonymous: FlaskClient, new_person: NewPerson, workspace: Workspace, catalog: Catalog, change: str
) -> None:
    other, viewer = new_person(), new_user(catalog, workspace)
    maker = new_person().user.id
    if change == "of another workspace":
        maker = new_person(of=new_workspace(catalog)).user.id
    elif change == "deleted":
        maker = "6650a1b2c3d4e5f6a7b8c9d0"
    invitation = an_invitation(catalog, workspace, Role.ADMIN, created_by=maker)
    reset = stored(catalog, new_reset(viewer, created_by=maker))
    if change == "disabled":
        catalog.disable_user(maker, now())
    elif change == "demoted":
        catalog.set_role(maker, Role.EDITOR)
    for secret in (invitation, reset):
        assert DEAD in choose(anonymous, secret).text
    assert catalog.find_user("new@example.com") is None
    assert catalog.get_user(viewer.id) == viewer
    assert "new@example.com" not in other.browser.get("/console/users").text


def test_guesses_of_links_are_limited(
    settings: Settings, storage: StorageBackend, catalog: Catalog, workspace: Workspace
) -> None:
    app = create_app(replace(settings, auth_failures_per_minute=2), storage=storage, catalog=catalog)
    secret = an_invitation(catalog, workspace)
    browser = app.test_client()
    assert [open_link(browser, "vl_guess").status_code for _ in range(2)] == [400, 400]
    answer = open_link(browser, secret)
    assert (answer.status_code, answer.headers["Retry-After"]) == (429, "60")
    assert "Too many attempts. Wait a minute, then try again." in answer.text
    elsewhere = {"REMOTE_ADDR": "192.0.2.7"}
    page = browser.get(LINK_PATH, environ_overrides=elsewhere)
    form = {"csrf": csrf_in(page), "link": secret}
    assert browser.post(LINK_PATH, data=form, environ_overrides=elsewhere).status_code == 200


def test_a_form_from_another_site_opens_no_link(
    anonymous: FlaskClient, workspace: Workspace, catalog: Catalog
) -> None:
    secret = an_invitation(catalog, workspace)
    form = {"link": secret, "new": NEW, "again": NEW}
    for csrf in ({}, {"csrf": "0" * 64}):
        for path in (LINK_PATH, f"{LINK_PATH}/password"):
            answer = anonymous.post(path, data=form | csrf)
            assert answer.status_code == 400
            assert "Please open your link again." in answer.text
            assert secret not in answer.text
    assert catalog.list_users(workspace.id) == []


def test_the_pages_of_a_link_are_not_kept_and_name_no_referrer(
    anonymous: FlaskClient, workspace: Workspace, catalog: Catalog
) -> None:
    secret = an_invitation(catalog, workspace)
    for page in (anonymous.get(LINK_PATH), open_link(anonymous, secret), open_link(anonymous, "no")):
        assert page.headers["Referrer-Policy"] == "no-referrer"
        assert page.headers["Cache-Control"] == "no-store"


def test_the_secret_of_a_link_is_not_logged(
    anonymous: FlaskClient, workspace: Workspace, catalog: Catalog, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    secret = an_invitation(catalog, workspace)
    open_link(anonymous, secret)
    choose(anonymous, secret)
    assert any(LINK_PATH in record.getMessage() for record in caplog.records)
    assert not any(secret in f"{record.getMessage()} {vars(record)}" for record in caplog.records)


def test_the_whole_address_of_a_link_can_be_pasted(
    anonymous: FlaskClient, workspace: Workspace, catalog: Catalog
) -> None:
    secret = an_invitation(catalog, workspace)
    page = open_link(anonymous, f"  https://images.example.com{LINK_PATH}#{secret}\n")
    assert "You are invited to the workspace Acme" in page.text


def test_a_browser_that_is_signed_in_changes_to_the_user_of_the_link(
    new_person: NewPerson, workspace: Workspace, catalog: Catalog
) -> None:
    person: Person = new_person()
    before = person.browser.get_cookie(COOKIE)
    assert before is not None
    assert choose(person.browser, an_invitation(catalog, workspace)).status_code == 303
    assert "new@example.com" in person.browser.get("/console").text
    person.browser.set_cookie(COOKIE, before.value)
    assert person.browser.get("/console").status_code == 303, "the session that was replaced is over"
