from __future__ import annotations

import csv
import gc
import json
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskCliRunner

from catalog.base import PAGE, Catalog, Image, Product
from catalog.identity import Workspace
from moving.export import Names
from storage.base import StorageBackend, StorageUnavailable
from tests.factories import current, externals, new_product, new_workspace
from tests.faults import before_the_next, fail_with
from tests.moving.conftest import Command, products, sha256, stored
from tests.pictures import jpeg, png, webp
from uploads import Uploads
from validators.base import FilePart, Upload


@pytest.fixture
def export(runner: FlaskCliRunner, workspace: Workspace, tmp_path: Path) -> Command:
    """Exports ``workspace`` to ``tmp_path / "out"``."""
    return lambda: runner.invoke(args=["export", "--workspace", workspace.id, "--to", str(tmp_path / "out")])


def with_pictures(catalog: Catalog, uploads: Uploads, product: Product, *pictures: bytes) -> Product:
    for data in pictures:
        uploads.add(current(catalog, product), Upload([FilePart("file", data)]), skip_present=False)
    return current(catalog, product)


def files(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


def test_the_folder_has_the_products_and_their_pictures(
    export: Command, catalog: Catalog, uploads: Uploads, workspace: Workspace, tmp_path: Path
) -> None:
    pack = new_product(
        catalog, workspace, model="BAT-48V", description="A pack", default_field_values={"kWh": 4.8}
    )
    pack = with_pictures(catalog, uploads, pack, jpeg(), png())
    lamp = new_product(catalog, workspace, model="Lamp", name="Lampada", category="electronics")
    catalog.update_product(workspace.id, lamp.id, {"images": externals(1), "status": "archived"})
    lamp = with_pictures(catalog, uploads, lamp, webp())
    new_product(catalog, new_workspace(catalog), model="Not ours")

    result = export()

    size = len(jpeg()) + len(png()) + len(webp())
    assert (result.exit_code, result.stderr) == (0, "")
    assert (
        result.stdout
        == f"2 products and 3 pictures ({size} bytes) written to {tmp_path / 'out'}, 0 problems.\n"
    )
    written = files(tmp_path / "out")
    assert {name: data for name, data in written.items() if not name.startswith("products.")} == {
        "BAT-48V/BAT-48V_1.jpg": jpeg(),
        "BAT-48V/BAT-48V_2.png": png(),
        "Lamp/Lamp_2.webp": webp(),
    }
    content = json.loads(written["products.json"])
    assert (content["format"], content["version"]) == ("vetrina-products", 1)
    first, second = content["products"]
    assert {name: value for name, value in first.items() if not name.endswith("At")} == {
        "model": "BAT-48V",
        "name": pack.name,
        "category": "batteries",
        "description": "A pack",
        "defaultFieldValues": {"kWh": 4.8},
        "sourceLocale": "en",
        "status": "active",
        "images": [
            entry("BAT-48V/BAT-48V_1.jpg", pack.image_urls[0], jpeg(), "image/jpeg"),
            entry("BAT-48V/BAT-48V_2.png", pack.image_urls[1], png(), "image/png"),
        ],
    }
    assert second["status"] == "archived"
    assert second["images"] == [
        {"url": "https://cdn.example.com/0.png", "alt": {}},
        entry("Lamp/Lamp_2.webp", lamp.image_urls[1], webp(), "image/webp"),
    ]
    assert table(tmp_path / "out") == [
        {
            "model": "BAT-48V",
            "name": pack.name,
            "category": "batteries",
            "description": "A pack",
            "sourceLocale": "en",
            "status": "active",
            "imageUrl1": pack.image_urls[0],
            "imageFile1": "BAT-48V/BAT-48V_1.jpg",
            "imageAlt1": "",
            "imageUrl2": pack.image_urls[1],
            "imageFile2": "BAT-48V/BAT-48V_2.png",
            "imageAlt2": "",
        },
        {
            "model": "Lamp",
            "name": "Lampada",
            "category": "electronics",
            "description": "",
            "sourceLocale": "en",
            "status": "archived",
            "imageUrl1": "https://cdn.example.com/0.png",
            "imageFile1": "",
            "imageAlt1": "",
            "imageUrl2": lamp.image_urls[1],
            "imageFile2": "Lamp/Lamp_2.webp",
            "imageAlt2": "",
        },
    ]


def entry(file: str, url: str, data: bytes, content_type: str) -> dict[str, Any]:
    return {
        "file": file,
        "url": url,
        "sha256": sha256(data),
        "contentType": content_type,
        "width": 64,
        "height": 48,
        "alt": {},
    }


def table(folder: Path) -> list[dict[str, str]]:
    with (folder / "products.csv").open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def test_import_folder_brings_an_export_back_byte_for_byte(
    export: Command,
    runner: FlaskCliRunner,
    catalog: Catalog,
    storage: StorageBackend,
    uploads: Uploads,
    workspace: Workspace,
    tmp_path: Path,
) -> None:
    # Models that no file can have as its name, that differ in case only, or that look like a number.
    models = ["a/b", "A/B", "..", "con", "Lamp", "lamp", "città", "x" * 100, "A100_2", " A "]
    for number, model in enumerate(models):
        product = new_product(
            catalog,
            workspace,
            model=model,
            name=f"Name {number}",
            description=None if number % 2 else "Text",
            default_field_values={"number": number},
            source_locale="it",
            status="archived" if number == 3 else "active",
            images=externals(1) if number == 4 else (),
        )
        with_pictures(catalog, uploads, product, jpeg(64, 30 + number), png(64, 30 + number))
    assert export().exit_code == 0

    other = new_workspace(catalog)
    args = ["import", "folder", str(tmp_path / "out"), "--workspace", other.id]
    result = runner.invoke(args=args)

    assert (result.exit_code, result.stderr) == (0, "")
    before, after = products(catalog, workspace), products(catalog, other)
    assert [facts(after[model], storage) for model in models] == [
        facts(before[model], storage) for model in models
    ]
    result = runner.invoke(args=args)
    assert result.stdout == (
        "Products: 0 made, 0 changed, 10 unchanged. Pictures: 0 added, 20 here already, 1 external URL.\n"
    )
    assert products(catalog, other) == after


def facts(product: Product, storage: StorageBackend) -> tuple[Any, ...]:
    fields = (product.name, product.category, product.description, product.default_field_values)
    return (*fields, product.source_locale, product.status, stored(storage, product))


def test_the_pictures_alone_go_back_to_the_products_of_their_folders(
    export: Command,
    runner: FlaskCliRunner,
    catalog: Catalog,
    storage: StorageBackend,
    uploads: Uploads,
    workspace: Workspace,
    tmp_path: Path,
) -> None:
    pictures = [jpeg(64, 30 + number) for number in range(12)]
    with_pictures(catalog, uploads, new_product(catalog, workspace, model="BAT-48V"), *pictures)
    export()
    (tmp_path / "out" / "products.json").unlink()
    other = new_workspace(catalog)
    folder = str(tmp_path / "out")
    runner.invoke(args=["import", "folder", folder, "--workspace", other.id, "--category", "toys"])
    assert stored(storage, products(catalog, other)["BAT-48V"]) == pictures


def test_a_changed_field_of_the_export_changes_the_product(
    export: Command, runner: FlaskCliRunner, catalog: Catalog, workspace: Workspace, tmp_path: Path
) -> None:
    product = new_product(catalog, workspace)
    export()
    file = tmp_path / "out" / "products.json"
    file.write_text(file.read_text().replace(product.name, "Another name"))
    result = runner.invoke(args=["import", "folder", str(tmp_path / "out"), "--workspace", workspace.id])
    assert result.stdout == ("Products: 0 made, 1 changed, 0 unchanged. Pictures: 0 added, 0 here already.\n")
    assert current(catalog, product).name == "Another name"


def test_an_export_overwrites_nothing(export: Command, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("mine")
    result = export()
    assert result.exit_code == 1
    assert result.stderr == f"Error: The export has stopped: {tmp_path / 'out'} is not empty.\n"
    assert files(tmp_path / "out") == {"thesis.txt": b"mine"}


def test_an_export_that_fails_can_be_run_again_and_not_imported(
    export: Command,
    runner: FlaskCliRunner,
    catalog: Catalog,
    storage: StorageBackend,
    uploads: Uploads,
    workspace: Workspace,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with_pictures(catalog, uploads, new_product(catalog, workspace, model="A"), jpeg())
    before_the_next(monkeypatch, storage, "open", fail_with(StorageUnavailable("the bucket is gone")))
    result = export()
    assert (result.exit_code, result.stderr) == (1, "Error: The storage can't be used: the bucket is gone.\n")
    args = ["import", "folder", str(tmp_path / "out"), "--workspace", workspace.id]
    result = runner.invoke(args=args)
    assert (result.exit_code, result.stdout) == (1, "")
    assert "can't be imported: the export in it has not ended" in result.stderr
    assert export().exit_code == 0
    assert "INCOMPLETE" not in files(tmp_path / "out")
    assert runner.invoke(args=args).exit_code == 0


def test_a_missing_or_damaged_object_is_named_and_does_not_stop_the_others(
    export: Command,
    catalog: Catalog,
    storage: StorageBackend,
    uploads: Uploads,
    workspace: Workspace,
    tmp_path: Path,
) -> None:
    product = new_product(catalog, workspace, model="A\x1b[2J")
    product = with_pictures(catalog, uploads, product, jpeg(), png(), webp())
    keys = [image.key or "" for image in product.images]
    storage.delete(keys[0])
    storage.put(keys[1], png()[:-1], sha256=b"")
    result = export()
    assert result.exit_code == 1
    assert result.stderr.splitlines() == [
        f"A\N{REPLACEMENT CHARACTER}[2J: the stored picture {keys[0]} does not exist",
        f"A\N{REPLACEMENT CHARACTER}[2J: {keys[1]} has {len(png()) - 1} bytes, and should have {len(png())}",
    ]
    assert result.stdout.endswith(", 2 problems.\n")
    assert files(tmp_path / "out")["A_[2J/A_[2J_3.webp"] == webp()


def test_each_model_has_a_file_name_of_its_own() -> None:
    names = Names()
    given = {
        model: names.of(model)
        for model in ("A", "a", "A~2", "", ".", "NUL", "nul.txt", ".x", "ü" * 60, "A/B")
    }
    assert given == {
        "A": "A",
        "a": "a~2",
        "A~2": "A~2~2",
        "": "_",
        ".": "_~2",
        "NUL": "_NUL",
        "nul.txt": "_nul.txt",
        ".x": "x",
        "ü" * 60: "ü" * 50,
        "A/B": "A_B",
    }


@pytest.mark.parametrize("content", ["{", "[]", '{"format": "other"}', "\0"])
def test_a_json_file_of_another_format_is_left_out(
    runner: FlaskCliRunner, workspace: Workspace, tmp_path: Path, content: str
) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "products.json").write_text(content)
    result = runner.invoke(args=["import", "folder", str(folder), "--workspace", workspace.id, "--dry-run"])
    assert result.exit_code == 0
    assert "products.json  left out: not a picture" in result.stdout


@pytest.mark.parametrize(
    "products",
    [
        *("null", "[1]", "[{}]"),
        *(f'[{{"model": "A", "status": "active", "images": {images}}}]' for images in ("5", "[5]", '["a"]')),
    ],
)
def test_a_damaged_export_is_one_sentence(
    runner: FlaskCliRunner, workspace: Workspace, tmp_path: Path, products: str
) -> None:
    text = f'{{"format": "vetrina-products", "version": 1, "products": {products}}}'
    (tmp_path / "products.json").write_text(text)
    result = runner.invoke(args=["import", "folder", str(tmp_path), "--workspace", workspace.id])
    assert (result.exit_code, result.stderr) == (
        1,
        f"Error: {tmp_path} can't be imported: products.json is damaged.\n",
    )


@pytest.mark.parametrize("options", [[], ["--json"], ["--dry-run"]])
def test_a_model_that_is_no_text_does_not_stop_the_others(
    runner: FlaskCliRunner, catalog: Catalog, workspace: Workspace, tmp_path: Path, options: list[str]
) -> None:
    new_product(catalog, workspace, model="B", name="Old")
    entries: list[dict[str, Any]] = [
        {"model": model, "name": "New", "category": "toys", "status": "active", "images": []}
        for model in ("\ud800", "B")
    ]
    content = {"format": "vetrina-products", "version": 1, "products": entries}
    (tmp_path / "products.json").write_text(json.dumps(content))
    result = runner.invoke(args=["import", "folder", str(tmp_path), "--workspace", workspace.id, *options])
    assert result.exit_code == 1
    assert "the model has a character that is none" in result.output
    assert products(catalog, workspace)["B"].name == ("Old" if "--dry-run" in options else "New")


def test_an_export_that_names_files_elsewhere_reads_none_of_them(
    runner: FlaskCliRunner, catalog: Catalog, workspace: Workspace, tmp_path: Path
) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    (tmp_path / "secret.jpg").write_bytes(jpeg())
    images = [
        {"file": name} for name in ("../secret.jpg", str(tmp_path / "secret.jpg"), "missing.jpg", "a\0b")
    ]
    product = {"model": "A", "name": "A", "category": "toys", "status": "active", "images": images}
    content = {"format": "vetrina-products", "version": 1, "products": [product]}
    (folder / "products.json").write_text(json.dumps(content))
    result = runner.invoke(args=["import", "folder", str(folder), "--workspace", workspace.id])
    assert result.exit_code == 1
    assert result.stderr.splitlines() == [
        "../secret.jpg: refused: a link that leads out of the folder",
        f"{tmp_path / 'secret.jpg'}: refused: a link that leads out of the folder",
        "missing.jpg: refused: can't be read: No such file or directory",
        "a\N{REPLACEMENT CHARACTER}b: refused: not a name of a file",
    ]
    assert products(catalog, workspace)["A"].images == ()


def test_no_cell_of_the_table_is_a_formula_in_a_spreadsheet(
    export: Command, catalog: Catalog, workspace: Workspace, tmp_path: Path
) -> None:
    formulas = [
        "=1+1",
        "+1",
        "-1",
        "@SUM(A1)",
        " =1",
        "\t=1",
        "\r=1",
        "\n-1",
        "\N{FULLWIDTH EQUALS SIGN}1",
        "'=1",
        "''=1",
    ]
    others = ["'quoted'", "a=1", "1-1", "'", ""]
    for number, text in enumerate(formulas + others):
        image = Image(url="https://cdn.example.com/1.png", alt={"en": text} if text else None)
        new_product(
            *(catalog, workspace),
            model=f"{text}{number}",
            name=text or "x",
            description=text or None,
            images=(image,),
        )
    assert export().exit_code == 0
    rows = table(tmp_path / "out")
    for number, (row, text) in enumerate(zip(rows, formulas, strict=False)):
        cells = [row[name] for name in ("model", "name", "description", "imageAlt1")]
        assert cells == [f"'{text}{number}", f"'{text}", f"'{text}", f"'{text}"]
    kept = [row["description"] for row in rows[len(formulas) :]]
    assert kept == others
    told = json.loads((tmp_path / "out" / "products.json").read_text())["products"]
    assert [product["description"] or "" for product in told] == formulas + others


def test_an_export_holds_few_products_at_a_time(
    export: Command, catalog: Catalog, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(3 * PAGE):
        new_product(catalog, workspace, model=f"M{number}")
    get_product, most = catalog.get_product, 0

    def count(*ids: str) -> Product:
        nonlocal most
        # isinstance() would ask the proxies that other tests have left for the class of what is gone.
        products = [each for each in gc.get_objects() if type(each) is Product]
        most = max(most, sum(each.workspace_id == workspace.id for each in products))
        return get_product(*ids)

    monkeypatch.setattr(catalog, "get_product", count)
    assert export().exit_code == 0
    assert 0 < most <= PAGE


def test_an_unknown_workspace_is_one_sentence(runner: FlaskCliRunner, tmp_path: Path) -> None:
    result = runner.invoke(args=["export", "--workspace", "nope", "--to", str(tmp_path / "out")])
    assert (result.exit_code, result.stderr) == (1, "Error: The workspace nope does not exist.\n")
    assert not (tmp_path / "out").exists()


def test_the_summary_is_one_json_object(
    catalog: Catalog, uploads: Uploads, workspace: Workspace, runner: FlaskCliRunner, tmp_path: Path
) -> None:
    with_pictures(catalog, uploads, new_product(catalog, workspace), jpeg())
    args = ["export", "--workspace", workspace.id, "--to", str(tmp_path / "out"), "--json"]
    expected = {"products": 1, "pictures": 1, "bytes": len(jpeg()), "problems": 0}
    assert json.loads(runner.invoke(args=args).stdout) == expected
