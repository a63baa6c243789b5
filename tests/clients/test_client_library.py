"""The whole flow with a third-party OAuth client library, over HTTP, against gunicorn with two workers."""

from __future__ import annotations

import secrets

import pytest
import requests
from authlib.integrations.base_client import OAuthError
from authlib.integrations.requests_client import OAuth2Session

from tests.clients.conftest import Human
from tests.servers import Server

CALLBACK = "http://127.0.0.1:51004/callback"
SCOPE = "products:read products:write offline_access"


def registered(server: Server, method: str) -> OAuth2Session:
    """A client that registered itself."""
    response = requests.post(
        f"{server.url}/api/oauth/register",
        json={
            "client_name": "ERP",
            "redirect_uris": ["http://127.0.0.1/callback"],
            "token_endpoint_auth_method": method,
        },
        timeout=10,
    )
    assert response.status_code == 201, response.text
    body = response.json()
    return OAuth2Session(
        body["client_id"],
        body.get("client_secret"),
        token_endpoint_auth_method=method,
        scope=SCOPE,
        redirect_uri=CALLBACK,
        code_challenge_method="S256",
    )


@pytest.mark.parametrize("method", ["none", "client_secret_basic", "client_secret_post"])
def test_a_client_library_completes_the_whole_flow(server: Server, human: Human, method: str) -> None:
    metadata = requests.get(f"{server.url}/.well-known/oauth-authorization-server", timeout=10).json()
    products = f"{server.url}/api/v1/products"
    with registered(server, method) as client:
        verifier = secrets.token_urlsafe(48)
        url, state = client.create_authorization_url(
            metadata["authorization_endpoint"], code_verifier=verifier
        )
        callback = human.allow(url)
        token = client.fetch_token(
            metadata["token_endpoint"], authorization_response=callback, code_verifier=verifier, state=state
        )
        body = {"name": "48V pack", "model": secrets.token_hex(4), "category": "battery"}
        created = client.post(products, json=body, timeout=10)
        assert created.status_code == 201, created.text
        item = created.json()
        del item["defaultFieldValues"]
        assert client.get(products, timeout=10).json()["data"]["items"] == [item]

        first = token["refresh_token"]
        refreshed = client.refresh_token(metadata["token_endpoint"], refresh_token=first)
        assert refreshed["refresh_token"] != first
        assert client.get(products, timeout=10).status_code == 200

        revoked = client.revoke_token(metadata["revocation_endpoint"], token=refreshed["refresh_token"])  # type: ignore[no-untyped-call]  # Authlib's stubs
        assert revoked.status_code == 200
        answer = requests.get(
            products, headers={"Authorization": f"Bearer {refreshed['access_token']}"}, timeout=10
        )
        assert answer.status_code == 401
        assert 'error="invalid_token"' in answer.headers["WWW-Authenticate"]
        with pytest.raises(OAuthError, match="invalid_grant"):
            client.refresh_token(metadata["token_endpoint"], refresh_token=refreshed["refresh_token"])


def test_a_client_library_with_a_wrong_verifier_gets_no_token(server: Server, human: Human) -> None:
    with registered(server, "none") as client:
        url, _ = client.create_authorization_url(
            f"{server.url}/api/oauth/authorize", code_verifier=secrets.token_urlsafe(48)
        )
        with pytest.raises(OAuthError, match="invalid_grant"):
            client.fetch_token(
                f"{server.url}/api/oauth/token",
                authorization_response=human.allow(url),
                code_verifier=secrets.token_urlsafe(48),
            )
