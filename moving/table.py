"""A table of products as a text file (CSV, RFC 4180), as shops and spreadsheets export it.

The encoding and the delimiter are detected, and columns are known by English and Italian names. Each row is
one product; further rows of the same model add pictures, as some shops write them. A row that can't be used
is reported with its line and the reason, and the others go on.
"""

from __future__ import annotations

import codecs
import csv
import io
import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Final

from charset_normalizer import from_bytes

from moving.downloads import Downloads
from moving.files import read_picture
from moving.formulas import unescaped
from moving.items import Action, Item, Picture, Step

_MAX_BYTES: Final = 256 * 1024 * 1024
_DELIMITERS: Final = ",;\t|"
#: The most columns of a table: each row is compared with all of them.
_MAX_COLUMNS: Final = 1000
#: The most pictures of a product that are looked at. A product has at most 20 here.
_MAX_PICTURES: Final = 100

#: The encodings that are tried if the text is not UTF-8: they are common in Western Europe.
_ENCODINGS: Final = ["cp1252", "iso8859_15", "mac_roman", "cp850"]
#: Longer marks come first, because the mark of UTF-32 begins with the mark of UTF-16.
_MARKS: Final = {
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}

#: The names of columns in lower case, without accents and punctuation. If a table has several, the first is
#: used.
_NAMES: Final[Mapping[str, Sequence[str]]] = {
    "model": (
        *("model", "modello", "sku", "variantsku", "mpn", "codice", "codiceprodotto", "codicearticolo"),
        *("codicemodello", "productcode", "itemcode", "itemnumber", "articolo", "reference", "riferimento"),
        *("ref", "rif", "handle"),
    ),
    "name": (
        *("name", "nome", "title", "titolo", "productname", "nomeprodotto", "producttitle", "denominazione"),
        *("product", "prodotto"),
    ),
    "category": ("category", "categoria", "productcategory", "categoriaprodotto", "categories", "categorie"),
    "description": ("description", "descrizione", "bodyhtml", "productdescription", "descrizioneprodotto"),
    "sourceLocale": ("sourcelocale", "locale", "language", "lingua"),
    "status": ("status", "stato"),
}
_IMAGE: Final = re.compile(
    r"(?:product)?(?:image(?:url|src|link)?|img|picture(?:url)?|photo(?:url)?|images|imageurls|pictures|photos"
    r"|foto|immagine|immagini|(?:url|link)(?:immagine|foto|image)|(?:immagine|foto)(?:url|link|principale)"
    r"|mainimage)([0-9]{0,3})"
)
_FILE: Final = re.compile(r"(?:imagefile|fileimmagine|immaginefile)([0-9]{0,3})")
_ALT: Final = re.compile(
    r"(?:imagealt(?:text)?|imgalt|alttext|alt|testoalternativo|testoaltimmagine|altimmagine"
    r"|testoalternativoimmagine)([0-9]{0,3})"
)

#: The categories of the contract by Italian names.
_CATEGORIES: Final = {
    "batterie": "batteries",
    "tessili": "textiles",
    "tessile": "textiles",
    "abbigliamento": "textiles",
    "gioielli": "jewelry",
    "gioielleria": "jewelry",
    "elettronica": "electronics",
    "mobili": "furniture",
    "arredamento": "furniture",
    "prodotti-chimici": "chemicals",
    "imballaggi": "packaging",
    "giocattoli": "toys",
    "pneumatici": "tyres",
    "acciaio": "iron-steel",
    "ferro-e-acciaio": "iron-steel",
    "edilizia": "construction",
    "costruzioni": "construction",
    "detergenti": "detergents",
    "vernici": "paints-coatings",
}
_ARCHIVED: Final = {"archived": True, "archiviato": True, "active": False, "attivo": False}


class TableUnusable(Exception):
    """The file has no table of products. The message is one sentence."""


@dataclass(frozen=True, slots=True)
class _Columns:
    """The columns of a table by their index.

    Attributes:
        fields: the index of each field.
        images: for each image, in order, the indexes of its URL, its file and its alternative text; -1 stands
            for a column that the table does not have.
    """

    fields: Mapping[str, int]
    images: Sequence[tuple[int, int, int]]
    count: int


@dataclass(slots=True)
class Table:
    """A table that has been read.

    Attributes:
        items: the products, in the order of the rows.
        problems: the rows that can't be used, and why.
    """

    items: list[Item] = field(default_factory=list)
    problems: list[Step] = field(default_factory=list)


