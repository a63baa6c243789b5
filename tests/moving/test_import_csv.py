from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result
from flask.testing import FlaskCliRunner

from catalog.base import Catalog
from catalog.identity import Workspace
from moving.table import decoded
from storage.base import StorageBackend
from tests.factories import current, new_product, new_workspace
from tests.moving import relay as faults
from tests.moving.conftest import fill, products, stored
from tests.moving.relay import Relay
from tests.pictures import jpeg, png, webp
from uploads import Uploads
from validators.base import FilePart, Upload

pytestmark = pytest.mark.usefixtures("trusted")

ImportCsv = Callable[..., Result]


@pytest.fixture
def import_csv(runner: FlaskCliRunner, workspace: Workspace, tmp_path: Path) -> ImportCsv:
    """Imports a table with this text or these bytes into ``workspace``."""

    def run(table: str | bytes, *args: str) -> Result:
        path = tmp_path / "products.csv"
        path.write_bytes(table if isinstance(table, bytes) else table.encode())
        options = ("--workspace", workspace.id, "--allow-private", *args)
        return runner.invoke(args=["import", "csv", str(path), *options])

    return run


def summary(products: str, pictures: str) -> str:
    return f"Products: {products}. Pictures: {pictures}.\n"


def test_rows_become_products_with_their_pictures_in_order(
    import_csv: ImportCsv, front: Relay, catalog: Catalog, storage: StorageBackend, workspace: Workspace
) -> None:
    front.files = {"/1.jpg": jpeg(), "/2.png": png(), "/10.webp": webp()}
    one, two, ten = map(front.cdn, front.files)
    table = (
        "model,name,category,imageUrl1,imageUrl2,imageUrl10\r\n"
        f'A100,"Lamp, large",electronics,{one},{two},{ten}\r\n'
        "\r\n"
        f"B200,Toy,toys,,{two},\r\n"
    )
    result = import_csv(table)
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == summary("2 made, 0 changed, 0 unchanged", "4 added, 0 here already")
    found = products(catalog, workspace)
    assert {model: (item.name, item.category) for model, item in found.items()} == {
        "A100": ("Lamp, large", "electronics"),
        "B200": ("Toy", "toys"),
    }
    assert stored(storage, found["A100"]) == [jpeg(), png(), webp()]
    assert stored(storage, found["B200"]) == [png()]

    front.seen.clear()
    result = import_csv(table)
    assert result.stdout == summary("0 made, 0 changed, 2 unchanged", "0 added, 4 here already")
    assert products(catalog, workspace) == found
    assert front.seen == []


ITALIAN = (
    "Modello;Nome;Categoria;Descrizione;URL immagine 1\n"
    "Città-1;Lampada è accesa – 5 €;Elettronica;Perché no;\n"
)


@pytest.mark.parametrize(
    ("encoding", "mark"),
    [
        ("utf-8", b""),
        ("utf-8-sig", b""),
        ("cp1252", b""),
        ("utf-16", b""),
        ("utf-16-le", b""),
        ("utf-16-be", b"\xfe\xff"),
    ],
)
def test_encodings_and_italian_headers_are_recognised(
    import_csv: ImportCsv, catalog: Catalog, workspace: Workspace, encoding: str, mark: bytes
) -> None:
    result = import_csv(mark + ITALIAN.encode(encoding))
    assert (result.exit_code, result.stderr) == (0, "")
    (product,) = products(catalog, workspace).values()
    assert (product.model, product.name, product.category, product.description) == (
        "Città-1",
        "Lampada è accesa – 5 €",
        "electronics",
        "Perché no",
    )


@pytest.mark.parametrize("encoding", ["cp1252", "iso8859_15", "mac_roman"])
def test_longer_texts_of_other_encodings_are_recognised(encoding: str) -> None:
    text = (
        "codice;nome;categoria;descrizione\n"
        "T-1;Tavolo allungabile;mobili;Il più venduto: è robusto, facile da pulire e già montato.\n"
        "T-2;Sedia;mobili;Comodità e qualità per la tua città. Perché aspettare? Può essere tua martedì.\n"
    )
    assert decoded(text.encode(encoding)) == text


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("start", ["", "\n\n"])
def test_delimiters_are_recognised(
    import_csv: ImportCsv, catalog: Catalog, workspace: Workspace, delimiter: str, start: str
) -> None:
    rows = [["SKU", "Product name", "Product category"], ["A,1;2", "One, two; three | four", "toys"]]
    quoted = "\n".join(delimiter.join(f'"{cell}"' for cell in row) for row in rows)
    assert import_csv(start + quoted).exit_code == 0
    (product,) = products(catalog, workspace).values()
    assert (product.model, product.name) == ("A,1;2", "One, two; three | four")


def test_the_line_with_which_excel_names_the_delimiter_is_read(
    import_csv: ImportCsv, catalog: Catalog, workspace: Workspace
) -> None:
    result = import_csv("sep=|\r\nmodel|name|category\r\nA|a,b|toys\r\n|x|toys\r\n")
    assert result.stderr == "line 4: refused: it has no model\n"
    assert products(catalog, workspace)["A"].name == "a,b"


