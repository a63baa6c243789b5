"""``GET /api/v1/products/{id}/history``: docs/contract.md "History"."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from auth.tokens import ALL_SCOPES, digest
from catalog.base import Catalog
from catalog.history import A_COMMAND, acting
from catalog.identity import CredentialKind, User
from tests.api.fixtures import FORM_TYPE, NewProduct, Post, form, images_path, on_both_catalogs
from tests.conftest import Tenant
from tests.factories import (
    client_with,
    issue_key,
    issue_token,
    new_grant,
    new_oauth_client,
    new_session,
    new_user,
)
from tests.pictures import jpeg, png

NOBODY = {"name": None, "email": None, "userId": None, "credentialId": None, "clientId": None}


def items(client: FlaskClient, product: dict[str, Any]) -> Any:
    response = client.get(f"/api/v1/products/{product['_id']}/history")
    assert response.status_code == 200, response.text
    assert response.json is not None
    assert response.json.keys() == {"data"}
    assert response.json["data"].keys() == {"items"}
    return response.json["data"]["items"]


def actions(client: FlaskClient, product: dict[str, Any]) -> list[str]:
    return [item["action"] for item in items(client, product)]


def image_id(response: TestResponse) -> str:
    return str(response.get_json()["imageUrl"]).rpartition("/")[2].partition(".")[0]


@pytest.fixture
def anna(catalog: Catalog, tenant: Tenant) -> User:
    return new_user(catalog, tenant.workspace, email="anna@example.com")


@pytest.fixture
def console(app: Flask, catalog: Catalog, anna: User) -> FlaskClient:
    """The scripts of a page of the console, in Anna's session."""
    session = new_session(catalog, anna)
    token = issue_token(
        catalog, anna, CredentialKind.ACCESS_TOKEN, scopes=ALL_SCOPES, session_digest=digest(session)
    )
    return client_with(app, token)


@pytest.fixture
def n8n(app: Flask, catalog: Catalog, anna: User) -> FlaskClient:
    """The app n8n, which Anna has authorized."""
    grant = new_grant(catalog, anna, new_oauth_client(catalog, name="n8n"), scopes=ALL_SCOPES)
    token = issue_token(catalog, anna, CredentialKind.ACCESS_TOKEN, scopes=ALL_SCOPES, grant_id=grant.id)
    return client_with(app, token)


@on_both_catalogs
def test_it_says_who_has_changed_what_and_when_by_which_request(
    app: Flask, catalog: Catalog, tenant: Tenant, new_product: NewProduct
) -> None:
    client = client_with(app, issue_key(catalog, tenant.workspace, "ERP"))
    key = next(key for key in catalog.list_api_keys() if key.label == "ERP")
    product = new_product(client, imageUrls=["https://cdn.example.com/a.png"])
    uploaded = client.post(images_path(product), data=form(jpeg()), content_type=FORM_TYPE)
    removed = client.delete(f"{images_path(product)}/1")
    renamed = client.patch(f"/api/v1/products/{product['_id']}", json={"name": "New"})
    image = {"imageId": image_id(uploaded), "url": None}
    actor = {**NOBODY, "kind": "apiKey", "name": "ERP", "credentialId": key.id}
    found = items(client, product)
    assert found[0]["at"] == renamed.get_json()["updatedAt"]
    assert found[3]["at"] == product["createdAt"]
    requests = [item.pop("requestId") for item in found]
    assert requests[:3] == [answer.headers["X-Request-Id"] for answer in (renamed, removed, uploaded)]
    assert [item.pop("at") for item in found] == sorted(
        (item["at"] for item in items(client, product)), reverse=True
    )
    assert found == [
        {"action": "updated", "fields": ["name"], "images": [], "actor": actor},
        {
            "action": "images.removed",
            "fields": ["imageUrls"],
            "images": [{"change": "removed", **image}],
            "actor": actor,
        },
        {
            "action": "images.added",
            "fields": ["imageUrls"],
            "images": [{"change": "added", **image}],
            "actor": actor,
        },
        {
            "action": "created",
            "fields": [],
            "images": [{"change": "added", "imageId": None, "url": "https://cdn.example.com/a.png"}],
            "actor": actor,
        },
    ]


