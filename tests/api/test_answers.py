"""Lists are made in turn, and the bytes of the large ones that are being sent are bounded."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from api import answers
from catalog.base import Catalog
from tests.factories import client_with, issue_key, new_workspace

PATH = "/api/v1/products"
OWN_SHARE = {"error": "Too many lists of this workspace at once. Try again later."}

NO_ROOM = {"error": "Too many lists at the moment. Try again later."}


@pytest.fixture
def large_list(app: Flask, catalog: Catalog) -> Callable[[], FlaskClient]:
    """Returns a client of a new workspace whose list takes 660 kB."""

    def make() -> FlaskClient:
        client = client_with(app, issue_key(catalog, new_workspace(catalog)))
        urls = [f"https://cdn.example.com/{number:02d}/{'x' * 2000}.png" for number in range(20)]
        for number in range(8):
            fields = {"name": "Lamp", "model": f"L-{number}", "category": "furniture", "imageUrls": urls}
            assert client.post(PATH, json=fields).status_code == 201
        return client

    return make


def test_a_large_list_holds_a_place_until_it_is_sent(
    large_list: Callable[[], FlaskClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answers, "SENDING_MEMORY", 2_000_000)
    client, other = large_list(), large_list()
    held = client.get(PATH)
    assert (held.status_code, len((held.json or {})["data"]["items"])) == (200, 8)
    refused = client.get(PATH)
    assert (refused.status_code, refused.json, refused.headers["Retry-After"]) == (429, OWN_SHARE, "2")
    assert client.get(f"{PATH}?limit=1").status_code == 200  # a small one
    with other.get(PATH) as taken:
        assert taken.status_code == 200
    held.close()
    with client.get(PATH) as taken:
        assert taken.status_code == 200


def test_a_list_for_which_others_leave_no_room_is_refused_without_blame(
    large_list: Callable[[], FlaskClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answers, "SENDING_MEMORY", 1_000_000)
    client, other = large_list(), large_list()
    with other.get(PATH):
        refused = client.get(PATH)
        assert (refused.status_code, refused.json, refused.headers["Retry-After"]) == (503, NO_ROOM, "2")
    assert client.get(PATH).status_code == 200


def test_a_list_that_can_not_be_made_holds_no_place(client: FlaskClient) -> None:
    for _ in range(answers.MAKERS + 1):
        assert client.get(f"{PATH}/{'0' * 24}/history").status_code == 404
    assert client.get(PATH).status_code == 200


def test_few_lists_are_made_at_a_time(app: Flask, catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    key = issue_key(catalog, new_workspace(catalog))
    lock, together = threading.Lock(), threading.Barrier(answers.MAKERS)
    running, most = 0, 0
    list_products = catalog.list_products

    def counted(*arguments: Any) -> Any:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        together.wait(timeout=30)
        with lock:
            running -= 1
        return list_products(*arguments)

    monkeypatch.setattr(catalog, "list_products", counted)
    with ThreadPoolExecutor(12) as pool:
        found = list(pool.map(lambda _: client_with(app, key).get(PATH).status_code, range(12)))
    assert (found, most) == ([200] * 12, answers.MAKERS)
