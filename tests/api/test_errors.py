from __future__ import annotations

import logging
import re
from typing import Any

import pytest
from flask.testing import FlaskClient

from api.errors import STATUS
from auth.counters.sqlite import CountsUnavailable
from auth.links import AddressTaken, LinkNotValid
from auth.oauth.clients import ClientRefused
from auth.passwords import PasswordRefused
from auth.sessions import WrongPassword
from catalog.base import Catalog
from catalog.errors import (
    AppLimitReached,
    CatalogError,
    CatalogUnavailable,
    ClientLimitReached,
    CredentialLimitReached,
    LastAdmin,
    UserLimitReached,
)
from catalog.expiry import RemovedInPart
from errors import DomainError, Unavailable
from storage.base import StorageBackend, StorageError, StorageUnavailable
from tests.api.fixtures import FORM_TYPE, NewProduct, Post, form, images_path
from tests.conftest import Tenant
from tests.faults import fail_with
from tests.pictures import jpeg
from validators.base import Rejected


def test_an_unknown_route_is_json(anonymous: FlaskClient) -> None:
    for path in ("/api", "/api/v1", "/api/v1/nothing", "/api/v1//products", "/api/v1/products/"):
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


def subclasses(kind: type[DomainError]) -> set[type[DomainError]]:
    found = set(kind.__subclasses__())
    return found.union(*map(subclasses, found))


def test_every_domain_error_that_can_reach_the_api_has_a_status() -> None:
    import app  # noqa: F401, PLC0415  # it imports every module that defines an error

    answered_elsewhere = {
        AddressTaken,  # by the console
        AppLimitReached,  # by the consent page
        ClientLimitReached,  # by the registration endpoint and the console
        CountsUnavailable,  # by the command cleanup
        CredentialLimitReached,  # by the console and the commands
        LastAdmin,  # by the console
        LinkNotValid,  # by the console
        ClientRefused,  # by the registration endpoint and the console
        PasswordRefused,  # by the console and the commands
        RemovedInPart,  # by the removal of what has expired
        UserLimitReached,  # by the console and the commands
        WrongPassword,  # by the console
    }
    bases = {CatalogError, StorageError, Rejected, Unavailable}
    concrete = subclasses(DomainError) - bases - answered_elsewhere
    assert {error.__name__ for error in concrete if error.code not in STATUS} == set()


@pytest.mark.parametrize("retry_after", [None, 7])
def test_an_answer_has_the_message_details_and_waiting_time_of_its_error(
    product: dict[str, Any],
    upload: Post,
    storage: StorageBackend,
    monkeypatch: pytest.MonkeyPatch,
    retry_after: int | None,
) -> None:
    error = DomainError("for the operator")
    error.code, error.message, error.retry_after = "not_in_plan", "A sentence.", retry_after
    error.details = {"plan": "free"}
    monkeypatch.setattr(storage, "put", fail_with(error))
    response = upload(product)
    assert (response.status_code, response.json) == (
        403,
        {"error": "A sentence.", "details": {"plan": "free"}},
    )
    assert response.headers.get("Retry-After") == (retry_after and str(retry_after))


def test_a_domain_error_without_a_status_is_an_unexpected_error(
    product: dict[str, Any], upload: Post, storage: StorageBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage, "put", fail_with(DomainError("/srv/data")))
    response = upload(product)
    assert (response.status_code, response.json) == (
        500,
        {"error": "Internal server error", "details": {"requestId": response.headers["X-Request-Id"]}},
    )
