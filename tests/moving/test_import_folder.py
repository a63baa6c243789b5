from __future__ import annotations

import json
import os
import threading
import unicodedata
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from flask.testing import FlaskCliRunner

import uploads
from catalog.base import Catalog
from catalog.errors import CatalogUnavailable
from catalog.history import Actor, ActorKind
from catalog.identity import Plan, Quota, Workspace
from storage.base import StorageBackend, StorageUnavailable
from tests.api.fixtures import on_both_catalogs
from tests.factories import current, externals, hosted_image, new_product, new_workspace
from tests.faults import before_the_next, fail_with
from tests.moving.conftest import Command, fill, products, sha256, stored
from tests.pictures import jpeg, padded_jpeg, png, webp
from tests.storage.contract import keys_of
from turns import ServerBusy, ShareUsed
from validators.base import MAX_IMAGE_BYTES

PICTURES = [jpeg(), png(), webp(), jpeg(80, 60), png(80, 60), webp(80, 60)]


def summary(made: int, unchanged: int, added: int, present: int, more: str = "") -> str:
    return (
        f"Products: {made} made, 0 changed, {unchanged} unchanged. "
        f"Pictures: {added} added, {present} here already{more}.\n"
    )


def test_pictures_go_to_the_products_of_their_names_in_natural_order(
    import_folder: Command, folder: Path, catalog: Catalog, storage: StorageBackend, workspace: Workspace
) -> None:
    names = [
        "A100.jpg",
        "A100-back.PNG",
        "A100_2.webp",
        "A100_10.JPEG",
        "BAT-48V/front.png",
        "BAT-48V/side.WebP",
    ]
    fill(folder, dict(zip(names, PICTURES, strict=True)))
    result = import_folder("--category", "toys")
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == summary(2, 0, 6, 0)
    found = products(catalog, workspace)
    assert {model: (item.name, item.category) for model, item in found.items()} == {
        "A100": ("A100", "toys"),
        "BAT-48V": ("BAT-48V", "toys"),
    }
    assert stored(storage, found["A100"]) == PICTURES[:4]
    history = catalog.get_history(workspace.id, found["A100"].id)
    assert [change.action for change in history] == [*4 * ["images.added"], "created"]
    assert {change.actor for change in history} == {Actor(kind=ActorKind.COMMAND, name="import folder")}
    assert stored(storage, found["BAT-48V"]) == PICTURES[4:]
    (day,) = catalog.list_usage_days(workspace.id)
    assert (day.writes, day.usage) == (8, catalog.get_usage(workspace.id))


def test_the_report_is_one_json_object(
    import_folder: Command, folder: Path, catalog: Catalog, workspace: Workspace
) -> None:
    fill(folder, {"A100.jpg": PICTURES[0], "A100_2.png": b"no picture"})
    nothing = dict.fromkeys(("here", "present", "described", "linked", "download", "leftOut"), 0)
    counts = {"made": 1, "changed": 0, "added": 1, "refused": 1, **nothing}
    refused = {"model": "A100", "picture": "A100_2.png", "action": "refused"}
    dry = json.loads(import_folder("--category", "toys", "--dry-run", "--json").stdout)
    assert (dry["counts"], dry["dryRun"], dry["stopped"]) == (counts, True, None)
    assert [step["action"] for step in dry["steps"]] == ["made", "added", "refused"]
    assert products(catalog, workspace) == {}
    result = import_folder("--category", "toys", "--json")
    report = json.loads(result.stdout)
    (step,) = report.pop("steps")
    assert (result.exit_code, report) == (1, {"counts": counts, "dryRun": False, "stopped": None})
    assert step == {**refused, "reason": step["reason"]}
    assert step["reason"]


@on_both_catalogs
def test_a_second_run_changes_nothing(
    import_folder: Command, folder: Path, catalog: Catalog, storage: StorageBackend, workspace: Workspace
) -> None:
    fill(folder, {"A100.jpg": PICTURES[0], "A100_2.png": PICTURES[1]})
    import_folder("--category", "toys")
    before, keys = products(catalog, workspace), keys_of(storage)
    result = import_folder("--category", "electronics")
    assert (result.exit_code, result.stdout) == (0, summary(0, 1, 0, 2))
    assert (products(catalog, workspace), keys_of(storage)) == (before, keys)


