"""The requests of clients that are published, laid out as they send them.

They were written for the API of TracePass: an MCP server and an n8n node in JavaScript, and scripts around
ERP systems. What they have in common is tried here in one visit; they are used unchanged.
"""

from __future__ import annotations

from typing import Any

import pytest
from flask.testing import FlaskClient

from tests.api.fixtures import on_both_catalogs
from tests.conftest import PUBLIC_URL, Tenant
from tests.pictures import jpeg, png

PRODUCTS = "/api/v1/products"
BOUNDARY = "----WebKitFormBoundary7MA4YWxkTrZu0gW"


@pytest.fixture(params=["mcp", "n8n", "erp"])
def headers(request: pytest.FixtureRequest, tenant: Tenant) -> dict[str, str]:
    """What such a client sends with every request."""
    return {
        "Authorization": f"Bearer {tenant.key}",
        "Accept": "application/json",
        "X-Source": request.param,
        "User-Agent": "node",
        "Accept-Encoding": "gzip, deflate, br",
        "Accept-Language": "*",
        "Sec-Fetch-Mode": "cors",
    }


def file_part(data: bytes, content_type: str, filename: str) -> bytes:
    """A form with one file, as JavaScript's FormData is sent."""
    head = (
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="{filename}"\r\n'
        f"Content-Type: {content_type}\r\n\r\n"
    )
    return head.encode() + data + f"\r\n--{BOUNDARY}--\r\n".encode()


def test_a_key_is_tried_with_a_list_of_one(anonymous: FlaskClient, headers: dict[str, str]) -> None:
    response = anonymous.get(f"{PRODUCTS}?limit=1", headers=headers)
    empty = {"data": {"items": [], "total": 0, "page": 1, "limit": 1, "totalPages": 0}}
    assert (response.status_code, response.json) == (200, empty)
    headers["Authorization"] = "Bearer tp_wrong"
    response = anonymous.get(f"{PRODUCTS}?limit=1", headers=headers)
    assert (response.status_code, response.json) == (401, {"error": "Unauthorized"})


@on_both_catalogs
def test_a_whole_visit(anonymous: FlaskClient, tenant: Tenant, headers: dict[str, str]) -> None:
    json_headers = {**headers, "Content-Type": "application/json", "Idempotency-Key": "7b4f1e2c-9a3d"}
    body = {
        "name": "48V Li-Ion Pack",
        "model": "BP-48V-100",
        "category": "battery",
        "description": "LFP, 100 Ah",
        "defaultFieldValues": {"battery_chemistry": "lithium-ion", "nominal_voltage": 48},
        "imageUrls": ["https://existing-image-1.jpg"],
    }
    created = anonymous.post(PRODUCTS, json=body, headers=json_headers)
    product: Any = created.json
    assert (created.status_code, product) == (
        201,
        {
            "_id": product["_id"],
            **body,
            "category": "batteries",
            "templateId": None,
            "images": [{"url": "https://existing-image-1.jpg"}],
            "passportCount": 0,
            "status": "active",
            "sourceLocale": "en",
            "createdAt": product["createdAt"],
            "updatedAt": product["createdAt"],
        },
    )
    again = anonymous.post(PRODUCTS, json=body, headers=json_headers)
    assert (again.status_code, again.json) == (201, product)
    assert again.headers["Idempotency-Replayed"] == "true"

    found = anonymous.get(f"{PRODUCTS}?page=1&limit=100&search=bp-48v&category=battery", headers=headers)
    item = {name: value for name, value in product.items() if name != "defaultFieldValues"}
    page = {"items": [item], "total": 1, "page": 1, "limit": 100, "totalPages": 1}
    assert (found.status_code, found.json) == (200, {"data": page})

    path = f"{PRODUCTS}/{product['_id']}"
    form_headers = {**headers, "Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
    urls = list(body["imageUrls"])
    for data, content_type, extension in ((jpeg(), "image/jpeg", "jpg"), (png(), "image/png", "png")):
        part = file_part(data, content_type, f"hero image.{extension}")
        uploaded = anonymous.post(f"{path}/images", data=part, headers=form_headers)
        sent: Any = uploaded.json
        urls.append(sent["imageUrl"])
        assert (uploaded.status_code, sent) == (201, {"imageUrl": urls[-1], "imageUrls": urls})
        key = f"{tenant.workspace.id}/products/{product['_id']}/images"
        assert sent["imageUrl"].startswith(f"{PUBLIC_URL}/media/{key}/")
        assert sent["imageUrl"].endswith(f".{extension}")

    reordered = anonymous.patch(path, json={"imageUrls": urls[::-1]}, headers=headers)
    after: Any = reordered.json
    assert (reordered.status_code, after) == (
        200,
        product | {"imageUrls": urls[::-1], "images": after["images"], "updatedAt": after["updatedAt"]},
    )
    removed = anonymous.delete(f"{path}/images/2", headers=headers)
    assert (removed.status_code, removed.json) == (200, {"imageUrls": urls[:0:-1]})

    archived = anonymous.post(f"{path}/archive", headers=json_headers | {"Idempotency-Key": "8c5a"})
    assert archived.status_code == 200
    assert archived.json == anonymous.get(path, headers=headers).json
    assert (archived.json or {})["status"] == "archived"
    gone = anonymous.delete(path, headers=headers)
    summary = {
        "productId": product["_id"],
        "name": "48V Li-Ion Pack",
        "deletedCounts": {
            "r2ObjectsDeleted": 2,
            "documentRefsUnlinked": 0,
            "documentsDeleted": 0,
            "documentR2ObjectsDeleted": 0,
        },
    }
    assert (gone.status_code, gone.json) == (
        200,
        {"message": "Product permanently deleted", "summary": summary},
    )
