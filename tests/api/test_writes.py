"""Writes other than uploads take turns, so that those of one workspace leave room for another's."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

import turns
from catalog.base import Catalog, Product
from tests.conftest import Tenant
from tests.factories import client_with, issue_key, new_product, new_workspace
from turns import Bounds, Turns

PATH = "/api/v1/products"
BODY = {"name": "Lamp", "model": "L-1", "category": "furniture"}
SHARE_USED = {"error": "Too many changes of this workspace at once. Try again later."}
BUSY = {"error": "Too many changes at the moment. Try again later."}


@pytest.fixture(autouse=True)
def writes(monkeypatch: pytest.MonkeyPatch) -> Turns:
    """One turn for each workspace, and room for one request that waits."""
    turn = Turns(Bounds(requests=8, own_requests=2, own_turns=1, seconds=0.2), of="changes")
    monkeypatch.setattr(turns, "_WRITES", turn)
    return turn


@pytest.fixture
def client(app: Flask, tenant: Tenant) -> FlaskClient:
    return client_with(app, tenant.key)


@pytest.fixture
def other(app: Flask, catalog: Catalog) -> FlaskClient:
    """A client of another workspace."""
    return client_with(app, issue_key(catalog, new_workspace(catalog)))


@pytest.fixture
def running(
    app: Flask, catalog: Catalog, tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[], None]]:
    """A write of the tenant that has a turn until the function that this yields is called."""
    begun, end = threading.Event(), threading.Event()
    create_product = catalog.create_product

    def wait_then_create(product: Product) -> None:
        if product.model == "slow":
            begun.set()
            assert end.wait(30)
        create_product(product)

    monkeypatch.setattr(catalog, "create_product", wait_then_create)
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(client_with(app, tenant.key).post, PATH, json={**BODY, "model": "slow"})
        assert begun.wait(30)

        def finish() -> None:
            end.set()
            assert slow.result(30).status_code == 201

        yield finish
        finish()


def calls(client: FlaskClient, product: Product) -> dict[str, Callable[[], Any]]:
    """Each write that takes a turn."""
    url = f"{PATH}/{product.id}"
    return {
        "create": lambda: client.post(PATH, json=BODY),
        "change": lambda: client.patch(url, json={"name": "New"}),
        "archive": lambda: client.post(f"{url}/archive"),
        "describe": lambda: client.patch(f"{url}/images/0", json={"alt": "A lamp"}),
        "remove an image": lambda: client.delete(f"{url}/images/0"),
        "delete": lambda: client.delete(url),
    }


@pytest.mark.usefixtures("running")
@pytest.mark.parametrize("call", ["create", "change", "archive", "describe", "remove an image", "delete"])
def test_a_write_that_gets_no_turn_in_time_is_refused(
    client: FlaskClient, catalog: Catalog, tenant: Tenant, call: str
) -> None:
    product = new_product(catalog, tenant.workspace)
    refused = calls(client, product)[call]()
    assert (refused.status_code, refused.json, refused.headers["Retry-After"]) == (429, SHARE_USED, "2")
    assert catalog.get_product(tenant.workspace.id, product.id) == product


@pytest.mark.usefixtures("running")
def test_a_write_that_waits_for_those_of_others_is_refused_because_the_server_is_busy(
    other: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turns, "_WRITERS", 1)
    refused = other.post(PATH, json=BODY)
    assert (refused.status_code, refused.json, refused.headers["Retry-After"]) == (503, BUSY, "2")


@pytest.mark.usefixtures("running")
def test_another_workspace_writes_meanwhile_and_reads_need_no_turn(
    client: FlaskClient, other: FlaskClient
) -> None:
    assert other.post(PATH, json=BODY).status_code == 201
    assert client.get(PATH).status_code == 200


@pytest.mark.usefixtures("running")
def test_beyond_the_writes_that_may_wait_one_is_refused_at_once(
    app: Flask, tenant: Tenant, writes: Turns, client: FlaskClient
) -> None:
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(client_with(app, tenant.key).post, PATH, json=BODY)
        while not writes.waiting and not waiting.done():
            threading.Event().wait(0.001)
        refused = client.post(PATH, json={**BODY, "model": "L-2"})
        assert waiting.result(30).json == SHARE_USED
    assert (refused.status_code, refused.json, refused.headers["Retry-After"]) == (429, SHARE_USED, "2")


def test_a_refused_write_runs_when_it_is_repeated_with_its_idempotency_key(
    client: FlaskClient, running: Callable[[], None]
) -> None:
    key = {"Idempotency-Key": "k"}
    assert client.post(PATH, json=BODY, headers=key).json == SHARE_USED
    running()
    assert client.post(PATH, json=BODY, headers=key).status_code == 201


def test_a_client_holds_no_turn_while_it_sends_its_body(client: FlaskClient, writes: Turns) -> None:
    held = []

    class Body(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            held.append(writes.held)
            return super().read(size)

    body = b'{"name": "Lamp", "model": "L-1", "category": "furniture"}'
    answer = client.post(
        PATH, input_stream=Body(body), content_length=len(body), content_type="application/json"
    )
    assert answer.status_code == 201
    assert set(held) == {0}


def test_a_write_that_fails_gives_its_turn_back(client: FlaskClient) -> None:
    for _ in range(3):
        assert client.patch(f"{PATH}/{24 * '0'}", json={"name": "New"}).status_code == 404
    assert client.post(PATH, json=BODY).status_code == 201
