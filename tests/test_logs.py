from __future__ import annotations

import json
import logging
import logging.config
from typing import Any

import pytest

import logs
from tests.api.fixtures import FORM_TYPE, Post, form, images_path
from tests.conftest import Tenant
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
    assert fields == {
        "method": "POST",
        "route": "/api/v1/products/<product_id>/images",
        "status": 201,
        "bytes": response.content_length,
        "bytesReceived": len(body),
        "client": "127.0.0.1",
    }
    assert "secret" not in caplog.text


def test_a_line_within_a_request_tells_its_id_and_workspace(
    tenant: Tenant, product: dict[str, Any], upload: Post, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines: list[dict[str, Any]] = []
    monkeypatch.setattr(
        logging.getLogger("vetrina.access"),
        "info",
        lambda *args, **options: lines.append(json.loads(formatted(logs.JSONFormatter(), *args, **options))),
    )
    monkeypatch.setattr(logging.getLogger("vetrina.access"), "disabled", False)
    response = upload(product)
    assert lines[-1]["requestId"] == response.headers["X-Request-Id"]
    assert lines[-1]["workspace"] == tenant.workspace.id


def test_after_a_request_nothing_of_it_is_told(tenant: Tenant) -> None:
    tenant.client.get("/api/v1/products/x")
    assert (logs.request_id.get(), logs.workspace_id.get()) == (None, None)