def test_a_dry_run_prints_a_table_and_writes_nothing(
    import_folder: Command, folder: Path, catalog: Catalog, storage: StorageBackend, workspace: Workspace
) -> None:
    product = new_product(
        catalog, workspace, model="A100", images=(hosted_image(sha256=sha256(PICTURES[0])),)
    )
    names = ["A100.jpg", "A100_2.png", "B.webp", "cut.jpg", "notes.txt", "old.gif"]
    fill(folder, dict(zip(names, [*PICTURES[:3], jpeg()[:400], b"-", b"GIF89a"], strict=True)))
    result = import_folder("--category", "toys", "--dry-run")
    assert result.exit_code == 1
    assert result.stdout.splitlines() == [
        "PRODUCT  PICTURE     WHAT WOULD HAPPEN",
        "-        notes.txt   left out: not a picture",
        "-        old.gif     refused: not a PNG, JPEG or WebP",
        "A100                 here already",
        "A100     A100.jpg    here already",
        "A100     A100_2.png  added",
        "B                    made",
        "B        B.webp      added",
        "cut                  made",
        "cut      cut.jpg     refused: Image is corrupt or incomplete",
        "Products: 2 made, 0 changed, 1 unchanged. Pictures: 2 added, 1 here already. 2 refused, 1 left out. "
        "Nothing was written.",
    ]
    assert products(catalog, workspace) == {"A100": product}
    assert keys_of(storage) == set()


def test_pictures_join_those_that_the_product_has(
    import_folder: Command, folder: Path, catalog: Catalog, workspace: Workspace
) -> None:
    product = new_product(catalog, workspace, model="A100", category="toys", images=externals(2))
    fill(folder, {"A100_1.jpg": PICTURES[0]})
    assert import_folder().stdout == summary(0, 1, 1, 0)
    after = current(catalog, product)
    assert after.image_urls[:2] == product.image_urls
    assert [image.sha256 for image in after.images[2:]] == [sha256(PICTURES[0])]


@on_both_catalogs
def test_a_picture_that_comes_later_gets_its_place_in_the_order(
    import_folder: Command, folder: Path, catalog: Catalog, storage: StorageBackend, workspace: Workspace
) -> None:
    product = new_product(catalog, workspace, model="A100", images=externals(1))
    fill(folder, {"A100_1.jpg": PICTURES[0], "A100_3.jpg": PICTURES[3]})
    import_folder()
    fill(folder, {"A100_2.png": PICTURES[1]})
    import_folder()
    assert stored(storage, current(catalog, product)) == [product.images[0].url, *PICTURES[:2], PICTURES[3]]


def test_an_order_that_people_chose_stays_if_nothing_is_added(
    import_folder: Command, folder: Path, catalog: Catalog, workspace: Workspace
) -> None:
    product = new_product(catalog, workspace, model="A100")
    fill(folder, {"A100_1.jpg": PICTURES[0], "A100_2.png": PICTURES[1]})
    import_folder()
    images = current(catalog, product).images
    catalog.update_product(workspace.id, product.id, {"images": images[::-1]})
    assert import_folder().stdout == summary(0, 1, 0, 2)
    assert list(current(catalog, product).images) == list(images[::-1])


def test_without_a_category_only_existing_products_get_pictures(
    import_folder: Command, folder: Path, catalog: Catalog, workspace: Workspace
) -> None:
    product = new_product(catalog, workspace, model="A100")
    fill(folder, {"A100.jpg": PICTURES[0], "B200.png": PICTURES[1]})
    result = import_folder()
    assert result.exit_code == 1
    assert result.stderr == "B200: refused: there is no product of this model; give --category to make it\n"
    assert result.stdout == summary(0, 1, 1, 0, ". 1 refused")
    assert list(products(catalog, workspace)) == [product.model]


def test_an_unknown_category_is_refused_with_the_known_ones(import_folder: Command, folder: Path) -> None:
    fill(folder, {"A100.jpg": PICTURES[0]})
    result = import_folder("--category", "cars")
    assert result.exit_code == 1
    assert result.stderr.startswith("A100: refused: category: Input should be 'batteries', 'textiles', ")


