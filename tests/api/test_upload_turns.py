"""How long an upload waits for its turns."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from catalog.base import Catalog
from tests.api.fixtures import FORM_TYPE, form, images_path
from tests.factories import client_with, issue_key, new_workspace
from tests.pictures import png
from turns import Requester, Turns, asking_as
from validators.decoding.memory import DECODE_MEMORY
from validators.structure import READERS, READING

BUSY = {"error": "Too many uploads at the moment. Try again later."}


@pytest.mark.parametrize(
    ("turns", "limit", "others"),
    [(READING, READERS, READERS), (DECODE_MEMORY, 400_000_000, 1)],
    ids=["reading", "decoding"],
)
def test_an_upload_without_patience_waits_only_if_it_is_its_workspaces_first(
    app: Flask, catalog: Catalog, monkeypatch: pytest.MonkeyPatch, turns: Turns, limit: int, others: int
) -> None:
    """It waits for the files of other workspaces, which may take long, and not for those of its own."""
    key = issue_key(catalog, new_workspace(catalog))
    new = {"name": "Lamp", "model": "L-1", "category": "furniture"}
    product: dict[str, Any] = client_with(app, key).post("/api/v1/products", json=new).json or {}

    def post(client: FlaskClient) -> tuple[int, Any, str | None]:
        answer = client.post(images_path(product), data=form(png(), "image/png"), content_type=FORM_TYPE)
        return answer.status_code, answer.json, answer.headers.get("Retry-After")

    monkeypatch.setattr("auth.requester.PATIENCE", 0)
    with ThreadPoolExecutor(1) as pool:
        with ExitStack() as held:
            for number in range(others):
                with asking_as(Requester(f"other {number}")):
                    held.enter_context(turns.turn(limit // others, limit))
            first = pool.submit(post, client_with(app, key))
            deadline = time.monotonic() + 2
            while not turns.waiting:
                assert time.monotonic() < deadline
                time.sleep(0.001)
            assert post(client_with(app, key)) == (503, BUSY, "2")
            assert turns.waiting == 1
        assert first.result()[0] == 201