def read_table(path: Path, downloads: Downloads, category: str | None) -> Table:
    """Reads a table.

    Args:
        path: the path of the file. The paths of pictures in it are relative to its folder.
        downloads: makes pictures out of URLs.
        category: the category of products that are created from a row without one.

    Raises:
        OSError: the file can't be read.
        TableUnusable
    """
    with path.open("rb") as file:
        data = file.read(_MAX_BYTES + 1)
    if len(data) > _MAX_BYTES:
        raise TableUnusable(f"it has more than {_MAX_BYTES} bytes")
    text = decoded(data)
    delimiter, skipped = _delimiter(text)
    rows = _rows(text, delimiter, skipped)
    header = next((row.cells for row in rows if row.cells), ())
    if len(header) > _MAX_COLUMNS:
        raise TableUnusable(f"its first row has more than {_MAX_COLUMNS} columns")
    columns = _columns(header)
    if "model" not in columns.fields:
        raise TableUnusable("its first row has no column for the model, such as model, SKU or modello")
    reader = _Reader(path.parent, columns, downloads, category)
    for row in rows:
        reader.add(row)
    return Table([entry.item for entry in reader.entries.values()], reader.problems)


def decoded(data: bytes) -> str:
    """The text of a file: by its byte order mark, as UTF-8, or by what its bytes look like."""
    for mark, encoding in _MARKS.items():
        if data.startswith(mark):
            return data.decode(encoding, "replace")
    if b"\0" in data[:2]:  # UTF-16 without a mark: the name of a column begins with an ASCII letter
        return data.decode("utf-16-le" if data[1:2] == b"\0" else "utf-16-be", "replace")
    try:
        return data.decode()
    except UnicodeDecodeError:
        best = from_bytes(data, cp_isolation=_ENCODINGS).best()
    return str(best) if best else data.decode("cp1252", "replace")


def _delimiter(text: str) -> tuple[str, int]:
    """The delimiter with which the first row has most known columns, and the lines before the table.

    Excel may write ``sep=;`` as the first line.
    """
    first = text[:10].split("\n", 1)[0].strip().lower()
    if first.startswith("sep=") and first[4:] and first[4] in _DELIMITERS:
        return first[4], 1
    header = next((line for line in text.splitlines() if line.strip()), "")

    def known(delimiter: str) -> tuple[int, int]:
        try:
            cells = next(csv.reader([header], delimiter=delimiter), [])
        except csv.Error:
            cells = []
        columns = _columns(cells[:_MAX_COLUMNS])
        return len(columns.fields) + len(columns.images), header.count(delimiter)

    return max(_DELIMITERS, key=known), 0


# --- rows


@dataclass(frozen=True, slots=True)
class _Row:
    """A row.

    Attributes:
        line: the number of its first line.
        cells: its cells without surrounding blanks; an empty list if all cells are empty.
        problem: why it can't be read; empty if it can.
    """

    line: int
    cells: Sequence[str]
    problem: str = ""


def _rows(text: str, delimiter: str, skipped: int) -> Iterator[_Row]:
    lines = io.StringIO(text, newline="")
    for _ in range(skipped):
        lines.readline()
    reader = csv.reader(lines, delimiter=delimiter)
    while True:
        line = reader.line_num + skipped + 1
        try:
            cells = [unescaped(cell.strip()) for cell in next(reader)]
        except StopIteration:
            return
        except csv.Error as error:
            yield _Row(line, (), f"it is not CSV: {error}")
            continue
        yield _Row(line, cells if any(cells) else ())


def _columns(header: Sequence[str]) -> _Columns:
    names = [_plain(cell) for cell in header]
    fields = {
        name: names.index(known[0])
        for name, spellings in _NAMES.items()
        if (known := [spelling for spelling in spellings if spelling in names])
    }
    urls = _numbered(names, _IMAGE)
    files = _numbered(names, _FILE)
    texts = _numbered(names, _ALT)
    images = [(urls.get(key, -1), files.get(key, -1), texts.get(key, -1)) for key in sorted({*urls, *files})]
    return _Columns(fields, images, len(header))


def _numbered(names: Sequence[str], pattern: re.Pattern[str]) -> dict[tuple[int, int], int]:
    """The index of each matching column, by its number and its position among those with that number."""
    found: dict[tuple[int, int], int] = {}
    for index, name in enumerate(names):
        if match := pattern.fullmatch(name):
            number = int(match[1] or 0)
            place = sum(key[0] == number for key in found)
            found[number, place] = index
    return found