def test_what_is_no_good_picture_is_named_and_the_others_go_on(
    import_folder: Command, folder: Path, storage: StorageBackend
) -> None:
    bad = {
        "A_1.jpg": b"",
        "A_2.jpg": jpeg()[:400],
        "A_3.jpg": b"GIF89a" + bytes(20),
        "A_4.jpg": padded_jpeg(MAX_IMAGE_BYTES + 1),
        "A_5.heic": b"ftypheic",
        "A_6.pdf": b"%PDF",
    }
    fill(folder, {**bad, "A_7.jpg": padded_jpeg(MAX_IMAGE_BYTES)})
    result = import_folder("--category", "toys")
    assert result.exit_code == 1
    assert sorted(result.stderr.splitlines()) == [
        "A_1.jpg: refused: The file is empty",
        "A_2.jpg: refused: Image is corrupt or incomplete",
        "A_3.jpg: refused: Unsupported MIME type — accepts image/png, image/jpeg, image/webp",
        "A_4.jpg: refused: Image must be under 5MB",
        "A_5.heic: refused: not a PNG, JPEG or WebP",
        "A_6.pdf: left out: not a picture",
    ]
    assert result.stdout == summary(1, 0, 1, 0, ". 5 refused, 1 left out")
    assert len(keys_of(storage)) == 1


def test_clutter_of_systems_is_passed_over(import_folder: Command, folder: Path) -> None:
    names = [".DS_Store", "._A100.jpg", "Thumbs.db", "desktop.ini", "__MACOSX/A100.jpg", ".git/x.png"]
    fill(folder, {**dict.fromkeys(names, b"x"), "A100.jpg": PICTURES[0]})
    result = import_folder("--category", "toys")
    assert (result.exit_code, result.stderr, result.stdout) == (0, "", summary(1, 0, 1, 0))


def test_what_leads_out_of_the_folder_is_not_read(
    import_folder: Command, folder: Path, tmp_path: Path, catalog: Catalog, workspace: Workspace
) -> None:
    outside = tmp_path / "outside"
    fill(outside, {"secret.jpg": PICTURES[0]})
    fill(folder, {"A_1.png": PICTURES[1]})
    (folder / "A_2.jpg").symlink_to(outside / "secret.jpg")
    (folder / "A_3.jpg").symlink_to("../outside/secret.jpg")
    (folder / "B").symlink_to(outside)
    (folder / "A_4.png").symlink_to("A_1.png")
    (folder / "A_5.png").symlink_to("nowhere.png")
    (folder / "A_6.png").symlink_to("A_6.png")
    os.mkfifo(folder / "A_7.jpg")
    result = import_folder("--category", "toys")
    assert result.exit_code == 1
    assert sorted(result.stderr.splitlines()) == [
        "A_2.jpg: refused: a link that leads out of the folder",
        "A_3.jpg: refused: a link that leads out of the folder",
        "A_5.png: refused: can't be read: No such file or directory",
        "A_6.png: refused: can't be read: Too many levels of symbolic links",
        "A_7.jpg: refused: not a file",
        "B: refused: a link that leads out of the folder",
    ]
    assert [image.sha256 for image in products(catalog, workspace)["A"].images] == [sha256(PICTURES[1])]


