"""What every catalog must do about the history of products: a catalog's tests inherit this too."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import timedelta

import pytest

from catalog.base import MAX_IMAGES, Catalog, Image, ProductChanges
from catalog.errors import (
    CatalogError,
    DuplicateModel,
    ImageNotFound,
    ProductFull,
    ProductNotFound,
    VersionMismatch,
)
from catalog.history import (
    A_COMMAND,
    MAX_CHANGES,
    Action,
    Actor,
    ActorKind,
    Change,
    Touch,
    TouchedImage,
    acting,
)
from catalog.identity import Workspace
from catalog.ids import new_id, now
from tests.factories import current, externals, hosted_image, new_product, new_workspace

ACTORS = [
    Actor(kind=ActorKind.API_KEY, credential_id="k", name="ERP è qui", request_id="r-1"),
    Actor(kind=ActorKind.APP, credential_id="t", user_id="u", client_id="c", request_id="r-2"),
    Actor(kind=ActorKind.CONSOLE, credential_id="t", user_id="u", request_id="r-3"),
    Actor(kind=ActorKind.COMMAND, name="import folder"),
]

FIRST, SECOND, THIRD = (hosted_image(), hosted_image(alt={"en": "A lamp"}), *externals(1))
NEW = hosted_image()

#: Changes of an active product that has FIRST, SECOND and THIRD: the action, the fields, and the images.
CHANGES: list[tuple[ProductChanges, Action, list[str], list[tuple[Touch, Image]]]] = [
    ({"name": "New"}, Action.UPDATED, ["name"], []),
    (
        {"source_locale": "it", "default_field_values": {"a": 1}, "description": "new"},
        Action.UPDATED,
        ["description", "defaultFieldValues", "sourceLocale"],
        [],
    ),
    ({"default_field_values": {"number": True}}, Action.UPDATED, ["defaultFieldValues"], []),
    ({"status": "archived", "name": "48V Li-Ion Pack"}, Action.ARCHIVED, ["status"], []),
    ({"status": "archived", "name": "New"}, Action.UPDATED, ["name", "status"], []),
    ({"images": [FIRST, SECOND]}, Action.IMAGES_REMOVED, ["imageUrls"], [(Touch.REMOVED, THIRD)]),
    (
        {"images": [THIRD, FIRST, SECOND, NEW]},
        Action.IMAGES_ADDED,
        ["imageUrls"],
        [(Touch.ADDED, NEW)],
    ),
    ({"images": [SECOND, FIRST, THIRD]}, Action.IMAGES_REORDERED, ["imageUrls"], []),
    (
        {"images": [NEW, SECOND], "model": "M-2"},
        Action.UPDATED,
        ["model", "imageUrls"],
        [(Touch.ADDED, NEW), (Touch.REMOVED, FIRST), (Touch.REMOVED, THIRD)],
    ),
    (
        {"images": [NEW]},
        Action.UPDATED,
        ["imageUrls"],
        [(Touch.ADDED, NEW), *((Touch.REMOVED, image) for image in (FIRST, SECOND, THIRD))],
    ),
    (
        {"images": [replace(FIRST, alt={"it": "Lampada"}), replace(SECOND, alt=None), THIRD]},
        Action.ALT_UPDATED,
        ["alt"],
        [(Touch.DESCRIBED, FIRST), (Touch.DESCRIBED, SECOND)],
    ),
    (
        {"images": [replace(FIRST, url="https://b.example.com/1"), SECOND, THIRD]},
        Action.UPDATED,
        ["imageUrls"],
        [],
    ),
    ({"images": [replace(FIRST, orientation=6), SECOND, THIRD]}, Action.UPDATED, ["images"], []),
]

#: Changes that change nothing.
NONE: list[ProductChanges] = [
    {},
    {"name": "48V Li-Ion Pack", "description": None, "status": "active"},
    {"images": [FIRST, SECOND, THIRD], "default_field_values": {"number": 1}},
]


def named(image: Image) -> dict[str, str]:
    if image.key is None:
        return {"url": image.url}
    return {"image_id": image.key.rpartition("/")[2].removesuffix(".png")}


def touched(*images: tuple[Touch, Image]) -> tuple[TouchedImage, ...]:
    return tuple(TouchedImage(touch=touch, **named(image)) for touch, image in images)


def actions(catalog: Catalog, workspace: Workspace, product_id: str) -> list[Action]:
    return [change.action for change in catalog.get_history(workspace.id, product_id)]


@contextmanager
def by(actor: Actor) -> Iterator[None]:
    """Changes in the block are made by this actor."""
    token = acting.set(actor)
    try:
        yield
    finally:
        acting.reset(token)


class HistoryContract:
    """The suite."""

    @pytest.fixture
    def workspace(self, catalog: Catalog) -> Workspace:
        return new_workspace(catalog)

    def test_each_change_is_an_entry_that_says_who_and_when(
        self, catalog: Catalog, workspace: Workspace
    ) -> None:
        begin = now()
        product = new_product(catalog, workspace, images=(FIRST,))
        calls: list[Callable[[], object]] = [
            lambda: catalog.append_image(workspace.id, product.id, NEW),
            lambda: catalog.append_image(workspace.id, product.id, THIRD),
            lambda: catalog.update_product(workspace.id, product.id, {"name": "New"}),
            lambda: catalog.remove_image(workspace.id, product.id, 1),
        ]
        for actor, call in zip(ACTORS, calls, strict=True):
            with by(actor):
                call()
        history = catalog.get_history(workspace.id, product.id)
        times = [change.at for change in history]
        assert sorted(times, reverse=True) == times
        assert begin <= times[-1] == product.created_at <= times[0] <= now()

        def entry(actor: Actor, action: Action, field: str, *images: tuple[Touch, Image]) -> Change:
            return Change(at=begin, action=action, actor=actor, fields=(field,), images=touched(*images))

        created = Change(
            at=begin, action=Action.CREATED, actor=A_COMMAND, images=touched((Touch.ADDED, FIRST))
        )
        assert [replace(change, at=begin) for change in history[::-1]] == [
            created,
            entry(ACTORS[0], Action.IMAGES_ADDED, "imageUrls", (Touch.ADDED, NEW)),
            entry(ACTORS[1], Action.IMAGES_ADDED, "imageUrls", (Touch.ADDED, THIRD)),
            entry(ACTORS[2], Action.UPDATED, "name"),
            entry(ACTORS[3], Action.IMAGES_REMOVED, "imageUrls", (Touch.REMOVED, NEW)),
        ]

    def test_an_entry_says_what_has_changed(self, catalog: Catalog, workspace: Workspace) -> None:
        given = (FIRST, SECOND, THIRD)
        created = touched(*((Touch.ADDED, image) for image in given))
        for changes, action, fields, images in CHANGES:
            product = new_product(catalog, workspace, images=given, default_field_values={"number": 1})
            catalog.update_product(workspace.id, product.id, changes)
            history = catalog.get_history(workspace.id, product.id)
            assert [(change.action, [*change.fields], change.images) for change in history] == [
                (action, fields, touched(*images)),
                (Action.CREATED, [], created),
            ]

    def test_a_product_is_restored(self, catalog: Catalog, workspace: Workspace) -> None:
        product = new_product(catalog, workspace, status="archived")
        catalog.update_product(workspace.id, product.id, {"status": "active"})
        assert actions(catalog, workspace, product.id) == [Action.RESTORED, Action.CREATED]

    def test_images_of_the_same_external_url_are_counted(
        self, catalog: Catalog, workspace: Workspace
    ) -> None:
        product = new_product(catalog, workspace, images=(THIRD, THIRD, FIRST))
        catalog.update_product(workspace.id, product.id, {"images": [THIRD, FIRST]})
        (change, _) = catalog.get_history(workspace.id, product.id)
        assert (change.action, change.images) == (Action.IMAGES_REMOVED, touched((Touch.REMOVED, THIRD)))

    def test_of_a_long_external_url_the_start_is_kept(self, catalog: Catalog, workspace: Workspace) -> None:
        url = "https://cdn.example.com/" + 2000 * "x"
        product = new_product(catalog, workspace, images=(Image(url=url),))
        (change,) = catalog.get_history(workspace.id, product.id)
        assert change.images == (TouchedImage(touch=Touch.ADDED, url=url[:100]),)

    def test_what_changes_nothing_has_no_entry(self, catalog: Catalog, workspace: Workspace) -> None:
        product = new_product(
            catalog, workspace, images=(FIRST, SECOND, THIRD), default_field_values={"number": 1}
        )
        for changes in NONE:
            catalog.update_product(workspace.id, product.id, changes)
        again = hosted_image(sha256=FIRST.sha256)
        catalog.append_image(workspace.id, product.id, again, unless_present=True)
        catalog.append_image(workspace.id, product.id, FIRST)  # an attempt whose answer was lost
        assert actions(catalog, workspace, product.id) == [Action.CREATED]

    def test_what_is_refused_has_no_entry(self, catalog: Catalog, workspace: Workspace) -> None:
        new_product(catalog, workspace, model="taken")
        product = new_product(catalog, workspace, images=externals(MAX_IMAGES))
        refused: list[tuple[type[CatalogError], Callable[[], object]]] = [
            (ProductFull, lambda: catalog.append_image(workspace.id, product.id, NEW)),
            (ImageNotFound, lambda: catalog.remove_image(workspace.id, product.id, MAX_IMAGES)),
            (DuplicateModel, lambda: catalog.update_product(workspace.id, product.id, {"model": "taken"})),
            (
                VersionMismatch,
                lambda: catalog.update_product(workspace.id, product.id, {"name": "New"}, expected_version=9),
            ),
            (
                VersionMismatch,
                lambda: catalog.remove_image(workspace.id, product.id, 0, expected_version=9),
            ),
            (
                VersionMismatch,
                lambda: catalog.delete_product(workspace.id, product.id, expected_version=9),
            ),
        ]
        for error, call in refused:
            with pytest.raises(error):
                call()
        assert actions(catalog, workspace, product.id) == [Action.CREATED]

    def test_the_last_changes_are_kept(self, catalog: Catalog, workspace: Workspace) -> None:
        product, other = new_product(catalog, workspace), new_product(catalog, workspace)
        for number in range(MAX_CHANGES + 2):
            with by(Actor(kind=ActorKind.API_KEY, request_id=str(number))):
                # What changes nothing takes no place.
                for _ in range(5 if number == 10 else 1):
                    catalog.update_product(workspace.id, product.id, {"name": str(number)})
        history = catalog.get_history(workspace.id, product.id)
        assert [change.actor.request_id for change in history] == [
            str(number) for number in range(MAX_CHANGES + 1, 1, -1)
        ]
        assert actions(catalog, workspace, other.id) == [Action.CREATED]

    def test_the_history_goes_with_the_product(self, catalog: Catalog, workspace: Workspace) -> None:
        product = new_product(catalog, workspace)
        catalog.append_image(workspace.id, product.id, NEW)
        catalog.delete_product(workspace.id, product.id)
        with pytest.raises(ProductNotFound):
            catalog.get_history(workspace.id, product.id)
        again = new_product(catalog, workspace)
        assert actions(catalog, workspace, again.id) == [Action.CREATED]
        same_id = new_product(catalog, workspace, id=product.id)
        assert actions(catalog, workspace, same_id.id) == [Action.CREATED]

    def test_the_history_of_no_product_and_of_another_workspaces_is_not_found(
        self, catalog: Catalog, workspace: Workspace
    ) -> None:
        product = new_product(catalog, new_workspace(catalog))
        for product_id in (product.id, new_id(), "", "../x", "\0"):
            with pytest.raises(ProductNotFound):
                catalog.get_history(workspace.id, product_id)

    def test_of_many_appends_at_once_each_that_succeeds_has_its_entry(
        self, catalog: Catalog, workspace: Workspace
    ) -> None:
        product = new_product(catalog, workspace, images=externals(15))

        def append(image: Image) -> None:
            with suppress(ProductFull):
                catalog.append_image(workspace.id, product.id, image)

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(append, [hosted_image() for _ in range(40)]))
        *additions, creation = catalog.get_history(workspace.id, product.id)
        assert creation.action is Action.CREATED
        assert [change.images for change in additions[::-1]] == [
            touched((Touch.ADDED, image)) for image in current(catalog, product).images[15:]
        ]

    def test_of_different_changes_at_once_each_has_its_entry(
        self, catalog: Catalog, workspace: Workspace
    ) -> None:
        product = new_product(catalog, workspace, images=externals(6))

        def change(number: int) -> None:
            match number % 3:
                case 0:
                    catalog.update_product(workspace.id, product.id, {"name": str(number)})
                case 1:
                    catalog.append_image(workspace.id, product.id, hosted_image())
                case _:
                    catalog.remove_image(workspace.id, product.id, 0)

        with ThreadPoolExecutor(6) as pool:
            list(pool.map(change, range(18)))
        found = actions(catalog, workspace, product.id)
        assert current(catalog, product).version == len(found) == 19
        assert sorted(found) == sorted(
            [*6 * [Action.UPDATED, Action.IMAGES_ADDED, Action.IMAGES_REMOVED], Action.CREATED]
        )

    def test_the_order_is_that_of_the_changes_also_when_the_clock_was_set_back(
        self, catalog: Catalog, workspace: Workspace
    ) -> None:
        later = now() + timedelta(hours=1)
        product = new_product(catalog, workspace, created_at=later, updated_at=later)
        catalog.append_image(workspace.id, product.id, NEW)
        catalog.update_product(workspace.id, product.id, {"name": "New"})
        found = actions(catalog, workspace, product.id)
        assert found == [Action.UPDATED, Action.IMAGES_ADDED, Action.CREATED]
