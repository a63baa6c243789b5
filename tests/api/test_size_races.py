"""A size that is made while its image is removed does not survive the image, on disk and in a bucket."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from app import create_app, make_storage
from catalog.base import Catalog
from config import Settings
from resizing import resize
from storage.base import StorageBackend
from tests.api.fixtures import NewProduct, Post, images_path
from tests.cli.conftest import r2_settings
from tests.conftest import PUBLIC_URL, Tenant
from tests.pictures import jpeg
from tests.s3 import new_bucket
from tests.storage.contract import keys_of
from turns import Bounds, Turns

PICTURE = jpeg(400, 300)
ROUNDS = 3
Store = tuple[Settings, StorageBackend]


@pytest.fixture(scope="module", params=["disk", "r2"])
def store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A store that the tests of this module share: an S3 client takes long to make."""
    folder = tmp_path_factory.mktemp("store")
    settings = Settings(data_dir=folder / "data", public_url=PUBLIC_URL)
    if request.param == "r2":
        moto: str = request.getfixturevalue("moto")
        settings = r2_settings(folder, moto, new_bucket(moto), backend="r2")
    return settings, make_storage(settings, request.param)


@pytest.fixture
def settings(store: Store, tmp_path: Path) -> Settings:
    return replace(store[0], data_dir=tmp_path / "data", catalog_url=f"sqlite:///{tmp_path}/catalog.sqlite3")


@pytest.fixture
def storage(store: Store) -> Iterator[StorageBackend]:
    yield store[1]
    for key in keys_of(store[1]):
        store[1].delete(key)


class Race:
    """A product with an image of its own, whose size is requested while the image is removed."""

    def __init__(
        self,
        app: Flask,
        catalog: Catalog,
        storage: StorageBackend,
        tenant: Tenant,
        product: dict[str, Any],
        path: str,
    ) -> None:
        self.app = app
        self.catalog = catalog
        self.storage = storage
        self.tenant = tenant
        self.product = product
        self.path = path

    def request_size(self) -> int:
        status = self.app.test_client().get(self.path, buffered=True).status_code
        return 200 if status == 302 else status  # a bucket serves it

    def delete_image(self) -> None:
        assert self.tenant.client.delete(f"{images_path(self.product)}/0").status_code == 200

    def replace_image_urls(self) -> None:
        url = f"/api/v1/products/{self.product['_id']}"
        assert self.tenant.client.patch(url, json={"imageUrls": []}).status_code == 200

    def delete_product(self) -> None:
        assert self.tenant.client.delete(f"/api/v1/products/{self.product['_id']}").status_code == 200

    def sweep(self) -> None:
        """Removes the reference, as a removal does that dies then, and sweeps."""
        self.catalog.remove_image(self.tenant.workspace.id, self.product["_id"], 0)
        args = ["storage", "sweep", "--offline", "--older-than", "0s"]
        result = self.app.test_cli_runner().invoke(args=args)
        assert result.exit_code == 0, result.output


Remove = Callable[[Race], None]
NewRace = Callable[[], Race]


@pytest.fixture
def new_race(
    app: Flask,
    catalog: Catalog,
    storage: StorageBackend,
    tenant: Tenant,
    new_product: NewProduct,
    upload: Post,
) -> NewRace:
    def make() -> Race:
        product = new_product()
        assert upload(product, PICTURE).status_code == 201
        body: Any = tenant.client.get(f"/api/v1/products/{product['_id']}").json
        path = body["images"][0]["sizes"][0]["url"].removeprefix(PUBLIC_URL)
        return Race(app, catalog, storage, tenant, product, path)

    return make


each_removal = pytest.mark.parametrize(
    "remove", [Race.delete_image, Race.replace_image_urls, Race.delete_product, Race.sweep]
)


def in_a_thread(act: Callable[[], None]) -> None:
    """Runs it beside the request that is under way, and waits until it has ended."""
    with ThreadPoolExecutor(1) as pool:
        pool.submit(act).result(60)


def hook(monkeypatch: pytest.MonkeyPatch, race: Race, step: str, act: Callable[[], None]) -> None:
    """Lets ``act`` happen once, at a step of the making of the size."""
    acted = threading.Event()

    def once() -> None:
        if not acted.is_set():
            acted.set()
            in_a_thread(act)

    put, read = race.storage.put, race.storage.open

    def hooked_open(key: str) -> Any:
        if key.endswith(".jpg") and step == "before it is read":
            once()
        return read(key)

    def hooked_resize(data: bytes, width: int) -> bytes:
        made = resize(data, width)
        if step == "before it is written":
            once()
        return made

    def hooked_put(key: str, data: bytes, *, sha256: bytes) -> None:
        put(key, data, sha256=sha256)
        if step == "when it is written":
            once()

    monkeypatch.setattr(race.storage, "open", hooked_open)
    monkeypatch.setattr(race.storage, "put", hooked_put)
    monkeypatch.setattr("sizes.resize", hooked_resize)


