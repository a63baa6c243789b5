"""The authorization code flow with PKCE, and the cases in which it is refused."""

from __future__ import annotations

import secrets
import time
from dataclasses import replace
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import pytest
from flask import request
from flask.testing import FlaskClient

from auth.oauth import grants, server
from auth.oauth.grants import AuthorizationCodeGrant
from auth.oauth.server import OAuthServer
from auth.tokens import digest
from catalog.base import Catalog
from catalog.identity import CredentialKind, Role, User
from catalog.ids import now
from tests.api.fixtures import on_both_catalogs
from tests.auth.oauth.conftest import ALL, CALLBACK, App, NewApp, parameters_of
from tests.conftest import INVALID_TOKEN, PUBLIC_URL, Tenant
from tests.factories import new_user


@pytest.mark.parametrize("confidential", [False, True])
def test_an_app_gets_a_token_that_works_on_behalf_of_the_user(
    new_app: NewApp, tenant: Tenant, *, confidential: bool
) -> None:
    app = new_app(confidential=confidential)
    response = app.redeem(app.code())
    assert response.status_code == 200
    assert response.headers["Cache-Control"] == "no-store"
    tokens = dict(response.json or {})
    access, refresh = tokens.pop("access_token"), tokens.pop("refresh_token")
    assert tokens == {
        "token_type": "Bearer",
        "expires_in": 3600,
        "scope": "offline_access products:read products:write",
    }
    assert access.startswith("va_")
    assert refresh.startswith("vr_")
    body = {"name": "n", "model": "m", "category": "toys"}
    product = tenant.client.post("/api/v1/products", json=body).json or {}
    found = (app.read(access).json or {})["data"]["items"]
    assert [item["_id"] for item in found] == [product["_id"]]


def test_the_redirect_to_the_app_contains_the_state_and_the_issuer(public: App) -> None:
    returned = parameters_of(public.decide())
    assert set(returned) == {"code", "state", "iss"}
    assert (returned["state"], returned["iss"]) == ("xyz & 1", PUBLIC_URL)


def test_a_denied_request_redirects_with_access_denied(public: App, catalog: Catalog, user: User) -> None:
    assert parameters_of(public.decide("deny")) == {
        "error": "access_denied",
        "error_description": "The resource owner or authorization server denied the request",
        "state": "xyz & 1",
        "iss": PUBLIC_URL,
    }
    assert catalog.list_grants(user.id) == []


def test_a_visitor_signs_in_first_and_returns_to_the_consent_page(
    public: App, anonymous: FlaskClient
) -> None:
    path = public.authorization()
    response = anonymous.get(path)
    assert response.status_code == 303
    assert response.location == f"/console/sign-in?next={quote(path, safe='')}"


def test_a_decision_after_a_sign_out_leads_to_the_sign_in_page(public: App, anonymous: FlaskClient) -> None:
    path = public.authorization()
    response = anonymous.post(path, data={"csrf": "0" * 64, "decision": "allow"})
    assert response.status_code == 303
    assert response.location == f"/console/sign-in?next={quote(path, safe='')}"


@pytest.mark.parametrize("token", ["", "0" * 64])
def test_a_decision_without_a_valid_csrf_token_is_refused(
    public: App, catalog: Catalog, user: User, token: str
) -> None:
    response = public.browser.post(public.authorization(), data={"csrf": token, "decision": "allow"})
    assert response.status_code == 400
    assert catalog.list_grants(user.id) == []


def test_the_consent_page_can_not_be_framed_and_its_form_may_redirect_to_the_app(public: App) -> None:
    headers = public.ask().headers
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
    assert "form-action" not in headers["Content-Security-Policy"]  # Chromium applies it to the redirect
    assert headers["Cache-Control"] == "no-store"


def test_without_offline_access_there_is_no_refresh_token(public: App) -> None:
    tokens = public.tokens(scope="products:read")
    assert set(tokens) == {"access_token", "token_type", "expires_in", "scope"}
    assert tokens["scope"] == "products:read"


