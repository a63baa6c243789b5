"""Fixtures of the OAuth tests: signed-in users, apps, and each step of the flow over HTTP."""

from __future__ import annotations

import base64
import hashlib
import re
import secrets
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from auth.oauth.clients import new_client
from catalog.base import Catalog
from catalog.identity import OAuthClient, User
from tests.conftest import Tenant
from tests.factories import new_session, new_user

CALLBACK = "https://app.example.com/callback"
ALL = "products:read products:write offline_access"
#: The session cookie of a server whose public URL is https.
COOKIE = "__Host-vetrina_session"


@dataclass
class App:
    """An OAuth client together with the browser of a user."""

    record: OAuthClient
    secret: str | None
    http: FlaskClient
    browser: FlaskClient
    verifier: str = field(default_factory=lambda: secrets.token_urlsafe(48))

    @property
    def challenge(self) -> str:
        return base64.urlsafe_b64encode(hashlib.sha256(self.verifier.encode()).digest()).rstrip(b"=").decode()

    def authorization(self, **changes: str | None) -> str:
        """The path of an authorization request. A change to None omits the parameter."""
        parameters: dict[str, str | None] = {
            "response_type": "code",
            "client_id": self.record.id,
            "redirect_uri": CALLBACK,
            "scope": ALL,
            "state": "xyz & 1",
            "code_challenge": self.challenge,
            "code_challenge_method": "S256",
            **changes,
        }
        sent = {name: value for name, value in parameters.items() if value is not None}
        return f"/api/oauth/authorize?{urlencode(sent)}"

    def ask(self, **changes: str | None) -> TestResponse:
        return self.browser.get(self.authorization(**changes))

    def decide(self, decision: str = "allow", /, **changes: str | None) -> TestResponse:
        page = self.ask(**changes)
        assert page.status_code == 200, page.text
        token = re.search(r'name="csrf" value="([0-9a-f]{64})"', page.text)
        assert token is not None
        return self.browser.post(self.authorization(**changes), data={"csrf": token[1], "decision": decision})

    def code(self, **changes: str | None) -> str:
        response = self.decide(**changes)
        assert response.status_code == 302, response.text
        return parameters_of(response)["code"]

    def post(self, path: str, **form: str | None) -> TestResponse:
        sent = {name: value for name, value in form.items() if value is not None}
        if self.secret is None:
            sent = {"client_id": self.record.id, **sent}
        auth = None if self.secret is None else (self.record.id, self.secret)
        return self.http.post(f"/api/oauth/{path}", data=sent, auth=auth)

    def redeem(self, code: str, /, **changes: str | None) -> TestResponse:
        form: dict[str, str | None] = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": CALLBACK,
            "code_verifier": self.verifier,
            **changes,
        }
        return self.post("token", **form)

    def tokens(self, **changes: str | None) -> dict[str, Any]:
        response = self.redeem(self.code(**changes))
        assert response.status_code == 200, response.text
        return dict(response.json or {})

    def refresh(self, refresh_token: str, scope: str | None = None) -> TestResponse:
        return self.post("token", grant_type="refresh_token", refresh_token=refresh_token, scope=scope)

    def at_once(self, form: dict[str, str], times: int = 8) -> list[dict[str, Any]]:
        """Sends one token request many times at once. Returns the bodies of the successful answers."""
        flask = self.http.application
        with ThreadPoolExecutor(times) as threads:
            answers = list(
                threads.map(lambda _: flask.test_client().post("/api/oauth/token", data=form), range(times))
            )
        return [dict(answer.json or {}) for answer in answers if answer.status_code == 200]

    def read(self, access_token: str) -> TestResponse:
        return self.http.get("/api/v1/products?limit=1", headers={"Authorization": f"Bearer {access_token}"})


def parameters_of(response: TestResponse) -> dict[str, str]:
    """The query parameters of a redirect to the app."""
    assert response.location.startswith(f"{CALLBACK}?"), response.location
    return {name: values[0] for name, values in parse_qs(urlsplit(response.location).query).items()}


NewApp = Callable[..., App]


@pytest.fixture
def user(catalog: Catalog, tenant: Tenant) -> User:
    return new_user(catalog, tenant.workspace)


@pytest.fixture
def new_app(app: Flask, catalog: Catalog, user: User) -> NewApp:
    def make(*, confidential: bool = False, by: User = user, **fields: Any) -> App:
        uris = fields.pop("redirect_uris", (CALLBACK,))
        record, secret = new_client("n8n", uris, confidential=confidential, **fields)
        catalog.create_client(record)
        browser = app.test_client()
        browser.set_cookie(COOKIE, new_session(catalog, by))
        return App(record, secret, app.test_client(), browser)

    return make


@pytest.fixture
def public(new_app: NewApp) -> App:
    """A public app that registered itself."""
    return new_app()


@pytest.fixture
def trusted(new_app: NewApp, tenant: Tenant) -> App:
    """A public app that an admin of the user's workspace registered."""
    return new_app(workspace_id=tenant.workspace.id)
