"""The product list and the product page. Their scripts make all changes through the public API."""

from __future__ import annotations

import re
from typing import Final

from flask import Blueprint, request
from flask.typing import ResponseReturnValue

from auth.sessions import Session
from auth.tokens import ROLE_SCOPES, WRITE
from catalog.base import MAX_IMAGES, Catalog, ProductQuery
from console.guards import Guards
from console.rendering import Pages

#: Products per page.
PER_PAGE: Final = 24

_MAX_SEARCH: Final = 200


def add_products(blueprint: Blueprint, pages: Pages, guards: Guards, catalog: Catalog) -> None:
    """``/console`` and ``/console/products/<id>``."""

    @blueprint.get("")
    @guards.signed_in
    def products(session: Session) -> ResponseReturnValue:
        query = _query()
        page = catalog.list_products(session.user.workspace_id, query)
        last = max(1, -(-page.total // query.limit))
        return pages.render(
            "products.html", session=session, query=query, page=page, last=last, may_write=_writes(session)
        )

    @blueprint.get("/products/<product_id>")
    @guards.signed_in
    def product(session: Session, product_id: str) -> ResponseReturnValue:
        found = catalog.get_product(session.user.workspace_id, product_id)
        return pages.render(
            "product.html",
            session=session,
            product=found,
            may_write=_writes(session),
            max_images=MAX_IMAGES,
        )


def _writes(session: Session) -> bool:
    return WRITE in ROLE_SCOPES[session.user.role]


def _query() -> ProductQuery:
    page = request.args.get("page", "")
    return ProductQuery(
        page=int(page) if re.fullmatch(r"[1-9][0-9]{0,5}", page) else 1,
        limit=PER_PAGE,
        search=request.args.get("search", "").strip()[:_MAX_SEARCH],
        show_archived=request.args.get("archived") == "1",
    )