def test_a_request_without_a_scope_is_granted_products_read(public: App) -> None:
    assert public.tokens(scope=None)["scope"] == "products:read"


def test_only_the_digest_of_a_code_is_stored(public: App, catalog: Catalog) -> None:
    code = public.code()
    credential = catalog.find_credential(digest(code))
    assert credential is not None
    assert code not in repr(credential)
    assert credential.expires_at == credential.created_at + timedelta(seconds=60)


# --- redirect URIs


@pytest.mark.parametrize(
    ("registered", "asked"),
    [
        ("http://127.0.0.1/callback", "http://127.0.0.1:50123/callback"),
        ("http://[::1]:1/callback", "http://[::1]:50123/callback"),
        ("http://localhost:1/callback?a=b", "http://localhost:50123/callback?a=b"),
        ("com.example.app:/callback", "com.example.app:/callback"),
    ],
)
def test_a_loopback_redirect_uri_may_use_any_port(new_app: NewApp, registered: str, asked: str) -> None:
    app = new_app(redirect_uris=(registered,))
    location = app.decide(redirect_uri=asked).location
    assert location.startswith(asked)
    (code,) = parse_qs(urlsplit(location).query)["code"]
    assert app.redeem(code, redirect_uri=asked).status_code == 200


@pytest.mark.parametrize(
    "asked",
    [
        "https://app.example.com/callback/",
        "https://app.example.com/Callback",
        "https://app.example.com/callback?x=1",
        "https://app.example.com/callback#x",
        "https://app.example.com:443/callback",
        "https://app.example.com.evil.example/callback",
        "https://app.example.com@evil.example/callback",
        "http://app.example.com/callback",
        "https://evil.example/callback",
        'https://evil.example/"callback',
        "http://127.0.0.1:1/other",
        "http://127.0.0.2:1/loop",
        "http://127.0.0.1:x/loop",
        "https://127.0.0.1:1/loop",
        "http://user@127.0.0.1:1/loop",
        "javascript:alert(1)",
        "//app.example.com/callback",
        "",
    ],
)
def test_an_unregistered_redirect_uri_is_refused_without_a_redirect(new_app: NewApp, asked: str) -> None:
    app = new_app(redirect_uris=(CALLBACK, "http://127.0.0.1/loop"))
    response = app.ask(redirect_uri=asked)
    assert response.status_code == 400
    assert (response.json or {})["error"] == "invalid_request"
    assert "Location" not in response.headers


def test_the_redirect_uri_is_optional_if_only_one_is_registered(public: App) -> None:
    code = parameters_of(public.decide(redirect_uri=None))["code"]
    assert public.redeem(code, redirect_uri=None).status_code == 200


@pytest.mark.parametrize("client_id", [None, "", "6650a1b2c3d4e5f6a7b8c9d0", "é"])
def test_an_unknown_client_is_refused_without_a_redirect(public: App, client_id: str | None) -> None:
    response = public.ask(client_id=client_id)
    assert response.status_code == 400
    assert (response.json or {})["error"] == "invalid_client"
    assert "Location" not in response.headers


