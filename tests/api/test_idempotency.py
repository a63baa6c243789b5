from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from app import create_app, make_catalog
from auth.budgets import BudgetSpent
from catalog.base import Catalog
from catalog.errors import CatalogUnavailable
from catalog.ids import now
from config import Settings
from storage.base import StorageBackend
from tests.api.fixtures import (
    FORM_TYPE,
    NewProduct,
    Post,
    conflict,
    field_errors,
    form,
    images_path,
    on_both_catalogs,
)
from tests.conftest import Tenant
from tests.factories import client_with
from tests.faults import fail_with
from tests.pictures import jpeg
from turns import ClientGone

BODY = {"name": "48V Li-Ion Pack", "model": "BP-48V-100", "category": "battery"}
KEY = "7b4f1e2c-9a3d-4e5b-8c1a-2d3e4f5a6b7c"
REUSED = {
    "error": "Idempotency-Key has already been used with a different request body. "
    "Use a new key for the new request, or reuse the original body."
}


def create(client: FlaskClient, body: Any = BODY, key: str = KEY) -> TestResponse:
    return client.post("/api/v1/products", json=body, headers={"Idempotency-Key": key})


def total(client: FlaskClient) -> int:
    body: Any = client.get("/api/v1/products").json
    return int(body["data"]["total"])


def assert_replayed(again: TestResponse, first: TestResponse) -> None:
    assert (again.status_code, again.data) == (first.status_code, first.data)
    assert again.content_type == first.content_type
    assert again.headers.get("Location") == first.headers.get("Location")
    assert again.headers.get("ETag") == first.headers.get("ETag")
    assert again.headers["Idempotency-Replayed"] == "true"
    assert "Idempotency-Replayed" not in first.headers


@on_both_catalogs
def test_the_first_answer_is_sent_again(client: FlaskClient) -> None:
    first = create(client)
    assert first.status_code == 201
    assert_replayed(create(client), first)
    assert total(client) == 1


@on_both_catalogs
def test_another_body_is_refused(client: FlaskClient) -> None:
    create(client)
    response = create(client, {**BODY, "model": "other"})
    assert (response.status_code, response.json) == (422, REUSED)
    assert total(client) == 1


@on_both_catalogs
def test_another_call_with_the_same_key_is_refused(client: FlaskClient, product: dict[str, Any]) -> None:
    headers = {"Idempotency-Key": KEY}
    path = f"/api/v1/products/{product['_id']}"
    assert client.post(f"{path}/archive", headers=headers).status_code == 200
    response = client.delete(path, headers=headers)
    assert (response.status_code, response.json) == (422, REUSED)


@on_both_catalogs
def test_keys_of_other_workspaces_do_not_count(client: FlaskClient, new_tenant: Callable[[], Tenant]) -> None:
    first = create(client)
    second = create(new_tenant().client)
    assert (first.status_code, second.status_code) == (201, 201)
    assert "Idempotency-Replayed" not in second.headers


def test_a_refusal_is_an_answer_too(client: FlaskClient) -> None:
    first = create(client, {**BODY, "category": "none"})
    assert first.status_code == 400
    assert_replayed(create(client, {**BODY, "category": "none"}), first)


@pytest.mark.parametrize("method_and_path", ["PATCH ", "POST /archive", "DELETE ", "DELETE /images/0"])
def test_every_json_write_honours_it(
    new_product: NewProduct, client: FlaskClient, method_and_path: str
) -> None:
    product = new_product(imageUrls=["https://cdn.example.com/1.png", "https://cdn.example.com/2.png"])
    method, _, rest = method_and_path.partition(" ")

    def call() -> TestResponse:
        return client.open(
            f"/api/v1/products/{product['_id']}{rest}",
            method=method,
            json={"name": "Renamed"} if method == "PATCH" else None,
            headers={"Idempotency-Key": KEY},
        )

    first = call()
    assert first.status_code == 200
    assert_replayed(call(), first)


def test_the_upload_ignores_it(product: dict[str, Any], client: FlaskClient) -> None:
    for count in (1, 2):
        response = client.post(
            images_path(product),
            data=form(jpeg()),
            content_type=FORM_TYPE,
            headers={"Idempotency-Key": KEY},
        )
        body: Any = response.json
        assert (response.status_code, len(body["imageUrls"])) == (201, count)
        assert "Idempotency-Replayed" not in response.headers


@pytest.mark.parametrize("key", ["", "x" * 256])
def test_a_key_of_the_wrong_length_is_refused(client: FlaskClient, key: str) -> None:
    response = create(client, key=key)
    assert (response.status_code, response.json) == field_errors(
        {"Idempotency-Key": ["Must have 1 to 255 characters"]}
    )


@on_both_catalogs
@pytest.mark.parametrize("key", ["x", "x" * 255, 'any string: é, "quoted", {$ne: null}'])
def test_any_other_string_is_a_key(client: FlaskClient, key: str) -> None:
    first = create(client, key=key)
    assert_replayed(create(client, key=key), first)


@pytest.mark.parametrize(
    ("failure", "status"), [(BudgetSpent(1), 429), (ClientGone(), 499), (CatalogUnavailable(), 503)]
)
def test_an_answer_to_a_request_that_has_not_run_is_not_kept(
    client: FlaskClient, catalog: Catalog, monkeypatch: pytest.MonkeyPatch, failure: Exception, status: int
) -> None:
    monkeypatch.setattr(catalog, "create_product", fail_with(failure))
    assert create(client).status_code == status
    monkeypatch.undo()
    again = create(client)
    assert (again.status_code, "Idempotency-Replayed" in again.headers) == (201, False)


