from __future__ import annotations

import json
import logging
import logging.config
import os
import threading
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

import logs
from api.errors import _Outages
from catalog.base import Catalog
from storage.base import StorageBackend, StorageUnavailable
from tests.api.fixtures import FORM_TYPE, Post, form, images_path
from tests.conftest import PUBLIC_URL, Tenant
from tests.pictures import jpeg

LOGGER = logging.getLogger("vetrina.test")


def formatted(formatter: logging.Formatter, message: str, *args: object, **options: Any) -> str:
    record = LOGGER.makeRecord(LOGGER.name, logging.INFO, "file.py", 1, message, args, None, **options)
    return formatter.format(record)


def test_json_is_one_object_a_line() -> None:
    line = formatted(
        logs.JSONFormatter(), "two\nlines %s", "è", extra={"fields": {"status": 201, "none": None}}
    )
    assert "\n" not in line
    body = json.loads(line)
    assert body.pop("time").endswith("Z")
    assert body == {"level": "INFO", "logger": "vetrina.test", "message": "two\nlines è", "status": 201}


def test_text_is_a_line_that_a_person_reads() -> None:
    line = formatted(logs.TextFormatter(), "POST %s", "/x", extra={"fields": {"durationMs": 1.5}})
    assert line[8:] == " INFO    POST /x  durationMs=1.5"


def test_a_traceback_is_kept_in_both() -> None:
    try:
        raise ZeroDivisionError("why")
    except ZeroDivisionError as error:
        info = (type(error), error, error.__traceback__)
    record = LOGGER.makeRecord(LOGGER.name, logging.ERROR, "file.py", 1, "failed", (), info)
    assert "ZeroDivisionError: why" in json.loads(logs.JSONFormatter().format(record))["traceback"]
    assert "ZeroDivisionError: why" in logs.TextFormatter().format(record)


@pytest.mark.parametrize("log_format", ["json", "text"])
def test_the_configuration_is_one_that_logging_takes(log_format: str) -> None:
    config = logs.logging_config(log_format, "WARNING")
    logging.config.DictConfigurator(config).configure_formatter(config["formatters"]["line"])
    assert config["root"] == {"level": "WARNING", "handlers": ["stdout"]}


def test_a_thread_that_writes_a_line_keeps_no_other_one_from_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writing, may_write = threading.Event(), threading.Event()
    write = os.write

    def write_when_allowed(descriptor: int, line: bytes) -> int:
        if line.startswith(b"first"):
            writing.set()
            may_write.wait(30)
        return write(descriptor, line[:5])  # as if the pipe had no room for more

    monkeypatch.setattr(os, "write", write_when_allowed)
    with (tmp_path / "log").open("w") as file:
        handler = logs.LineHandler(file)
        records = {
            name: LOGGER.makeRecord(LOGGER.name, logging.INFO, "x.py", 1, name, (), None)
            for name in ("first line", "second line")
        }
        first = threading.Thread(target=handler.handle, args=(records["first line"],))
        first.start()
        assert writing.wait(30)
        second = threading.Thread(target=handler.handle, args=(records["second line"],), daemon=True)
        second.start()
        second.join(30)
        assert not second.is_alive()
        may_write.set()
        first.join(30)
    assert (tmp_path / "log").read_text() == "second line\nfirst line\n"


def id_of(url: str) -> str:
    return url.rpartition("/")[2].partition(".")[0]


