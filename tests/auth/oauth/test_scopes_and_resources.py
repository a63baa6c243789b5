"""The scopes that are granted for what an app requests, and the resource indicators of RFC 8707."""

from __future__ import annotations

import pytest
from flask.testing import FlaskClient

from tests.auth.oauth.conftest import CALLBACK, App, parameters_of
from tests.conftest import PUBLIC_URL

#: The scopes of the published MCP server's metadata.
OF_THE_MCP_SERVER = (
    "passports:read passports:write documents:read documents:write suppliers:read suppliers:write"
    " offline_access"
)


@pytest.mark.parametrize(
    ("requested", "granted"),
    [
        ("passports:read passports:write offline_access", "offline_access products:read products:write"),
        (OF_THE_MCP_SERVER, "offline_access products:read products:write"),
        ("passports:read", "products:read"),
        ("passports:write", "products:write"),
        ("passports:read products:read", "products:read"),
        ("products:read admin", "products:read"),
        (" products:read  openid ", "products:read"),
    ],
)
def test_aliases_are_resolved_and_unknown_scopes_left_out(public: App, requested: str, granted: str) -> None:
    tokens = public.tokens(scope=requested)
    assert tokens["scope"] == granted
    assert ("refresh_token" in tokens) is ("offline_access" in granted)
    reads = public.read(tokens["access_token"]).status_code
    assert reads == (200 if "products:read" in granted else 403)


@pytest.mark.parametrize(
    ("sent", "registered"),
    [
        (OF_THE_MCP_SERVER, "offline_access products:read products:write"),
        ("passports:read", "products:read"),
        ("products:read documents:read", "products:read"),
        ("", "offline_access products:read products:write"),
    ],
)
def test_a_registration_says_which_scopes_it_covers(
    anonymous: FlaskClient, sent: str, registered: str
) -> None:
    body = {"redirect_uris": [CALLBACK], "scope": sent}
    response = anonymous.post("/api/oauth/register", json=body)
    assert (response.status_code, (response.json or {})["scope"]) == (201, registered)


OWN = [
    PUBLIC_URL,
    f"{PUBLIC_URL}/",
    f"{PUBLIC_URL}/api/v1",
    f"{PUBLIC_URL}/api/v1/products",
    "HTTPS://Images.Example.COM:443/",
    "",
]
FOREIGN = [
    "https://evil.example",
    "http://images.example.com",
    f"{PUBLIC_URL}:8443",
    f"{PUBLIC_URL}.evil.example",
    f"{PUBLIC_URL}@evil.example",
    "https://evil@images.example.com",
    f"{PUBLIC_URL}/#fragment",
    f"{PUBLIC_URL}#",
    "https://[images.example.com",
    f"{PUBLIC_URL}:x",
    "/api/v1",
    "images.example.com",
]


@pytest.mark.parametrize("resource", OWN)
def test_a_resource_that_is_this_server_is_accepted_in_all_requests(public: App, resource: str) -> None:
    code = public.code(resource=resource)
    first = public.redeem(code, resource=resource)
    assert first.status_code == 200, first.text
    token = (first.json or {})["refresh_token"]
    second = public.post("token", grant_type="refresh_token", refresh_token=token, resource=resource)
    assert second.status_code == 200, second.text


@pytest.mark.parametrize("resource", FOREIGN)
def test_a_resource_that_is_not_this_server_is_refused_in_all_requests(
    public: App, trusted: App, resource: str
) -> None:
    assert parameters_of(trusted.ask(resource=resource))["error"] == "invalid_target"
    code = public.code()
    refused = public.redeem(code, resource=resource)
    assert (refused.status_code, (refused.json or {})["error"]) == (400, "invalid_target")
    token = (public.redeem(code).json or {})["refresh_token"]
    refused = public.post("token", grant_type="refresh_token", refresh_token=token, resource=resource)
    assert (refused.status_code, (refused.json or {})["error"]) == (400, "invalid_target")
    assert public.refresh(token).status_code == 200


def test_a_request_may_repeat_the_resource_but_each_must_be_this_server(public: App, trusted: App) -> None:
    own = f"&resource={PUBLIC_URL}/&resource={PUBLIC_URL}"
    assert trusted.browser.get(trusted.authorization() + own).status_code == 200
    answer = trusted.browser.get(f"{trusted.authorization()}{own}&resource=https://evil.example")
    assert parameters_of(answer)["error"] == "invalid_target"
    form = {
        "grant_type": "authorization_code",
        "client_id": public.record.id,
        "code": public.code(),
        "redirect_uri": CALLBACK,
        "code_verifier": public.verifier,
        "resource": [PUBLIC_URL, "https://evil.example"],
    }
    refused = public.http.post("/api/oauth/token", data=form)
    assert (refused.json or {})["error"] == "invalid_target"
    form["resource"] = [PUBLIC_URL, f"{PUBLIC_URL}/api/v1"]
    assert public.http.post("/api/oauth/token", data=form).status_code == 200
