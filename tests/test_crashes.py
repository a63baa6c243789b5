"""SIGKILL at each step of an upload and of a removal, to a real process on real stores."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import replace

import pytest
from flask.testing import FlaskCliRunner

from app import make_catalog
from catalog.base import Catalog, Product
from config import Settings
from storage.base import StorageBackend
from tests.crash import OF_EVERY_CATALOG, REMOVAL_STEPS, UPLOAD_STEPS, crash
from tests.factories import new_product, new_workspace
from tests.mongo import new_database
from tests.pictures import png
from tests.storage.contract import keys_of, read
from uploads import Uploads
from validators.base import FilePart, Limits, Upload

# The processes are forked from one without threads, which has loaded the application.
_PROCESSES = multiprocessing.get_context("forkserver")
_PROCESSES.set_forkserver_preload(["tests.crash", "catalog.mongo"])


def cases(steps: Iterable[str]) -> list[tuple[str, str]]:
    """Each step on SQLite, and the steps that every catalog has also on MongoDB."""
    both = [step for step in steps if step in OF_EVERY_CATALOG]
    return [*(("sqlite", step) for step in steps), *(("mongodb", step) for step in both)]


@pytest.fixture
def settings(request: pytest.FixtureRequest, settings: Settings) -> Iterator[Settings]:
    if request.param == "sqlite":
        yield settings
    else:
        with new_database(request.getfixturevalue("mongodb_uri")) as uri:
            yield replace(settings, catalog_url=uri)


@pytest.fixture
def catalog(settings: Settings) -> Iterator[Catalog]:
    with closing(make_catalog(settings)) as catalog:
        yield catalog


@pytest.fixture
def product(catalog: Catalog, storage: StorageBackend) -> Product:
    """A product with one acknowledged image."""
    made = new_product(catalog, new_workspace(catalog))
    upload = Upload([FilePart("file", png())])
    uploads = Uploads(storage, catalog, Limits())
    return uploads.add(made, upload, skip_present=False).product


def run_and_crash(settings: Settings, product: Product, step: str) -> None:
    process = _PROCESSES.Process(
        target=crash, args=(settings, step, product.workspace_id, product.id), daemon=True
    )
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL


def referenced(catalog: Catalog, product: Product) -> set[str]:
    now = catalog.get_product(product.workspace_id, product.id)
    return {image.key for image in now.images if image.key}


def stored(storage: StorageBackend) -> set[str]:
    return keys_of(storage)


def changes(catalog: Catalog, product: Product) -> list[str]:
    """The words of the product's history, newest first."""
    return [change.action for change in catalog.get_history(product.workspace_id, product.id)]


def assert_sound(storage: StorageBackend, catalog: Catalog, product: Product, runner: FlaskCliRunner) -> None:
    """Every reference resolves, and the sweep removes every other object."""
    keys = referenced(catalog, product)
    assert all(read(storage, key) for key in keys)
    assert keys <= stored(storage)
    assert runner.invoke(args=["storage", "sweep", "--older-than", "0s", "--offline"]).exit_code == 0
    assert stored(storage) == keys


@pytest.mark.parametrize(("settings", "step"), cases(UPLOAD_STEPS), indirect=["settings"])
def test_an_upload_that_is_killed_leaves_at_most_an_object_for_the_sweep(
    settings: Settings,
    storage: StorageBackend,
    catalog: Catalog,
    product: Product,
    runner: FlaskCliRunner,
    step: str,
) -> None:
    run_and_crash(settings, product, step)
    assert len(stored(storage)) == (1 if step == "before the bytes are stored" else 2)
    assert len(referenced(catalog, product)) == (2 if step == "after the append" else 1)
    assert referenced(catalog, product) >= {image.key for image in product.images}
    assert changes(catalog, product) == [*len(referenced(catalog, product)) * ["images.added"], "created"]
    assert_sound(storage, catalog, product, runner)


@pytest.mark.parametrize(("settings", "step"), cases(REMOVAL_STEPS), indirect=["settings"])
def test_a_removal_that_is_killed_leaves_at_most_an_object_for_the_sweep(
    settings: Settings,
    storage: StorageBackend,
    catalog: Catalog,
    product: Product,
    runner: FlaskCliRunner,
    step: str,
) -> None:
    run_and_crash(settings, product, step)
    kept = step in ("before the catalog is asked", "in the transaction of the removal")
    assert len(referenced(catalog, product)) == (1 if kept else 0)
    assert changes(catalog, product)[0] == ("images.added" if kept else "images.removed")
    assert_sound(storage, catalog, product, runner)
