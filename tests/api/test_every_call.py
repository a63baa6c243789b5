"""docs/contract.md "Everywhere": what holds for each call of the API, row by row."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from auth.budgets import DAILY_WRITES
from auth.tokens import ALL_SCOPES, READ, WRITE
from catalog.base import Catalog
from catalog.errors import CatalogUnavailable
from catalog.identity import Plan
from catalog.ids import now
from tests.api.fixtures import FORM_TYPE, NewProduct, form, on_both_catalogs
from tests.conftest import INVALID_TOKEN, NO_TOKEN, NewTenant, Tenant
from tests.factories import issue_key
from tests.faults import fail_with
from tests.pictures import jpeg

NOBODYS = "6650a1b2c3d4e5f6a7b8c9d0"


@dataclass(frozen=True)
class Call:
    """A call, with a request that succeeds on a product with an image."""

    method: str
    path: str
    scope: str
    status: int
    json: Any = None
    data: bytes | None = None
    content_type: str | None = None

    def __str__(self) -> str:
        return f"{self.method} {self.path}"

    def send(self, client: FlaskClient, product_id: str = NOBODYS, token: str | None = None) -> TestResponse:
        return client.open(
            f"/api/v1/products{self.path.format(id=product_id)}",
            method=self.method,
            json=self.json,
            data=self.data,
            content_type=self.content_type,
            headers={"Authorization": f"Bearer {token}"} if token else {},
        )


CALLS = [
    Call("POST", "", WRITE, 201, json={"name": "48V Pack", "model": "BP-48V", "category": "battery"}),
    Call("GET", "", READ, 200),
    Call("GET", "/{id}", READ, 200),
    Call("GET", "/{id}/history", READ, 200),
    Call("PATCH", "/{id}", WRITE, 200, json={"name": "Renamed"}),
    Call("POST", "/{id}/archive", WRITE, 200),
    Call("DELETE", "/{id}", WRITE, 200),
    Call("POST", "/{id}/images", WRITE, 201, data=form(jpeg()), content_type=FORM_TYPE),
    Call("PATCH", "/{id}/images/0", WRITE, 200, json={"alt": {"en": "A blue backpack"}}),
    Call("DELETE", "/{id}/images/0", WRITE, 200),
]
OF_A_PRODUCT = [call for call in CALLS if "{id}" in call.path]
WRITES = [call for call in CALLS if call.method != "GET"]

each_call = pytest.mark.parametrize("call", CALLS, ids=str)


@pytest.fixture
def stocked(new_product: NewProduct) -> dict[str, Any]:
    """A product with an image."""
    return new_product(imageUrls=["https://cdn.example.com/a.png"])


def told(response: TestResponse) -> tuple[int, Any, str]:
    return response.status_code, response.json, response.content_type


def as_json(status: int, body: Any) -> tuple[int, Any, str]:
    return status, body, "application/json"


def test_these_are_all_calls(app: Flask) -> None:
    calls = {
        (method, rule.rule)
        for rule in app.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
        if rule.rule.startswith("/api/v1/products")
    }
    names = {"{id}/images/0": "<product_id>/images/<index>", "{id}": "<product_id>"}
    for sent, route in names.items():
        calls = {(method, rule.replace(route, sent)) for method, rule in calls}
    assert calls == {(call.method, f"/api/v1/products{call.path}") for call in CALLS}


@on_both_catalogs
@each_call
def test_it_answers_in_json(client: FlaskClient, stocked: dict[str, Any], call: Call) -> None:
    response = call.send(client, stocked["_id"])
    assert (response.status_code, response.content_type) == (call.status, "application/json")


@each_call
def test_without_a_token_that_is_known_it_is_a_401(anonymous: FlaskClient, call: Call) -> None:
    response = call.send(anonymous)
    assert told(response) == as_json(401, {"error": "Unauthorized"})
    assert response.headers["WWW-Authenticate"] == NO_TOKEN
    response = call.send(anonymous, token="tp_unknown")  # opens nothing
    assert told(response) == as_json(401, {"error": "Unauthorized"})
    assert response.headers["WWW-Authenticate"] == INVALID_TOKEN


@each_call
@pytest.mark.parametrize("ended", [{"expires_at": now()}, {"revoked_at": now()}], ids=["expired", "revoked"])
def test_with_a_token_that_has_ended_it_is_the_same_401(
    tenant: Tenant, catalog: Catalog, anonymous: FlaskClient, call: Call, ended: dict[str, Any]
) -> None:
    secret = issue_key(catalog, tenant.workspace, **ended)
    response = call.send(anonymous, token=secret)
    assert told(response) == as_json(401, {"error": "Unauthorized"})
    assert response.headers["WWW-Authenticate"] == INVALID_TOKEN


@each_call
def test_without_its_scope_it_is_a_403(
    tenant: Tenant, catalog: Catalog, anonymous: FlaskClient, call: Call
) -> None:
    secret = issue_key(catalog, tenant.workspace, scopes=ALL_SCOPES - {call.scope})
    response = call.send(anonymous, token=secret)
    expected = {"error": "Insufficient scope", "details": {"requiredScope": call.scope}}
    assert told(response) == as_json(403, expected)
    assert response.headers["WWW-Authenticate"] == (
        f'Bearer realm="vetrina", error="insufficient_scope", scope="{call.scope}"'
    )


@on_both_catalogs
@pytest.mark.parametrize("call", OF_A_PRODUCT, ids=str)
def test_no_product_and_another_workspaces_are_one_404(
    client: FlaskClient, stocked: dict[str, Any], new_tenant: Callable[[], Tenant], call: Call
) -> None:
    stranger = new_tenant().client
    unknown, foreign = call.send(stranger), call.send(stranger, stocked["_id"])
    assert told(unknown) == told(foreign) == as_json(404, {"error": "Product not found"})
    assert dict(unknown.headers).keys() == dict(foreign.headers).keys()
    assert client.get(f"/api/v1/products/{stocked['_id']}").json == stocked


@each_call
def test_a_catalog_that_is_down_is_a_503(
    client: FlaskClient,
    stocked: dict[str, Any],
    catalog: Catalog,
    monkeypatch: pytest.MonkeyPatch,
    call: Call,
) -> None:
    for method in (
        *("create_product", "list_products", "get_product", "update_product", "delete_product"),
        *("append_image", "remove_image", "get_history"),
    ):
        monkeypatch.setattr(catalog, method, fail_with(CatalogUnavailable("no route to host")))
    response = call.send(client, stocked["_id"])
    assert told(response) == as_json(503, {"error": "Service temporarily unavailable"})
    assert int(response.headers["Retry-After"]) > 0
    monkeypatch.undo()
    listed = {name: value for name, value in stocked.items() if name != "defaultFieldValues"}
    assert client.get("/api/v1/products").json == {
        "data": {"items": [listed], "total": 1, "page": 1, "limit": 20, "totalPages": 1}
    }


@pytest.mark.parametrize("call", WRITES, ids=str)
def test_a_write_beyond_the_days_budget_is_a_429(
    new_tenant: NewTenant, monkeypatch: pytest.MonkeyPatch, call: Call
) -> None:
    monkeypatch.setitem(DAILY_WRITES, Plan.FREE, 0)
    response = call.send(new_tenant(Plan.FREE).client)
    spent = {"error": "Daily write limit reached. It resets at midnight UTC."}
    assert told(response) == as_json(429, spent)
    assert 0 < int(response.headers["Retry-After"]) <= 24 * 3600
