"""SIGKILL at each step of an upload and of a removal, to a real process on real stores."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from flask.testing import FlaskCliRunner

from catalog.base import Catalog, Product
from config import Settings
from storage.base import StorageBackend
from tests.catalog.contract import new_product, new_workspace
from tests.crash import REMOVAL_STEPS, UPLOAD_STEPS
from tests.pictures import png
from tests.storage.contract import read
from uploads import Uploads
from validators.base import FilePart, Limits, Upload

ROOT = Path(__file__).parent.parent


@pytest.fixture
def product(catalog: Catalog, storage: StorageBackend) -> Product:
    """A product with one acknowledged image."""
    made = new_product(catalog, new_workspace(catalog))
    upload = Upload([FilePart("file", png())])
    uploads = Uploads(storage, catalog, Limits())
    return uploads.add(made.workspace_id, made.id, upload, skip_present=False).product


def crash(settings: Settings, product: Product, step: str) -> None:
    command = [sys.executable, "-m", "tests.crash", str(settings.data_dir), step]
    process = subprocess.run(
        [*command, product.workspace_id, product.id], cwd=ROOT, timeout=60, check=False, capture_output=True
    )
    assert process.returncode == -signal.SIGKILL, process.stderr


def referenced(catalog: Catalog, product: Product) -> set[str]:
    now = catalog.get_product(product.workspace_id, product.id)
    return {image.key for image in now.images if image.key}


def stored(storage: StorageBackend) -> set[str]:
    return {info.key for info in storage.list()}


def assert_sound(storage: StorageBackend, catalog: Catalog, product: Product, runner: FlaskCliRunner) -> None:
    """Every reference resolves, and what is left over is what the sweep removes."""
    keys = referenced(catalog, product)
    assert all(read(storage, key) for key in keys)
    assert keys <= stored(storage)
    assert runner.invoke(args=["storage", "sweep", "--older-than", "0s"]).exit_code == 0
    assert stored(storage) == keys


@pytest.mark.parametrize("step", UPLOAD_STEPS)
def test_an_upload_that_is_killed_leaves_at_most_an_object_for_the_sweep(
    settings: Settings,
    storage: StorageBackend,
    catalog: Catalog,
    product: Product,
    runner: FlaskCliRunner,
    step: str,
) -> None:
    crash(settings, product, step)
    assert len(stored(storage)) == (1 if step == "before the bytes are stored" else 2)
    assert len(referenced(catalog, product)) == (2 if step == "after the append" else 1)
    assert referenced(catalog, product) >= {image.key for image in product.images}
    assert_sound(storage, catalog, product, runner)


@pytest.mark.parametrize("step", REMOVAL_STEPS)
def test_a_removal_that_is_killed_leaves_at_most_an_object_for_the_sweep(
    settings: Settings,
    storage: StorageBackend,
    catalog: Catalog,
    product: Product,
    runner: FlaskCliRunner,
    step: str,
) -> None:
    crash(settings, product, step)
    kept = step in ("before the catalog is asked", "in the transaction of the removal")
    assert len(referenced(catalog, product)) == (1 if kept else 0)
    assert_sound(storage, catalog, product, runner)
