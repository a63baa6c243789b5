from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import pytest
from argon2 import PasswordHasher
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from catalog.base import Catalog, Product
from catalog.identity import Role, User, Workspace
from tests.auth.oauth.conftest import COOKIE
from tests.factories import new_product, new_session, new_user

PASSWORD = "correct horse battery"  # noqa: S105  # of users that live for a test


@cache
def password_hash() -> str:
    """A hash like the server's, whose parameters cost next to no time."""
    return PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash(PASSWORD)


def csrf_in(page: TestResponse) -> str:
    match = re.search(r'name="csrf" value="([0-9a-f]{64})"', page.text)
    assert match is not None, page.text
    return match[1]


@dataclass(frozen=True)
class Person:
    """A user and their browser."""

    user: User
    browser: FlaskClient

    def sign_in(self, password: str = PASSWORD, path: str = "/console/sign-in") -> TestResponse:
        csrf = csrf_in(self.browser.get(path))
        form = {"csrf": csrf, "email": self.user.email, "password": password}
        return self.browser.post(path, data=form)

    def post(self, path: str, page: str, **form: str) -> TestResponse:
        """Submits a form with the CSRF token of a page."""
        return self.browser.post(path, data={"csrf": csrf_in(self.browser.get(page)), **form})

    def csrf(self) -> str:
        return csrf_in(self.browser.get("/console"))

    def access_token(self) -> str:
        answer = self.browser.post("/console/token", headers={"X-CSRF-Token": self.csrf()})
        assert answer.status_code == 200, answer.text
        return str((answer.json or {})["accessToken"])


NewPerson = Callable[..., Person]


@pytest.fixture
def new_person(app: Flask, catalog: Catalog, workspace: Workspace) -> NewPerson:
    """Creates users, by default signed in."""

    def make(role: Role = Role.ADMIN, *, of: Workspace = workspace, signed_in: bool = True) -> Person:
        user = new_user(catalog, of, role, password_hash=password_hash())
        person = Person(user, app.test_client())
        if signed_in:  # without a password check, which is slow by design
            person.browser.set_cookie(COOKIE, new_session(catalog, user))
        return person

    return make


@pytest.fixture
def admin(new_person: NewPerson) -> Person:
    return new_person()


@pytest.fixture
def stored_product(catalog: Catalog, workspace: Workspace) -> Product:
    """A product of the workspace."""
    return new_product(catalog, workspace, name="Lamp <b>Aurora</b>", model="AU-1", category="furniture")
