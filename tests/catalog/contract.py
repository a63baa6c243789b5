"""What every catalog must do. The tests of a catalog inherit the suite and supply ``catalog``."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from typing import Any, Final

import pytest

from auth.tokens import digest, new_api_key
from catalog.base import MAX_IMAGES, Catalog, Image, Product, ProductChanges, ProductPage, ProductQuery, Sort
from catalog.errors import (
    CredentialNotFound,
    DuplicateModel,
    ImageNotFound,
    ProductFull,
    ProductNotFound,
    VersionMismatch,
    WorkspaceNotFound,
)
from catalog.identity import Plan, Workspace
from catalog.ids import new_id, now
from tests.factories import a_product, current, externals, hosted_image, new_product, new_workspace

#: Names of products, whose models are M-0, M-1 and so on.
NAMES: Final = [
    "5*5 (x) [y] ^z$ .+",
    "Desk LAMP",
    "it's",
    "a lamp_post",
    "C:\\temp",
    'say "bye"',
    "100% wool",
    "ZÜRICH",
    "Zürich West",
    "Große Straße",
    "press",
    "ΣΊΣΥΦΟΣ",
    "電池 pack",
    "a 🎁 b",
    "a\u0000b",
]

#: What each search finds.
FOUND: dict[str, list[str]] = {
    "m-3": ["a lamp_post"],
    "M-14": ["a\u0000b"],
    "lamp": ["Desk LAMP", "a lamp_post"],
    "LAMP": ["Desk LAMP", "a lamp_post"],
    "p_p": ["a lamp_post"],
    "100%": ["100% wool"],
    "%": ["100% wool"],
    "_": ["a lamp_post"],
    "\\": ["C:\\temp"],
    "\\t": ["C:\\temp"],
    '"b': ['say "bye"'],
    '"': ['say "bye"'],
    "'": ["it's"],
    "ye* OR": [],
    "*": ["5*5 (x) [y] ^z$ .+"],
    "(x) [y] ^z$ .+": ["5*5 (x) [y] ^z$ .+"],
    "?": [],
    ".": ["5*5 (x) [y] ^z$ .+"],
    "zürich": ["ZÜRICH", "Zürich West"],
    "ZÜRICH": ["ZÜRICH", "Zürich West"],
    "ü": ["ZÜRICH", "Zürich West"],
    "zurich": ["ZÜRICH", "Zürich West"],
    "ZURICH WEST": ["Zürich West"],
    "u\u0308": ["ZÜRICH", "Zürich West"],
    "e\u0301": ["Desk LAMP", "C:\\temp", 'say "bye"', "Zürich West", "Große Straße", "press"],
    "σισυφος": ["ΣΊΣΥΦΟΣ"],
    "\uff4c\uff41\uff4d\uff50": ["Desk LAMP", "a lamp_post"],
    "\u0301": NAMES,
    "STRASSE": ["Große Straße"],
    "straße": ["Große Straße"],
    "ß": ["Große Straße", "press"],
    "σίσυφος": ["ΣΊΣΥΦΟΣ"],
    "電池": ["電池 pack"],
    "池": ["電池 pack"],
    "🎁": ["a 🎁 b"],
    "a\u0000b": ["a\u0000b"],
    "\u0000": ["a\u0000b"],
    "k\u0000": [],
    " ": [
        "5*5 (x) [y] ^z$ .+",
        "Desk LAMP",
        "a lamp_post",
        'say "bye"',
        "100% wool",
        "Zürich West",
        "Große Straße",
        "電池 pack",
        "a 🎁 b",
    ],
    "pressm": [],
    "press\n": [],
    "Desk LAMP and more": [],
    "x" * 600: [],
}


class CatalogContract:
    """The suite."""

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
        assert catalog.list_api_keys() == credentials
        assert catalog.list_api_keys(workspace.id) == [credentials[0], credentials[2]]

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
            lambda: catalog.update_product(workspace.id, product.id, {"name": "mine"}),
            lambda: catalog.update_product(workspace.id, product.id, {}),
            lambda: catalog.delete_product(workspace.id, product.id),
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

    def test_a_product_is_found_by_exactly_its_model(self, catalog: Catalog, workspace: Workspace) -> None:
        product = new_product(catalog, workspace, model="BP-48V")
        other = new_product(catalog, new_workspace(catalog), model="BP-48V")
        assert catalog.find_product(workspace.id, "BP-48V") == product
        assert catalog.find_product(other.workspace_id, "BP-48V") == other
        for model in ("bp-48v", "BP-48", "BP-48V ", "", "BP\0", "BP%"):
            assert catalog.find_product(workspace.id, model) is None

    def test_a_product_needs_a_workspace(self, catalog: Catalog, workspace: Workspace) -> None:
        with pytest.raises(WorkspaceNotFound):
            catalog.create_product(replace(a_product(workspace), workspace_id=new_id()))

    def test_it_goes_through_the_products_of_all_workspaces_by_id(
        self, catalog: Catalog, workspace: Workspace
    ) -> None:
        assert list(catalog.iter_products()) == []
        owners = (workspace, new_workspace(catalog))
        products = [new_product(catalog, owners[index % 2]) for index in range(110)]
        by_id = sorted(products, key=lambda product: product.id)
        assert list(catalog.iter_products()) == by_id
        assert list(catalog.iter_products(after=by_id[39].id)) == by_id[40:]
        assert list(catalog.iter_products(after=by_id[-1].id)) == []

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

    def test_an_image_can_not_be_appended_to_an_unknown_product(
        self, catalog: Catalog, workspace: Workspace
    ) -> None:
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

    def test_an_image_whose_bytes_are_there_is_not_appended_if_that_is_asked(
        self, catalog: Catalog, workspace: Workspace
    ) -> None:
        present = hosted_image()
        product = new_product(catalog, workspace, images=(present, *externals(MAX_IMAGES - 1)))
        again = hosted_image(sha256=present.sha256)
        appended = catalog.append_image(workspace.id, product.id, again, unless_present=True)
        assert appended.image == present
        assert appended.product == product
        assert catalog.get_product(workspace.id, product.id) == product

    def test_the_same_bytes_are_appended_again_if_nothing_else_is_asked(
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

    # --- changes

    def test_all_fields_can_be_changed(self, catalog: Catalog, workspace: Workspace) -> None:
        product = new_product(catalog, workspace, description="old", images=externals(2))
        changes: ProductChanges = {
            "name": "Zürich 'box' \u0000 🎁",
            "model": "BP-99",
            "category": "toys",
            "description": None,
            "default_field_values": {"a.b": {"$c": [1, 2.5, None, True, 2**80]}, "": "empty"},
            "images": (hosted_image(), *externals(1)),
            "status": "archived",
            "source_locale": "it",
        }
        after = catalog.update_product(workspace.id, product.id, changes)
        assert after == replace(product, **changes, version=2, updated_at=after.updated_at)
        assert after.updated_at >= product.updated_at
        assert catalog.get_product(workspace.id, product.id) == after

    def test_fields_that_are_not_changed_stay(self, catalog: Catalog, workspace: Workspace) -> None:
        product = new_product(catalog, workspace, description="old", images=(hosted_image(),))
        after = catalog.update_product(workspace.id, product.id, {"name": "New"})
        assert after == replace(product, name="New", version=2, updated_at=after.updated_at)
        assert catalog.get_product(workspace.id, product.id) == after

    def test_the_time_of_the_last_change_never_goes_back(
        self, catalog: Catalog, workspace: Workspace
    ) -> None:
        # As if the clock had been set back since the product was created.
        later = now() + timedelta(hours=1)
        product = new_product(catalog, workspace, images=externals(1), created_at=later, updated_at=later)
        for change in (
            lambda: catalog.update_product(workspace.id, product.id, {"name": "New"}),
            lambda: catalog.append_image(workspace.id, product.id, hosted_image()),
            lambda: catalog.remove_image(workspace.id, product.id, 0),
        ):
            change()
            assert current(catalog, product).updated_at == later

    def test_no_changes_make_no_new_version(self, catalog: Catalog, workspace: Workspace) -> None:
        product = new_product(catalog, workspace)
        assert catalog.update_product(workspace.id, product.id, {}) == product
        assert catalog.get_product(workspace.id, product.id) == product
        with pytest.raises(VersionMismatch):
            catalog.update_product(workspace.id, product.id, {}, expected_version=2)

    def test_the_model_of_another_product_can_not_be_taken(
        self, catalog: Catalog, workspace: Workspace
    ) -> None:
        new_product(catalog, workspace, model="taken")
        product = new_product(catalog, workspace, model="BP-48V")
        with pytest.raises(DuplicateModel):
            catalog.update_product(workspace.id, product.id, {"name": "New", "model": "taken"})
        assert catalog.get_product(workspace.id, product.id) == product
        after = catalog.update_product(workspace.id, product.id, {"model": "BP-48V"})
        assert after.model == "BP-48V"

    def test_a_model_that_is_no_longer_used_is_free(self, catalog: Catalog, workspace: Workspace) -> None:
        first, second = (new_product(catalog, workspace, model=model) for model in ("a", "b"))
        catalog.update_product(workspace.id, first.id, {"model": "c"})
        catalog.update_product(workspace.id, second.id, {"model": "a"})
        catalog.delete_product(workspace.id, second.id)
        new_product(catalog, workspace, model="a")

    def test_a_change_loses_none_that_its_caller_has_not_seen(
        self, catalog: Catalog, workspace: Workspace
    ) -> None:
        product = new_product(catalog, workspace, images=externals(2))
        appended = catalog.append_image(workspace.id, product.id, hosted_image())
        with pytest.raises(VersionMismatch):
            catalog.update_product(workspace.id, product.id, {"images": []}, expected_version=product.version)
        assert catalog.get_product(workspace.id, product.id) == appended.product
        after = catalog.update_product(
            workspace.id, product.id, {"images": []}, expected_version=appended.product.version
        )
        assert after.images == ()
        assert catalog.get_product(workspace.id, product.id) == after

    def test_a_product_that_its_caller_has_seen_changes_if_it_is_still_the_same(
        self, catalog: Catalog, workspace: Workspace
    ) -> None:
        seen = new_product(catalog, workspace, images=externals(2))

        def change(changes: ProductChanges) -> Product:
            return catalog.update_product(
                workspace.id, seen.id, changes, expected_version=seen.version, seen=seen
            )

        after = change({"name": "New"})
        assert after == replace(seen, name="New", version=seen.version + 1, updated_at=after.updated_at)
        assert catalog.get_product(workspace.id, seen.id) == after
        with pytest.raises(VersionMismatch):
            change({"name": "Old"})
        with pytest.raises(VersionMismatch):
            change({})
        assert catalog.get_product(workspace.id, seen.id) == after
        catalog.delete_product(workspace.id, seen.id)
        with pytest.raises(ProductNotFound):
            change({"name": "Old"})

    def test_an_unknown_product_can_not_be_changed(self, catalog: Catalog, workspace: Workspace) -> None:
        with pytest.raises(ProductNotFound):
            catalog.update_product(workspace.id, new_id(), {"name": "New"}, expected_version=1)

    def test_of_two_changes_that_expect_the_same_version_one_succeeds(
        self, catalog: Catalog, workspace: Workspace
    ) -> None:
        product = new_product(catalog, workspace, images=externals(2))

        def attempt(image: Image) -> Image | None:
            try:
                catalog.update_product(
                    workspace.id, product.id, {"images": [image]}, expected_version=product.version
                )
            except VersionMismatch:
                return None
            return image

        with ThreadPoolExecutor(8) as pool:
            outcomes = list(pool.map(attempt, [hosted_image() for _ in range(8)]))
        (succeeded,) = [image for image in outcomes if image]
        assert catalog.get_product(workspace.id, product.id).images == (succeeded,)

    def test_changes_of_different_fields_at_once_are_all_kept(
        self, catalog: Catalog, workspace: Workspace
    ) -> None:
        product = new_product(catalog, workspace)
        changes: list[ProductChanges] = [
            {"name": "New"},
            {"description": "new"},
            {"category": "toys"},
            {"source_locale": "it"},
            {"status": "archived"},
        ]
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda change: catalog.update_product(workspace.id, product.id, change), changes))
        after = catalog.get_product(workspace.id, product.id)
        assert (after.name, after.description, after.category) == ("New", "new", "toys")
        assert (after.source_locale, after.status, after.version) == ("it", "archived", 6)

    def test_a_product_can_be_deleted(self, catalog: Catalog, workspace: Workspace) -> None:
        product = new_product(catalog, workspace, images=(hosted_image(),))
        other = new_product(catalog, workspace)
        assert catalog.delete_product(workspace.id, product.id) == product
        for _ in range(2):
            with pytest.raises(ProductNotFound):
                catalog.delete_product(workspace.id, product.id)
        with pytest.raises(ProductNotFound):
            catalog.append_image(workspace.id, product.id, hosted_image())
        assert list(catalog.iter_products()) == [other]

    def test_a_deletion_holds_to_the_expected_version(self, catalog: Catalog, workspace: Workspace) -> None:
        product = new_product(catalog, workspace)
        with pytest.raises(VersionMismatch):
            catalog.delete_product(workspace.id, product.id, expected_version=2)
        assert catalog.get_product(workspace.id, product.id) == product
        catalog.delete_product(workspace.id, product.id, expected_version=1)

    def test_of_many_deletions_at_once_one_succeeds(self, catalog: Catalog, workspace: Workspace) -> None:
        product = new_product(catalog, workspace)

        def delete(_: int) -> bool:
            try:
                catalog.delete_product(workspace.id, product.id)
            except ProductNotFound:
                return False
            return True

        with ThreadPoolExecutor(8) as pool:
            assert sum(pool.map(delete, range(8))) == 1

    # --- lists

    def test_a_workspace_without_products_has_an_empty_list(
        self, catalog: Catalog, workspace: Workspace
    ) -> None:
        new_product(catalog, new_workspace(catalog))
        assert catalog.list_products(workspace.id, ProductQuery()) == ProductPage([], 0)
        assert catalog.list_products(workspace.id, ProductQuery(search="pack")) == ProductPage([], 0)

    def test_products_are_listed_newest_first_in_pages(self, catalog: Catalog, workspace: Workspace) -> None:
        products = [new_product(catalog, workspace, images=externals(index % 3)) for index in range(7)]
        newest_first = products[::-1]
        for page in range(1, 6):
            query = ProductQuery(page=page, limit=2)
            expected = ProductPage(newest_first[2 * page - 2 : 2 * page], 7)
            assert catalog.list_products(workspace.id, query) == expected
        for query in (ProductQuery(page=10**30), ProductQuery(page=10**30, search="pack")):
            assert catalog.list_products(workspace.id, query) == ProductPage([], 7)

    def test_products_of_one_millisecond_are_listed_by_id(
        self, catalog: Catalog, workspace: Workspace
    ) -> None:
        moment = now()
        products = [
            new_product(catalog, workspace, id=f"{digit:024x}", created_at=moment) for digit in (3, 1, 9, 5)
        ]
        old = new_product(catalog, workspace, id="f" * 24, created_at=moment - timedelta(milliseconds=1))
        expected = [*sorted(products, key=lambda product: product.id, reverse=True), old]
        for search in ("", "Li-Ion"):
            found = [
                catalog.list_products(workspace.id, ProductQuery(page=page, limit=1, search=search)).items
                for page in range(1, 6)
            ]
            assert found == [[product] for product in expected]

    def test_archived_products_are_listed_only_when_they_are_asked_for(
        self, catalog: Catalog, workspace: Workspace
    ) -> None:
        active = new_product(catalog, workspace)
        archived = new_product(catalog, workspace)
        archived = catalog.update_product(workspace.id, archived.id, {"status": "archived"})
        for search in ("", "pack", "k"):
            for query, expected in (
                (ProductQuery(search=search), [active]),
                (ProductQuery(search=search, show_archived=True), [archived, active]),
                (ProductQuery(search=search, status="archived"), [archived]),
                (ProductQuery(search=search, status="active"), [active]),
                (ProductQuery(search=search, status="active", show_archived=True), [active]),
                (ProductQuery(search=search, status="archived", show_archived=True), [archived]),
            ):
                assert catalog.list_products(workspace.id, query) == ProductPage(expected, len(expected))

    def test_products_are_listed_by_category(self, catalog: Catalog, workspace: Workspace) -> None:
        categories = ("toys", "iron-steel", "toys", "batteries")
        products = [new_product(catalog, workspace, category=category) for category in categories]
        archived = catalog.update_product(workspace.id, products[0].id, {"status": "archived"})
        for search in ("", "pack", "pa"):
            for query, expected in (
                (ProductQuery(search=search, category="toys"), [products[2]]),
                (ProductQuery(search=search, category="iron-steel"), [products[1]]),
                (ProductQuery(search=search, category="tyres"), []),
                (ProductQuery(search=search, category="toys", show_archived=True), [products[2], archived]),
                (ProductQuery(search=search, category="toys", status="archived"), [archived]),
            ):
                assert catalog.list_products(workspace.id, query) == ProductPage(expected, len(expected))

    def test_products_are_listed_by_their_exact_models(self, catalog: Catalog, workspace: Workspace) -> None:
        first = new_product(catalog, workspace, model="A-1")
        second = new_product(catalog, workspace, model="A-10", name="Lamp", category="toys")
        archived = new_product(catalog, workspace, model="Città%_", status="archived")
        new_product(catalog, new_workspace(catalog), model="A-1")
        models = ("A-1", "A-10", "Città%_", "a-1", "A", "")
        for query, expected in (
            (ProductQuery(models=models), [second, first]),
            (ProductQuery(models=models, show_archived=True), [archived, second, first]),
            (ProductQuery(models=models, category="toys"), [second]),
            (ProductQuery(models=models, search="lamp"), [second]),
            (ProductQuery(models=("A-1",), search="lamp"), []),
            (ProductQuery(models=("a-1", "A-100")), []),
        ):
            assert catalog.list_products(workspace.id, query) == ProductPage(expected, len(expected))
        page = catalog.list_products(workspace.id, ProductQuery(models=models, page=2, limit=1))
        assert page == ProductPage([first], 2)
        by_model = ProductQuery(models=models, sort=Sort.MODEL, show_archived=True)
        assert catalog.list_products(workspace.id, by_model) == ProductPage([first, second, archived], 3)

    def test_products_are_listed_in_each_order(self, catalog: Catalog, workspace: Workspace) -> None:
        moment = now()
        names = ["Zürich", "lamp 2", "Lampé", "zurich", "LAMP 10", "!"]
        models = ["b", "É-1", "e-2", "A", "a 2", "E"]
        products = [
            new_product(
                catalog,
                workspace,
                id=f"{digit:024x}",
                name=name,
                model=model,
                category="toys",
                created_at=moment,
            )
            for digit, name, model in zip((6, 2, 3, 5, 4, 1), names, models, strict=True)
        ]
        changed = products[2]
        products[2] = catalog.update_product(workspace.id, changed.id, {"description": "d"})
        new_product(catalog, workspace, name="A", category="tyres")
        new_product(catalog, new_workspace(catalog), category="toys")
        orders = {
            Sort.NEWEST: [0, 3, 4, 2, 1, 5],
            Sort.OLDEST: [5, 1, 2, 4, 3, 0],
            Sort.NAME: [5, 4, 1, 2, 3, 0],
            Sort.MODEL: [3, 4, 0, 5, 1, 2],
        }
        for sort, order in orders.items():
            query = ProductQuery(sort=sort, category="toys")
            expected = [products[place] for place in order]
            assert catalog.list_products(workspace.id, query) == ProductPage(expected, 6)
            found = [
                catalog.list_products(workspace.id, replace(query, page=page, limit=1)).items
                for page in range(1, 8)
            ]
            assert found == [*([product] for product in expected), []]
            lamps = [product for product in expected if "amp" in product.name.lower()]
            for search in ("l", "LAMP"):
                page = catalog.list_products(workspace.id, replace(query, search=search))
                assert page == ProductPage(lamps, 3)
        by_change = catalog.list_products(
            workspace.id, ProductQuery(sort=Sort.UPDATED, category="toys")
        ).items
        assert by_change == sorted(products, key=lambda each: (each.updated_at, each.id), reverse=True)

    def test_products_without_an_image_are_listed(self, catalog: Catalog, workspace: Workspace) -> None:
        bare, other = new_product(catalog, workspace), new_product(catalog, workspace, images=externals(1))

        def listed(**fields: Any) -> list[str]:
            queries = [
                ProductQuery(search=search, sort=sort, missing_images=True, **fields)
                for search in ("", "pack", "p")
                for sort in Sort
            ]
            pages = [catalog.list_products(workspace.id, query) for query in queries]
            assert all(page.total == len(page.items) for page in pages)
            (ids,) = {tuple(sorted(product.id for product in page.items)) for page in pages}
            return [*ids]

        assert listed() == [bare.id]
        assert listed(category="tyres") == listed(missing_alt=True) == []
        catalog.append_image(workspace.id, bare.id, hosted_image())
        assert listed() == []
        catalog.remove_image(workspace.id, other.id, 0)
        assert listed() == [other.id]
        catalog.update_product(workspace.id, bare.id, {"images": ()})
        assert listed() == sorted([bare.id, other.id])
        catalog.update_product(workspace.id, other.id, {"images": externals(2)})
        assert listed() == [bare.id]

    def test_a_list_follows_every_change(self, catalog: Catalog, workspace: Workspace) -> None:
        product = new_product(catalog, workspace, name="Lamp", model="L-1")
        other = new_product(catalog, workspace, name="Other", model="O-1")

        def totals(**fields: Any) -> list[int]:
            queries = [ProductQuery(search=search, **fields) for search in ("", "lamp", "torch", "T-1", "L")]
            return [catalog.list_products(workspace.id, query).total for query in queries]

        assert totals() == [2, 1, 0, 0, 1]
        catalog.update_product(workspace.id, product.id, {"name": "Torch"})
        assert totals() == [2, 0, 1, 0, 1]
        catalog.update_product(workspace.id, product.id, {"model": "T-1", "category": "toys"})
        assert totals() == [2, 0, 1, 1, 0]
        assert totals(category="toys") == [1, 0, 1, 1, 0]
        assert totals(category="batteries") == [1, 0, 0, 0, 0]
        catalog.update_product(workspace.id, product.id, {"status": "archived"})
        assert totals() == [1, 0, 0, 0, 0]
        assert totals(status="archived") == [1, 0, 1, 1, 0]
        catalog.update_product(workspace.id, product.id, {"status": "active"})
        catalog.append_image(workspace.id, product.id, hosted_image())
        assert totals() == [2, 0, 1, 1, 0]
        catalog.delete_product(workspace.id, product.id)
        assert totals() == [1, 0, 0, 0, 0]
        catalog.delete_product(workspace.id, other.id)
        assert totals(show_archived=True) == [0, 0, 0, 0, 0]

    def test_a_search_takes_every_character_literally_in_any_case(
        self, catalog: Catalog, workspace: Workspace
    ) -> None:
        stranger = new_workspace(catalog)
        for index, name in enumerate(NAMES):
            new_product(catalog, workspace, name=name, model=f"M-{index}")
            new_product(catalog, stranger, name=name, model=f"M-{index}")

        def find(search: str) -> list[str]:
            page = catalog.list_products(workspace.id, ProductQuery(search=search, limit=100))
            assert page.total == len(page.items)
            return [product.name for product in page.items][::-1]

        assert {search: find(search) for search in FOUND} == FOUND

    # --- the store itself

    def test_a_catalog_that_works_passes_its_check(self, catalog: Catalog) -> None:
        catalog.check()

    def test_it_works_on_after_its_connections_were_closed(
        self, catalog: Catalog, workspace: Workspace
    ) -> None:
        catalog.close()
        assert catalog.get_workspace(workspace.id) == workspace
