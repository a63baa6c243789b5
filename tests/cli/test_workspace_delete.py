from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from click.testing import Result
from flask import Flask
from flask.testing import FlaskCliRunner

from catalog.base import Catalog, Product, ProductPage
from catalog.errors import CatalogUnavailable, WorkspaceNotEmpty, WorkspaceNotFound
from catalog.identity import Workspace
from catalog.ids import new_id
from storage.base import ObjectLocked, StorageBackend, StorageUnavailable
from tests.api.fixtures import Post, on_both_catalogs
from tests.conftest import NewTenant, Tenant
from tests.factories import client_with, issue_key, new_oauth_client, new_product, new_user, new_workspace
from tests.faults import before_the_next, fail_with
from tests.storage.contract import keys_of, put

Delete = Callable[..., Result]


@pytest.fixture
def delete(runner: FlaskCliRunner) -> Delete:
    return lambda *args, typed="": runner.invoke(args=["workspace", "delete", *args], input=typed)


@pytest.fixture
def stored_product(catalog: Catalog, storage: StorageBackend) -> Callable[[Workspace], Product]:
    """Creates a product with an object, a size of it, and the remains of an interrupted write."""

    def make(workspace: Workspace) -> Product:
        product = new_product(catalog, workspace)
        prefix = f"{workspace.id}/products/{product.id}/images/{'0' * 32}"
        for ending in (".png", "_160w.webp", ".incoming"):
            put(storage, prefix + ending, b"bytes")
        return product

    return make


@on_both_catalogs
def test_a_workspace_is_deleted_with_all_that_belongs_to_it(
    delete: Delete,
    catalog: Catalog,
    storage: StorageBackend,
    new_tenant: NewTenant,
    upload: Post,
    new_product: Callable[..., dict[str, Any]],
) -> None:
    gone, kept = new_tenant(), new_tenant()
    for tenant in (gone, kept):
        product = new_product(client=tenant.client)
        assert upload(product, client=tenant.client).status_code == 201
        new_product(client=tenant.client)
        new_user(catalog, tenant.workspace)
        new_oauth_client(catalog, workspace_id=tenant.workspace.id)
    assert gone.client.post(f"/api/v1/products/{product_of(gone)}/archive").status_code == 200

    result = delete(gone.workspace.id, typed="Acme\n")

    assert (result.exit_code, result.stdout) == (0, "Acme was deleted: 2 products, 1 objects.\n")
    assert "Acme has 2 products, 1 images, " in result.stderr
    assert " bytes, and 1 users. All will be removed for good.\n" in result.stderr
    assert gone.client.get("/api/v1/products").status_code == 401
    assert gone.workspace not in catalog.list_workspaces()
    assert kept.workspace in catalog.list_workspaces()
    assert [user.workspace_id for user in catalog.list_users()] == [kept.workspace.id]
    assert catalog.list_api_keys(gone.workspace.id) == []
    assert len(catalog.list_api_keys(kept.workspace.id)) == 1
    assert catalog.list_clients(gone.workspace.id) == []
    assert {product.workspace_id for product in catalog.iter_products()} == {kept.workspace.id}
    assert [key.split("/")[0] for key in keys_of(storage)] == [kept.workspace.id]
    assert kept.client.get("/api/v1/products").json["data"]["total"] == 2  # type: ignore[index]  # the answer is JSON
    again = delete(gone.workspace.id, "--yes")
    assert (again.exit_code, again.stderr) == (
        1,
        f"Error: The workspace {gone.workspace.id} does not exist.\n",
    )


def product_of(tenant: Tenant) -> str:
    listed: Any = tenant.client.get("/api/v1/products").json
    return str(listed["data"]["items"][0]["_id"])


def test_another_name_removes_nothing(
    delete: Delete,
    catalog: Catalog,
    storage: StorageBackend,
    workspace: Workspace,
    app: Flask,
    stored_product: Callable[[Workspace], Product],
) -> None:
    product = stored_product(workspace)
    client = client_with(app, issue_key(catalog, workspace))
    for typed in ("acme\n", "\nAcm\n", ""):
        result = delete(workspace.id, typed=typed)
        assert result.exit_code == 1
        assert result.stdout == ""
    assert delete(workspace.id, typed="Acm\n").stderr.endswith(
        "Error: That is not its name. Nothing was removed.\n"
    )
    assert client.get(f"/api/v1/products/{product.id}").status_code == 200
    assert len(keys_of(storage)) == 3


def test_an_unknown_workspace_is_an_error(delete: Delete) -> None:
    result = delete(24 * "0")
    assert (result.exit_code, result.stderr) == (1, f"Error: The workspace {24 * '0'} does not exist.\n")


