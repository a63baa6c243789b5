from __future__ import annotations

import logging
import re
from typing import Any

import pytest
from flask.testing import FlaskClient

from api.errors import STATUS
from catalog.base import Catalog
from catalog.errors import CatalogError, CatalogUnavailable
from storage.base import StorageBackend, StorageUnavailable
from tests.api.fixtures import FORM_TYPE, NewProduct, Post, form, images_path
from tests.conftest import Tenant
from tests.faults import fail_with
from tests.pictures import jpeg


def test_an_unknown_route_is_json(anonymous: FlaskClient) -> None:
    for path in ("/", "/api", "/api/v1", "/api/v1/nothing", "/api/v1//products", "/api/v1/products/"):
        response = anonymous.get(path)
        assert (response.status_code, response.json) == (404, {"error": "Not found"})
        assert response.content_type == "application/json"


def test_a_method_that_a_route_does_not_have_is_json(anonymous: FlaskClient) -> None:
    response = anonymous.put("/api/v1/products/6650a1b2c3d4e5f6a7b8c9d0")
    assert (response.status_code, response.json) == (405, {"error": "Method not allowed"})
    assert "GET" in response.headers["Allow"]


def test_an_unexpected_error_is_a_500_with_the_id_that_the_log_has(
    client: FlaskClient,
    product: dict[str, Any],
    storage: StorageBackend,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError("a detail that stays here")

    monkeypatch.setattr(storage, "put", fail)
    response = client.post(images_path(product), data=form(jpeg()), content_type=FORM_TYPE)
    request_id = response.headers["X-Request-Id"]
    assert (response.status_code, response.json) == (
        500,
        {"error": "Internal server error", "details": {"requestId": request_id}},
    )
    (record,) = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert record.exc_info is not None
    assert request_id in record.getMessage()
    assert "ZeroDivisionError: a detail that stays here" in caplog.text
    assert "Traceback" in caplog.text


def test_neither_secrets_nor_image_bytes_are_logged(
    tenant: Tenant,
    product: dict[str, Any],
    upload: Post,
    storage: StorageBackend,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    upload(product)
    upload(product, b"secret picture", "image/png")
    monkeypatch.setattr(storage, "put", lambda *_, **__: 1 / 0)
    upload(product)
    assert caplog.records
    assert tenant.key not in caplog.text
    assert "secret picture" not in caplog.text
    assert "JFIF" not in caplog.text


@pytest.mark.parametrize("sent", ["trace-1.a_b", "7b4f1e2c-9a3d-4e5b-8c1a-2d3e4f5a6b7c"])
def test_a_request_id_that_was_sent_is_kept(anonymous: FlaskClient, sent: str) -> None:
    assert anonymous.get("/", headers={"X-Request-Id": sent}).headers["X-Request-Id"] == sent


@pytest.mark.parametrize("sent", ["", "with space", "x" * 65, '"quoted"', "a\tb", "tp_" + "x" * 43])
def test_a_strange_request_id_is_replaced(anonymous: FlaskClient, sent: str) -> None:
    given = anonymous.get("/", headers={"X-Request-Id": sent}).headers["X-Request-Id"]
    assert re.fullmatch(r"[0-9a-f]{16}", given)


UNAVAILABLE = {"error": "Service temporarily unavailable"}


def test_a_store_that_is_down_is_a_503_that_says_when_to_come_back(
    client: FlaskClient,
    product: dict[str, Any],
    upload: Post,
    storage: StorageBackend,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(storage, "put", fail_with(StorageUnavailable("can't write: No space left on device")))
    response = upload(product)
    assert (response.status_code, response.json) == (503, UNAVAILABLE)
    assert int(response.headers["Retry-After"]) > 0
    monkeypatch.undo()
    assert client.get(f"/api/v1/products/{product['_id']}").json == product
    assert upload(product).status_code == 201


def test_a_catalog_that_is_down_is_a_503(
    product: dict[str, Any], upload: Post, catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catalog, "get_product", fail_with(CatalogUnavailable("database is locked")))
    response = upload(product)
    assert (response.status_code, response.json) == (503, UNAVAILABLE)
    assert int(response.headers["Retry-After"]) > 0


def test_a_token_that_can_not_be_checked_is_a_503(
    product: dict[str, Any], upload: Post, catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catalog, "find_credential", fail_with(CatalogUnavailable()))
    assert upload(product).status_code == 503


def test_errors_do_not_tell_of_the_inside(
    new_product: NewProduct,
    upload: Post,
    storage: StorageBackend,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    product = new_product()
    inside = "/srv/data/media 0x7f0123456789"
    for error in (StorageUnavailable(inside), CatalogUnavailable(inside), RuntimeError(inside)):
        monkeypatch.setattr(storage, "put", fail_with(error))
        assert inside not in upload(product).text


def test_everything_that_a_catalog_refuses_has_a_status() -> None:
    refusals = {error.code for error in CatalogError.__subclasses__() if error is not CatalogUnavailable}
    assert refusals <= STATUS.keys()
