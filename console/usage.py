"""The usage page: the plan, the day's writes, and the number of products."""

from __future__ import annotations

from flask import Blueprint
from flask.typing import ResponseReturnValue

from auth.budgets import DAILY_WRITES, Budgets
from auth.sessions import Session
from catalog.base import Catalog, ProductQuery
from console.guards import Guards
from console.rendering import Pages


def add_usage(blueprint: Blueprint, pages: Pages, guards: Guards, catalog: Catalog, budgets: Budgets) -> None:
    """``/console/usage``."""

    @blueprint.get("/usage")
    @guards.signed_in
    def usage(session: Session) -> ResponseReturnValue:
        workspace = catalog.get_workspace(session.user.workspace_id)
        every = ProductQuery(limit=1, show_archived=True)
        return pages.render(
            "usage.html",
            session=session,
            workspace=workspace,
            limited=workspace.plan in DAILY_WRITES,
            state=budgets.usage(workspace.id),
            products=catalog.list_products(workspace.id, every).total,
        )
