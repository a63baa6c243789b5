"""Dynamic client registration and the discovery documents."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from app import create_app
from auth.tokens import digest
from catalog.base import Catalog
from catalog.expiry import remove_all_expired
from catalog.ids import now
from config import Settings
from storage.base import StorageBackend
from tests.api.fixtures import on_both_catalogs
from tests.auth.oauth.conftest import CALLBACK
from tests.conftest import PUBLIC_URL, Tenant
from tests.factories import new_grant, new_oauth_client, new_user

PATH = "/api/oauth/register"
ALL = "offline_access products:read products:write"


def test_a_public_app_registers_itself(anonymous: FlaskClient, catalog: Catalog) -> None:
    metadata = {
        "client_name": " MCP client ",
        "redirect_uris": ["http://127.0.0.1/callback", CALLBACK],
        "token_endpoint_auth_method": "none",
        "grant_types": ["authorization_code", "refresh_token"],
        "response_types": ["code"],
        "logo_uri": "https://app.example.com/logo.png",
    }
    response = anonymous.post(PATH, json=metadata)
    assert response.status_code == 201
    assert response.headers["Cache-Control"] == "no-store"
    body = dict(response.json or {})
    client = catalog.find_client(body["client_id"])
    assert client is not None
    assert body == {
        "client_id": client.id,
        "client_id_issued_at": round(client.created_at.timestamp()),
        "client_name": "MCP client",
        "scope": ALL,
        "redirect_uris": ["http://127.0.0.1/callback", CALLBACK],
        "token_endpoint_auth_method": "none",
        "grant_types": ["authorization_code", "refresh_token"],
        "response_types": ["code"],
    }
    assert (client.name, client.workspace_id, client.secret_digest) == ("MCP client", None, None)


def test_a_confidential_app_that_registers_itself_receives_a_secret(
    anonymous: FlaskClient, catalog: Catalog
) -> None:
    body = dict(anonymous.post(PATH, json={"redirect_uris": [CALLBACK], "scope": "products:read"}).json or {})
    client = catalog.find_client(body["client_id"])
    assert client is not None
    assert client.secret_digest == digest(body["client_secret"])
    assert body["client_secret"].startswith("vs_")
    assert (body["client_secret_expires_at"], body["scope"]) == (0, "products:read")
    assert body["token_endpoint_auth_method"] == "client_secret_basic"


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"redirect_uris": []}, "invalid_redirect_uri"),
        ({"redirect_uris": [CALLBACK] * 11}, "invalid_redirect_uri"),
        ({"redirect_uris": ["http://app.example.com/"]}, "invalid_redirect_uri"),
        ({"redirect_uris": ["https://app;sandbox/"]}, "invalid_redirect_uri"),
        ({"redirect_uris": ["https://app.example.com/#x"]}, "invalid_redirect_uri"),
        ({"redirect_uris": ["https://user:pw@app.example.com/"]}, "invalid_redirect_uri"),
        ({"redirect_uris": ["https://"]}, "invalid_redirect_uri"),
        ({"redirect_uris": ["https://app.example.com/\n"]}, "invalid_redirect_uri"),
        ({"redirect_uris": ["https://app.example.com/" + "x" * 2048]}, "invalid_redirect_uri"),
        ({"redirect_uris": ["javascript:alert(1)"]}, "invalid_redirect_uri"),
        ({"redirect_uris": ["data:text/html,x"]}, "invalid_redirect_uri"),
        ({"redirect_uris": ["app:/callback"]}, "invalid_redirect_uri"),
        ({"redirect_uris": ["http://127.0.0.1:99999/"]}, "invalid_redirect_uri"),
        ({"redirect_uris": CALLBACK}, "invalid_client_metadata"),
        ({"redirect_uris": [1]}, "invalid_client_metadata"),
        ({"client_name": ""}, "invalid_client_metadata"),
        ({"client_name": "x" * 101}, "invalid_client_metadata"),
        ({"client_name": "two\nlines"}, "invalid_client_metadata"),
        ({"client_name": 5}, "invalid_client_metadata"),
        ({"scope": "admin"}, "invalid_scope"),
        ({"scope": "documents:read offline_access"}, "invalid_scope"),
        ({"grant_types": ["password"]}, "invalid_client_metadata"),
        ({"response_types": ["token"]}, "invalid_client_metadata"),
        ({"token_endpoint_auth_method": "private_key_jwt"}, "invalid_client_metadata"),
    ],
)
def test_invalid_metadata_is_refused(
    anonymous: FlaskClient, catalog: Catalog, changes: dict[str, Any], error: str
) -> None:
    response = anonymous.post(PATH, json={"redirect_uris": [CALLBACK], **changes})
    assert response.status_code == 400
    assert (response.json or {})["error"] == error
    assert catalog.list_clients(None) == []


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'"x"', b"5", b"null", b"[" * 100_000])
def test_a_body_that_is_not_a_json_object_is_refused(anonymous: FlaskClient, body: bytes) -> None:
    response = anonymous.post(PATH, data=body, content_type="application/json")
    assert (response.status_code, (response.json or {})["error"]) == (400, "invalid_client_metadata")


@pytest.fixture
def limited(settings: Settings, storage: StorageBackend, catalog: Catalog) -> Flask:
    return create_app(replace(settings, oauth_max_registered_clients=2), storage=storage, catalog=catalog)


@on_both_catalogs
def test_the_number_of_self_registered_apps_is_limited_and_idle_ones_make_room(
    limited: Flask, catalog: Catalog, tenant: Tenant
) -> None:
    http, body = limited.test_client(), {"redirect_uris": [CALLBACK]}
    a_while_ago = now() - timedelta(minutes=11)
    in_use, idle = (new_oauth_client(catalog, created_at=a_while_ago) for _ in range(2))
    grant = new_grant(catalog, new_user(catalog, tenant.workspace), in_use)
    assert http.post(PATH, json=body).status_code == 201
    assert [catalog.find_client(client.id) is not None for client in (in_use, idle)] == [True, False]
    refused = http.post(PATH, json=body)
    assert (refused.status_code, refused.json) == (
        400,
        {"error": "access_denied", "error_description": "No more clients can register themselves here."},
    )
    catalog.revoke_grant(grant.id, now())
    assert http.post(PATH, json=body).status_code == 201
    assert catalog.find_client(in_use.id) is None


@on_both_catalogs
def test_apps_without_a_live_grant_are_forgotten_after_a_day(catalog: Catalog, tenant: Tenant) -> None:
    old = now() - timedelta(days=1, minutes=1)
    never_used, expired, in_use = (new_oauth_client(catalog, created_at=old) for _ in range(3))
    user = new_user(catalog, tenant.workspace)
    new_grant(catalog, user, expired, expires_at=now())
    new_grant(catalog, user, in_use)
    assert [total["unusedClients"] for total in remove_all_expired(catalog, pause=0)] == [2, 2]
    kept = [catalog.find_client(client.id) is not None for client in (never_used, expired, in_use)]
    assert kept == [False, False, True]


def test_registrations_are_limited_by_address(
    settings: Settings, storage: StorageBackend, catalog: Catalog
) -> None:
    settings = replace(settings, auth_failures_per_minute=2)
    http = create_app(settings, storage=storage, catalog=catalog).test_client()
    answers = [http.post(PATH, json={"redirect_uris": [CALLBACK]}) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [201, 201, 429]


def test_registration_can_be_disabled(settings: Settings, storage: StorageBackend, catalog: Catalog) -> None:
    settings = replace(settings, oauth_max_registered_clients=0)
    http = create_app(settings, storage=storage, catalog=catalog).test_client()
    response = http.post(PATH, json={"redirect_uris": [CALLBACK]})
    assert (response.status_code, response.json) == (404, {"error": "Not found"})
    metadata = http.get("/.well-known/oauth-authorization-server").json or {}
    assert "registration_endpoint" not in metadata


def test_the_authorization_server_metadata(anonymous: FlaskClient) -> None:
    methods = ["none", "client_secret_basic", "client_secret_post"]
    assert anonymous.get("/.well-known/oauth-authorization-server").json == {
        "issuer": PUBLIC_URL,
        "authorization_endpoint": f"{PUBLIC_URL}/api/oauth/authorize",
        "token_endpoint": f"{PUBLIC_URL}/api/oauth/token",
        "revocation_endpoint": f"{PUBLIC_URL}/api/oauth/revoke",
        "registration_endpoint": f"{PUBLIC_URL}/api/oauth/register",
        "scopes_supported": ["offline_access", "products:read", "products:write"],
        "response_types_supported": ["code"],
        "response_modes_supported": ["query"],
        "grant_types_supported": ["authorization_code", "refresh_token"],
        "token_endpoint_auth_methods_supported": methods,
        "revocation_endpoint_auth_methods_supported": methods,
        "code_challenge_methods_supported": ["S256"],
        "authorization_response_iss_parameter_supported": True,
        "ui_locales_supported": ["en", "it"],
        "service_documentation": f"{PUBLIC_URL}/docs",
    }


def test_the_protected_resource_metadata(anonymous: FlaskClient) -> None:
    assert anonymous.get("/.well-known/oauth-protected-resource").json == {
        "resource": PUBLIC_URL,
        "authorization_servers": [PUBLIC_URL],
        "scopes_supported": ["offline_access", "products:read", "products:write"],
        "bearer_methods_supported": ["header"],
        "resource_name": "Vetrina",
        "resource_documentation": f"{PUBLIC_URL}/docs",
    }