@pytest.mark.parametrize(
    "header",
    [
        "Handle,Title,Variant SKU,Image Src",
        "codice articolo,denominazione,-,foto",
        "MODEL , Name,x,Image URL",
        "Codice,Titolo,x,Link immagine",
    ],
)
def test_headers_of_shops_are_recognised(
    import_csv: ImportCsv, front: Relay, catalog: Catalog, workspace: Workspace, header: str
) -> None:
    front.files = {"/1.jpg": jpeg()}
    result = import_csv(f"{header}\nA100,Lamp,A100,{front.cdn('/1.jpg')}\n", "--category", "toys")
    assert (result.exit_code, result.stderr) == (0, "")
    product = products(catalog, workspace)["A100"]
    assert (product.name, len(product.images)) == ("Lamp", 1)


def test_further_rows_of_a_model_add_pictures(
    import_csv: ImportCsv, front: Relay, catalog: Catalog, storage: StorageBackend, workspace: Workspace
) -> None:
    front.files = {"/1.jpg": jpeg(), "/2.png": png(), "/3.webp": webp()}
    one, two, three = map(front.cdn, front.files)
    result = import_csv(
        f"Handle,Title,Category,Image Src\nlamp,Lamp,toys,{one}\nlamp,,,{two}\nlamp,Other,toys,{three}\n"
    )
    assert result.exit_code == 1
    assert result.stderr == "line 4: refused: line 2 has the same model and another name\n"
    assert stored(storage, products(catalog, workspace)["lamp"]) == [jpeg(), png()]


def test_several_urls_in_one_cell_are_several_pictures(
    import_csv: ImportCsv, front: Relay, catalog: Catalog, storage: StorageBackend, workspace: Workspace
) -> None:
    front.files = {"/1,a.jpg": jpeg(), "/2.png": png(), "/3.webp": webp()}
    one, two, three = map(front.cdn, front.files)
    assert import_csv(f'model;category;immagini\nA;toys;"{one}, {two}|{three}"\n').exit_code == 0
    assert stored(storage, products(catalog, workspace)["A"]) == [jpeg(), png(), webp()]


def test_rows_that_can_not_be_used_are_told_with_their_lines_and_the_others_go_on(
    import_csv: ImportCsv, front: Relay, catalog: Catalog, workspace: Workspace
) -> None:
    front.files = {"/bad.jpg": b"-"}
    front.faults = [("/gone.jpg", faults.status(404))]
    result = import_csv(
        "model,name,category,imageUrl1\n"  # 1
        "A1,One,toys,\n"
        ",No model,toys,\n"  # 3
        '"A2","Two\nlines",toys,\n'  # 4 and 5
        "A3,Three,toys,,one cell too many\n"  # 6
        "A4,Four,cars,\n"  # 7
        f"A5,Five,toys,{front.cdn('/bad.jpg')}\n"
        f"A6,Six,toys,{front.cdn('/gone.jpg')}\n"
        "A7,Seven,toys,http://cdn.example.com/1.jpg\n"  # 10
        f"A8,{'x' * 201},toys,\n"
        "A9,Nine,,\n"  # 12
        f"A10,{'x' * 200_000},toys,\n"  # 13
        "A11,Eleven,toys\n"
    )
    assert result.exit_code == 1
    errors = sorted(result.stderr.splitlines())
    assert [error for error in errors if "A4" not in error] == sorted(
        [
            "line 3: refused: it has no model",
            "line 6: refused: it has more cells than the first row has columns",
            f"line 8: {front.cdn('/bad.jpg')}: refused: Unsupported MIME type — accepts image/png, "
            "image/jpeg, image/webp; its URL stays",
            f"line 9: {front.cdn('/gone.jpg')}: refused: not downloaded: the answer is HTTP 404; "
            "its URL stays",
            "line 10: http://cdn.example.com/1.jpg: refused: not downloaded: only https URLs are downloaded",
            "A8: refused: line 11: name: String should have at most 200 characters",
            "A9: refused: line 12: there is no product of this model; give --category to make it",
            "line 13: refused: it is not CSV: field larger than field limit (131072)",
        ]
    )
    assert any(error.startswith("A4: refused: line 7: category: Input should be ") for error in errors)
    assert sorted(products(catalog, workspace)) == ["A1", "A11", "A2", "A5", "A6", "A7"]


def test_a_row_changes_the_fields_that_it_has(
    import_csv: ImportCsv, catalog: Catalog, workspace: Workspace
) -> None:
    product = new_product(catalog, workspace, model="A", name="Old", description="Kept", category="batteries")
    result = import_csv("model,name,category,description\nA,New,,\n", "--category", "toys")
    assert result.stdout == summary("0 made, 1 changed, 0 unchanged", "0 added, 0 here already")
    after = current(catalog, product)
    assert (after.name, after.description, after.category) == ("New", "Kept", "batteries")