@on_both_catalogs
@pytest.mark.parametrize(
    "method", ["close_workspace", "list_products", "delete_product", "delete_workspace", "list", "delete"]
)
def test_a_deletion_that_stopped_at_any_step_is_finished_by_the_next_run(
    delete: Delete,
    catalog: Catalog,
    storage: StorageBackend,
    workspace: Workspace,
    monkeypatch: pytest.MonkeyPatch,
    stored_product: Callable[[Workspace], Product],
    method: str,
) -> None:
    for _ in range(2):
        stored_product(workspace)
    issue_key(catalog, workspace)
    owner: Any = storage if method in ("list", "delete") else catalog
    error = StorageUnavailable("no answer") if owner is storage else CatalogUnavailable()

    before_the_next(monkeypatch, owner, method, fail_with(error))
    result = delete(workspace.id, "--yes")
    assert result.exit_code == 1
    assert result.stderr.endswith(f": {error}. Run it again to continue.\n")
    assert catalog.list_workspaces() == [workspace]

    before_the_next(monkeypatch, catalog, "delete_workspace", fail_with(KeyboardInterrupt()))
    assert delete(workspace.id, "--yes").stderr.endswith(": interrupted. Run it again to continue.\n")

    result = delete(workspace.id, "--yes")
    assert (result.exit_code, result.stderr) == (0, "")
    assert catalog.list_workspaces() == []
    assert list(catalog.iter_products()) == []
    assert keys_of(storage) == set()


@on_both_catalogs
def test_a_product_that_a_request_creates_meanwhile_is_deleted_too(
    delete: Delete,
    catalog: Catalog,
    workspace: Workspace,
    monkeypatch: pytest.MonkeyPatch,
    catalog_url: str,
) -> None:
    late = new_workspace(catalog)
    create = catalog.create_product
    # MongoDB refuses a product of a closed workspace, so that of a request that was under way comes before.
    step = "close_workspace" if catalog_url else "delete_workspace"
    before_the_next(monkeypatch, catalog, step, lambda: new_product(catalog, workspace))
    result = delete(workspace.id, "--yes", "--json")
    assert (result.exit_code, json.loads(result.stdout)) == (
        0,
        {"id": workspace.id, "name": "Acme", "products": 1, "objects": 0, "locked": 0},
    )
    assert catalog.list_workspaces() == [late]
    with pytest.raises(WorkspaceNotFound):
        create(Product(**{**new_fields(workspace), "id": new_id()}))


@pytest.mark.parametrize("lagging", ["list", "end"])
def test_a_list_that_lags_behind_is_read_again_with_pauses_until_a_deadline(
    delete: Delete, catalog: Catalog, workspace: Workspace, monkeypatch: pytest.MonkeyPatch, lagging: str
) -> None:
    product = new_product(catalog, workspace)
    steps = []

    def list_products(*_: object) -> ProductPage:
        steps.append("list")
        return ProductPage([product] if lagging == "list" else [], 1)

    def delete_workspace(_: object) -> None:
        steps.append("end")
        raise WorkspaceNotEmpty

    monkeypatch.setattr("cli.workspace_delete._PATIENCE", 0.5)
    monkeypatch.setattr(catalog, "list_products", list_products)
    monkeypatch.setattr(catalog, "delete_workspace", delete_workspace)
    result = delete(workspace.id, "--yes")
    assert result.stderr == (
        f"Error: stopped after {int(lagging == 'list')} products and 0 objects: "
        "the list of products lags behind what was changed. Run it again to continue.\n"
    )
    assert 3 < steps.count(lagging) < 60

    monkeypatch.undo()
    assert delete(workspace.id, "--yes").exit_code == 0


def new_fields(workspace: Workspace) -> dict[str, Any]:
    at = workspace.created_at
    return {
        "workspace_id": workspace.id,
        "name": "n",
        "model": "m",
        "category": "toys",
        "created_at": at,
        "updated_at": at,
    }


def test_an_object_that_the_store_keeps_is_named_and_the_rest_goes(
    delete: Delete,
    catalog: Catalog,
    storage: StorageBackend,
    workspace: Workspace,
    monkeypatch: pytest.MonkeyPatch,
    stored_product: Callable[[Workspace], Product],
) -> None:
    stored_product(workspace)
    delete_object = storage.delete

    def refuse_one(key: str) -> None:
        if key.endswith(".png"):
            raise ObjectLocked(f"can't delete {key}: a lock keeps the object")
        delete_object(key)

    monkeypatch.setattr(storage, "delete", refuse_one)
    result = delete(workspace.id, "--yes")
    (kept,) = keys_of(storage)
    assert (result.exit_code, result.stdout) == (1, "Acme was deleted: 1 products, 2 objects.\n")
    assert result.stderr.splitlines() == [
        f"can't delete {kept}: a lock keeps the object",
        "The store keeps 1 locked objects.",
    ]
    assert catalog.list_workspaces() == []
