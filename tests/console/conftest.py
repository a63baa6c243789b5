from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import pytest
from argon2 import PasswordHasher
from flask import Flask
from flask.testing import FlaskClient
from playwright.sync_api import Browser, BrowserContext, Page, expect
from werkzeug.test import TestResponse

from auth.passwords import hash_password
from catalog.base import Catalog, Product
from catalog.identity import Plan, Role, User, Workspace
from tests.auth.oauth.conftest import COOKIE
from tests.console.chromium import chromium
from tests.console.site import EMAIL, Site
from tests.factories import issue_key, new_product, new_session, new_user, new_workspace
from tests.servers import gunicorn

PASSWORD = "correct horse battery"  # of users that live for a test


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
NewContext = Callable[..., BrowserContext]


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


# --- in a browser, against gunicorn in the shipped configuration
#
# One browser and one server serve all tests of this folder. They end with the folder, because the tests of
# another one start Playwright again, which can't run twice in one thread.


@pytest.fixture(scope="package")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with gunicorn(tmp_path_factory.mktemp("console"), WEB_CONCURRENCY="1") as server:
        with server.catalog() as catalog:
            workspace = new_workspace(catalog, "Lumen", Plan.PRO)
            key = issue_key(catalog, workspace)
            new_user(
                catalog, workspace, Role.ADMIN, email=EMAIL, password_hash=hash_password(PASSWORD, EMAIL)
            )
        yield Site(server, workspace.id, key)


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="package")
def signed_in(browser: Browser, site: Site) -> Any:
    """The browser state of a user who has signed in."""
    page = browser.new_page(locale="en-GB")
    page.goto(f"{site.server.url}/console")
    page.get_by_label("Email address").fill(EMAIL)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("heading", name="Products")).to_be_visible()
    state = page.context.storage_state()
    page.close()
    return state


@pytest.fixture
def new_context(browser: Browser, site: Site, signed_in: Any) -> Iterator[NewContext]:
    """Opens the windows of a browser that shares nothing with others. The user has signed in by default."""
    state = signed_in
    with ExitStack() as opened:

        def new(*, signed_in: bool = True, **options: Any) -> BrowserContext:
            defaults = {"locale": "en-GB", "storage_state": state if signed_in else None}
            context = browser.new_context(base_url=site.server.url, **{**defaults, **options})
            return opened.enter_context(context)

        yield new


@pytest.fixture
def narrow(new_context: NewContext) -> NewContext:
    """Opens windows that are as narrow as a phone: 360 pixels."""
    return partial(new_context, viewport={"width": 360, "height": 740})


@pytest.fixture
def context(new_context: NewContext) -> BrowserContext:
    return new_context(permissions=["clipboard-read", "clipboard-write"])


@pytest.fixture
def page(context: BrowserContext) -> Iterator[Page]:
    """A page. Fails the test if the Content-Security-Policy blocked something."""
    page = context.new_page()
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("console", lambda message: faults.append(message.text))
    yield page
    assert [fault for fault in faults if "Failed to load resource" not in fault] == []
