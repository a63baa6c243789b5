from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from flask.testing import FlaskCliRunner

from app import create_app
from catalog.base import Catalog
from config import Settings
from resizing import NotResizable
from storage.base import StorageBackend, StorageUnavailable
from tests.api.fixtures import NewProduct, Post
from tests.conftest import NewTenant
from tests.faults import before_the_next, fail_with
from tests.pictures import jpeg
from tests.storage.contract import keys_of, put

PICTURE = jpeg(400, 300)
NewImage = Callable[..., str]


@pytest.fixture
def new_image(new_product: NewProduct, upload: Post) -> NewImage:
    """Uploads an image of 400 × 300 pixels to a new product. Returns its key without extension."""

    def make(**options: Any) -> str:
        body: Any = upload(new_product(**options), PICTURE, **options).json
        return str(body["imageUrl"]).partition("/media/")[2].removesuffix(".jpg")

    return make


def stored_sizes(storage: StorageBackend) -> set[str]:
    return {key for key in keys_of(storage) if not key.endswith(".jpg")}


def test_all_sizes_of_all_images_are_made(
    runner: FlaskCliRunner, storage: StorageBackend, new_image: NewImage, new_tenant: NewTenant
) -> None:
    stems = [new_image(), new_image(client=new_tenant().client)]
    result = runner.invoke(args=["sizes", "make"])
    assert (result.exit_code, result.stdout) == (0, "4 sizes made, 0 failed.\n")
    assert stored_sizes(storage) == {f"{stem}_{width}w.webp" for stem in stems for width in (160, 320)}


def test_sizes_that_exist_are_skipped(
    runner: FlaskCliRunner, storage: StorageBackend, new_image: NewImage
) -> None:
    stem = new_image()
    put(storage, f"{stem}_160w.webp", b"made already")
    assert runner.invoke(args=["sizes", "make"]).stdout == "1 sizes made, 0 failed.\n"
    assert storage.info(f"{stem}_160w.webp").size == 12
    assert runner.invoke(args=["sizes", "make"]).stdout == "0 sizes made, 0 failed.\n"


def test_the_sizes_can_be_those_of_one_workspace_and_of_one_width(
    runner: FlaskCliRunner, storage: StorageBackend, new_image: NewImage, new_tenant: NewTenant
) -> None:
    stem = new_image()
    new_image(client=new_tenant().client)
    args = ["sizes", "make", "--workspace", stem.partition("/")[0], "--width", "320"]
    assert runner.invoke(args=args).stdout == "1 sizes made, 0 failed.\n"
    assert stored_sizes(storage) == {f"{stem}_320w.webp"}


@pytest.mark.parametrize(
    ("args", "sentence"),
    [
        (["--workspace", 24 * "a"], f"The workspace {24 * 'a'} does not exist."),
        (["--width", "161"], "IMAGE_SIZES does not list 161: it is 160, 320, 640, 1280, 2048."),
    ],
)
def test_what_does_not_exist_is_told(
    runner: FlaskCliRunner, storage: StorageBackend, new_image: NewImage, args: list[str], sentence: str
) -> None:
    new_image()
    result = runner.invoke(args=["sizes", "make", *args])
    assert result.exit_code != 0
    assert result.stderr.endswith(f"Error: {sentence}\n")
    assert stored_sizes(storage) == set()


def test_an_image_that_can_not_be_resized_or_is_missing_does_not_stop_the_others(
    runner: FlaskCliRunner, storage: StorageBackend, new_image: NewImage, settings: Settings
) -> None:
    broken, missing, whole = (new_image() for _ in range(3))
    (settings.data_dir / "media" / f"{broken}.jpg").write_bytes(b"\xff\xd8 not a picture")
    storage.delete(f"{missing}.jpg")
    result = runner.invoke(args=["sizes", "make"])
    assert (result.exit_code, result.stdout) == (1, "2 sizes made, 4 failed.\n")
    problems = [line for line in result.stderr.splitlines() if ".jpg" in line or ".webp" in line]
    assert len(problems) == 4
    assert problems.count(f"{missing}.jpg is not in the storage") == 2
    assert sum(line.startswith(f"{broken}_") and "can't be made: malformed" in line for line in problems) == 2
    assert stored_sizes(storage) == {f"{whole}_160w.webp", f"{whole}_320w.webp"}


