from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from storage.base import StorageBackend
from tests.pictures import jpeg
from tests.storage.contract import keys_of

#: Runs a test twice: with the records in SQLite, and in MongoDB. It belongs on a test whose result depends on
#: what the catalog does. A request that is refused before the catalog is called needs SQLite alone.
on_both_catalogs = pytest.mark.parametrize("catalog_url", ["sqlite", "mongodb"], indirect=True)

NewProduct = Callable[..., dict[str, Any]]
Post = Callable[..., TestResponse]


class Unreadable:
    """A body that must not be read."""

    def read(self, *_: object) -> bytes:
        raise AssertionError("the body was read")

    readinto = readline = read


@pytest.fixture
def new_product(client: FlaskClient) -> NewProduct:
    """Creates a product over HTTP. Returns its JSON."""
    count = 0

    def make(client: FlaskClient = client, **fields: Any) -> dict[str, Any]:
        nonlocal count
        count += 1
        body = {"name": "48V Li-Ion Pack", "model": f"BP-{count}", "category": "batteries"} | fields
        response = client.post("/api/v1/products", json=body)
        assert response.status_code == 201, response.text
        return dict(response.json or {})

    return make


@pytest.fixture
def product(new_product: NewProduct) -> dict[str, Any]:
    return new_product()


def field_errors(fields: dict[str, list[str]] | None = None, /, **named: list[str]) -> tuple[int, Any]:
    """The answer to a request with invalid fields: the status and the body."""
    errors = {**(fields or {}), **named}
    message = "; ".join(f"{field}: {why}" for field, reasons in errors.items() for why in reasons)
    return 400, {"error": "Validation error", "message": message, "details": {"fieldErrors": errors}}


def conflict(sentence: str) -> tuple[int, Any]:
    """The answer to a request that conflicts with another one: the status and the body."""
    return 409, {"error": sentence, "message": sentence}


def images_path(product: dict[str, Any]) -> str:
    return f"/api/v1/products/{product['_id']}/images"


def form(data: bytes, declared_type: str | None = "image/jpeg", filename: str = "hero.jpg") -> bytes:
    """A multipart body with the boundary ``xx`` and one file part."""
    header = f'Content-Disposition: form-data; name="file"; filename="{filename}"\r\n'
    if declared_type is not None:
        header += f"Content-Type: {declared_type}\r\n"
    return b"--xx\r\n" + header.encode() + b"\r\n" + data + b"\r\n--xx--\r\n"


FORM_TYPE = "multipart/form-data; boundary=xx"


@pytest.fixture
def upload(client: FlaskClient) -> Post:
    """Posts one file as a multipart form."""

    def post(
        product: dict[str, Any],
        data: bytes | None = None,
        declared_type: str | None = "image/jpeg",
        query: str = "",
        client: FlaskClient = client,
    ) -> TestResponse:
        body = form(jpeg() if data is None else data, declared_type)
        return client.post(images_path(product) + query, data=body, content_type=FORM_TYPE)

    return post


@pytest.fixture
def stored_keys(storage: StorageBackend) -> Callable[[], set[str]]:
    return lambda: keys_of(storage)
