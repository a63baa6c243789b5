"""The usage page: the plan, the day's writes, and the number of products."""

from __future__ import annotations

from flask import Blueprint
from flask.typing import ResponseReturnValue

from auth.budgets import Budgets
from auth.sessions import Session
from catalog.base import Catalog, ProductQuery
from catalog.identity import Quota
from console.guards import Guards
from console.rendering import Pages


def add_usage(blueprint: Blueprint, pages: Pages, guards: Guards, catalog: Catalog, budgets: Budgets) -> None:
    """``/console/usage``."""

    @blueprint.get("/usage")
    @guards.signed_in
    def usage(session: Session) -> ResponseReturnValue:
        workspace = catalog.get_workspace(session.user.workspace_id)
        every = ProductQuery(limit=1, show_archived=True)
        # Without a quota the usage may not be kept, and would be counted again for each request.
        stored = catalog.get_usage(workspace.id) if workspace.quota != Quota() else None
        return pages.render(
            "usage.html",
            session=session,
            workspace=workspace,
            state=budgets.usage(workspace.id),
            stored=stored,
            products=catalog.list_products(workspace.id, every).total,
        )
