"""Whole visits of the published clients, each with its own method of signing in, to a real server."""

from __future__ import annotations

import base64
import json
import re
import secrets
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
from authlib.integrations.base_client import OAuthError
from authlib.integrations.requests_client import OAuth2Session

from tests.clients.calls import McpServer, N8nNode
from tests.clients.conftest import Human
from tests.pictures import jpeg, png
from tests.servers import Server

PRODUCTS = "/api/v1/products"
#: n8n's callback, and the scopes of the node's OAuth credential.
N8N_CALLBACK = "http://localhost:5678/rest/oauth2-credential/callback"
N8N_SCOPE = "passports:read passports:write offline_access"


def get(url: str, **headers: str) -> requests.Response:
    return requests.get(url, headers=headers, timeout=10)


def test_the_mcp_server_with_a_key(server: Server, human: Human) -> None:
    client = McpServer(server.url, human.key)
    probe = client.request("GET", f"{PRODUCTS}?limit=1")
    empty = {"data": {"items": [], "total": 0, "page": 1, "limit": 1, "totalPages": 0}}
    assert (probe.status_code, probe.json()) == (200, empty)
    body = {
        "name": "48V Li-Ion Pack",
        "model": "BP-48V-100",
        "category": "battery",
        "description": "LFP",
        "defaultFieldValues": {"battery_chemistry": "lithium-ion", "nominal_voltage": 48},
        "imageUrls": ["https://cdn.example.com/pack.jpg"],
    }
    created = client.request("POST", PRODUCTS, body)
    product: dict[str, Any] = created.json()
    assert (created.status_code, product) == (
        201,
        {
            "_id": product["_id"],
            **body,
            "category": "batteries",
            "templateId": None,
            "images": [{"url": "https://cdn.example.com/pack.jpg", "alt": {}}],
            "passportCount": 0,
            "status": "active",
            "sourceLocale": "en",
            "createdAt": product["createdAt"],
            "updatedAt": product["createdAt"],
        },
    )
    again = client.request("POST", PRODUCTS, body, key=created.request.headers["Idempotency-Key"])
    assert (again.status_code, again.json()) == (201, product)
    assert again.headers["Idempotency-Replayed"] == "true"
    path = f"{PRODUCTS}/{product['_id']}"
    assert client.request("GET", path).json() == product
    listed = client.request("GET", f"{PRODUCTS}?page=1&limit=100&category=battery&search=bp-48v").json()
    item = {name: value for name, value in product.items() if name != "defaultFieldValues"}
    assert listed == {"data": {"items": [item], "total": 1, "page": 1, "limit": 100, "totalPages": 1}}
    changed = client.request("PATCH", path, {"description": "LFP, 100 Ah"})
    assert (changed.status_code, changed.json()["description"]) == (200, "LFP, 100 Ah")
    archived = client.request("POST", f"{path}/archive")
    assert (archived.status_code, archived.json()["status"]) == (200, "archived")
    assert archived.json() == client.request("GET", path).json()


def test_the_mcp_server_explains_errors_to_a_person(server: Server, human: Human) -> None:
    client = McpServer(server.url, human.key)
    body = {"name": "48V Li-Ion Pack", "model": "BP-48V-200", "category": "battery"}
    invalid = client.request("POST", PRODUCTS, {"model": "BP-48V-200", "category": "fruit", "colour": "red"})
    assert invalid.status_code == 400
    errors = invalid.json()["details"]["fieldErrors"]
    assert sorted(errors) == ["category", "colour", "name"]
    sentence = "; ".join(f"{field}: {why}" for field, reasons in errors.items() for why in reasons)
    assert client.explain(invalid) == f"The API returned 400. {sentence}"
    assert "name: Required" in sentence

    created = client.request("POST", PRODUCTS, body)
    duplicate = client.request("POST", PRODUCTS, body)
    assert duplicate.status_code == 409
    assert client.explain(duplicate) == "Conflict: A product with this model already exists"
    other = client.request("POST", PRODUCTS, body | {"model": "BP-48V-201"}).json()["_id"]
    renamed = client.request("PATCH", f"{PRODUCTS}/{other}", {"model": "BP-48V-200"})
    assert client.explain(renamed) == client.explain(duplicate)
    reused = client.request(
        "POST", PRODUCTS, body | {"name": "Other"}, key=created.request.headers["Idempotency-Key"]
    )
    assert client.explain(reused) == "Validation error: the request payload was rejected."

    missing = client.request("GET", f"{PRODUCTS}/6650a1b2c3d4e5f6a7b8c9d0")
    assert client.explain(missing) == "Not found: no resource matches that id or serial."
    stranger = McpServer(server.url, "tp_EXAMPLE_not_a_key")
    refused = stranger.request("GET", f"{PRODUCTS}?limit=1")
    assert (refused.status_code, refused.json()) == (401, {"error": "Unauthorized"})
    assert stranger.explain(refused) == "Authentication failed: the key is missing or invalid."
    unset = get(server.url + PRODUCTS, Authorization="Bearer ")
    assert unset.status_code == 401