def test_a_dry_run_downloads_and_writes_nothing(
    import_csv: ImportCsv, front: Relay, catalog: Catalog, workspace: Workspace
) -> None:
    url = front.cdn("/1.jpg")
    result = import_csv(f"model,category,imageUrl1\nA,toys,{url}\n,toys,\n", "--dry-run")
    assert result.exit_code == 1
    assert [line.split() for line in result.stdout.splitlines()[1:-1]] == [
        ["-", "line", "3", "refused:", "it", "has", "no", "model"],
        ["A", "made"],
        ["A", "line", "2:", url, "to", "be", "downloaded"],
    ]
    assert products(catalog, workspace) == {}
    assert front.seen == []


@pytest.mark.parametrize("table", ["", "\n\n", "name,price\nA,1\n", "\0\1\2", "just a text without a table"])
def test_a_file_without_a_column_for_the_model_is_one_sentence(import_csv: ImportCsv, table: str) -> None:
    result = import_csv(table)
    assert result.exit_code == 1
    assert result.stderr.endswith(
        "can't be imported: its first row has no column for the model, such as model, SKU or modello.\n"
    )


def test_a_table_of_too_many_columns_is_one_sentence(import_csv: ImportCsv) -> None:
    result = import_csv(f"model,{'image,' * 1000}category\nA\n")
    assert result.exit_code == 1
    assert result.stderr.endswith("can't be imported: its first row has more than 1000 columns.\n")


@pytest.mark.parametrize("header", [f"model,{'x' * 140_000}", '"model' + "x" * 140_000])
def test_a_first_row_that_is_not_csv_is_one_sentence(import_csv: ImportCsv, header: str) -> None:
    result = import_csv(f"{header}\nA,B\n")
    assert result.exit_code == 1
    assert "can't be imported: its first row has no column for the model" in result.stderr


@pytest.mark.parametrize("in_rows", [True, False])
def test_a_product_of_too_many_pictures_gets_those_within_the_bound(
    import_csv: ImportCsv, *, in_rows: bool
) -> None:
    urls = [f"https://cdn.example.com/{number}.png" for number in range(103)]
    cells = urls if in_rows else [" ".join(urls)]
    rows = "".join(f"A,toys,{cell}\n" for cell in cells)
    result = import_csv(f"model,category,image\n{rows}", "--dry-run", "--json")
    steps = json.loads(result.stdout)["steps"]
    refused = [step["picture"] for step in steps if step["action"] == "refused"]
    assert refused == (["line 102", "line 103", "line 104"] if in_rows else ["line 2"])
    assert sum(step["action"] == "download" for step in steps) == 100


def test_a_private_address_needs_an_option(
    runner: FlaskCliRunner, front: Relay, workspace: Workspace, tmp_path: Path
) -> None:
    (tmp_path / "a.csv").write_text(f"model,category,imageUrl\nA,toys,{front.cdn('/1.jpg')}\n")
    result = runner.invoke(args=["import", "csv", str(tmp_path / "a.csv"), "--workspace", workspace.id])
    assert "cdn.example.com has a private address, and --allow-private is not given" in result.stderr
    assert front.seen == []


def test_files_beside_the_table_are_read_and_none_elsewhere(
    import_csv: ImportCsv, catalog: Catalog, storage: StorageBackend, workspace: Workspace, tmp_path: Path
) -> None:
    fill(tmp_path, {"pictures/1.jpg": jpeg()})
    result = import_csv("model,category,imageFile1,imageFile2\nA,toys,pictures/1.jpg,/etc/passwd\n")
    assert result.exit_code == 1
    assert result.stderr == "line 2: /etc/passwd: refused: a link that leads out of the folder\n"
    assert stored(storage, products(catalog, workspace)["A"]) == [jpeg()]


def test_import_csv_brings_an_export_back_byte_for_byte(
    runner: FlaskCliRunner,
    catalog: Catalog,
    storage: StorageBackend,
    uploads: Uploads,
    workspace: Workspace,
    tmp_path: Path,
) -> None:
    for number, model in enumerate(["a/b", "Lampada; città", "=1+1", "'-1"]):
        product = new_product(
            catalog,
            workspace,
            model=model,
            name=f'Name "{number}",\nsecond line',
            description=None if number else "Text",
            source_locale="it",
            status="archived" if number == 2 else "active",
        )
        for data in (jpeg(64, 30 + number), png(64, 30 + number)):
            uploads.add(current(catalog, product), Upload([FilePart("file", data)]), skip_present=False)
    runner.invoke(args=["export", "--workspace", workspace.id, "--to", str(tmp_path / "out")])
    other = new_workspace(catalog)
    args = ["import", "csv", str(tmp_path / "out" / "products.csv"), "--workspace", other.id]
    result = runner.invoke(args=args)
    assert (result.exit_code, result.stderr) == (0, "")
    before, after = products(catalog, workspace), products(catalog, other)
    assert after.keys() == before.keys()
    for model, product in after.items():
        same = before[model]
        assert (
            product.name,
            product.category,
            product.description,
            product.status,
            product.source_locale,
        ) == (*(same.name, same.category, same.description, same.status, same.source_locale),)
        assert stored(storage, product) == stored(storage, same)
    result = runner.invoke(args=args)
    assert result.stdout == summary("0 made, 0 changed, 4 unchanged", "0 added, 8 here already")
    assert products(catalog, other) == after
