from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from flask.testing import FlaskClient

from app import create_app
from catalog.base import Catalog
from config import Settings
from tests.api.fixtures import NewProduct, Post, conflict, field_errors, on_both_catalogs
from tests.conftest import Tenant
from tests.factories import client_with

MINIMAL = {"name": "48V Li-Ion Pack", "model": "BP-48V-100", "category": "batteries"}


def refused(client: FlaskClient, body: Any) -> tuple[int, Any]:
    response = client.post("/api/v1/products", json=body)
    return response.status_code, response.json


@on_both_catalogs
def test_a_product_is_made_of_the_required_fields(client: FlaskClient) -> None:
    response = client.post("/api/v1/products", json=MINIMAL)
    product: Any = response.json
    assert response.status_code == 201
    assert product == {
        "_id": product["_id"],
        **MINIMAL,
        "templateId": None,
        "description": None,
        "defaultFieldValues": {},
        "imageUrls": [],
        "images": [],
        "passportCount": 0,
        "status": "active",
        "sourceLocale": "en",
        "createdAt": product["createdAt"],
        "updatedAt": product["createdAt"],
    }
    assert re.fullmatch(r"[0-9a-f]{24}", product["_id"])
    assert re.fullmatch(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", product["createdAt"])
    assert response.headers["Location"] == f"/api/v1/products/{product['_id']}"


@on_both_catalogs
def test_every_field_is_kept(client: FlaskClient) -> None:
    fields = {
        "name": "N" * 200,
        "model": "M" * 100,
        "category": "iron-steel",
        "description": "long\n" * 400,
        "defaultFieldValues": {"chemistry": "LFP", "voltage": 48, "cells": [1.5, None, {"deep": True}]},
        "imageUrls": ["https://cdn.example.com/a.png?w=1", "https://cdn.example.com/b.png"],
        "sourceLocale": "it",
    }
    product: Any = client.post("/api/v1/products", json=fields).json
    assert {name: product[name] for name in fields} == fields
    assert product["images"] == [{"url": url, "alt": {}} for url in fields["imageUrls"]]
    assert client.get(f"/api/v1/products/{product['_id']}").json == product


@pytest.mark.parametrize(
    ("sent", "kept"),
    [("battery", "batteries"), ("textile", "textiles"), ("steel", "iron-steel"), ("toys", "toys")],
)
def test_published_spellings_of_a_category_are_accepted(client: FlaskClient, sent: str, kept: str) -> None:
    response = client.post("/api/v1/products", json=MINIMAL | {"category": sent})
    assert (response.status_code, (response.json or {})["category"]) == (201, kept)


@pytest.mark.parametrize("field", ["name", "model", "category"])
def test_a_required_field_is_missed(client: FlaskClient, field: str) -> None:
    body = {name: value for name, value in MINIMAL.items() if name != field}
    assert refused(client, body) == field_errors(**{field: ["Required"]})


def test_every_bad_field_is_told_at_once(client: FlaskClient) -> None:
    assert refused(client, {"name": "", "category": 7, "colour": "red"}) == field_errors(
        name=["String should have at least 1 character"],
        model=["Required"],
        category=[
            (
                "Input should be 'batteries', 'textiles', 'jewelry', 'electronics', 'furniture', "
                "'chemicals', 'packaging', 'toys', 'fmcg', 'tyres', 'iron-steel', 'construction', "
                "'detergents' or 'paints-coatings'"
            )
        ],
        colour=["Unknown field"],
    )


def test_the_answer_to_many_bad_fields_names_the_first_50(client: FlaskClient) -> None:
    unknown = {f"f{number}": 1 for number in range(4000)}
    named = {f"f{number}": ["Unknown field"] for number in range(49)}
    assert refused(client, MINIMAL | {"name": ""} | unknown) == field_errors(
        name=["String should have at least 1 character"], **named
    )
    assert refused(client, MINIMAL | {"\U0001f600" * 50_000: 1}) == field_errors(
        **{"\U0001f600" * 100: ["Unknown field"]}
    )


@pytest.mark.parametrize(
    ("field", "value", "why"),
    [
        ("name", "N" * 201, "String should have at most 200 characters"),
        ("name", None, "Input should be a valid string"),
        ("name", 5, "Input should be a valid string"),
        ("model", "M" * 101, "String should have at most 100 characters"),
        ("description", "D" * 2001, "String should have at most 2000 characters"),
        ("defaultFieldValues", [], "Input should be an object"),
        ("imageUrls", "https://cdn.example.com/a.png", "Input should be a valid array"),
        ("imageUrls", ["http://cdn.example.com/a.png"], "Not an https URL"),
        ("imageUrls", ["javascript:alert(1)"], "Not an https URL"),
        ("imageUrls", ["https://"], "Not an https URL"),
        ("imageUrls", ["https://[::1"], "Not an https URL"),
        ("imageUrls", ["https://a b.example/"], "Not an https URL"),
        ("imageUrls", ["https://cdn.example.com/\n"], "Not an https URL"),
        (
            "imageUrls",
            ["https://cdn.example.com/" + 2048 * "a"],
            "String should have at most 2048 characters",
        ),
        ("imageUrls", [None], "Input should be a valid string"),
        ("sourceLocale", "xx", "Not an ISO 639-1 language code"),
        ("sourceLocale", "EN", "Not an ISO 639-1 language code"),
        ("status", "archived", "Unknown field"),
        ("_id", "6650a1b2c3d4e5f6a7b8c9d0", "Unknown field"),
        ("default_field_values", {}, "Unknown field"),
    ],
)
def test_a_field_that_is_not_as_it_must_be_is_told(
    client: FlaskClient, field: str, value: Any, why: str
) -> None:
    assert refused(client, MINIMAL | {field: value}) == field_errors(**{field: [why]})


def test_more_than_20_image_urls_are_refused(client: FlaskClient) -> None:
    urls = [f"https://cdn.example.com/{n}.png" for n in range(21)]
    assert refused(client, MINIMAL | {"imageUrls": urls}) == field_errors(
        imageUrls=["List should have at most 20 items after validation, not 21"]
    )


def test_the_image_of_another_product_can_not_be_taken_over(
    client: FlaskClient, product: dict[str, Any], upload: Post
) -> None:
    url = (upload(product).json or {})["imageUrl"]
    assert refused(client, MINIMAL | {"imageUrls": [url]}) == field_errors(
        imageUrls=["An image of another product can't be used: upload it to this one"]
    )


@on_both_catalogs
def test_a_model_that_is_there_is_a_conflict(client: FlaskClient, new_tenant: Callable[[], Tenant]) -> None:
    assert client.post("/api/v1/products", json=MINIMAL).status_code == 201
    assert refused(client, MINIMAL) == conflict("A product with this model already exists")
    assert new_tenant().client.post("/api/v1/products", json=MINIMAL).status_code == 201


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"\xff",
        b'{"name": "a", }',
        b'{"name": "\\ud800"}',
        4000 * b"[",
    ],
)
def test_a_body_that_is_no_json_is_a_400(client: FlaskClient, body: bytes) -> None:
    response = client.post("/api/v1/products", data=body, content_type="application/json")
    assert (response.status_code, response.json) == (400, {"error": "Request body is not valid JSON"})


