"""How long an upload waits for its turns."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from catalog.base import Catalog
from tests.api.fixtures import FORM_TYPE, form, images_path
from tests.factories import client_with, issue_key, new_workspace
from tests.pictures import png
from turns import Requester, asking_as
from validators.decoding.memory import DECODE_MEMORY

BUSY = {"error": "Too many uploads at the moment. Try again later."}


def test_an_upload_without_patience_waits_only_if_it_is_its_workspaces_first(
    app: Flask, catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It waits for a decode of another workspace, which may take long, and not for those of its own."""
    key = issue_key(catalog, new_workspace(catalog))
    new = {"name": "Lamp", "model": "L-1", "category": "furniture"}
    product: dict[str, Any] = client_with(app, key).post("/api/v1/products", json=new).json or {}

    def post(client: FlaskClient) -> tuple[int, Any, str | None]:
        answer = client.post(images_path(product), data=form(png(), "image/png"), content_type=FORM_TYPE)
        return answer.status_code, answer.json, answer.headers.get("Retry-After")

    memory = 400_000_000
    monkeypatch.setattr("auth.requester.PATIENCE", 0)
    with ThreadPoolExecutor(1) as pool:
        with asking_as(Requester("another")), DECODE_MEMORY.turn(memory, memory):
            first = pool.submit(post, client_with(app, key))
            deadline = time.monotonic() + 4
            while not DECODE_MEMORY.waiting:
                assert time.monotonic() < deadline
                time.sleep(0.001)
            assert post(client_with(app, key)) == (503, BUSY, "2")
            assert DECODE_MEMORY.waiting == 1
        assert first.result()[0] == 201