def test_an_image_that_is_removed_meanwhile_is_no_failure(
    runner: FlaskCliRunner,
    storage: StorageBackend,
    catalog: Catalog,
    new_image: NewImage,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stem = new_image()
    workspace_id, _, product_id, *_ = stem.split("/")

    def remove() -> None:
        catalog.remove_image(workspace_id, product_id, 0)
        storage.delete(f"{stem}.jpg")

    before_the_next(monkeypatch, storage, "open", remove)
    result = runner.invoke(args=["sizes", "make"])
    assert (result.exit_code, result.stdout[2:]) == (0, "sizes made, 0 failed.\n")
    assert keys_of(storage) == set()


def test_a_run_that_a_store_stops_can_go_on(
    runner: FlaskCliRunner, storage: StorageBackend, new_image: NewImage, monkeypatch: pytest.MonkeyPatch
) -> None:
    new_image()
    with monkeypatch.context() as context:
        context.setattr(storage, "put", fail_with(StorageUnavailable("no room")))
        result = runner.invoke(args=["sizes", "make"])
    assert result.exit_code == 1
    assert result.stderr.endswith("Error: stopped after 0 sizes: no room. Run it again to continue.\n")
    assert runner.invoke(args=["sizes", "make"]).stdout == "2 sizes made, 0 failed.\n"


def test_the_bar_counts_the_sizes(
    runner: FlaskCliRunner, new_image: NewImage, monkeypatch: pytest.MonkeyPatch
) -> None:
    new_image()
    monkeypatch.setattr("cli.sizes.tqdm.write", lambda *_, **__: None)
    monkeypatch.setattr("sizes.resize", fail_with(NotResizable("no")))
    bars: list[Any] = []
    monkeypatch.setattr("cli.sizes.tqdm.update", lambda bar: bars.append(bar.total))
    runner.invoke(args=["sizes", "make"])
    assert bars == [2, 2]


def test_sizes_of_widths_that_are_no_longer_listed_are_removed(
    settings: Settings, storage: StorageBackend, catalog: Catalog, runner: FlaskCliRunner, new_image: NewImage
) -> None:
    stem = new_image()
    runner.invoke(args=["sizes", "make"])
    other = create_app(replace(settings, image_sizes=(160,)), storage=storage, catalog=catalog)
    size = storage.info(f"{stem}_320w.webp").size
    dry_run = other.test_cli_runner().invoke(args=["sizes", "clear", "--dry-run"])
    assert (dry_run.exit_code, dry_run.stdout) == (0, f"1 sizes, {size} bytes to remove.\n")
    assert len(keys_of(storage)) == 3
    result = other.test_cli_runner().invoke(args=["sizes", "clear"])
    assert (result.exit_code, result.stdout) == (0, f"1 sizes, {size} bytes removed.\n")
    assert keys_of(storage) == {f"{stem}.jpg", f"{stem}_160w.webp"}
    assert runner.invoke(args=["sizes", "clear"]).stdout == "0 sizes, 0 bytes removed.\n"


def test_json_is_one_object(
    settings: Settings, storage: StorageBackend, catalog: Catalog, runner: FlaskCliRunner, new_image: NewImage
) -> None:
    new_image()
    assert json.loads(runner.invoke(args=["sizes", "make", "--json"]).stdout) == {"made": 2, "failed": 0}
    stored = sum(info.size for info in storage.list() if "_" in info.key)
    other = create_app(replace(settings, image_sizes=(999,)), storage=storage, catalog=catalog)
    result = other.test_cli_runner().invoke(args=["sizes", "clear", "--json"])
    assert json.loads(result.stdout) == {"sizes": 2, "bytes": stored}


def test_if_cloudflare_makes_the_sizes_none_is_made_and_all_are_removed(
    settings: Settings, storage: StorageBackend, catalog: Catalog, runner: FlaskCliRunner, new_image: NewImage
) -> None:
    stem = new_image()
    runner.invoke(args=["sizes", "make"])
    transforming = replace(settings, r2_transformations=True, r2_public_url="https://cdn.example.com")
    storage.serves_objects = True
    other = create_app(transforming, storage=storage, catalog=catalog).test_cli_runner()
    assert re.fullmatch(r"2 sizes, \d+ bytes removed\.\n", other.invoke(args=["sizes", "clear"]).stdout)
    assert keys_of(storage) == {f"{stem}.jpg"}
    result = other.invoke(args=["sizes", "make"])
    assert (result.exit_code, result.stderr) == (
        1,
        "Error: Cloudflare makes the sizes: R2_TRANSFORMATIONS is 1.\n",
    )
