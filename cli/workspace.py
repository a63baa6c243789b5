"""``flask --app wsgi workspace``: tenants."""

from __future__ import annotations

import click

from catalog.base import Catalog, new_id, now
from catalog.identity import Plan, Workspace
from cli.stores import Group


def new_workspace(catalog: Catalog, name: str, plan: Plan = Plan.ENTERPRISE) -> Workspace:
    """Adds a workspace to the catalog. The owner of a server is no free customer of it."""
    workspace = Workspace(id=new_id(), name=name, plan=plan, created_at=now())
    catalog.create_workspace(workspace)
    return workspace


def workspace_commands(catalog: Catalog) -> click.Group:
    """The commands about workspaces."""

    @click.group("workspace", cls=Group)
    def group() -> None:
        """Create and list workspaces."""

    @group.command()
    @click.argument("name")
    @click.option("--plan", type=click.Choice([plan.value for plan in Plan]), default=Plan.ENTERPRISE.value)
    def create(name: str, plan: str) -> None:
        """Create a workspace called NAME, and print its id."""
        if not name.strip():
            raise click.UsageError("NAME must not be blank.")
        click.echo(new_workspace(catalog, name, Plan(plan)).id)

    @group.command("list")
    def list_() -> None:
        """List the workspaces: id, plan, creation time, name."""
        for workspace in catalog.list_workspaces():
            created = workspace.created_at.isoformat(timespec="seconds")
            click.echo(f"{workspace.id}  {workspace.plan:<10}  {created}  {workspace.name}")

    return group
