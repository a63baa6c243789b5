"""The product list and the product page. Their scripts make all changes through the public API."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import partial
from typing import Final
from urllib.parse import parse_qsl, urlencode

from flask import Blueprint, redirect, request
from flask.typing import ResponseReturnValue

from auth.sessions import Session
from auth.tokens import ROLE_SCOPES, WRITE
from catalog.base import MAX_IMAGES, Catalog, ProductQuery
from console.guards import HOME, Guards
from console.rendering import Pages

#: Products per page.
PER_PAGE: Final = 24

_MAX_SEARCH: Final = 200


def add_products(blueprint: Blueprint, pages: Pages, guards: Guards, catalog: Catalog) -> None:
    """``/console`` and ``/console/products/<id>``."""

    @blueprint.get("")
    @guards.signed_in
    def products(session: Session) -> ResponseReturnValue:
        query = _query(request.args)
        page = catalog.list_products(session.user.workspace_id, query)
        last = max(1, -(-page.total // query.limit))
        if query.page > last:
            return redirect(_address(query, last), 303)
        state = _address(query, query.page).partition("?")[2]
        return pages.render(
            "products.html",
            session=session,
            query=query,
            page=page,
            last=last,
            page_numbers=_page_numbers(query.page, last),
            filtered=bool(query.search or query.category or query.missing_alt),
            list_address=partial(_address, query),
            list_state=f"?{urlencode({'list': state})}" if state else "",
            may_write=_writes(session),
        )

    @blueprint.get("/products/<product_id>")
    @guards.signed_in
    def product(session: Session, product_id: str) -> ResponseReturnValue:
        found = catalog.get_product(session.user.workspace_id, product_id)
        return pages.render(
            "product.html",
            session=session,
            product=found,
            list_address=_address_of(request.args.get("list", "")),
            may_write=_writes(session),
            max_images=MAX_IMAGES,
        )


def _writes(session: Session) -> bool:
    return WRITE in ROLE_SCOPES[session.user.role]


def _query(sent: Mapping[str, str]) -> ProductQuery:
    """The query that the parameters of the list's address stand for; invalid ones are ignored."""
    page, category = sent.get("page", ""), sent.get("category", "")
    return ProductQuery(
        page=int(page) if re.fullmatch(r"[1-9][0-9]{0,5}", page) else 1,
        limit=PER_PAGE,
        category=category[:_MAX_SEARCH] or None,
        search=sent.get("search", "").strip()[:_MAX_SEARCH],
        show_archived=sent.get("archived") == "1",
        missing_alt=sent.get("missingAlt") == "1",
    )


def _address(query: ProductQuery, page: int) -> str:
    """The address of a page of the list."""
    parameters = {
        "search": query.search,
        "category": query.category or "",
        "missingAlt": "1" if query.missing_alt else "",
        "archived": "1" if query.show_archived else "",
        "page": str(page) if page > 1 else "",
    }
    filled = {name: value for name, value in parameters.items() if value}
    return f"{HOME}?{urlencode(filled)}" if filled else HOME


def _address_of(state: str) -> str:
    """The address of the list from which a product was opened.

    Args:
        state: the parameters of the list's address.
    """
    query = _query(dict(parse_qsl(state)))
    return _address(query, query.page)


def _page_numbers(page: int, last: int) -> list[int | None]:
    """The pages that are linked: the first, the last, and those around the current one. None is a gap."""
    near = sorted({1, last, *range(max(1, page - 1), min(last, page + 1) + 1)})
    numbers: list[int | None] = []
    for before, number in zip([0, *near], near, strict=False):
        if number > before + 1:
            numbers.append(None)
        numbers.append(number)
    return numbers