def test_the_n8n_node_with_a_key(server: Server, human: Human) -> None:
    node = N8nNode(server.url, human.key)
    assert node.request("GET", PRODUCTS, limit=1).status_code == 200
    external = "https://cdn.example.com/chair.jpg"
    body = {
        "name": "Chair",
        "model": "CH-1",
        "category": "furniture",
        "description": "",
        "imageUrls": [external],
    }
    created = node.request("POST", PRODUCTS, body)
    assert created.status_code == 201, created.text
    product_id = created.json()["_id"]
    path = f"{PRODUCTS}/{product_id}"
    urls = [external]
    for data, content_type, extension in ((jpeg(), "image/jpeg", "jpg"), (png(), "image/png", "png")):
        uploaded = node.upload(product_id, data, f"Sofia vorn ä.{extension}", content_type)
        urls.append(uploaded.json()["imageUrl"])
        assert (uploaded.status_code, uploaded.json()) == (201, {"imageUrl": urls[-1], "imageUrls": urls})
        key = f"{human.user.workspace_id}/products/{product_id}/images"
        assert re.fullmatch(rf"{server.url}/media/{key}/[0-9a-f]{{32}}\.{extension}", urls[-1])
        assert get(urls[-1]).headers["Content-Type"] == content_type
    read = node.request("GET", path).json()
    assert read["imageUrls"] == urls
    changed = node.request("PATCH", path, {"name": "Chair Sofia", "imageUrls": urls[::-1]})
    after = changed.json()
    assert (changed.status_code, after) == (
        200,
        read
        | {"name": "Chair Sofia", "imageUrls": urls[::-1], "images": read["images"][::-1]}
        | {"updatedAt": after["updatedAt"]},
    )
    found = node.request("GET", PRODUCTS, category="furniture", search="sofia", limit=50).json()
    assert [item["_id"] for item in found["data"]["items"]] == [product_id]
    removed = node.request("DELETE", f"{path}/images/2")
    assert (removed.status_code, removed.json()) == (200, {"imageUrls": urls[:0:-1]})
    counts = {
        "r2ObjectsDeleted": 2,
        "documentRefsUnlinked": 0,
        "documentsDeleted": 0,
        "documentR2ObjectsDeleted": 0,
    }
    gone = node.request("DELETE", path)
    assert (gone.status_code, gone.json()) == (
        200,
        {
            "message": "Product permanently deleted",
            "summary": {"productId": product_id, "name": "Chair Sofia", "deletedCounts": counts},
        },
    )
    assert [get(url).status_code for url in urls[1:]] == [404, 404]


def test_an_mcp_client_finds_its_way_from_the_401_to_a_token(server: Server, human: Human) -> None:
    """The discovery of the MCP specification (2025-06-18, "Authorization") as its SDKs do it."""
    version = {"MCP-Protocol-Version": "2025-06-18"}
    challenge = get(server.url + PRODUCTS).headers["WWW-Authenticate"]
    found = re.search(r'resource_metadata="([^"]+)"', challenge)
    assert found is not None, challenge
    resource = get(found[1], **version).json()
    assert server.url + PRODUCTS == resource["resource"] + PRODUCTS
    (issuer,) = resource["authorization_servers"]
    metadata = get(f"{issuer}/.well-known/oauth-authorization-server", **version).json()
    assert metadata["issuer"] == issuer
    assert "S256" in metadata["code_challenge_methods_supported"]
    scope = " ".join(resource["scopes_supported"])
    registration = requests.post(
        metadata["registration_endpoint"],
        json={
            "client_name": "MCP Inspector",
            "redirect_uris": ["http://localhost:6274/oauth/callback"],
            "grant_types": ["authorization_code", "refresh_token"],
            "response_types": ["code"],
            "token_endpoint_auth_method": "none",
            "client_uri": "https://github.com/modelcontextprotocol/inspector",
            "scope": scope,
        },
        timeout=10,
    )
    assert registration.status_code == 201, registration.text
    with OAuth2Session(
        registration.json()["client_id"],
        token_endpoint_auth_method="none",  # the name of a method
        scope=scope,
        redirect_uri="http://localhost:6274/oauth/callback",
        code_challenge_method="S256",
    ) as client:
        verifier, indicator = secrets.token_urlsafe(48), {"resource": resource["resource"]}
        url, _ = client.create_authorization_url(
            metadata["authorization_endpoint"], code_verifier=verifier, **indicator
        )
        callback = human.allow(url)
        token = client.fetch_token(
            metadata["token_endpoint"],
            authorization_response=callback,
            code_verifier=verifier,
            **indicator,
        )
        body = {"name": "Lamp", "model": "L-1", "category": "electronics"}
        assert McpServer(server.url, token["access_token"]).request("POST", PRODUCTS, body).status_code == 201
        fresh = client.refresh_token(
            metadata["token_endpoint"], refresh_token=token["refresh_token"], **indicator
        )
        assert McpServer(server.url, fresh["access_token"]).request("GET", PRODUCTS).status_code == 200
        client.revoke_token(metadata["revocation_endpoint"], token=fresh["refresh_token"])  # type: ignore[no-untyped-call]  # Authlib's stubs
        ended = McpServer(server.url, fresh["access_token"]).request("GET", PRODUCTS)
        assert ended.status_code == 401
        assert f'resource_metadata="{found[1]}"' in ended.headers["WWW-Authenticate"]