def test_it_names_the_user_and_the_app_and_an_app_sees_no_address(
    product: dict[str, Any], upload: Post, tenant: Tenant, anna: User, console: FlaskClient, n8n: FlaskClient
) -> None:
    upload(product, client=console)
    n8n.patch(f"{images_path(product)}/0", json={"alt": "A lamp"})
    expected = [("app", "n8n"), ("console", None), ("apiKey", None)]
    for reader, address in ((tenant.client, anna.email), (console, anna.email), (n8n, None)):
        actors = [item["actor"] for item in items(reader, product)]
        assert [(actor["kind"], actor["name"]) for actor in actors] == expected
        assert [actor["email"] for actor in actors] == [address, address, None]
        assert [actor["userId"] for actor in actors] == [anna.id, anna.id, None]
        assert [actor["clientId"] is None for actor in actors] == [False, True, True]
        assert len({actor["credentialId"] for actor in actors}) == 3


def test_a_request_id_that_a_proxy_has_sent_is_in_it(product: dict[str, Any], client: FlaskClient) -> None:
    response = client.post(
        images_path(product),
        data=form(jpeg()),
        content_type=FORM_TYPE,
        headers={"X-Request-Id": "from-the-proxy"},
    )
    assert response.headers["X-Request-Id"] == "from-the-proxy"
    assert items(client, product)[0]["requestId"] == "from-the-proxy"


def test_a_change_of_the_list_names_each_image(
    product: dict[str, Any], upload: Post, client: FlaskClient
) -> None:
    first, second = upload(product), upload(product, png(), "image/png")
    urls = [second.get_json()["imageUrl"], "https://cdn.example.com/a.png"]
    client.patch(f"/api/v1/products/{product['_id']}", json={"imageUrls": urls, "description": "new"})
    client.patch(f"/api/v1/products/{product['_id']}", json={"imageUrls": urls[::-1]})
    reordered, changed, *_ = items(client, product)
    assert (reordered["action"], reordered["fields"], reordered["images"]) == (
        "images.reordered",
        ["imageUrls"],
        [],
    )
    assert (changed["action"], changed["fields"]) == ("updated", ["description", "imageUrls"])
    assert changed["images"] == [
        {"change": "added", "imageId": None, "url": urls[1]},
        {"change": "removed", "imageId": image_id(first), "url": None},
    ]


@on_both_catalogs
def test_what_changes_nothing_is_not_in_it(
    product: dict[str, Any], upload: Post, client: FlaskClient
) -> None:
    path = f"/api/v1/products/{product['_id']}"
    upload(product)
    for _ in range(2):
        assert upload(product, query="?ifExists=skip").status_code == 200
        assert client.patch(path, json={}).status_code == 200
        assert client.patch(path, json={"name": product["name"], "status": "active"}).status_code == 200
        assert client.patch(f"{path}/images/0", json={"alt": {"en": None}}).status_code == 200
        assert client.patch(path, json={"name": "Refused"}, headers={"If-Match": '"9"'}).status_code == 412
        assert upload(product, b"no picture").status_code == 415
    for _ in range(2):
        key = {"Idempotency-Key": "once"}
        assert client.patch(path, json={"name": "New"}, headers=key).status_code == 200
        assert client.post(f"{path}/archive").status_code == 200
    assert client.patch(path, json={"status": "active"}).status_code == 200
    assert actions(client, product) == ["restored", "archived", "updated", "images.added", "created"]


def test_after_a_request_nobody_of_it_is_acting(product: dict[str, Any], upload: Post) -> None:
    upload(product)
    assert acting.get() == A_COMMAND