@pytest.mark.parametrize("body", [b"[]", b"null", b'"text"', b"5"])
def test_json_that_is_no_object_is_a_400(client: FlaskClient, body: bytes) -> None:
    response = client.post("/api/v1/products", data=body, content_type="application/json")
    assert (response.status_code, response.json) == (400, {"error": "Request body must be a JSON object"})


@pytest.mark.parametrize("number", [b"NaN", b"Infinity", b"-Infinity", b"1e999"])
def test_numbers_that_json_does_not_have_are_refused(client: FlaskClient, number: bytes) -> None:
    body = b'{"name":"a","model":"b","category":"toys","defaultFieldValues":{"x":' + number + b"}}"
    response = client.post("/api/v1/products", data=body, content_type="application/json")
    assert (response.status_code, response.json) == field_errors(
        defaultFieldValues=["Numbers must be finite"]
    )


def test_a_body_over_a_megabyte_is_a_413(client: FlaskClient) -> None:
    assert refused(client, MINIMAL | {"description": 2**20 * "x"}) == (
        413,
        {"error": "Request body must be under 1MB"},
    )


@on_both_catalogs
def test_text_of_any_script_comes_back_as_it_was_sent(client: FlaskClient, new_product: NewProduct) -> None:
    name = "Zürich 電池 \u202e🎁 'quoted' \\ \u0000"
    product = new_product(name=name)
    response = client.get(f"/api/v1/products/{product['_id']}")
    assert (response.json or {})["name"] == name
    assert "電池".encode() in response.data


