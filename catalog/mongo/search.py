"""The lists of products in MongoDB: pages by indexes, and a search that reads only what may match.

An index has the grams (``catalog/grams.py``) of every product's name and model. A search of up to three
characters is a gram itself. A longer one looks at the products that have its rarest gram or, where even
that is frequent, walks an index that has all it needs. MongoDB's own text index knows words only, and its
regular expressions fold fewer letters.

Totals are counted from an index alone: there are no triggers that would keep them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple, TypeAlias

from pymongo import ASCENDING, DESCENDING, IndexModel
from pymongo.collection import Collection

from catalog.base import ProductPage, ProductQuery
from catalog.grams import LONGEST, covering
from catalog.mongo.records import PRODUCT, WITHOUT_SEARCH

_Document: TypeAlias = dict[str, Any]

#: Up to so many candidates are looked at one by one. With more, matches are frequent enough to meet a
#: page of them soon on a walk from the newest on.
_MAX_CANDIDATES: Final = 1000

_NEWEST_FIRST: Final = {"createdAt": DESCENDING, "_id": DESCENDING}


def _index(name: str, equal: Sequence[str], read: Sequence[str] = ()) -> IndexModel:
    """An index in the order of the list, for products that have these fields equal."""
    keys = {**dict.fromkeys(equal, ASCENDING), **_NEWEST_FIRST, **dict.fromkeys(read, ASCENDING)}
    return IndexModel(keys, name=name)


SEARCH_INDEXES: Final = [
    _index("newest", ["companyId"], ["status", "category", "foldedName", "foldedModel"]),
    _index("status", ["companyId", "status"]),
    _index("category", ["companyId", "category"]),
    _index("category_status", ["companyId", "category", "status"]),
    _index("grams", ["companyId", "grams"], ["status", "category"]),
]

#: Which of them has a list: by whether it is of one category, and of one status.
_INDEX_OF_LIST: Final = {
    (False, False): "newest",
    (False, True): "status",
    (True, False): "category",
    (True, True): "category_status",
}


class _Plan(NamedTuple):
    """A filter, and the index that finds what passes it."""

    wanted: _Document
    hint: str


def find_page(products: Collection[_Document], workspace_id: str, query: ProductQuery) -> ProductPage:
    """The products that are asked for."""
    wanted, hint = (_search if query.search else _browse)(products, workspace_id, query)
    total = products.count_documents(wanted, hint=hint)
    if query.offset >= total:
        return ProductPage([], total)
    found = products.find(wanted, WITHOUT_SEARCH, hint=hint, skip=query.offset, limit=query.limit)
    return ProductPage([PRODUCT.decode(document) for document in found.sort(_NEWEST_FIRST)], total)


def _filter(workspace_id: str, query: ProductQuery) -> _Document:
    wanted = {"companyId": workspace_id, "category": query.category, "status": query.only_status}
    return {name: value for name, value in wanted.items() if value is not None}


def _browse(_: Collection[_Document], workspace_id: str, query: ProductQuery) -> _Plan:
    hint = _INDEX_OF_LIST[query.category is not None, query.only_status is not None]
    return _Plan(_filter(workspace_id, query), hint)


def _search(products: Collection[_Document], workspace_id: str, query: ProductQuery) -> _Plan:
    wanted = _filter(workspace_id, query)
    folded = query.search.casefold()
    if len(folded) <= LONGEST:
        return _Plan({**wanted, "grams": folded}, "grams")
    rarest, candidates = _rarest_gram(products, workspace_id, folded)
    # Not $regex, which knows no NUL.
    contains = {
        "$or": [
            {"$gte": [{"$indexOfBytes": [field, {"$literal": folded}]}, 0]}
            for field in ("$foldedName", "$foldedModel")
        ]
    }
    if candidates <= _MAX_CANDIDATES:
        return _Plan({**wanted, "grams": rarest, "$expr": contains}, "grams")
    return _Plan({**wanted, "$expr": contains}, "newest")


def _rarest_gram(products: Collection[_Document], workspace_id: str, folded: str) -> tuple[str, int]:
    """Of the grams that cover a text, one that few products have, and how many, as far as that matters."""
    rarest, fewest = "", _MAX_CANDIDATES + 2
    for gram in covering(folded):
        having = {"companyId": workspace_id, "grams": gram}
        count = products.count_documents(having, hint="grams", limit=_MAX_CANDIDATES + 1)
        if count < fewest:
            rarest, fewest = gram, count
        if not fewest:
            break
    return rarest, fewest
