"""The authorization endpoint is not an open redirector: RFC 9700 section 4.11.2."""

from __future__ import annotations

import html
import re
from urllib.parse import quote

import pytest
from flask import Flask
from flask.testing import FlaskClient

from auth.sessions import cookie_name
from catalog.base import Catalog
from tests.auth.oauth.conftest import COOKIE, App, NewApp, parameters_of
from tests.conftest import PUBLIC_URL, NewTenant, Tenant
from tests.factories import new_session, new_user

#: Requests of a known app with a registered address, each with an error that the app may be told.
INVALID = [
    {"response_type": "token"},
    {"response_type": None},
    {"scope": "unknown"},
    {"code_challenge": None},
    {"resource": "https://evil.example"},
]


@pytest.mark.parametrize("changes", INVALID)
@pytest.mark.parametrize("of_the_workspace", [True, False])
def test_a_visitor_is_asked_to_sign_in_first(
    new_app: NewApp,
    tenant: Tenant,
    anonymous: FlaskClient,
    changes: dict[str, str | None],
    *,
    of_the_workspace: bool,
) -> None:
    app = new_app(workspace_id=tenant.workspace.id if of_the_workspace else None)
    path = app.authorization(**changes)
    for response in (
        anonymous.get(path),
        anonymous.get(path, headers={"Accept": "text/html"}),
        anonymous.post(path, data={"csrf": "0" * 64, "decision": "deny"}),
    ):
        assert (response.status_code, response.location) == (
            303,
            f"/console/sign-in?next={quote(path, safe='')}",
        )


@pytest.mark.parametrize("changes", INVALID)
def test_an_app_that_the_users_workspace_registered_is_told_at_once(
    trusted: App, changes: dict[str, str | None]
) -> None:
    response = trusted.ask(**changes)
    assert response.status_code == 302
    assert parameters_of(response)["iss"] == PUBLIC_URL


@pytest.mark.parametrize("changes", INVALID)
@pytest.mark.parametrize("registered_by", ["itself", "another workspace"])
def test_for_an_unchecked_app_a_page_lets_the_user_decide(
    new_app: NewApp, new_tenant: NewTenant, changes: dict[str, str | None], registered_by: str
) -> None:
    other = None if registered_by == "itself" else new_tenant().workspace.id
    app = new_app(workspace_id=other)
    response = app.ask(**changes)
    assert (response.status_code, response.mimetype) == (400, "text/html")
    assert "Location" not in response.headers
    assert "Refresh" not in response.headers
    assert "Nobody in your workspace has checked this app." in response.text
    link = re.search(
        r'<a class="button" href="([^"]*)" rel="noreferrer">Back to app\.example\.com</a>', response.text
    )
    assert link is not None
    assert html.unescape(link[1]).startswith("https://app.example.com/callback?error=")
    assert response.headers["Referrer-Policy"] == "no-referrer"


def test_a_decision_on_the_page_redirects_to_an_unchecked_app(public: App) -> None:
    assert parameters_of(public.decide("deny"))["error"] == "access_denied"
    assert parameters_of(public.decide("allow"))["code"]


def test_a_user_of_another_workspace_sees_the_page(
    app: Flask, trusted: App, catalog: Catalog, new_tenant: NewTenant
) -> None:
    stranger = app.test_client()
    user = new_user(catalog, new_tenant().workspace)
    stranger.set_cookie(COOKIE, new_session(catalog, user))
    response = stranger.get(trusted.authorization(scope="unknown"))
    assert (response.status_code, "Location" in response.headers) == (400, False)


def test_the_session_cookie_without_the_prefix_does_not_count_on_https(
    public: App, catalog: Catalog, app: Flask, tenant: Tenant
) -> None:
    """Another host of the domain can set ``vetrina_session`` for all hosts, but no ``__Host-`` cookie."""
    assert cookie_name("vetrina_session", secure=True) == COOKIE
    browser = app.test_client()
    browser.set_cookie("vetrina_session", new_session(catalog, new_user(catalog, tenant.workspace)))
    assert browser.get(public.authorization()).status_code == 303