@on_both_catalogs
@pytest.mark.parametrize(
    "product_id",
    [
        "6650a1b2c3d4e5f6a7b8c9d0",
        "x",
        "%00",
        '{"$ne":null}',
        10_000 * "a",
        "6650A1B2C3D4E5F6A7B8C9D0",
    ],
)
def test_a_product_that_is_not_there_is_a_404(client: FlaskClient, product_id: str) -> None:
    response = client.get(f"/api/v1/products/{product_id}")
    assert (response.status_code, response.json) == (404, {"error": "Product not found"})


@on_both_catalogs
def test_the_product_of_another_workspace_answers_the_same_404(
    product: dict[str, Any], new_tenant: Callable[[], Tenant]
) -> None:
    response = new_tenant().client.get(f"/api/v1/products/{product['_id']}")
    assert (response.status_code, response.json) == (404, {"error": "Product not found"})


@on_both_catalogs
def test_each_change_makes_a_new_etag(client: FlaskClient, product: dict[str, Any], upload: Post) -> None:
    path = f"/api/v1/products/{product['_id']}"
    before = client.get(path).headers["ETag"]
    assert client.get(path).headers["ETag"] == before
    upload(product)
    after = client.get(path).headers["ETag"]
    assert after != before
    assert re.fullmatch(r'"[^"]+"', after)


def test_a_product_that_has_not_changed_is_not_sent_again(
    client: FlaskClient, product: dict[str, Any]
) -> None:
    path = f"/api/v1/products/{product['_id']}"
    etag = client.get(path).headers["ETag"]
    response = client.get(path, headers={"If-None-Match": etag})
    assert (response.status_code, response.data) == (304, b"")
    assert response.headers["ETag"] == etag


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize(
    ("if_match", "status"),
    [("*", 200), ("{0}", 200), ("W/{0}", 200), ('"other", {0}', 200), ('"other"', 412)],
)
def test_a_read_honours_if_match(
    client: FlaskClient, product: dict[str, Any], method: str, if_match: str, status: int
) -> None:
    path = f"/api/v1/products/{product['_id']}"
    etag = client.get(path).headers["ETag"]
    response = client.open(path, method=method, headers={"If-Match": if_match.format(etag)})
    assert response.status_code == status
    if method == "GET":
        changed = {"error": "The product has changed since: If-Match does not hold"}
        assert response.json == (product if status == 200 else changed)


@pytest.mark.parametrize("category", ["detergents", "paints-coatings", "construction"])
def test_each_category_of_the_contract_is_taken(client: FlaskClient, category: str) -> None:
    response = client.post("/api/v1/products", json=MINIMAL | {"category": category})
    assert (response.status_code, (response.json or {})["category"]) == (201, category)


def test_the_operator_adds_categories(settings: Settings, catalog: Catalog, tenant: Tenant) -> None:
    app = create_app(replace(settings, categories=("cosmetics",)), catalog=catalog)
    with_it, without_it = client_with(app, tenant.key), tenant.client
    response = with_it.post("/api/v1/products", json=MINIMAL | {"category": "cosmetics"})
    assert (response.status_code, (response.json or {})["category"]) == (201, "cosmetics")
    listed = with_it.get("/api/v1/products?category=cosmetics").json or {}
    assert listed["data"]["total"] == 1
    assert without_it.get("/api/v1/products?category=cosmetics").status_code == 400
    # A product keeps its category when the operator removes it from the setting.
    changed = without_it.patch(f"/api/v1/products/{(response.json or {})['_id']}", json={"name": "New"})
    assert (changed.status_code, (changed.json or {})["category"]) == (200, "cosmetics")


def nested(levels: int) -> Any:
    value: Any = {}
    for _ in range(levels - 1):
        value = {"a": value}
    return value


