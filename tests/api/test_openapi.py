"""The OpenAPI document and the server agree."""

from __future__ import annotations

import json
import os
import re
from dataclasses import replace
from typing import Any

import pytest
import schemathesis
import yaml
from flask import Flask
from flask.testing import FlaskClient
from hypothesis import HealthCheck, Phase, given, settings
from openapi_spec_validator import validate
from schemathesis import GenerationMode
from schemathesis.checks import CHECKS, load_all_checks

from api.docs import spec
from app import create_app
from catalog.base import Catalog
from config import Settings
from storage.base import StorageBackend
from tests.conftest import Tenant
from version import VERSION

METHODS = {"get", "post", "patch", "delete", "put"}
#: Routes that do not belong to the API: pictures, pages and metrics.
BESIDE = ("/media/", "/docs", "/console", "/metrics")


@pytest.fixture
def app(settings: Settings, storage: StorageBackend, catalog: Catalog) -> Flask:
    """An application without a limit that matters: schemathesis tries each call with wrong tokens."""
    patient = replace(settings, auth_failures_per_minute=1_000_000)
    return create_app(patient, storage=storage, catalog=catalog)


@pytest.fixture
def described(anonymous: FlaskClient) -> Any:
    return anonymous.get("/api/v1/openapi.json").json


def calls_of_the_server(app: Flask) -> set[tuple[str, str]]:
    return {
        (method.lower(), re.sub(r"<(?:\w+:)?(?:\w+_)?(\w+)>", r"{\1}", rule.rule))
        for rule in app.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
        if not rule.rule.startswith(BESIDE)
    }


def test_the_description_is_valid_openapi_3_1(described: Any) -> None:
    assert described["openapi"] == "3.1.0"
    validate(described)


def test_the_document_has_the_version_of_the_server(described: Any) -> None:
    assert described["info"]["version"] == VERSION


def test_json_and_yaml_have_the_same_content(anonymous: FlaskClient, described: Any) -> None:
    response = anonymous.get("/api/v1/openapi.yaml")
    assert response.content_type == "application/yaml"
    assert yaml.safe_load(response.data) == described


def test_every_call_is_described_and_no_other(app: Flask, described: Any) -> None:
    calls = {
        (method, path) for path, item in described["paths"].items() for method in item if method in METHODS
    }
    assert calls == calls_of_the_server(app)


def test_every_quoted_error_text_has_its_example(described: Any) -> None:
    text = json.dumps(described, ensure_ascii=False)
    for quoted in (
        "No file provided. Send as multipart/form-data with field name 'file'.",
        "Image must be under 5MB",
        "Unsupported MIME type — accepts image/png, image/jpeg, image/webp",
        "Product already has 20 images (max). Delete one first.",
        "Image is corrupt or incomplete",
        "Image has too many pixels",
        "Image has too many chunks, segments or scans",
        "Send exactly one file per request, in the field 'file'.",
    ):
        assert quoted in text


def test_every_error_has_an_example(described: Any) -> None:
    answers = {
        f"{method} {path} {status}": answer
        for path, item in described["paths"].items()
        for method, call in item.items()
        if method in METHODS
        for status, answer in call["responses"].items()
        if status >= "400" and "$ref" not in answer
    }
    for name, answer in (answers | described["components"]["responses"]).items():
        if "application/json" in answer.get("content", {}):
            assert answer["content"]["application/json"].get("examples"), name


def test_the_page_uses_no_other_host_and_no_inline_script(anonymous: FlaskClient) -> None:
    page = anonymous.get("/docs")
    assert page.content_type == "text/html; charset=utf-8"
    assert "script-src 'self';" in page.headers["Content-Security-Policy"]
    links = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert len(links) == 11
    for link in links:
        assert re.match(r"/(docs/|console/static/|(docs|console)?$)", link)
        answer = anonymous.get(link, buffered=True, follow_redirects=True)  # the console asks for a sign-in
        assert answer.status_code == 200
    assert re.search(r"<script>|onload=|<style", page.text) is None


@pytest.mark.parametrize("path", ["/docs/nothing", "/docs/../app.py", "/docs/js/", "/docs/__init__.py"])
def test_no_other_file_is_served(anonymous: FlaskClient, path: str) -> None:
    response = anonymous.get(path)
    assert (response.status_code, response.json) == (404, {"error": "Not found"})


# --- schemathesis calls the server as the document describes it

load_all_checks()
#: Checks that this API does not satisfy, by design.
LEFT_OUT = {
    "positive_data_acceptance": "a random id is not the id of a product, and random bytes are not a picture",
    "missing_required_header": "only the token is required, and other tests cover it",
}
CHECKED: list[Any] = [check for check in CHECKS.get_all() if check.__name__ not in LEFT_OUT]

#: The API ignores an unknown parameter, which schemathesis counts as wrong.
LEFT_OUT_OF_LISTS = "negative_data_rejection"


#: Each call, and whether it has any input that can be wrong.
OPERATIONS = {
    call["operationId"]: "parameters" in item or "parameters" in call or "requestBody" in call
    for item in spec()["paths"].values()
    for name, call in item.items()
    if name in METHODS
}
RUNS = [
    (operation_id, mode)
    for operation_id, takes_input in OPERATIONS.items()
    for mode in GenerationMode
    if takes_input or mode is GenerationMode.POSITIVE
]
EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "12"))


@pytest.fixture
def api(app: Flask, product: dict[str, Any]) -> Any:
    """The document as schemathesis reads it from the server, with the id of an existing product."""
    schema = schemathesis.openapi.from_wsgi("/api/v1/openapi.json", app)
    schema.config.parameters["path.id"] = product["_id"]
    return schema


@pytest.mark.parametrize(("operation_id", "mode"), RUNS)
def test_every_answer_is_as_described(
    api: Any, tenant: Tenant, operation_id: str, mode: GenerationMode
) -> None:
    operation = api.find_operation_by_id(operation_id)
    left_out = LEFT_OUT_OF_LISTS if operation_id == "listProducts" else None
    checks = [check for check in CHECKED if check.__name__ != left_out]

    @settings(
        max_examples=EXAMPLES,
        derandomize=True,
        deadline=None,
        database=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def call(case: schemathesis.Case[Any]) -> None:
        # Over WSGI schemathesis says that it accepts gzip, and then does not decode it.
        headers = {"Authorization": f"Bearer {tenant.key}", "Accept-Encoding": "identity"}
        case.call_and_validate(headers=headers, checks=checks)

    call()
