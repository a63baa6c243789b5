from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import Result
from flask.testing import FlaskCliRunner

from catalog.base import Catalog, Image, Product
from catalog.identity import Workspace
from tests.api.fixtures import on_both_catalogs
from tests.factories import current, new_product, new_workspace
from tests.moving.conftest import fill, products
from tests.pictures import jpeg, png
from uploads import Uploads
from validators.base import FilePart, Upload

TEXTS = [{"it": "Davanti", "en": "Front"}, None, {"de": "Hinten"}]


@pytest.fixture
def product(catalog: Catalog, uploads: Uploads, workspace: Workspace) -> Product:
    """An Italian product: two pictures, and an external URL between them. They have the texts ``TEXTS``."""
    product = new_product(catalog, workspace, model="A", source_locale="it")
    for data in (jpeg(), png()):
        uploads.add(current(catalog, product), Upload([FilePart("file", data)]), skip_present=False)
    first, last = current(catalog, product).images
    images = (first, Image(url="https://cdn.example.com/0.png"), last)
    described = [replace(image, alt=alt) for image, alt in zip(images, TEXTS, strict=True)]
    return catalog.update_product(workspace.id, product.id, {"images": described})


@pytest.fixture
def exported(runner: FlaskCliRunner, product: Product, workspace: Workspace, tmp_path: Path) -> Path:
    assert product.workspace_id == workspace.id
    path = tmp_path / "out"
    assert runner.invoke(args=["export", "--workspace", workspace.id, "--to", str(path)]).exit_code == 0
    return path


def alts(product: Product) -> list[dict[str, str] | None]:
    return [None if image.alt is None else dict(image.alt) for image in product.images]


@on_both_catalogs
def test_an_export_has_the_texts_and_import_folder_brings_them_back(
    exported: Path, runner: FlaskCliRunner, catalog: Catalog
) -> None:
    (entry,) = json.loads((exported / "products.json").read_text())["products"]
    assert [image["alt"] for image in entry["images"]] == [TEXTS[0], {}, TEXTS[2]]
    other = new_workspace(catalog)
    args = ["import", "folder", str(exported), "--workspace", other.id]
    result = runner.invoke(args=args)
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == (
        "Products: 1 made, 0 changed, 0 unchanged. "
        "Pictures: 2 added, 0 here already, 2 text changed, 1 external URL.\n"
    )
    before = products(catalog, other)
    assert alts(before["A"]) == TEXTS
    assert "text changed" not in runner.invoke(args=args).stdout
    assert products(catalog, other) == before


def test_a_table_has_the_texts_in_the_language_of_the_product(
    exported: Path, runner: FlaskCliRunner, catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = new_workspace(catalog)
    # The external picture can't be downloaded, and keeps its URL.
    monkeypatch.setattr("moving.fetch.resolve", lambda *_: ["10.0.0.1"])
    args = ["import", "csv", str(exported / "products.csv"), "--workspace", other.id]
    assert runner.invoke(args=args).exit_code == 1
    assert alts(products(catalog, other)["A"]) == [{"it": "Davanti"}, None, None]


def test_texts_in_other_languages_stay(
    exported: Path, runner: FlaskCliRunner, catalog: Catalog, product: Product, workspace: Workspace
) -> None:
    images = [replace(image, alt={"fr": "Autre", "en": "Old"}) for image in product.images]
    catalog.update_product(workspace.id, product.id, {"images": images})
    assert runner.invoke(args=["import", "folder", str(exported), "--workspace", workspace.id]).exit_code == 0
    assert alts(current(catalog, product)) == [
        {"fr": "Autre", "en": "Front", "it": "Davanti"},
        {"fr": "Autre", "en": "Old"},
        {"fr": "Autre", "en": "Old", "de": "Hinten"},
    ]


def import_table(
    runner: FlaskCliRunner, workspace: Workspace, folder: Path, table: str, *args: str
) -> Result:
    (folder / "table.csv").write_text(table)
    return runner.invoke(
        args=["import", "csv", str(folder / "table.csv"), "--workspace", workspace.id, *args]
    )


@pytest.mark.parametrize("header", ["imageAlt1", "Alt text 1", "Testo alternativo 1"])
def test_a_column_of_a_table_has_the_text(
    runner: FlaskCliRunner, catalog: Catalog, workspace: Workspace, tmp_path: Path, header: str
) -> None:
    fill(tmp_path, {"1.jpg": jpeg()})
    table = f"model;category;lingua;imageFile1;{header}\nA;toys;it;1.jpg;Una lampada\n"
    assert "1 text changed" in import_table(runner, workspace, tmp_path, table, "--dry-run").stdout
    assert products(catalog, workspace) == {}
    result = import_table(runner, workspace, tmp_path, table)
    assert (result.exit_code, result.stderr) == (0, "")
    assert alts(products(catalog, workspace)["A"]) == [{"it": "Una lampada"}]
    assert "text changed" not in import_table(runner, workspace, tmp_path, table).stdout


def test_a_text_that_is_refused_is_told_and_the_picture_stays(
    runner: FlaskCliRunner, catalog: Catalog, workspace: Workspace, tmp_path: Path
) -> None:
    fill(tmp_path, {"1.jpg": jpeg(), "2.png": png()})
    table = f"model,category,imageFile1,imageAlt1,imageFile2,imageAlt2\nA,toys,1.jpg,{'x' * 501},2.png,Good\n"
    result = import_table(runner, workspace, tmp_path, table)
    assert result.exit_code == 1
    assert result.stderr == "line 2: 1.jpg: refused: alt: Must have at most 500 characters\n"
    assert alts(products(catalog, workspace)["A"]) == [None, {"en": "Good"}]