@each_removal
@pytest.mark.parametrize("step", ["before it is read", "before it is written", "when it is written"])
def test_a_removal_at_any_step_of_the_making_leaves_nothing(
    new_race: NewRace, monkeypatch: pytest.MonkeyPatch, remove: Remove, step: str
) -> None:
    race = new_race()
    hook(monkeypatch, race, step, lambda: remove(race))
    assert race.request_size() == 404
    assert keys_of(race.storage) == set()


@each_removal
def test_a_size_that_is_written_while_the_removal_lists_the_sizes_goes_too(
    new_race: NewRace, monkeypatch: pytest.MonkeyPatch, remove: Remove
) -> None:
    race = new_race()
    listing, written = threading.Event(), threading.Event()
    list_, put = race.storage.list, race.storage.put

    def slow_list(*args: Any, **options: Any) -> Any:
        found = list(list_(*args, **options))
        listing.set()
        assert written.wait(60)
        return iter(found)

    def late_put(key: str, data: bytes, *, sha256: bytes) -> None:
        assert listing.wait(60)
        put(key, data, sha256=sha256)
        written.set()

    monkeypatch.setattr(race.storage, "list", slow_list)
    monkeypatch.setattr(race.storage, "put", late_put)
    reading, read = threading.Event(), race.storage.open

    def open_first(key: str) -> Any:
        stored = read(key)
        if key.endswith(".jpg"):
            reading.set()
        return stored

    monkeypatch.setattr(race.storage, "open", open_first)
    with ThreadPoolExecutor(1) as pool:
        request = pool.submit(race.request_size)
        assert reading.wait(60)  # the original can still be read
        remove(race)
        assert request.result(60) == 404
    monkeypatch.undo()
    assert keys_of(race.storage) == set()


@each_removal
def test_requests_and_a_removal_at_the_same_time_leave_nothing(new_race: NewRace, remove: Remove) -> None:
    for _ in range(ROUNDS):
        race = new_race()
        start = threading.Barrier(4)

        def at_once(act: Callable[[], Any], start: threading.Barrier = start) -> Any:
            start.wait(60)
            return act()

        with ThreadPoolExecutor(4) as pool:
            requests = [pool.submit(at_once, race.request_size) for _ in range(3)]
            removal = pool.submit(at_once, partial(remove, race))
            removal.result(60)
            # With --offline the sweep also removes the file of a size that is being written.
            allowed = {200, 404, 503} if remove is Race.sweep else {200, 404}
            assert {request.result(60) for request in requests} <= allowed
        assert keys_of(race.storage) == set()


def test_a_crash_between_the_write_and_the_look_up_leaves_a_size_that_the_sweep_removes(
    new_race: NewRace, monkeypatch: pytest.MonkeyPatch
) -> None:
    race = new_race()

    class Crash(BaseException):
        """The process ends: no handler of the application runs."""

    put = race.storage.put

    def put_and_crash(key: str, data: bytes, *, sha256: bytes) -> None:
        in_a_thread(race.delete_image)
        put(key, data, sha256=sha256)
        raise Crash

    with monkeypatch.context() as context:
        context.setattr(race.storage, "put", put_and_crash)
        with pytest.raises(Crash):
            race.request_size()
    assert len(keys_of(race.storage)) == 1
    result = race.app.test_cli_runner().invoke(args=["storage", "sweep"])
    assert result.exit_code == 0
    assert keys_of(race.storage) == set()


def test_two_machines_that_make_the_same_size_keep_one(
    settings: Settings,
    new_race: NewRace,
    monkeypatch: pytest.MonkeyPatch,
    catalog: Catalog,
    storage: StorageBackend,
) -> None:
    race = new_race()
    other: FlaskClient = create_app(settings, storage=storage, catalog=catalog).test_client()
    together = threading.Barrier(2)

    def meet(data: bytes, width: int) -> bytes:
        together.wait(60)
        return resize(data, width)

    monkeypatch.setattr("sizes.resize", meet)
    # The two applications are in one process, which makes one size at a time on two processors.
    two = Turns(Bounds(requests=2, own_requests=2, own_turns=2, seconds=60))
    monkeypatch.setattr("sizes._TURNS", two)
    monkeypatch.setattr("sizes._MAKERS", 2)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(race.request_size)
        second = pool.submit(lambda: other.get(race.path, buffered=True).status_code)
        assert (first.result(60), second.result(60) in (200, 302)) == (200, True)
    assert len(keys_of(storage)) == 2