def test_a_browser_gets_the_error_as_a_page(public: App) -> None:
    response = public.browser.get(
        public.authorization(client_id="nobody"), headers={"Accept": "text/html,application/xhtml+xml"}
    )
    assert (response.status_code, response.mimetype) == (400, "text/html")


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"response_type": None}, "invalid_request"),
        ({"response_type": "token"}, "unsupported_response_type"),
        ({"response_type": 'code" id_token'}, "unsupported_response_type"),
        ({"scope": "products:delete"}, "invalid_scope"),
        ({"scope": "documents:read suppliers:write"}, "invalid_scope"),
        ({"scope": "openid offline_access"}, "invalid_scope"),
        ({"resource": "https://evil.example"}, "invalid_target"),
        ({"code_challenge": None}, "invalid_request"),
        ({"code_challenge": None, "code_challenge_method": None}, "invalid_request"),
        ({"code_challenge_method": None}, "invalid_request"),
        ({"code_challenge_method": "plain"}, "invalid_request"),
        ({"code_challenge": "too-short"}, "invalid_request"),
        ({"code_challenge": "x" * 44}, "invalid_request"),
    ],
)
def test_an_invalid_request_is_reported_to_the_app(
    trusted: App, changes: dict[str, str | None], error: str
) -> None:
    response = trusted.ask(**changes)
    assert response.status_code == 302
    returned = parameters_of(response)
    assert returned.pop("error_description")
    assert returned == {"error": error, "state": "xyz & 1", "iss": PUBLIC_URL}


def test_a_request_without_a_scope_is_refused_if_the_app_may_not_read(
    new_app: NewApp, tenant: Tenant
) -> None:
    app = new_app(scopes=frozenset({"products:write"}), workspace_id=tenant.workspace.id)
    assert parameters_of(app.ask(scope=None))["error"] == "invalid_scope"


def test_a_scope_that_the_app_did_not_register_is_refused(new_app: NewApp, tenant: Tenant) -> None:
    app = new_app(scopes=frozenset({"products:read"}), workspace_id=tenant.workspace.id)
    assert parameters_of(app.ask(scope=ALL))["error"] == "invalid_scope"
    assert app.tokens(scope="products:read")["scope"] == "products:read"


@pytest.mark.parametrize("name", ["client_id", "redirect_uri", "state", "code_challenge", "scope"])
def test_a_repeated_parameter_is_refused(trusted: App, name: str) -> None:
    response = trusted.browser.get(f"{trusted.authorization()}&{name}=again")
    error = (
        parameters_of(response)["error"] if response.status_code == 302 else (response.json or {})["error"]
    )
    assert error == "invalid_request"


# --- redeeming a code


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"code_verifier": "x" * 64}, "invalid_grant"),
        ({"code_verifier": None}, "invalid_request"),
        ({"code_verifier": "short"}, "invalid_request"),
        ({"redirect_uri": "https://app.example.com/other"}, "invalid_grant"),
        ({"redirect_uri": None}, "invalid_grant"),
        ({"code": "unknown"}, "invalid_grant"),
        ({"code": None}, "invalid_request"),
        ({"grant_type": None}, "invalid_request"),
        ({"grant_type": "password"}, "unsupported_grant_type"),
        ({"grant_type": "client_credentials"}, "unsupported_grant_type"),
    ],
)
def test_a_failed_redemption_does_not_use_up_the_code(
    public: App, changes: dict[str, str | None], error: str
) -> None:
    code = public.code()
    response = public.redeem(code, **changes)
    assert (response.status_code, (response.json or {})["error"]) == (400, error)
    assert response.headers["Cache-Control"] == "no-store"
    assert public.redeem(code).status_code == 200


def test_only_the_app_that_received_a_code_can_redeem_it(new_app: NewApp) -> None:
    mine, other = new_app(), new_app()
    code = mine.code()
    other.verifier = mine.verifier
    response = other.redeem(code)
    assert (response.status_code, (response.json or {})["error"]) == (400, "invalid_grant")
    assert mine.redeem(code).status_code == 200


def test_replaying_a_code_revokes_its_tokens(public: App) -> None:
    code = public.code()
    tokens = public.redeem(code).json or {}
    assert public.read(tokens["access_token"]).status_code == 200
    response = public.redeem(code)
    assert (response.status_code, (response.json or {})["error"]) == (400, "invalid_grant")
    after = public.read(tokens["access_token"])
    assert after.status_code == 401
    assert after.headers["WWW-Authenticate"] == INVALID_TOKEN
    assert (public.refresh(tokens["refresh_token"]).json or {})["error"] == "invalid_grant"