def register_in_the_console(human: Human) -> tuple[str, str]:
    """An admin registers a confidential app for n8n. Returns its id and secret."""
    form = {"name": "n8n", "redirect_uris": N8N_CALLBACK, "type": "confidential"}
    page = human.submit("/console/apps", "/console/apps", **form)
    assert page.status_code == 201, page.text
    secret, client_id = (
        re.search(pattern, page.text)
        for pattern in (r'id="secret" readonly value="([^"]+)"', r"<code>([0-9a-f]{24})</code>")
    )
    assert secret is not None
    assert client_id is not None
    return client_id[1], secret[1]


@pytest.fixture
def n8n(human: Human) -> OAuth2Session:
    """n8n's OAuth client with the node's credential: the secret goes into the body, and no PKCE is used."""
    client_id, secret = register_in_the_console(human)
    return OAuth2Session(
        client_id,
        secret,
        token_endpoint_auth_method="client_secret_post",  # the name of a method
        scope=N8N_SCOPE,
        redirect_uri=N8N_CALLBACK,
    )


def connect(n8n: OAuth2Session, server: Server, human: Human) -> dict[str, Any]:
    """The user clicks "Connect my account" in n8n. Returns the token."""
    state = base64.b64encode(json.dumps({"token": "x" * 40, "cid": "7f3", "createdAt": 1}).encode()).decode()
    # The credential's hidden query parameter names a method, but n8n sends no challenge for this grant type.
    url, _ = n8n.create_authorization_url(
        f"{server.url}/api/oauth/authorize", state=state, code_challenge_method="S256"
    )
    assert "code_challenge=" not in url
    token: dict[str, Any] = n8n.fetch_token(
        f"{server.url}/api/oauth/token", authorization_response=human.allow(url), state=state
    )
    return token


def test_the_n8n_node_on_behalf_of_a_user(server: Server, human: Human, n8n: OAuth2Session) -> None:
    token = connect(n8n, server, human)
    assert token["scope"] == "offline_access products:read products:write"
    node = N8nNode(server.url, token["access_token"])
    created = node.request("POST", PRODUCTS, {"name": "Vase", "model": "V-1", "category": "furniture"})
    assert created.status_code == 201, created.text
    assert node.upload(created.json()["_id"], png(), "vase.png", "image/png").status_code == 201

    endpoint = f"{server.url}/api/oauth/token"
    form = {
        "grant_type": "refresh_token",
        "refresh_token": token["refresh_token"],
        "client_id": n8n.client_id,
        "client_secret": n8n.client_secret,
    }
    with ThreadPoolExecutor(4) as threads:  # four workflow executions find the access token expired
        answers = list(
            threads.map(lambda _: requests.post(endpoint, data=form, timeout=10), range(4)),
        )
    assert [answer.status_code for answer in answers] == [200] * 4
    tokens = [answer.json() for answer in answers]
    for each in tokens:
        assert N8nNode(server.url, each["access_token"]).request("GET", PRODUCTS).status_code == 200

    page = human.submit(f"/console/connections/{n8n.client_id}/revoke", "/console/connections")
    assert "You have let no app in." in page.text
    for each in tokens:
        refused = N8nNode(server.url, each["access_token"]).request("GET", PRODUCTS)
        assert (refused.status_code, refused.json()) == (401, {"error": "Unauthorized"})
    with pytest.raises(OAuthError, match="invalid_grant"):
        n8n.refresh_token(endpoint, refresh_token=tokens[0]["refresh_token"])


def test_an_admin_who_demands_pkce_keeps_the_n8n_node_out(
    server: Server, human: Human, n8n: OAuth2Session
) -> None:
    human.submit(f"/console/apps/{n8n.client_id}/pkce", "/console/apps", pkce="required")
    url, _ = n8n.create_authorization_url(f"{server.url}/api/oauth/authorize", code_challenge_method="S256")
    answer = human.browser.get(url, allow_redirects=False, timeout=10)
    assert answer.status_code == 302
    returned = parse_qs(urlsplit(answer.headers["Location"]).query)
    assert returned["error"] == ["invalid_request"]
    assert returned["error_description"] == ["code_challenge must be a SHA-256 digest in base64url"]


def test_a_new_password_disconnects_the_n8n_node(server: Server, human: Human, n8n: OAuth2Session) -> None:
    token = connect(n8n, server, human)
    password = "a new horse battery"  # a test value
    server.flask("user", "password", human.user.email, "--password-stdin", stdin=f"{password}\n")
    assert N8nNode(server.url, token["access_token"]).request("GET", PRODUCTS).status_code == 401
    with pytest.raises(OAuthError, match="invalid_grant"):
        n8n.refresh_token(f"{server.url}/api/oauth/token", refresh_token=token["refresh_token"])
    assert human.browser.get(f"{server.url}/console", allow_redirects=False, timeout=10).status_code == 303