FIELDS_AT_A_LIMIT = {
    "bytes": ({"a": "x" * (65_536 - 8)}, {"a": "x" * (65_536 - 7)}, "Must be at most 64 KB as JSON"),
    "bytes of UTF-8": ({"a": "é" * 32_764}, {"a": "é" * 32_765}, "Must be at most 64 KB as JSON"),
    "values of an object": (
        {str(number): 1 for number in range(2000)},
        {str(number): 1 for number in range(2001)},
        "Must have at most 2000 values",
    ),
    "values of an array": ({"a": [0] * 1999}, {"a": [0] * 2000}, "Must have at most 2000 values"),
    "levels": (nested(32), nested(33), "Must have at most 32 nested levels"),
    "levels of arrays": (
        {"a": [[[nested(28)]]]},
        {"a": [[[nested(29)]]]},
        "Must have at most 32 nested levels",
    ),
}


TOO_MANY_VALUES = {
    "unknown fields": (b'{"name":"x",%s}' % b",".join(b'"f%d":0' % number for number in range(80_000)), None),
    "values": (b'{"defaultFieldValues":{"a":[%s0]}}' % (b"0," * 500_000), "defaultFieldValues"),
    "few more values": (b'{"defaultFieldValues":[{"a":[%s0]}]}' % (b"0," * 5000), "defaultFieldValues"),
    "arrays": (
        b'{"defaultFieldValues":{"a":[%s0]}}' % ((b"[" * 150 + b"0" + b"]" * 150 + b",") * 3400),
        "defaultFieldValues",
    ),
    "objects": (b'{"model":"\\"[","imageUrls":[%s0]}' % (b'{"":0},' * 140_000), "imageUrls"),
    "opened only": (b"[" * 1_000_000, None),
    "strings": (b'{"alt":[%s""]}' % (b'"",' * 330_000), "alt"),
    "quotes": (b'{"alt":"%s' % (b'","' * 330_000), None),
    "a string without end": (b'{"a":[%s"%s' % (b"[" * 6000, b'\\"[' * 300_000), "a"),
    "a long name": (b'{"%s":[%s0]}' % (b"a" * 500_000, b"0," * 200_000), None),
    "no name": (b"{:[%s0]}" % (b"0," * 500_000), None),
}


@pytest.mark.parametrize(("body", "field"), TOO_MANY_VALUES.values(), ids=TOO_MANY_VALUES.keys())
def test_a_body_of_far_too_many_values_is_refused_unparsed(
    client: FlaskClient, product: dict[str, Any], body: bytes, field: str | None
) -> None:
    refusal: dict[str, Any] = {"error": "Request body has too many values"}
    if field:
        sentence = "Must have at most 2000 values"
        refusal = {
            "error": "Validation error",
            "message": f"{field}: {sentence}",
            "details": {"fieldErrors": {field: [sentence]}},
        }
    path = f"/api/v1/products/{product['_id']}"
    for method, at in (("POST", "/api/v1/products"), ("PATCH", path), ("PATCH", f"{path}/images/0")):
        response = client.open(at, method=method, data=body, content_type="application/json")
        assert (response.status_code, response.json) == (400, refusal)


def test_as_many_brackets_and_commas_as_the_limits_allow_are_accepted(client: FlaskClient) -> None:
    most: list[dict[str, Any]] = [{"a": [{}] * 1999}, {"a": '[{,\\"' * 9000}]
    for values in most:
        response = client.post("/api/v1/products", json=MINIMAL | {"defaultFieldValues": values})
        assert response.status_code == 201
        client.delete(f"/api/v1/products/{(response.json or {})['_id']}")


@pytest.mark.parametrize("limit", FIELDS_AT_A_LIMIT)
def test_the_default_field_values_have_limits(
    client: FlaskClient, product: dict[str, Any], limit: str
) -> None:
    taken, over, why = FIELDS_AT_A_LIMIT[limit]
    refused_so = field_errors(defaultFieldValues=[why])
    assert refused(client, MINIMAL | {"defaultFieldValues": over}) == refused_so
    path = f"/api/v1/products/{product['_id']}"
    patched = client.patch(path, json={"defaultFieldValues": over})
    assert (patched.status_code, patched.json) == refused_so
    response = client.post("/api/v1/products", json=MINIMAL | {"defaultFieldValues": taken})
    assert (response.status_code, (response.json or {})["defaultFieldValues"]) == (201, taken)
