"""A real server on both catalogs, and the browser of a user who has signed in to it."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests

from catalog.base import Catalog
from catalog.identity import Role, User
from tests.factories import issue_key, new_session, new_user, new_workspace
from tests.mongo import MongoServer, database_uri
from tests.servers import Server, gunicorn


@pytest.fixture(scope="module", params=["sqlite", "mongo"])
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, mongodb: MongoServer
) -> Iterator[Server]:
    """gunicorn with two workers."""
    folder: Path = tmp_path_factory.mktemp("server")
    uri = "" if request.param == "sqlite" else database_uri(mongodb.uri, secrets.token_hex(8))
    with gunicorn(folder, WEB_CONCURRENCY="2", CATALOG_URL=uri) as server:
        yield server


@pytest.fixture
def catalog(server: Server) -> Iterator[Catalog]:
    """The catalog of the server."""
    with server.catalog() as catalog:
        yield catalog


@dataclass(frozen=True)
class Human:
    """A user at a browser, signed in to the console, and an API key of their workspace."""

    user: User
    browser: requests.Session
    key: str
    url: str

    def allow(self, url: str) -> str:
        """Consents to an authorization request. Returns the URL of the redirect to the app."""
        page = self.browser.get(url, timeout=10)
        assert page.status_code == 200, page.text
        form = {"csrf": csrf_in(page), "decision": "allow"}
        return self.browser.post(url, data=form, allow_redirects=False, timeout=10).headers["Location"]

    def submit(self, path: str, page: str, **form: str) -> requests.Response:
        """Submits a form of the console with the CSRF token of one of its pages."""
        csrf = csrf_in(self.browser.get(self.url + page, timeout=10))
        return self.browser.post(self.url + path, data={"csrf": csrf, **form}, timeout=10)


def csrf_in(page: requests.Response) -> str:
    token = re.search(r'name="csrf" value="([0-9a-f]{64})"', page.text)
    assert token is not None, page.text
    return token[1]


@pytest.fixture
def human(server: Server, catalog: Catalog) -> Iterator[Human]:
    workspace = new_workspace(catalog)
    user = new_user(catalog, workspace, Role.ADMIN)
    with requests.Session() as browser:
        browser.cookies.set("vetrina_session", new_session(catalog, user))
        yield Human(user, browser, issue_key(catalog, workspace), server.url)
