from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from flask.testing import FlaskClient

from catalog.identity import Plan
from storage.base import StorageBackend
from tests.api.fixtures import NewProduct, Post, on_both_catalogs
from tests.conftest import NewTenant, Tenant

NOT_FOUND = (404, {"error": "Product not found"})
NEEDS_A_PAID_PLAN = (
    403,
    {"error": "Deleting products permanently requires a paid plan. Archive the product instead."},
)


def path(product: dict[str, Any]) -> str:
    return f"/api/v1/products/{product['_id']}"


def delete(client: FlaskClient, product: dict[str, Any], **headers: str) -> tuple[int, Any]:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    response = client.delete(path(product), headers=named)
    return response.status_code, response.json


def gone(product: dict[str, Any], objects: int) -> tuple[int, Any]:
    return 200, {
        "message": "Product permanently deleted",
        "summary": {
            "productId": product["_id"],
            "name": product["name"],
            "deletedCounts": {
                "r2ObjectsDeleted": objects,
                "documentRefsUnlinked": 0,
                "documentsDeleted": 0,
                "documentR2ObjectsDeleted": 0,
            },
        },
    }


@on_both_catalogs
def test_a_product_is_deleted_with_its_objects(
    client: FlaskClient, new_product: NewProduct, upload: Post, stored_keys: Callable[[], set[str]]
) -> None:
    product = new_product(name="Zürich 'box'", imageUrls=["https://cdn.example.com/a.png"])
    other = new_product()
    for _ in range(3):
        upload(product)
    kept = (upload(other).json or {})["imageUrl"]
    assert delete(client, product) == gone(product, 3)
    assert {key.rpartition("/")[2] for key in stored_keys()} == {kept.rpartition("/")[2]}
    response = client.get(path(product))
    assert (response.status_code, response.json) == NOT_FOUND
    assert delete(client, product) == NOT_FOUND
    assert (client.get("/api/v1/products").json or {})["data"]["total"] == 1


def test_a_product_without_images_is_deleted(client: FlaskClient, product: dict[str, Any]) -> None:
    assert delete(client, product) == gone(product, 0)


def test_every_object_under_the_prefix_goes(
    client: FlaskClient,
    tenant: Tenant,
    new_product: NewProduct,
    upload: Post,
    storage: StorageBackend,
    stored_keys: Callable[[], set[str]],
) -> None:
    product, other = new_product(), new_product()
    upload(product)
    prefix = f"{tenant.workspace.id}/products/{product['_id']}"
    left = [f"{prefix}/images/{32 * digit}.png" for digit in "12"]
    stays = [f"{prefix}0/images/x.png", f"{tenant.workspace.id}/products/{other['_id']}/images/x.png"]
    for key in (*left, *stays):
        storage.put(key, b"x", sha256=32 * b"0")
    assert delete(client, product) == gone(product, 3)
    assert stored_keys() == set(stays)


@on_both_catalogs
def test_the_model_is_free_again(client: FlaskClient, new_product: NewProduct) -> None:
    product = new_product(model="BP-48V")
    delete(client, product)
    assert new_product(model="BP-48V")["_id"] != product["_id"]


@on_both_catalogs
def test_an_archived_product_can_be_deleted(client: FlaskClient, product: dict[str, Any]) -> None:
    client.post(f"{path(product)}/archive")
    assert delete(client, product) == gone(product, 0)


def test_the_free_plan_does_not_delete(
    new_tenant: NewTenant,
    new_product: NewProduct,
    upload: Post,
    stored_keys: Callable[[], set[str]],
) -> None:
    client = new_tenant(Plan.FREE).client
    product = new_product(client)
    upload(product, client=client)
    assert delete(client, product) == NEEDS_A_PAID_PLAN
    assert delete(client, {"_id": "6650a1b2c3d4e5f6a7b8c9d0"}) == NEEDS_A_PAID_PLAN
    assert client.get(path(product)).status_code == 200
    assert len(stored_keys()) == 1


@pytest.mark.parametrize("plan", [plan for plan in Plan if plan is not Plan.FREE])
def test_every_other_plan_does(new_tenant: NewTenant, new_product: NewProduct, plan: Plan) -> None:
    client = new_tenant(plan).client
    product = new_product(client)
    assert delete(client, product) == gone(product, 0)


@on_both_catalogs
def test_only_a_product_of_ones_own_can_be_deleted(
    product: dict[str, Any], client: FlaskClient, new_tenant: NewTenant
) -> None:
    assert delete(new_tenant().client, product) == NOT_FOUND
    assert client.get(path(product)).json == product


@on_both_catalogs
def test_a_deletion_holds_to_the_etag(client: FlaskClient, product: dict[str, Any], upload: Post) -> None:
    seen = client.get(path(product)).headers["ETag"]
    upload(product)
    changed = (412, {"error": "The product has changed since: If-Match does not hold"})
    assert delete(client, product, If_Match=seen) == changed
    assert client.get(path(product)).status_code == 200
    assert delete(client, product, If_Match=client.get(path(product)).headers["ETag"]) == gone(product, 1)
