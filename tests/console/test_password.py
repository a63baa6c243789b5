"""The page on which users change their own password."""

from __future__ import annotations

from dataclasses import replace

import pytest
from flask import Flask
from werkzeug.test import TestResponse

import auth.sessions
from app import create_app
from auth.passwords import HashingBusy, verify_password
from catalog.base import Catalog
from catalog.identity import CredentialKind, Role
from config import Settings
from storage.base import StorageBackend
from tests.api.fixtures import on_both_catalogs
from tests.auth.oauth.conftest import COOKIE
from tests.console.conftest import PASSWORD, NewPerson, Person
from tests.factories import issue_token, new_grant, new_session

PATH = "/console/password"
NEW = "a new horse battery"


def change(person: Person, current: str = PASSWORD, new: str = NEW, again: str | None = None) -> TestResponse:
    return person.post(PATH, PATH, current=current, new=new, again=new if again is None else again)


@on_both_catalogs
def test_a_new_password_ends_all_other_sessions_and_the_access_of_apps(
    app: Flask, new_person: NewPerson, catalog: Catalog
) -> None:
    person = new_person(Role.VIEWER)
    other = app.test_client()
    other.set_cookie(COOKIE, new_session(catalog, person.user))
    before = person.browser.get_cookie(COOKIE)
    grant = new_grant(catalog, person.user)
    token = issue_token(catalog, person.user, CredentialKind.ACCESS_TOKEN, grant_id=grant.id)
    bearer = {"Authorization": f"Bearer {token}"}
    assert app.test_client().get("/api/v1/products", headers=bearer).status_code == 200

    answer = change(person)
    assert (answer.status_code, "Your password is changed." in answer.text) == (200, True)
    assert person.browser.get("/console").status_code == 200, "this browser stays signed in"
    after = person.browser.get_cookie(COOKIE)
    assert before is not None
    assert after is not None
    assert before.value != after.value
    assert other.get("/console").status_code == 303
    other.set_cookie(COOKIE, before.value)
    assert other.get("/console").status_code == 303
    assert app.test_client().get("/api/v1/products", headers=bearer).status_code == 401
    assert "You have let no app in." in person.browser.get("/console/connections").text

    stored = catalog.get_user(person.user.id)
    assert verify_password(stored.password_hash, NEW)
    again = Person(person.user, app.test_client())
    assert again.sign_in().status_code == 401
    assert again.sign_in(NEW).status_code == 303


@pytest.mark.parametrize(
    ("form", "sentence"),
    [
        ({"current": "another password"}, "The current password is wrong."),
        ({"again": "a new horse batterY"}, "The two new passwords differ."),
        ({"new": "11 letters!"}, "A password has 12 to 1024 characters."),
        ({"new": " " * 14}, "A password must have characters other than blanks."),
        ({"new": "qwerty123456"}, "This password is one of the most common ones. Choose another."),
    ],
)
def test_an_unacceptable_change_shows_the_problem_and_changes_nothing(
    new_person: NewPerson, catalog: Catalog, form: dict[str, str], sentence: str
) -> None:
    person = new_person()
    answer = change(person, **form)
    assert answer.status_code == 400
    assert sentence in answer.text
    assert not any(value in answer.text for value in form.values() if value.strip())
    assert catalog.get_user(person.user.id) == person.user
    assert person.browser.get("/console").status_code == 200


def test_the_users_address_is_not_a_password(admin: Person) -> None:
    assert "Your email address is not a password." in change(admin, new=admin.user.email.upper()).text


def test_guesses_of_the_current_password_are_limited(
    settings: Settings, storage: StorageBackend, catalog: Catalog, new_person: NewPerson
) -> None:
    app = create_app(replace(settings, auth_failures_per_minute=2), storage=storage, catalog=catalog)
    user = new_person().user
    person = Person(user, app.test_client())
    person.browser.set_cookie(COOKIE, new_session(catalog, user))
    assert [change(person, "wrong").status_code for _ in range(2)] == [400, 400]
    answer = change(person)
    assert (answer.status_code, answer.headers["Retry-After"]) == (429, "60")
    assert "Too many attempts. Wait a minute, then try again." in answer.text


def test_a_busy_server_says_so_and_when_to_come_back(
    new_person: NewPerson, monkeypatch: pytest.MonkeyPatch
) -> None:
    def busy(*_: object) -> bool:
        raise HashingBusy

    monkeypatch.setattr(auth.sessions, "verify_password", busy)
    for answer in (change(new_person()), new_person(signed_in=False).sign_in()):
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "2")
        assert "The server is busy. Please try again in a moment." in answer.text
