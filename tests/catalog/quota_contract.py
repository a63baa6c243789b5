"""What every catalog must do about quotas: a catalog's tests inherit this too."""

from __future__ import annotations

import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from catalog.base import Catalog, Image, Product
from catalog.errors import (
    ByteQuotaReached,
    CatalogError,
    ImageQuotaReached,
    ProductQuotaReached,
    WorkspaceNotFound,
)
from catalog.identity import Quota, Usage, Workspace
from catalog.ids import new_id
from tests.factories import externals, hosted_image, new_product, new_workspace


def usage_of(catalog: Catalog, workspace: Workspace) -> Usage:
    """The usage as the products of the workspace show it."""
    products = [product for product in catalog.iter_products() if product.workspace_id == workspace.id]
    return sum((product.usage for product in products), Usage())


def succeeds(call: Callable[[], object], refusal: type[CatalogError]) -> bool:
    try:
        call()
    except refusal:
        return False
    return True


class QuotaContract:
    """The suite."""

    @pytest.fixture
    def workspace(self, catalog: Catalog) -> Workspace:
        return new_workspace(catalog)

    @pytest.fixture
    def limited(self, catalog: Catalog, workspace: Workspace) -> Callable[[Quota], Product]:
        """Makes a product with two hosted images of 1234 bytes, and gives its workspace a quota."""

        def limit(quota: Quota) -> Product:
            new_product(catalog, new_workspace(catalog), images=(hosted_image(),))
            product = new_product(catalog, workspace, images=(*externals(3), hosted_image(), hosted_image()))
            catalog.set_quota(workspace.id, quota)
            return product

        return limit

    def test_a_new_workspace_has_no_quota_and_no_usage(self, catalog: Catalog, workspace: Workspace) -> None:
        assert catalog.get_workspace(workspace.id).quota == Quota()
        assert catalog.get_usage(workspace.id) == Usage()
        assert catalog.get_usage(new_id()) == Usage()

    def test_a_quota_is_kept_and_replaced_as_a_whole(self, catalog: Catalog, workspace: Workspace) -> None:
        quota = Quota(products=10, images=200, bytes=10**13)
        catalog.set_quota(workspace.id, quota)
        assert catalog.get_workspace(workspace.id).quota == quota
        catalog.set_quota(workspace.id, Quota(images=0))
        assert catalog.get_workspace(workspace.id).quota == Quota(images=0)
        catalog.set_quota(workspace.id, Quota())
        assert catalog.get_workspace(workspace.id).quota == Quota()
        with pytest.raises(WorkspaceNotFound):
            catalog.set_quota(new_id(), quota)

    def test_the_usage_follows_every_change(
        self, catalog: Catalog, workspace: Workspace, limited: Callable[[Quota], Product]
    ) -> None:
        product = limited(Quota(products=100))
        assert catalog.get_usage(workspace.id) == Usage(products=1, images=2, bytes=2468)
        catalog.append_image(workspace.id, product.id, hosted_image(size=32))
        assert catalog.get_usage(workspace.id) == Usage(products=1, images=3, bytes=2500)
        catalog.remove_image(workspace.id, product.id, 0)  # an external one
        catalog.remove_image(workspace.id, product.id, 2)
        assert catalog.get_usage(workspace.id) == Usage(products=1, images=2, bytes=1266)
        catalog.update_product(workspace.id, product.id, {"name": "New", "status": "archived"})
        other = new_product(catalog, workspace, images=(hosted_image(size=4),))
        assert catalog.get_usage(workspace.id) == Usage(products=2, images=3, bytes=1270)
        catalog.update_product(workspace.id, product.id, {"images": [*externals(1), hosted_image(size=1)]})
        assert catalog.get_usage(workspace.id) == Usage(products=2, images=2, bytes=5)
        catalog.delete_product(workspace.id, other.id)
        assert catalog.get_usage(workspace.id) == Usage(products=1, images=1, bytes=1)
        assert catalog.get_usage(workspace.id) == usage_of(catalog, workspace)

    def test_no_product_is_created_beyond_the_quota(
        self, catalog: Catalog, workspace: Workspace, limited: Callable[[Quota], Product]
    ) -> None:
        limited(Quota(products=2))
        second = new_product(catalog, workspace)
        with pytest.raises(ProductQuotaReached):
            new_product(catalog, workspace)
        assert catalog.get_usage(workspace.id) == usage_of(catalog, workspace)
        catalog.delete_product(workspace.id, second.id)
        new_product(catalog, workspace)
        assert catalog.get_usage(workspace.id).products == 2

    def test_no_image_is_stored_beyond_the_quota(
        self, catalog: Catalog, workspace: Workspace, limited: Callable[[Quota], Product]
    ) -> None:
        product = limited(Quota(images=3))
        after = catalog.append_image(workspace.id, product.id, hosted_image()).product
        calls: list[Callable[[], object]] = [
            lambda: catalog.append_image(workspace.id, product.id, hosted_image()),
            lambda: new_product(catalog, workspace, images=(hosted_image(),)),
            lambda: catalog.update_product(
                workspace.id, product.id, {"images": (*after.images, hosted_image())}
            ),
        ]
        for call in calls:
            with pytest.raises(ImageQuotaReached):
                call()
        assert catalog.get_product(workspace.id, product.id) == after
        assert catalog.get_usage(workspace.id) == usage_of(catalog, workspace)
        new_product(catalog, workspace, images=externals(3))
        catalog.remove_image(workspace.id, product.id, 3)
        catalog.append_image(workspace.id, product.id, hosted_image())

    def test_no_byte_is_stored_beyond_the_quota(
        self, catalog: Catalog, workspace: Workspace, limited: Callable[[Quota], Product]
    ) -> None:
        product = limited(Quota(bytes=3000))
        with pytest.raises(ByteQuotaReached):
            catalog.append_image(workspace.id, product.id, hosted_image(size=533))
        catalog.append_image(workspace.id, product.id, hosted_image(size=532))
        with pytest.raises(ByteQuotaReached):
            catalog.append_image(workspace.id, product.id, hosted_image(size=1))
        assert catalog.get_usage(workspace.id) == usage_of(catalog, workspace)
        assert catalog.get_usage(workspace.id).bytes == 3000

    def test_below_its_usage_a_quota_refuses_only_what_adds_to_it(
        self, catalog: Catalog, workspace: Workspace, limited: Callable[[Quota], Product]
    ) -> None:
        product = limited(Quota(products=0, images=1, bytes=10))
        with pytest.raises(ProductQuotaReached):
            new_product(catalog, workspace)
        with pytest.raises(ImageQuotaReached):
            catalog.append_image(workspace.id, product.id, hosted_image())
        catalog.update_product(workspace.id, product.id, {"name": "New"})
        catalog.append_image(workspace.id, product.id, externals(1)[0])
        swapped = [hosted_image(size=1), hosted_image(size=1)]
        catalog.update_product(workspace.id, product.id, {"images": swapped})
        catalog.remove_image(workspace.id, product.id, 0)
        catalog.delete_product(workspace.id, product.id)
        assert catalog.get_usage(workspace.id) == Usage()

    def test_a_quota_is_of_one_workspace(
        self, catalog: Catalog, workspace: Workspace, limited: Callable[[Quota], Product]
    ) -> None:
        limited(Quota(products=0, images=0, bytes=0))
        other = new_workspace(catalog)
        product = new_product(catalog, other)
        catalog.append_image(other.id, product.id, hosted_image())
        assert catalog.get_usage(other.id) == Usage(products=1, images=1, bytes=1234)

    # --- many at once

    def test_of_many_products_at_once_as_many_are_created_as_the_quota_allows(
        self, catalog: Catalog, workspace: Workspace, limited: Callable[[Quota], Product]
    ) -> None:
        limited(Quota(products=6))
        with ThreadPoolExecutor(8) as pool:
            created = pool.map(
                lambda _: succeeds(lambda: new_product(catalog, workspace), ProductQuotaReached), range(16)
            )
            assert sum(created) == 5
        assert catalog.get_usage(workspace.id) == usage_of(catalog, workspace)

    def test_of_many_images_at_once_as_many_are_stored_as_the_quota_allows(
        self, catalog: Catalog, workspace: Workspace, limited: Callable[[Quota], Product]
    ) -> None:
        products = [limited(Quota(images=7)), *(new_product(catalog, workspace) for _ in range(3))]

        def append(index: int) -> bool:
            product = products[index % 4]
            return succeeds(
                lambda: catalog.append_image(workspace.id, product.id, hosted_image()), ImageQuotaReached
            )

        with ThreadPoolExecutor(8) as pool:
            assert sum(pool.map(append, range(16))) == 5
        assert catalog.get_usage(workspace.id) == usage_of(catalog, workspace)

    def test_the_usage_is_exact_after_many_changes_at_once(
        self, catalog: Catalog, workspace: Workspace, limited: Callable[[Quota], Product]
    ) -> None:
        products = [
            limited(Quota(images=9, bytes=6000)),
            *(new_product(catalog, workspace) for _ in range(2)),
        ]

        def change(seed: int) -> None:
            chance = random.Random(seed)  # noqa: S311  # no secret
            product = chance.choice(products)
            images: list[Image] = [
                hosted_image(size=chance.randrange(900)) for _ in range(chance.randrange(3))
            ]
            calls: list[Callable[[], object]] = [
                lambda: catalog.append_image(workspace.id, product.id, hosted_image(size=500)),
                lambda: catalog.remove_image(workspace.id, product.id, 0),
                lambda: catalog.update_product(workspace.id, product.id, {"images": images}),
                lambda: catalog.delete_product(workspace.id, new_product(catalog, workspace).id),
            ]
            succeeds(chance.choice(calls), CatalogError)

        with ThreadPoolExecutor(6) as pool:
            list(pool.map(change, range(36)))
        usage = catalog.get_usage(workspace.id)
        assert usage == usage_of(catalog, workspace)
        assert usage.images <= 9
        assert usage.bytes <= 6000

    def test_a_first_quota_counts_what_is_stored_meanwhile(
        self, catalog: Catalog, workspace: Workspace
    ) -> None:
        product = new_product(catalog, workspace, images=(hosted_image(),))

        def append_and_remove(_: int) -> None:
            catalog.append_image(workspace.id, product.id, hosted_image())
            catalog.remove_image(workspace.id, product.id, 0)
            catalog.delete_product(workspace.id, new_product(catalog, workspace).id)

        with ThreadPoolExecutor(3) as pool:
            setting = pool.submit(catalog.set_quota, workspace.id, Quota(images=5))
            list(pool.map(append_and_remove, range(60)))
            setting.result()
        assert catalog.get_usage(workspace.id) == Usage(products=1, images=1, bytes=1234)
        assert catalog.get_workspace(workspace.id).quota == Quota(images=5)
