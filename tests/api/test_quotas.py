from __future__ import annotations

from typing import Any

import pytest

from catalog.base import Catalog
from catalog.identity import Quota
from storage.base import StorageBackend
from tests.api.fixtures import FORM_TYPE, NewProduct, Post, Unreadable, images_path, on_both_catalogs
from tests.conftest import Tenant
from tests.pictures import jpeg
from tests.storage.contract import keys_of

PRODUCTS = "This workspace has reached its quota of products. Delete products, or ask for a higher quota."
IMAGES = "This workspace has reached its quota of images. Delete images, or ask for a higher quota."
BYTES = "This workspace has reached its quota of bytes. Delete images, or ask for a higher quota."
KEYS = (
    "This workspace has 10000 Idempotency-Keys of the last 24 hours (max). "
    "Send the request without one, or wait until some have expired."
)


def test_a_product_beyond_the_quota_is_422(catalog: Catalog, tenant: Tenant, product: dict[str, Any]) -> None:
    catalog.set_quota(tenant.workspace.id, Quota(products=1))
    body = {"name": "Lamp", "model": "L-1", "category": "toys"}
    response = tenant.client.post("/api/v1/products", json=body)
    assert (response.status_code, response.json) == (422, {"error": PRODUCTS})
    assert tenant.client.delete(f"/api/v1/products/{product['_id']}").status_code == 200
    assert tenant.client.post("/api/v1/products", json=body).status_code == 201


@pytest.mark.parametrize(("quota", "error"), [(Quota(images=1), IMAGES), (Quota(bytes=1000), BYTES)])
def test_an_upload_beyond_the_quota_is_422_and_leaves_no_object(
    catalog: Catalog,
    storage: StorageBackend,
    tenant: Tenant,
    product: dict[str, Any],
    upload: Post,
    quota: Quota,
    error: str,
) -> None:
    before = (upload(product).json or {})["imageUrls"]
    stored = keys_of(storage)
    catalog.set_quota(tenant.workspace.id, quota)
    response = upload(product)
    assert (response.status_code, response.json) == (422, {"error": error})
    assert keys_of(storage) == stored
    after = tenant.client.get(f"/api/v1/products/{product['_id']}").json or {}
    assert after["imageUrls"] == before


@on_both_catalogs
@pytest.mark.parametrize(("spent", "error"), [(Quota(images=1), IMAGES), (Quota(bytes=1), BYTES)])
def test_a_spent_quota_refuses_further_uploads_before_their_bodies_are_read(
    catalog: Catalog, tenant: Tenant, product: dict[str, Any], upload: Post, spent: Quota, error: str
) -> None:
    assert upload(product).status_code == 201
    catalog.set_quota(tenant.workspace.id, spent)
    assert upload(product, jpeg(90, 60)).status_code == 422
    refused = tenant.client.post(
        images_path(product), environ_overrides={"wsgi.input": Unreadable()}, content_type=FORM_TYPE
    )
    assert (refused.status_code, refused.json) == (422, {"error": error})
    assert upload(product, query="?ifExists=skip").status_code == 200
    catalog.set_quota(tenant.workspace.id, Quota())
    assert upload(product).status_code == 201


def test_a_quota_of_one_workspace_stops_no_other(
    catalog: Catalog, tenant: Tenant, new_product: NewProduct, new_tenant: Any
) -> None:
    catalog.set_quota(tenant.workspace.id, Quota(products=0))
    assert new_product(new_tenant().client)


def test_one_idempotency_key_too_many_is_422_and_changes_nothing(
    tenant: Tenant, product: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("catalog.sqlite.idempotency.MAX_LIVE_KEYS", 1)
    path = f"/api/v1/products/{product['_id']}"

    def rename(name: str, key: str) -> Any:
        return tenant.client.patch(path, json={"name": name}, headers={"Idempotency-Key": key})

    first = rename("A", "1")
    refused = rename("B", "2")
    assert (refused.status_code, refused.json) == (422, {"error": KEYS})
    again = rename("A", "1")
    assert (again.json, again.headers["Idempotency-Replayed"]) == (first.json, "true")
    assert (tenant.client.get(path).json or {})["name"] == "A"