def access_fields(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    return [record.__dict__["fields"] for record in caplog.records if record.name == "vetrina.access"]


def test_each_request_has_a_line_with_its_route_and_outcome(
    tenant: Tenant, product: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    body = form(jpeg())
    response = tenant.client.post(images_path(product) + "?token=secret", data=body, content_type=FORM_TYPE)
    (fields,) = access_fields(caplog)
    assert fields.pop("durationMs") >= 0
    assert response.json is not None
    assert fields == {
        "method": "POST",
        "route": "/api/v1/products/<product_id>/images",
        "status": 201,
        "bytes": response.content_length,
        "bytesReceived": len(body),
        "client": "127.0.0.1",
        "productId": product["_id"],
        "imageId": id_of(response.json["imageUrl"]),
        "outcome": "created",
    }
    assert "secret" not in caplog.text


def test_a_line_within_a_request_tells_its_id_and_workspace(
    tenant: Tenant,
    catalog: Catalog,
    product: dict[str, Any],
    upload: Post,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lines: list[dict[str, Any]] = []
    monkeypatch.setattr(
        logging.getLogger("vetrina.access"),
        "log",
        lambda _, *args, **options: lines.append(
            json.loads(formatted(logs.JSONFormatter(), *args, **options))
        ),
    )
    monkeypatch.setattr(logging.getLogger("vetrina.access"), "disabled", False)
    response = upload(product)
    assert lines[-1]["requestId"] == response.headers["X-Request-Id"]
    assert lines[-1]["workspace"] == tenant.workspace.id
    (key,) = catalog.list_api_keys(tenant.workspace.id)
    assert lines[-1]["credentialId"] == key.id
    assert "userId" not in lines[-1]


def test_after_a_request_nothing_of_it_is_told(tenant: Tenant) -> None:
    tenant.client.get("/api/v1/products/x")
    assert (logs.request_id.get(), logs.workspace_id.get()) == (None, None)
    assert (logs.credential_id.get(), logs.user_id.get()) == (None, None)


def test_the_lines_name_the_image_that_was_removed(
    tenant: Tenant, product: dict[str, Any], upload: Post, caplog: pytest.LogCaptureFixture
) -> None:
    urls = [upload(product).get_json()["imageUrl"] for _ in range(3)]
    caplog.set_level(logging.INFO)
    path = f"/api/v1/products/{product['_id']}"
    tenant.client.delete(f"{path}/images/0")
    assert access_fields(caplog)[-1]["imageId"] == id_of(urls[0])
    tenant.client.patch(path, json={"imageUrls": [urls[2]]})
    tenant.client.delete(path)
    removed = [
        record.__dict__["fields"]
        for record in caplog.records
        if record.getMessage().startswith("image removed")
    ]
    assert removed == [{"productId": product["_id"], "imageId": id_of(url)} for url in urls[1:]]
    assert [fields["outcome"] for fields in access_fields(caplog)] == ["deleted", "ok", "deleted"]


def test_the_line_of_a_refusal_has_its_code(
    tenant: Tenant, product: dict[str, Any], upload: Post, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    upload(product, b"no picture", "image/png")
    tenant.client.get("/api/v1/products/" + 24 * "0")
    tenant.client.get("/api/v1/nothing")
    outcomes = [fields["outcome"] for fields in access_fields(caplog)]
    assert outcomes == ["unsupported_type", "product_not_found", "not_found"]


@pytest.mark.parametrize("ending", [".jpg", "_160w.webp"])
def test_the_line_of_a_picture_names_it_and_its_product(
    product: dict[str, Any],
    upload: Post,
    anonymous: FlaskClient,
    caplog: pytest.LogCaptureFixture,
    ending: str,
) -> None:
    url = str(upload(product).get_json()["imageUrl"])
    path = url.removeprefix(PUBLIC_URL).rpartition(".")[0]
    caplog.set_level(logging.INFO)
    for missing in ("x", "..%2f", "é"):
        anonymous.get(f"{path}{missing}{ending}").close()
    anonymous.get(path + ending).close()
    *others, line = access_fields(caplog)
    assert (line["productId"], line["imageId"]) == (product["_id"], id_of(url))
    assert len(others) == 3
    assert not any({"productId", "imageId"} & fields.keys() for fields in others)


def test_a_store_that_is_down_is_a_line_a_request_and_a_traceback_a_minute(
    product: dict[str, Any],
    upload: Post,
    storage: StorageBackend,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise StorageUnavailable("the disk is full")

    monkeypatch.setattr(storage, "put", fail)
    monkeypatch.setattr("api.errors._OUTAGES", _Outages())
    caplog.set_level(logging.INFO)
    for _ in range(3):
        assert upload(product).status_code == 503
    described = [(record.name, record.levelname, record.exc_info is None) for record in caplog.records]
    line = ("vetrina.access", "WARNING", True)
    assert described == [("api.errors", "ERROR", False), line, line, line]
    assert {(fields["outcome"], fields["reason"]) for fields in access_fields(caplog)} == {
        ("storage_unavailable", "the disk is full")
    }


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics"])
def test_good_answers_to_probes_and_scrapes_are_lines_of_level_debug(
    tenant: Tenant, path: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    assert tenant.client.get(path).status_code == 200
    assert [r.levelname for r in caplog.records if r.name == "vetrina.access"] == ["DEBUG"]