def test_simultaneous_redemptions_of_a_code_leave_no_working_token(public: App) -> None:
    form = {
        "grant_type": "authorization_code",
        "client_id": public.record.id,
        "code": public.code(),
        "redirect_uri": CALLBACK,
        "code_verifier": public.verifier,
    }
    given = public.at_once(form)
    assert len(given) <= 1
    assert [public.read(tokens["access_token"]).status_code for tokens in given] == [401] * len(given)


def test_an_expired_code_is_refused(public: App, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grants, "CODE_LIFETIME", timedelta(0))
    response = public.redeem(public.code())
    assert (response.status_code, (response.json or {})["error"]) == (400, "invalid_grant")


@pytest.mark.parametrize("secret", ["wrong", ""])
def test_a_confidential_app_must_authenticate_with_its_secret(new_app: NewApp, secret: str) -> None:
    app = new_app(confidential=True)
    code = app.code()
    right, app.secret = app.secret, secret
    response = app.redeem(code)
    assert (response.status_code, (response.json or {})["error"]) == (401, "invalid_client")
    assert response.headers["WWW-Authenticate"].startswith("Basic ")
    app.secret = None  # as a public one
    response = app.redeem(code)
    assert (response.status_code, (response.json or {})["error"]) == (401, "invalid_client")
    response = app.redeem(code, client_secret=right)
    assert response.status_code == 200


def test_parameters_in_the_query_of_the_token_endpoint_are_ignored(public: App) -> None:
    code = public.code()
    query = f"grant_type=authorization_code&client_id={public.record.id}&code={code}"
    response = public.http.post(
        f"/api/oauth/token?{query}&redirect_uri={CALLBACK}&code_verifier={public.verifier}"
    )
    assert (response.status_code, (response.json or {})["error"]) == (400, "invalid_request")


@pytest.mark.parametrize(
    ("authorization", "status", "error"),
    [
        ("Basic /////w==", 400, "invalid_request"),  # base64 of bytes that are not UTF-8
        ("Basic", 401, "invalid_client"),
        ("Basic !!!", 401, "invalid_client"),
        ("Basic Og==", 401, "invalid_client"),  # a lone colon
        ("Basic eDp5", 401, "invalid_client"),  # x:y
        ("Bearer x", 401, "invalid_client"),
    ],
)
def test_a_malformed_authorization_header_is_refused(
    new_app: NewApp, authorization: str, status: int, error: str
) -> None:
    app = new_app(confidential=True)
    response = app.http.post(
        "/api/oauth/token",
        data={"grant_type": "authorization_code", "code": "x"},
        headers={"Authorization": authorization},
    )
    assert (response.status_code, (response.json or {})["error"]) == (status, error)


@pytest.mark.parametrize(
    "body",
    [b"\xff\xfe", b"grant_type=%ff", b"a=b&" * 100, b"a=" + b"b" * 20_000, b"grant_type=x&grant_type=y"],
)
def test_a_malformed_form_is_refused(anonymous: FlaskClient, body: bytes) -> None:
    for path in ("token", "revoke"):
        response = anonymous.post(
            f"/api/oauth/{path}", data=body, content_type="application/x-www-form-urlencoded"
        )
        assert (response.status_code, (response.json or {})["error"]) == (400, "invalid_request")
        assert response.headers["Cache-Control"] == "no-store"


def test_an_app_that_authenticates_in_two_ways_is_refused(new_app: NewApp) -> None:
    app = new_app(confidential=True)
    response = app.redeem(app.code(), client_secret=app.secret)
    assert (response.status_code, (response.json or {})["error"]) == (400, "invalid_request")


# --- what a user may do


