"""The lists of products in MongoDB: pages by indexes, and a search that reads only what may match.

``folded`` has a product's name and model, and is the last field of the index ``listed``, so that a regular
expression is evaluated while the index is scanned. MongoDB's own text index knows words only, and its regular
expressions fold fewer letters in text that was not folded before. A search with a rare trigram
(``catalog/grams.py``) reads the products that have it instead.

Only the products of a page are read; the total and their ids come from an index alone. The total is counted
at every call: a scan of a million keys takes about a second, which limits the size of a workspace.

While an index is missing, or products of an earlier version lack ``folded``, the lists are correct but slow.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple

from pymongo import ASCENDING, DESCENDING, IndexModel, UpdateOne
from pymongo.collection import Collection
from pymongo.database import Database

from catalog.attempts import attempts
from catalog.base import ProductPage, ProductQuery, Sort
from catalog.grams import LONGEST, covering, fold
from catalog.mongo.connection import latest
from catalog.mongo.indexes import Indexes
from catalog.mongo.records import OBSOLETE_FIELDS, OF_RECORD, PRODUCT, SEARCH_FIELDS

#: Up to this many products with a trigram are read one by one. With more, matches are so frequent that a scan
#: of ``listed``, from the newest product on, soon finds a page of them.
_MAX_CANDIDATES: Final = 300

#: Increases with every change of what ``SEARCH_FIELDS`` hold.
_SEARCH_VERSION: Final = 4

#: How many products of an earlier version are updated at once, and the pause after them in seconds.
_BATCH: Final = 500
_PAUSE: Final = 0.02

#: How long a batch is repeated whose products change meanwhile, in seconds.
_PATIENCE: Final = 30.0

_NEWEST_FIRST: Final = {"createdAt": DESCENDING, "_id": DESCENDING}

#: The fields by which a list is sorted.
_ORDERS: Final[dict[Sort, dict[str, int]]] = {
    Sort.NEWEST: _NEWEST_FIRST,
    Sort.OLDEST: {"createdAt": ASCENDING, "_id": ASCENDING},
    Sort.NAME: {"sortName": ASCENDING, "_id": ASCENDING},
    Sort.MODEL: {"sortModel": ASCENDING, "_id": ASCENDING},
    Sort.UPDATED: {"updatedAt": DESCENDING, "_id": DESCENDING},
}

#: The indexes of the orders that ``listed`` does not have. Each has all fields that filters and searches
#: read.
_INDEX_OF_ORDER: Final = {Sort.NAME: "by_name", Sort.MODEL: "by_model", Sort.UPDATED: "by_change"}


def _index(name: str, equal: Sequence[str], read: Sequence[str] = ()) -> IndexModel:
    """An index in the order of the list, for a list in which the fields ``equal`` have given values.

    A search reads the fields ``read`` from the index.
    """
    keys = {**dict.fromkeys(equal, ASCENDING), **_NEWEST_FIRST, **dict.fromkeys(read, ASCENDING)}
    return IndexModel(keys, name=name)


def _missing(name: str, field: str) -> IndexModel:
    """An index of the products that lack something, in the order of ``listed``."""
    read = dict.fromkeys(["status", "category", "folded"], ASCENDING)
    keys = {"companyId": ASCENDING, field: ASCENDING, **_NEWEST_FIRST, **read}
    return IndexModel(keys, name=name, partialFilterExpression={field: True})


SEARCH_INDEXES: Final = [
    _index("listed", ["companyId"], ["status", "category", "folded"]),
    _index("status", ["companyId", "status"]),
    _index("category", ["companyId", "category"]),
    _index("category_status", ["companyId", "category", "status"]),
    _missing("missing_alt", "missingAlt"),
    _missing("missing_images", "missingImages"),
    *(
        IndexModel(
            {
                "companyId": ASCENDING,
                **_ORDERS[order],
                **dict.fromkeys(["status", "category", "missingAlt", "missingImages", "folded"], ASCENDING),
            },
            name=name,
        )
        for order, name in _INDEX_OF_ORDER.items()
    ),
    # Neither status nor category: a change of them would rewrite the keys of all trigrams.
    IndexModel({"companyId": ASCENDING, "grams": ASCENDING}, name="trigrams"),
]

#: The indexes by which few products are found, which are sorted afterwards.
_OF_FEW: Final = ("trigrams", "companyId_model")

#: Indexes of earlier versions.
_OBSOLETE: Final = ("newest", "grams")

#: The index that has the order of a list, by whether the list is limited to one category, and to one status.
_INDEX_OF_LIST: Final = {
    (False, False): "listed",
    (False, True): "status",
    (True, False): "category",
    (True, True): "category_status",
}


class _Plan(NamedTuple):
    """A filter, and the index by which it is evaluated; with None, the server chooses the index."""

    wanted: dict[str, Any]
    hint: str | None


def find_page(
    products: Collection[dict[str, Any]], indexes: Indexes, workspace_id: str, query: ProductQuery
) -> ProductPage:
    """The products that the query asks for.

    Args:
        products: the collection.
        indexes: knows which indexes exist.
        workspace_id: the workspace that has the products.
        query: selects products of the workspace.
    """
    if query.missing_alt and query.missing_images:
        return ProductPage([], 0)  # one of them asks for an image, the other for none
    wanted, hint = _plan(products, indexes, workspace_id, query)

    def by(name: str | None) -> dict[str, Any]:
        return {"hint": name} if name and indexes.has("products", name) else {}

    total = products.count_documents(wanted, **by(hint))
    if query.offset >= total:
        return ProductPage([], total)
    if query.sort in (Sort.NAME, Sort.MODEL) and not indexes.updated:
        ids = _sorted_here(products, wanted, query)
    else:
        in_order = hint if hint in _OF_FEW else _INDEX_OF_ORDER.get(query.sort, hint)
        found = products.find(wanted, {"_id": True}, skip=query.offset, limit=query.limit, **by(in_order))
        ids = [document["_id"] for document in found.sort(_ORDERS[query.sort])]
    documents = {document["_id"]: document for document in products.find({"_id": {"$in": ids}}, OF_RECORD)}
    # A product that was deleted meanwhile is left out.
    items = [PRODUCT.decode(documents[product_id]) for product_id in ids if product_id in documents]
    return ProductPage(items, total)


def _sorted_here(
    products: Collection[dict[str, Any]], wanted: dict[str, Any], query: ProductQuery
) -> Sequence[str]:
    """The ids of a page by name or model, while products of an earlier version lack ``sortName``."""
    field = query.sort.value
    texts = sorted(
        (fold(document[field]), document["_id"]) for document in products.find(wanted, {field: True})
    )
    return [product_id for _, product_id in texts[query.offset : query.offset + query.limit]]


def _plan(
    products: Collection[dict[str, Any]], indexes: Indexes, workspace_id: str, query: ProductQuery
) -> _Plan:
    equal = {"companyId": workspace_id, "category": query.category, "status": query.only_status}
    wanted: dict[str, Any] = {name: value for name, value in equal.items() if value is not None}
    partial = None
    if query.missing_alt and indexes.updated:
        partial, wanted["missingAlt"] = "missing_alt", True
    elif query.missing_alt:
        wanted["images"] = {"$elemMatch": {"alt": {"$exists": False}}}
    if query.missing_images and indexes.updated:
        partial, wanted["missingImages"] = "missing_images", True
    elif query.missing_images:
        wanted["images"] = {"$size": 0}
    folded = fold(query.search)
    if query.models:
        return _Plan(_of_models(wanted, query, folded), "companyId_model")
    if not folded:
        by_filters = _INDEX_OF_LIST[query.category is not None, query.only_status is not None]
        return _Plan(wanted, partial or by_filters)
    contains = {"$regex": _pattern(folded)}
    if not indexes.updated:
        # Earlier versions folded less, and into other fields.
        either = {"$regex": f"{_pattern(folded)}|{_pattern(query.search.casefold())}"}
        names = ("folded", *OBSOLETE_FIELDS)
        return _Plan({**wanted, "$or": [{name: either} for name in names]}, None)
    rare = None
    if indexes.has("products", "trigrams"):
        rare = _rare_gram(products, workspace_id, folded)
    if rare is not None:
        return _Plan({**wanted, "grams": rare, "folded": contains}, "trigrams")
    return _Plan({**wanted, "folded": contains}, partial or "listed")


def _of_models(wanted: dict[str, Any], query: ProductQuery, folded: str) -> dict[str, Any]:
    wanted = {**wanted, "model": {"$in": list(query.models)}}
    return {**wanted, "folded": {"$regex": _pattern(folded)}} if folded else wanted


def _pattern(text: str) -> str:
    """A regular expression that matches a text literally. BSON can't store one that contains a NUL."""
    return re.escape(text).replace("\0", r"\x00")