def _plain(name: str) -> str:
    """The name in lower case, its letters and digits only, without accents."""
    decomposed = unicodedata.normalize("NFKD", name.casefold())
    return "".join(char for char in decomposed if char.isascii() and char.isalnum())


# --- products


@dataclass(frozen=True, slots=True)
class _Entry:
    line: int
    item: Item


class _Reader:
    """Collects the products of the rows."""

    def __init__(self, folder: Path, columns: _Columns, downloads: Downloads, category: str | None) -> None:
        self.entries: dict[str, _Entry] = {}
        self.problems: list[Step] = []
        self._folder = folder
        self._columns = columns
        self._downloads = downloads
        self._category = category

    def add(self, row: _Row) -> None:
        """Adds the product of a row, or its pictures to the product of an earlier row, or a problem."""
        if row.problem:
            self._refuse(row, "", row.problem)
        elif row.cells:
            self._add(row)

    def _add(self, row: _Row) -> None:
        model = unicodedata.normalize("NFC", self._cell(row, "model"))
        if any(row.cells[self._columns.count :]):
            self._refuse(row, model, "it has more cells than the first row has columns")
        elif not model:
            self._refuse(row, model, "it has no model")
        elif (earlier := self.entries.get(model)) is None:
            self.entries[model] = _Entry(row.line, self._item(row, model))
        elif other := self._difference(row, earlier.item):
            self._refuse(row, model, f"line {earlier.line} has the same model and another {other}")
        elif pictures := self._within_bound(row, model, earlier.item.pictures):
            self.entries[model] = _Entry(earlier.line, replace(earlier.item, pictures=pictures))

    def _within_bound(self, row: _Row, model: str, earlier: Sequence[Picture] = ()) -> list[Picture]:
        """The pictures of a product with those of another row of it, if they are not too many."""
        room = _MAX_PICTURES - len(earlier)
        pictures = list(islice(self._pictures(row), room + 1))
        if len(pictures) > room:
            self._refuse(row, model, f"the product has more than {_MAX_PICTURES} pictures")
        return [*earlier, *pictures[:room]]

    def _refuse(self, row: _Row, model: str, reason: str) -> None:
        self.problems.append(Step(model, f"line {row.line}", Action.REFUSED, reason))

    def _item(self, row: _Row, model: str) -> Item:
        return Item(
            model=model,
            fields=self._fields(row),
            defaults={"name": model, "category": self._category},
            archived=_ARCHIVED.get(self._cell(row, "status").casefold()),
            pictures=self._within_bound(row, model),
            place=f"line {row.line}",
        )

    def _fields(self, row: _Row) -> dict[str, object]:
        names = (name for name in self._columns.fields if name not in ("model", "status"))
        fields: dict[str, object] = {name: cell for name in names if (cell := self._cell(row, name))}
        if "category" in fields:
            fields["category"] = _category(str(fields["category"]))
        return fields

    def _difference(self, row: _Row, earlier: Item) -> str:
        """The first field for which this row and the product have different values; empty if none."""
        fields = self._fields(row)
        return next((name for name in fields if earlier.fields.get(name, fields[name]) != fields[name]), "")

    def _cell(self, row: _Row, name: str) -> str:
        return _at(row, self._columns.fields.get(name, -1))

    def _pictures(self, row: _Row) -> Iterator[Picture]:
        for url_index, file_index, alt_index in self._columns.images:
            urls, file, alt = _urls(_at(row, url_index)), _at(row, file_index), _at(row, alt_index) or None
            if file and ((self._folder / file).is_file() or not urls):
                yield Picture(name=f"line {row.line}: {file}", read=self._read(file), alt=alt)
            else:
                for url in urls:
                    yield self._downloads.picture(url, name=f"line {row.line}: {url}", alt=alt)

    def _read(self, file: str) -> Callable[[], bytes]:
        return lambda: read_picture(self._folder, Path(file))


def _at(row: _Row, index: int) -> str:
    return row.cells[index] if 0 <= index < len(row.cells) else ""


def _urls(cell: str) -> list[str]:
    """The URLs of a cell, separated by blanks or ``|``, or by a comma or semicolon that a URL follows."""
    return [part for part in re.split(r"[|\s]+|[,;](?=\s*https?://)", cell) if part]


def _category(cell: str) -> str:
    name = "-".join(cell.casefold().split())
    return _CATEGORIES.get(name, name)