def test_another_precondition_is_another_request(client: FlaskClient, product: dict[str, Any]) -> None:
    path = f"/api/v1/products/{product['_id']}"
    etag = client.get(path).headers["ETag"]
    first = client.patch(path, json={}, headers={"Idempotency-Key": KEY, "If-Match": etag})
    assert first.status_code == 200
    for headers in ({}, {"If-Match": "*"}):
        other = client.patch(path, json={}, headers={"Idempotency-Key": KEY, **headers})
        assert (other.status_code, other.json) == (422, REUSED)


def test_an_answer_that_can_not_be_kept_is_sent_all_the_same(
    client: FlaskClient, catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catalog, "complete_idempotency_key", fail_with(CatalogUnavailable()))
    assert create(client).status_code == 201


@on_both_catalogs
def test_a_key_is_free_after_24_hours(client: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    first = create(client)
    monkeypatch.setattr("api.idempotency.now", lambda: now() + timedelta(hours=23, minutes=59))
    assert_replayed(create(client), first)
    monkeypatch.setattr("api.idempotency.now", lambda: now() + timedelta(hours=24, seconds=1))
    again = create(client)
    assert (again.status_code, again.json) == conflict("A product with this model already exists")


@on_both_catalogs
def test_an_answer_survives_a_restart(
    client: FlaskClient, settings: Settings, storage: StorageBackend, tenant: Tenant
) -> None:
    first = create(client)
    with closing(make_catalog(settings)) as catalog:
        app = create_app(settings, storage=storage, catalog=catalog)
        assert_replayed(create(client_with(app, tenant.key)), first)
        app.extensions["last_used"].flush()


@pytest.fixture
def slow(catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> tuple[threading.Event, threading.Event]:
    """Makes the creation of a product signal its start, then wait for permission to continue."""
    begun, may_go_on = threading.Event(), threading.Event()
    create_product = catalog.create_product

    def wait_then_create(product: Any) -> None:
        begun.set()
        assert may_go_on.wait(10)
        create_product(product)

    monkeypatch.setattr(catalog, "create_product", wait_then_create)
    return begun, may_go_on


@on_both_catalogs
def test_a_second_request_waits_a_moment_for_the_first(
    app: Flask, tenant: Tenant, slow: tuple[threading.Event, threading.Event]
) -> None:
    begun, may_go_on = slow
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(create, client_with(app, tenant.key))
        assert begun.wait(10)
        second = pool.submit(create, client_with(app, tenant.key))
        threading.Timer(0.2, may_go_on.set).start()
        assert_replayed(second.result(10), first.result(10))


@on_both_catalogs
def test_a_second_request_does_not_wait_for_long(
    app: Flask,
    tenant: Tenant,
    slow: tuple[threading.Event, threading.Event],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("api.idempotency.WAIT", 0.1)
    begun, may_go_on = slow
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(create, client_with(app, tenant.key))
        assert begun.wait(10)
        second = create(client_with(app, tenant.key))
        may_go_on.set()
        assert first.result(10).status_code == 201
    assert (second.status_code, second.json) == conflict(
        "The first request with this Idempotency-Key is still running"
    )


def test_a_second_request_does_not_wait_if_as_many_wait_as_may(
    settings: Settings,
    storage: StorageBackend,
    catalog: Catalog,
    tenant: Tenant,
    slow: tuple[threading.Event, threading.Event],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("api.idempotency.MAX_WAITING", 0)
    monkeypatch.setattr("api.idempotency.WAIT", 0.2)
    app = create_app(settings, storage=storage, catalog=catalog)
    begun, may_go_on = slow
    claims, claim = [], catalog.claim_idempotency_key

    def count(*args: Any) -> Any:
        claims.append(args)
        return claim(*args)

    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(create, client_with(app, tenant.key))
        assert begun.wait(10)
        monkeypatch.setattr(catalog, "claim_idempotency_key", count)
        second = create(client_with(app, tenant.key))
        may_go_on.set()
        assert first.result(10).status_code == 201
    assert (second.status_code, second.json) == conflict(
        "The first request with this Idempotency-Key is still running"
    )
    assert len(claims) == 1, "a request that waits asks again"


@on_both_catalogs
def test_of_many_at_once_one_runs(app: Flask, tenant: Tenant, client: FlaskClient) -> None:
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: create(client_with(app, tenant.key)), range(8)))
    assert {answer.data for answer in answers} == {answers[0].data}
    assert sorted("Idempotency-Replayed" in answer.headers for answer in answers) == [False] + [True] * 7
    assert total(client) == 1


@on_both_catalogs
def test_a_request_that_died_blocks_its_key_for_its_lease_only(
    client: FlaskClient, catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Like a killed process, a request that ends this way neither completes nor releases its key.
    monkeypatch.setattr(catalog, "create_product", fail_with(KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        create(client)
    monkeypatch.undo()
    monkeypatch.setattr("api.idempotency.WAIT", 0.0)
    assert create(client).status_code == 409
    monkeypatch.setattr("api.idempotency.now", lambda: now() + timedelta(seconds=61))
    assert create(client, {**BODY, "name": "other"}).json == REUSED
    assert create(client).status_code == 201


def test_a_key_without_a_token_is_a_401(anonymous: FlaskClient) -> None:
    assert create(anonymous).status_code == 401


def test_an_upload_is_not_touched_by_a_broken_key_store(
    product: dict[str, Any], upload: Post, catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catalog, "claim_idempotency_key", fail_with(CatalogUnavailable()))
    assert upload(product).status_code == 201