def _rare_gram(products: Collection[dict[str, Any]], workspace_id: str, folded: str) -> str | None:
    """The rarest of the trigrams that cover a text; None if all are frequent, or the text has none."""
    if len(folded) < LONGEST:
        return None
    rarest, fewest = None, _MAX_CANDIDATES + 1
    for gram in covering(folded):
        having = {"companyId": workspace_id, "grams": gram}
        count = products.count_documents(having, hint="trigrams", limit=_MAX_CANDIDATES + 1)
        if count < fewest:
            rarest, fewest = gram, count
        if not fewest:
            break
    return rarest


def update_products(database: Database[dict[str, Any]]) -> Iterator[str]:
    """Computes what a search reads of products of earlier versions; yields a sentence if there were any.

    A document in the collection ``state`` records that all products have them, so that a start need not read
    them all.
    """
    done = {"_id": "products", "search": _SEARCH_VERSION}
    if database.state.find_one(done):
        return
    yield from _refresh(database)
    database.state.replace_one({"_id": "products"}, done, upsert=True)


def _refresh(database: Database[dict[str, Any]]) -> Iterator[str]:
    """Computes again what a search reads of all products; yields a sentence if any has changed.

    Raises:
        CatalogUnavailable: some of the products change all the time.
    """
    count, last = 0, ""
    while ids := [
        document["_id"]
        for document in database.products.find({"_id": {"$gt": last}}, {"_id": True}, limit=_BATCH).sort(
            "_id"
        )
    ]:
        # A product that changes meanwhile is read again.
        for _ in attempts(_PATIENCE, "products are changing too often at the moment"):
            updates = [*_outdated(database.products, ids)]
            if not updates:
                break
            count += database.products.bulk_write(updates, ordered=False).modified_count
        last = ids[-1]
        time.sleep(_PAUSE)
    if count:
        yield f"updated {count} products for the search"