def test_the_token_of_a_viewer_can_read_and_not_write(
    new_app: NewApp, catalog: Catalog, tenant: Tenant
) -> None:
    app = new_app(by=new_user(catalog, tenant.workspace, Role.VIEWER))
    assert "You may only view this workspace" in app.ask().text
    token = app.tokens()["access_token"]
    assert app.read(token).status_code == 200
    response = app.http.post(
        "/api/v1/products",
        json={"name": "n", "model": "m", "category": "toys"},
        headers={"Authorization": f"Bearer {token}"},
    )
    assert (response.status_code, response.json) == (
        403,
        {"error": "Insufficient scope", "details": {"requiredScope": "products:write"}},
    )


def test_a_disabled_user_gets_no_tokens(public: App, catalog: Catalog, user: User) -> None:
    code, tokens = public.code(), public.tokens()
    catalog.disable_user(user.id, now())
    assert (public.redeem(code).json or {})["error"] == "invalid_grant"
    assert (public.refresh(tokens["refresh_token"]).json or {})["error"] == "invalid_grant"
    assert public.read(tokens["access_token"]).status_code == 401


@on_both_catalogs
def test_a_new_password_ends_codes_and_refresh_tokens(public: App, catalog: Catalog, user: User) -> None:
    code, tokens = public.code(), public.tokens()
    catalog.set_password(user.id, "another hash", now() + timedelta(seconds=1))
    assert (public.redeem(code).json or {})["error"] == "invalid_grant"
    assert (public.refresh(tokens["refresh_token"]).json or {})["error"] == "invalid_grant"
    assert public.read(tokens["access_token"]).status_code == 401


@on_both_catalogs
def test_a_password_that_changes_during_the_consent_ends_the_new_grant_too(
    public: App, catalog: Catalog, user: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The session was checked before the change, and the grant is made after it."""
    consent = OAuthServer.consent

    def change_password_first(self: OAuthServer, *args: Any) -> AuthorizationCodeGrant:
        if request.method == "POST":
            time.sleep(0.002)  # times are stored in milliseconds
            catalog.set_password(user.id, "another hash", now())
            time.sleep(0.002)
        return consent(self, *args)

    monkeypatch.setattr(OAuthServer, "consent", change_password_first)
    assert (public.redeem(public.code()).json or {})["error"] == "invalid_grant"


def test_deleting_an_app_ends_its_codes_and_tokens(new_app: NewApp, catalog: Catalog, tenant: Tenant) -> None:
    app = new_app(workspace_id=tenant.workspace.id)
    code, tokens = app.code(), app.tokens()
    catalog.delete_client(tenant.workspace.id, app.record.id)
    assert (app.redeem(code).json or {})["error"] == "invalid_client"
    assert (app.refresh(tokens["refresh_token"]).json or {})["error"] == "invalid_client"
    assert app.read(tokens["access_token"]).status_code == 401


def test_an_access_token_expires_after_an_hour(
    public: App, catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = public.tokens()["access_token"]
    credential = catalog.find_credential(digest(token))
    assert credential is not None
    assert credential.expires_at == credential.created_at + timedelta(hours=1)
    monkeypatch.setattr(server, "ACCESS_LIFETIME", timedelta(0))
    assert public.read(public.tokens()["access_token"]).status_code == 401


def test_other_kinds_of_secrets_are_not_accepted_as_codes_or_refresh_tokens(
    public: App, catalog: Catalog
) -> None:
    tokens = public.tokens()
    for secret in (tokens["access_token"], tokens["refresh_token"]):
        assert (public.redeem(secret).json or {})["error"] == "invalid_grant"
    assert (public.refresh(tokens["access_token"]).json or {})["error"] == "invalid_grant"
    assert (public.refresh(public.code()).json or {})["error"] == "invalid_grant"
    lonely = secrets.token_urlsafe(32)
    known = catalog.find_credential(digest(tokens["access_token"]))
    assert known is not None
    catalog.create_credential(
        replace(
            known, id="0" * 24, digest=digest(lonely), kind=CredentialKind.AUTHORIZATION_CODE, grant_id=None
        )
    )
    assert (public.redeem(lonely).json or {})["error"] == "invalid_grant"