def test_a_file_that_can_not_be_read_is_named(
    import_folder: Command, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(folder, {"A_1.jpg": PICTURES[0], "A_2.png": PICTURES[1]})
    # The tests may run as root, whom no permission stops.
    open_file = os.open

    def refuse(path: str | Path, *args: int) -> int:
        if str(path).endswith("A_1.jpg"):
            raise PermissionError(13, "Permission denied")
        return open_file(path, *args)

    monkeypatch.setattr("moving.files.os.open", refuse)
    result = import_folder("--category", "toys")
    assert result.stderr == "A_1.jpg: refused: can't be read: Permission denied\n"
    assert (result.exit_code, result.stdout) == (1, summary(1, 0, 1, 0, ". 1 refused"))


def test_names_of_macos_stand_for_the_composed_model(
    import_folder: Command, folder: Path, catalog: Catalog, workspace: Workspace
) -> None:
    product = new_product(catalog, workspace, model="Lampada città")
    decomposed = unicodedata.normalize("NFD", "Lampada città")
    fill(folder, {f"{decomposed}.jpg": PICTURES[0], f"{decomposed}/2.png": PICTURES[1]})
    assert import_folder().exit_code == 0
    assert len(current(catalog, product).images) == 2


def test_a_name_that_is_not_utf_8_is_refused(import_folder: Command, folder: Path) -> None:
    try:
        (folder / os.fsdecode(b"citt\xe0.jpg")).write_bytes(PICTURES[0])
    except OSError:
        pytest.skip("the file system takes UTF-8 only")
    result = import_folder("--category", "toys")
    assert (result.exit_code, result.stderr) == (
        1,
        "citt\N{REPLACEMENT CHARACTER}.jpg: refused: the name is not UTF-8\n",
    )


def test_models_that_differ_in_case_only_are_not_mixed(
    import_folder: Command, folder: Path, catalog: Catalog, workspace: Workspace
) -> None:
    new_product(catalog, workspace, model="Lamp")
    fill(folder, dict(zip(["lamp.jpg", "Toy.jpg", "toy_2.png", "Lamp_2.png"], PICTURES[:4], strict=True)))
    result = import_folder("--category", "toys")
    assert result.exit_code == 1
    assert sorted(result.stderr.splitlines()) == [
        "lamp.jpg: refused: the model lamp differs from Lamp in case only",
        "toy_2.png: refused: the model toy differs from Toy in case only",
    ]
    assert sorted(products(catalog, workspace)) == ["Lamp", "Toy"]


def test_a_new_model_must_not_differ_in_case_only_from_that_of_a_product(
    import_folder: Command, folder: Path, catalog: Catalog, workspace: Workspace
) -> None:
    new_product(catalog, workspace, model="Lamp")
    fill(folder, {"LAMP.jpg": PICTURES[0]})
    result = import_folder("--category", "toys")
    assert (result.exit_code, result.stderr) == (
        1,
        "LAMP: refused: the model differs from that of the product Lamp in case only\n",
    )
    assert list(products(catalog, workspace)) == ["Lamp"]


def test_folders_inside_folders_need_the_name_of_a_product(
    import_folder: Command, folder: Path, catalog: Catalog, workspace: Workspace
) -> None:
    product = new_product(catalog, workspace, model="A100")
    names = ["lamps/A100/1.jpg", "A100/details/2.png", "spring/A100_3.webp", "lamps/B200/1.jpg"]
    fill(folder, dict(zip(names, PICTURES[:4], strict=True)))
    result = import_folder("--category", "toys")
    assert result.exit_code == 0
    assert result.stderr == (
        "lamps/B200/1.jpg: left out: in a folder inside a folder, neither of which is named for a product\n"
    )
    assert [image.sha256 for image in current(catalog, product).images] == [
        sha256(data) for data in (PICTURES[1], PICTURES[0], PICTURES[2])
    ]


def test_a_product_takes_20_pictures(
    import_folder: Command, folder: Path, catalog: Catalog, storage: StorageBackend, workspace: Workspace
) -> None:
    product = new_product(catalog, workspace, model="A", images=externals(18))
    fill(folder, {f"A_{number}.jpg": jpeg(64, 40 + number) for number in range(1, 5)})
    result = import_folder()
    assert result.exit_code == 1
    assert result.stderr.splitlines() == [
        f"A_{number}.jpg: refused: Product already has 20 images (max). Delete one first."
        for number in (3, 4)
    ]
    assert len(current(catalog, product).images) == 20
    assert len(keys_of(storage)) == 2


def test_the_same_bytes_twice_are_one_picture(
    import_folder: Command, folder: Path, catalog: Catalog, workspace: Workspace
) -> None:
    fill(folder, {"A.jpg": PICTURES[0], "A_2.jpg": PICTURES[0], "B.jpg": PICTURES[0]})
    assert import_folder("--category", "toys").stdout == summary(2, 0, 2, 1)
    assert {model: len(item.images) for model, item in products(catalog, workspace).items()} == {
        "A": 1,
        "B": 1,
    }


def test_a_model_that_no_product_can_have_is_refused(import_folder: Command, folder: Path) -> None:
    name = "x" * 101
    fill(folder, {f"{name}.jpg": PICTURES[0]})
    result = import_folder("--category", "toys")
    assert result.exit_code == 1
    assert result.stderr == f"{name}: refused: model: String should have at most 100 characters\n"


# --- plans, quotas and failures


def test_the_budget_of_the_plan_ends_the_import_and_the_next_day_goes_on(
    clock: list[datetime], runner: FlaskCliRunner, folder: Path, catalog: Catalog
) -> None:
    free = new_workspace(catalog, plan=Plan.FREE)
    fill(folder, {f"A{number:03}.jpg": jpeg(64, 40) for number in range(60)})
    args = ["import", "folder", str(folder), "--workspace", free.id, "--category", "toys"]
    result = runner.invoke(args=args)
    assert result.exit_code == 1
    assert (
        "Stopped: Daily write limit reached. It resets at midnight UTC. Run it again to continue.\n"
        in result.stderr
    )
    found = products(catalog, free).values()
    assert len(found) + sum(len(item.images) for item in found) == 100
    clock[0] += timedelta(days=1)
    result = runner.invoke(args=args)
    assert (result.exit_code, result.stderr) == (0, "")
    assert [len(item.images) for item in products(catalog, free).values()] == [1] * 60


@pytest.mark.parametrize(
    ("quota", "reason"),
    [
        (Quota(images=2), "images. Delete images, or ask for a higher quota"),
        (Quota(bytes=2 * len(PICTURES[0]) + 10), "bytes. Delete images, or ask for a higher quota"),
    ],
)
def test_a_quota_ends_the_import_without_an_object_too_many(
    import_folder: Command,
    folder: Path,
    catalog: Catalog,
    storage: StorageBackend,
    workspace: Workspace,
    quota: Quota,
    reason: str,
) -> None:
    catalog.set_quota(workspace.id, quota)
    fill(folder, {f"A_{number}.jpg": jpeg(64, 48, quality=75 - number) for number in range(4)})
    result = import_folder("--category", "toys")
    assert result.exit_code == 1
    assert (
        result.stderr
        == f"Stopped: This workspace has reached its quota of {reason}. Run it again to continue.\n"
    )
    assert len(products(catalog, workspace)["A"].images) == len(keys_of(storage)) == 2
    catalog.set_quota(workspace.id, Quota())
    assert import_folder("--category", "toys").stdout == summary(0, 1, 2, 2)


def test_a_quota_of_products_leaves_the_existing_ones_their_pictures(
    import_folder: Command, folder: Path, catalog: Catalog, workspace: Workspace
) -> None:
    product = new_product(catalog, workspace, model="Z")
    catalog.set_quota(workspace.id, Quota(products=1))
    fill(folder, {"A.jpg": PICTURES[0], "Z.png": PICTURES[1]})
    result = import_folder("--category", "toys")
    assert result.exit_code == 1
    assert result.stderr.startswith("A: refused: This workspace has reached its quota of products.")
    assert len(current(catalog, product).images) == 1


@pytest.mark.parametrize("method", ["find_product", "create_product", "append_image"])
def test_a_catalog_that_fails_ends_the_import_and_the_next_run_goes_on(
    import_folder: Command,
    folder: Path,
    catalog: Catalog,
    storage: StorageBackend,
    workspace: Workspace,
    monkeypatch: pytest.MonkeyPatch,
    method: str,
) -> None:
    fill(folder, {"A.jpg": PICTURES[0], "A_2.png": PICTURES[1], "B.jpg": PICTURES[3]})
    before_the_next(monkeypatch, catalog, method, fail_with(CatalogUnavailable("the catalog is gone")))
    result = import_folder("--category", "toys")
    assert result.exit_code == 1
    assert "the catalog is gone" in result.stderr
    assert import_folder("--category", "toys").exit_code == 0
    found = products(catalog, workspace)
    assert stored(storage, found["A"]) == PICTURES[:2]
    assert len(keys_of(storage)) == 3


def test_a_storage_that_fails_ends_the_import_and_the_next_run_goes_on(
    import_folder: Command,
    folder: Path,
    catalog: Catalog,
    storage: StorageBackend,
    workspace: Workspace,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fill(folder, {"A.jpg": PICTURES[0], "A_2.png": PICTURES[1], "A_3.webp": PICTURES[2]})
    put, count = storage.put, [0]

    def fail_second(*args: object, **options: object) -> None:
        count[0] += 1
        if count[0] == 2:
            raise StorageUnavailable("the disk is full")
        put(*args, **options)  # type: ignore[arg-type]  # as they came

    monkeypatch.setattr(storage, "put", fail_second)
    result = import_folder("--category", "toys")
    assert result.exit_code == 1
    assert result.stderr == "Stopped: the disk is full. Run it again to continue.\n"
    assert result.stdout == summary(1, 0, 1, 0)
    assert import_folder("--category", "toys").stdout == summary(0, 1, 2, 1)
    assert stored(storage, products(catalog, workspace)["A"]) == PICTURES[:3]


def test_an_interrupt_ends_after_the_present_pictures_and_the_next_run_goes_on(
    import_folder: Command,
    folder: Path,
    catalog: Catalog,
    storage: StorageBackend,
    workspace: Workspace,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fill(folder, {f"A_{number}.jpg": jpeg(64, 40 + number) for number in range(10)})
    put, interrupted = storage.put, threading.Event()

    def wait(*_: object, **__: object) -> None:
        interrupted.wait(30)
        raise KeyboardInterrupt

    def put_and_interrupt(*args: object, **options: object) -> None:
        interrupted.set()
        put(*args, **options)  # type: ignore[arg-type]  # as they came

    monkeypatch.setattr(storage, "put", put_and_interrupt)
    monkeypatch.setattr("moving.run.wait", wait)
    result = import_folder("--category", "toys")
    assert result.exit_code == 130
    assert result.stderr == "Interrupted. Run it again to continue.\n"
    monkeypatch.undo()
    done = len(products(catalog, workspace)["A"].images)
    assert import_folder("--category", "toys").stdout == summary(0, 1, 10 - done, done)
    assert stored(storage, products(catalog, workspace)["A"]) == [
        jpeg(64, 40 + number) for number in range(10)
    ]


def test_a_picture_that_is_uploaded_meanwhile_stays(
    import_folder: Command,
    folder: Path,
    catalog: Catalog,
    workspace: Workspace,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    product = new_product(catalog, workspace, model="A", images=externals(1))
    fill(folder, {"A_1.jpg": PICTURES[0], "A_3.jpg": PICTURES[3]})
    import_folder()
    fill(folder, {"A_2.png": PICTURES[1]})
    uploaded = hosted_image()
    before_the_next(
        monkeypatch,
        catalog,
        "update_product",
        lambda: catalog.append_image(workspace.id, product.id, uploaded),
    )
    assert import_folder().exit_code == 0
    assert [image.sha256 for image in current(catalog, product).images] == [
        None,
        *(sha256(data) for data in (PICTURES[0], PICTURES[1], PICTURES[3])),
        uploaded.sha256,
    ]


@on_both_catalogs
def test_a_picture_that_another_import_adds_meanwhile_is_counted_as_here_already(
    import_folder: Command,
    folder: Path,
    catalog: Catalog,
    workspace: Workspace,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    new_product(catalog, workspace, model="A")
    fill(folder, {"A.jpg": jpeg()})
    before_the_next(monkeypatch, catalog, "append_image", import_folder)
    assert import_folder().stdout == summary(0, 1, 0, 1)
    (image,) = products(catalog, workspace)["A"].images
    assert image.sha256 == sha256(jpeg())


def test_a_product_that_is_deleted_meanwhile_does_not_stop_the_others(
    import_folder: Command,
    folder: Path,
    catalog: Catalog,
    storage: StorageBackend,
    workspace: Workspace,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    product = new_product(catalog, workspace, model="A")
    other = new_product(catalog, workspace, model="B")
    fill(folder, {"A_1.jpg": PICTURES[0], "A_2.jpg": PICTURES[3], "B.png": PICTURES[1]})
    append = catalog.append_image

    def delete_first(workspace_id: str, product_id: str, *args: object, **options: object) -> object:
        if product_id == product.id:
            catalog.delete_product(workspace_id, product_id)
        return append(workspace_id, product_id, *args, **options)  # type: ignore[arg-type]  # as they came

    monkeypatch.setattr(catalog, "append_image", delete_first)
    result = import_folder()
    assert (result.exit_code, result.stderr) == (1, "A: refused: Product not found\n")
    assert len(current(catalog, other).images) == 1
    assert len(keys_of(storage)) == 1


@pytest.mark.parametrize("args", [(), ("--dry-run",)])
@pytest.mark.parametrize("busy", [ServerBusy(), ShareUsed()])
def test_a_decode_that_finds_no_turn_waits_for_one(
    import_folder: Command,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    busy: Exception,
    args: tuple[str, ...],
) -> None:
    fill(folder, {"A.jpg": PICTURES[0]})
    before_the_next(monkeypatch, uploads, "validate", fail_with(busy))
    waits: list[float] = []
    monkeypatch.setattr("moving.intake.time.sleep", waits.append)
    result = import_folder("--category", "toys", *args)
    assert (result.exit_code, result.stderr, waits) == (0, "", [2])


def test_an_unknown_workspace_is_one_sentence(runner: FlaskCliRunner, folder: Path) -> None:
    result = runner.invoke(args=["import", "folder", str(folder), "--workspace", "nope"])
    assert (result.exit_code, result.stderr) == (1, "Error: The workspace nope does not exist.\n")
