"""The product list and the product page. Their scripts make all changes through the public API."""

from __future__ import annotations

from typing import Final
from urllib.parse import parse_qsl, urlencode

from flask import Blueprint, redirect, request
from flask.typing import ResponseReturnValue

from auth.sessions import Session
from auth.tokens import ROLE_SCOPES, WRITE
from catalog.base import MAX_IMAGES, Catalog
from console.guards import HOME, Guards
from console.list_state import GRID, VIEWS, ListState
from console.rendering import Pages

#: The cookie that remembers the view of the list, and for how long, in seconds.
_VIEW_COOKIE: Final = "vetrina_list_view"
_YEAR: Final = 365 * 24 * 3600


def add_products(blueprint: Blueprint, pages: Pages, guards: Guards, catalog: Catalog) -> None:
    """``/console`` and ``/console/products/<id>``."""

    @blueprint.get("")
    @guards.listing
    def products(session: Session) -> ResponseReturnValue:
        state = ListState.of(request.args)
        page = catalog.list_products(session.user.workspace_id, state.query)
        last = max(1, -(-page.total // state.query.limit))
        if state.page > last:
            return redirect(state.address(page=last), 303)
        seen = request.cookies.get(_VIEW_COOKIE)
        response = pages.render(
            "products.html",
            session=session,
            state=state,
            view=state.view or (seen if seen in VIEWS else GRID),
            page=page,
            last=last,
            page_numbers=_page_numbers(state.page, last),
            list_state=f"?{urlencode({'list': state.parameters})}" if state.parameters else "",
            may_write=_writes(session),
            max_images=MAX_IMAGES,
        )
        if state.view:
            response.set_cookie(
                _VIEW_COOKIE,
                state.view,
                max_age=_YEAR,
                path=HOME,
                secure=pages.public_url.startswith("https:"),
                httponly=True,
                samesite="Lax",
            )
        return response

    @blueprint.get("/products/<product_id>")
    @guards.listing
    def product(session: Session, product_id: str) -> ResponseReturnValue:
        found = catalog.get_product(session.user.workspace_id, product_id)
        state = ListState.of(dict(parse_qsl(request.args.get("list", ""))))
        return pages.render(
            "product.html",
            session=session,
            product=found,
            list_address=state.address(page=state.page),
            may_write=_writes(session),
            max_images=MAX_IMAGES,
        )


def _writes(session: Session) -> bool:
    return WRITE in ROLE_SCOPES[session.user.role]


def _page_numbers(page: int, last: int) -> list[int | None]:
    """The pages that are linked: the first, the last, and those around the current one. None is a gap."""
    near = sorted({1, last, *range(max(1, page - 1), min(last, page + 1) + 1)})
    numbers: list[int | None] = []
    for before, number in zip([0, *near], near, strict=False):
        if number > before + 1:
            numbers.append(None)
        numbers.append(number)
    return numbers
