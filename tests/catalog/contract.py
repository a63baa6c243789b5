"""What every catalog must do: a catalog's tests inherit this and give it a ``catalog``."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from auth.tokens import digest, new_api_key
from catalog.base import (
    MAX_IMAGES,
    Catalog,
    CredentialNotFound,
    DuplicateModel,
    Image,
    ImageNotFound,
    Plan,
    Product,
    ProductFull,
    ProductNotFound,
    VersionMismatch,
    Workspace,
    WorkspaceNotFound,
    new_id,
    now,
)


def new_workspace(catalog: Catalog, name: str = "Acme", plan: Plan = Plan.ENTERPRISE) -> Workspace:
    workspace = Workspace(id=new_id(), name=name, plan=plan, created_at=now())
    catalog.create_workspace(workspace)
    return workspace


def a_product(workspace: Workspace, **fields: Any) -> Product:
    created_at = now()
    product = Product(
        id=new_id(),
        workspace_id=workspace.id,
        name="48V Li-Ion Pack",
        model=secrets.token_hex(4),
        category="batteries",
        created_at=created_at,
        updated_at=created_at,
    )
    return replace(product, **fields)


def new_product(catalog: Catalog, workspace: Workspace, **fields: Any) -> Product:
    product = a_product(workspace, **fields)
    catalog.create_product(product)
    return product


def hosted_image(**fields: Any) -> Image:
    name = secrets.token_hex(16)
    image = Image(
        url=f"https://images.example.com/{name}.png",
        key=f"w/products/p/images/{name}.png",
        sha256=secrets.token_hex(32),
        content_type="image/png",
        size=1234,
        width=640,
        height=480,
        created_at=now(),
        metadata_removed=("exif", "gps"),
    )
    return replace(image, **fields)


def externals(count: int) -> tuple[Image, ...]:
    return tuple(Image(url=f"https://cdn.example.com/{index}.png") for index in range(count))


class CatalogContract:
    """The suite."""

    @pytest.fixture
    def workspace(self, catalog: Catalog) -> Workspace:
        return new_workspace(catalog)

    # --- workspaces

    def test_it_keeps_a_workspace(self, catalog: Catalog) -> None:
        workspace = new_workspace(catalog, "Bottega Rossi è qui", Plan.FREE)
        assert catalog.get_workspace(workspace.id) == workspace

    def test_an_unknown_workspace_is_not_found(self, catalog: Catalog) -> None:
        with pytest.raises(WorkspaceNotFound):
            catalog.get_workspace(new_id())

    def test_it_lists_workspaces_oldest_first(self, catalog: Catalog) -> None:
        workspaces = [new_workspace(catalog, name) for name in ("c", "a", "b")]
        assert catalog.list_workspaces() == workspaces

    # --- credentials

    def test_it_finds_a_credential_by_the_digest_of_its_secret(
        self, catalog: Catalog, workspace: Workspace
    ) -> None:
        secret, credential = new_api_key(workspace.id, "ERP")
        catalog.create_credential(credential)
        assert catalog.find_credential(digest(secret)) == credential
        assert catalog.find_credential(digest(secret.lower())) is None

    def test_it_keeps_the_expiry_of_a_credential(self, catalog: Catalog, workspace: Workspace) -> None:
        _, credential = new_api_key(workspace.id)
        credential = replace(credential, expires_at=now() + timedelta(hours=1))
        catalog.create_credential(credential)
        found = catalog.find_credential(credential.digest)
        assert found == credential

    def test_a_credential_needs_a_workspace(self, catalog: Catalog) -> None:
        _, credential = new_api_key(new_id())
        with pytest.raises(WorkspaceNotFound):
            catalog.create_credential(credential)

    def test_it_lists_credentials_oldest_first_of_all_or_one_workspace(
        self, catalog: Catalog, workspace: Workspace
    ) -> None:
        owners = [workspace, new_workspace(catalog), workspace]
        credentials = [new_api_key(owner.id)[1] for owner in owners]
        for credential in credentials:
            catalog.create_credential(credential)
        assert catalog.list_credentials() == credentials
        assert catalog.list_credentials(workspace.id) == [credentials[0], credentials[2]]

    def test_a_revoked_credential_stays_revoked_since_the_first_time(
        self, catalog: Catalog, workspace: Workspace
    ) -> None:
        _, credential = new_api_key(workspace.id)
        catalog.create_credential(credential)
        first = now()
        catalog.revoke_credential(credential.id, first)
        catalog.revoke_credential(credential.id, first + timedelta(days=1))
        found = catalog.find_credential(credential.digest)
        assert found == replace(credential, revoked_at=first)
        assert not found.is_live(now())

    def test_an_unknown_credential_can_not_be_revoked(self, catalog: Catalog) -> None:
        with pytest.raises(CredentialNotFound):
            catalog.revoke_credential(new_id(), now())

    # --- products

    def test_it_keeps_a_product(self, catalog: Catalog, workspace: Workspace) -> None:
        product = new_product(
            catalog,
            workspace,
            name="Zürich 'box' \u0000 🎁",
            description="long\nlines",
            default_field_values={"a.b": {"$c": [1, 2.5, None, True, 2**80]}, "": "empty"},
            images=(*externals(2), hosted_image()),
            source_locale="it",
        )
        assert catalog.get_product(workspace.id, product.id) == product

    def test_an_unknown_product_is_not_found(self, catalog: Catalog, workspace: Workspace) -> None:
        with pytest.raises(ProductNotFound):
            catalog.get_product(workspace.id, new_id())

    def test_the_product_of_another_workspace_is_not_found(
        self, catalog: Catalog, workspace: Workspace
    ) -> None:
        product = new_product(catalog, new_workspace(catalog), images=externals(1))
        calls: list[Callable[[], object]] = [
            lambda: catalog.get_product(workspace.id, product.id),
            lambda: catalog.append_image(workspace.id, product.id, hosted_image()),
            lambda: catalog.remove_image(workspace.id, product.id, 0),
            lambda: catalog.replace_images(workspace.id, product.id, [], expected_version=1),
        ]
        for call in calls:
            with pytest.raises(ProductNotFound):
                call()
        assert catalog.get_product(product.workspace_id, product.id) == product

    @pytest.mark.parametrize("product_id", ["", "../x", "\0", '{"$ne":null}', "x" * 10_000, "ZZ" * 12])
    def test_a_strange_product_id_is_not_found(
        self, catalog: Catalog, workspace: Workspace, product_id: str
    ) -> None:
        with pytest.raises(ProductNotFound):
            catalog.get_product(workspace.id, product_id)

    def test_a_model_is_unique_in_its_workspace_only(self, catalog: Catalog, workspace: Workspace) -> None:
        new_product(catalog, workspace, model="BP-48V")
        with pytest.raises(DuplicateModel):
            new_product(catalog, workspace, model="BP-48V")
        new_product(catalog, new_workspace(catalog), model="BP-48V")
        new_product(catalog, workspace, model="bp-48v")

    def test_a_product_needs_a_workspace(self, catalog: Catalog, workspace: Workspace) -> None:
        with pytest.raises(WorkspaceNotFound):
            catalog.create_product(replace(a_product(workspace), workspace_id=new_id()))

    def test_it_goes_through_the_products_of_all_workspaces_by_id(
        self, catalog: Catalog, workspace: Workspace
    ) -> None:
        assert list(catalog.iter_products()) == []
        owners = (workspace, new_workspace(catalog))
        products = [new_product(catalog, owners[index % 2]) for index in range(110)]
        assert list(catalog.iter_products()) == sorted(products, key=lambda product: product.id)

    def test_products_can_be_changed_while_it_goes_through_them(
        self, catalog: Catalog, workspace: Workspace
    ) -> None:
        products = [new_product(catalog, workspace, images=externals(2)) for _ in range(3)]
        seen = []
        for product in catalog.iter_products():
            seen.append(product.id)
            catalog.append_image(workspace.id, product.id, hosted_image())
            catalog.remove_image(workspace.id, product.id, 0)
        assert sorted(seen) == sorted(product.id for product in products)
        assert {product.version for product in catalog.iter_products()} == {3}

    # --- images

    def test_an_image_is_appended_at_the_end(self, catalog: Catalog, workspace: Workspace) -> None:
        product = new_product(catalog, workspace, images=externals(2))
        image = hosted_image()
        appended = catalog.append_image(workspace.id, product.id, image)
        assert appended.image == image
        assert appended.product.images == (*product.images, image)
        assert appended.product.version == product.version + 1
        assert appended.product.updated_at >= product.updated_at
        assert catalog.get_product(workspace.id, product.id) == appended.product

    def test_an_image_can_not_be_appended_to_no_product(self, catalog: Catalog, workspace: Workspace) -> None:
        with pytest.raises(ProductNotFound):
            catalog.append_image(workspace.id, new_id(), hosted_image())

    def test_the_last_place_can_be_taken_and_no_more(self, catalog: Catalog, workspace: Workspace) -> None:
        product = new_product(catalog, workspace, images=externals(MAX_IMAGES - 1))
        catalog.append_image(workspace.id, product.id, hosted_image())
        with pytest.raises(ProductFull):
            catalog.append_image(workspace.id, product.id, hosted_image())
        assert len(catalog.get_product(workspace.id, product.id).images) == MAX_IMAGES

    def test_of_many_appends_at_once_as_many_succeed_as_there_are_places(
        self, catalog: Catalog, workspace: Workspace
    ) -> None:
        product = new_product(catalog, workspace, images=externals(15))

        def append(image: Image) -> Image | None:
            try:
                return catalog.append_image(workspace.id, product.id, image).image
            except ProductFull:
                return None

        with ThreadPoolExecutor(8) as pool:
            outcomes = list(pool.map(append, [hosted_image() for _ in range(24)]))
        appended = [image for image in outcomes if image]
        images = catalog.get_product(workspace.id, product.id).images
        assert len(appended) == 5
        assert {image.url for image in appended} == {image.url for image in images[15:]}

    def test_an_image_whose_bytes_are_there_can_be_left_out(
        self, catalog: Catalog, workspace: Workspace
    ) -> None:
        present = hosted_image()
        product = new_product(catalog, workspace, images=(present, *externals(MAX_IMAGES - 1)))
        again = hosted_image(sha256=present.sha256)
        appended = catalog.append_image(workspace.id, product.id, again, unless_present=True)
        assert appended.image == present
        assert appended.product == product
        assert catalog.get_product(workspace.id, product.id) == product

    def test_the_same_bytes_are_appended_again_unless_that_is_asked(
        self, catalog: Catalog, workspace: Workspace
    ) -> None:
        present = hosted_image()
        product = new_product(catalog, workspace, images=(present,))
        again = hosted_image(sha256=present.sha256)
        appended = catalog.append_image(workspace.id, product.id, again)
        assert appended.product.images == (present, again)

    def test_of_the_same_bytes_at_once_one_is_appended_if_that_is_asked(
        self, catalog: Catalog, workspace: Workspace
    ) -> None:
        product = new_product(catalog, workspace)
        images = [hosted_image(sha256=64 * "a") for _ in range(8)]
        with ThreadPoolExecutor(8) as pool:
            outcomes = list(
                pool.map(
                    lambda image: catalog.append_image(workspace.id, product.id, image, unless_present=True),
                    images,
                )
            )
        (stored,) = catalog.get_product(workspace.id, product.id).images
        assert {outcome.image.url for outcome in outcomes} == {stored.url}

    def test_an_image_is_removed_by_its_index(self, catalog: Catalog, workspace: Workspace) -> None:
        images = (*externals(2), hosted_image())
        product = new_product(catalog, workspace, images=images)
        after, removed = catalog.remove_image(workspace.id, product.id, 1)
        assert removed == images[1]
        assert after.images == (images[0], images[2])
        assert after.version == product.version + 1
        assert catalog.get_product(workspace.id, product.id) == after

    @pytest.mark.parametrize("index", [-1, 2, 10**9])
    def test_an_index_outside_the_list_is_not_found(
        self, catalog: Catalog, workspace: Workspace, index: int
    ) -> None:
        product = new_product(catalog, workspace, images=externals(2))
        with pytest.raises(ImageNotFound):
            catalog.remove_image(workspace.id, product.id, index)
        assert catalog.get_product(workspace.id, product.id) == product

    def test_a_removal_holds_to_the_expected_version(self, catalog: Catalog, workspace: Workspace) -> None:
        product = new_product(catalog, workspace, images=externals(3))
        catalog.remove_image(workspace.id, product.id, 0, expected_version=product.version)
        with pytest.raises(VersionMismatch):
            catalog.remove_image(workspace.id, product.id, 0, expected_version=product.version)
        with pytest.raises(VersionMismatch):
            catalog.remove_image(workspace.id, product.id, 99, expected_version=product.version)
        assert len(catalog.get_product(workspace.id, product.id).images) == 2

    def test_of_two_removals_that_expect_the_same_version_one_succeeds(
        self, catalog: Catalog, workspace: Workspace
    ) -> None:
        product = new_product(catalog, workspace, images=externals(10))

        def remove(_: int) -> bool:
            try:
                catalog.remove_image(workspace.id, product.id, 0, expected_version=product.version)
            except VersionMismatch:
                return False
            return True

        with ThreadPoolExecutor(8) as pool:
            assert sum(pool.map(remove, range(8))) == 1
        assert len(catalog.get_product(workspace.id, product.id).images) == 9

    def test_no_removal_is_lost_among_many_at_once(self, catalog: Catalog, workspace: Workspace) -> None:
        product = new_product(catalog, workspace, images=externals(12))
        with ThreadPoolExecutor(8) as pool:
            removed = list(
                pool.map(lambda _: catalog.remove_image(workspace.id, product.id, 0)[1].url, range(12))
            )
        assert sorted(removed) == sorted(product.image_urls)
        assert catalog.get_product(workspace.id, product.id).images == ()

    def test_all_images_are_replaced_at_once(self, catalog: Catalog, workspace: Workspace) -> None:
        product = new_product(catalog, workspace, images=(*externals(2), hosted_image()))
        images = (hosted_image(), *externals(1))
        after = catalog.replace_images(workspace.id, product.id, images, expected_version=product.version)
        assert after.images == images
        assert after.version == product.version + 1
        assert after.updated_at >= product.updated_at
        assert catalog.get_product(workspace.id, product.id) == after

    def test_all_images_can_be_taken_away(self, catalog: Catalog, workspace: Workspace) -> None:
        product = new_product(catalog, workspace, images=externals(2))
        after = catalog.replace_images(workspace.id, product.id, [], expected_version=product.version)
        assert after.images == ()
        assert catalog.get_product(workspace.id, product.id) == after

    def test_a_replacement_loses_no_change_that_its_caller_has_not_seen(
        self, catalog: Catalog, workspace: Workspace
    ) -> None:
        product = new_product(catalog, workspace, images=externals(2))
        appended = catalog.append_image(workspace.id, product.id, hosted_image())
        with pytest.raises(VersionMismatch):
            catalog.replace_images(workspace.id, product.id, [], expected_version=product.version)
        assert catalog.get_product(workspace.id, product.id) == appended.product

    def test_the_images_of_no_product_can_not_be_replaced(
        self, catalog: Catalog, workspace: Workspace
    ) -> None:
        with pytest.raises(ProductNotFound):
            catalog.replace_images(workspace.id, new_id(), [], expected_version=1)

    def test_of_two_replacements_that_expect_the_same_version_one_succeeds(
        self, catalog: Catalog, workspace: Workspace
    ) -> None:
        product = new_product(catalog, workspace, images=externals(2))

        def attempt(image: Image) -> Image | None:
            try:
                catalog.replace_images(workspace.id, product.id, [image], expected_version=product.version)
            except VersionMismatch:
                return None
            return image

        with ThreadPoolExecutor(8) as pool:
            outcomes = list(pool.map(attempt, [hosted_image() for _ in range(8)]))
        (succeeded,) = [image for image in outcomes if image]
        assert catalog.get_product(workspace.id, product.id).images == (succeeded,)

    # --- the store itself

    def test_a_catalog_that_works_passes_its_check(self, catalog: Catalog) -> None:
        catalog.check()

    def test_it_works_on_after_its_connections_were_closed(
        self, catalog: Catalog, workspace: Workspace
    ) -> None:
        catalog.close()
        assert catalog.get_workspace(workspace.id) == workspace