def _outdated(products: Collection[dict[str, Any]], ids: Sequence[str]) -> Iterator[UpdateOne]:
    """The updates of those products whose fields differ from what this version computes."""
    for document in latest(products).find({"_id": {"$in": ids}}):
        computed = PRODUCT.encode(PRODUCT.decode(document))
        changes = {name: computed[name] for name in SEARCH_FIELDS if document.get(name) != computed[name]}
        if changes:
            yield UpdateOne({"_id": document["_id"], "version": document["version"]}, {"$set": changes})


def remove_obsolete(database: Database[dict[str, Any]]) -> Iterator[str]:
    """Removes indexes and fields that only earlier versions used; yields a sentence for each step."""
    present = {index["name"] for index in database.products.list_indexes()}
    for name in _OBSOLETE:
        if name in present:
            database.products.drop_index(name)
            yield f"dropped the index {name} of products"
    yield from _refresh(database)  # servers of an earlier version may have changed products since the start
    count = 0
    old = {"foldedName": {"$exists": True}}
    long = {"$eq": [{"$strLenCP": "$$gram"}, LONGEST]}
    change: list[dict[str, Any]] = [
        {"$set": {"grams": {"$filter": {"input": "$grams", "as": "gram", "cond": long}}}},
        {"$unset": list(OBSOLETE_FIELDS)},
    ]
    while ids := [document["_id"] for document in database.products.find(old, {"_id": True}, limit=_BATCH)]:
        count += database.products.update_many({"_id": {"$in": ids}}, change).modified_count
        time.sleep(_PAUSE)
    if count:
        yield f"removed what earlier versions needed of {count} products"
