"""``flask --app wsgi workspace``: tenants."""

from __future__ import annotations

from typing import Final

import click

from catalog.base import Catalog
from catalog.errors import WorkspaceNotFound
from catalog.identity import Plan, Workspace
from catalog.ids import new_id, now
from cli.quota import quota_command, usage_text
from cli.store_errors import Group

_PLAN: Final = click.Choice([plan.value for plan in Plan])


def new_workspace(catalog: Catalog, name: str, plan: Plan = Plan.ENTERPRISE) -> Workspace:
    """Adds a workspace to the catalog. The owner of a server is no free customer of it."""
    workspace = Workspace(id=new_id(), name=name, plan=plan, created_at=now())
    catalog.create_workspace(workspace)
    return workspace


def workspace_commands(catalog: Catalog) -> click.Group:
    """The commands about workspaces."""

    @click.group("workspace", cls=Group)
    def group() -> None:
        """Create and list workspaces, and change their plans."""

    @group.command()
    @click.argument("name")
    @click.option("--plan", type=_PLAN, default=Plan.ENTERPRISE.value)
    def create(name: str, plan: str) -> None:
        """Create a workspace called NAME, and print its id."""
        if not name.strip():
            raise click.UsageError("NAME must not be blank.")
        click.echo(new_workspace(catalog, name, Plan(plan)).id)

    @group.command("list")
    @click.option("--usage", is_flag=True, help="Also show what each has stored, and its quota.")
    def list_(usage: bool) -> None:  # noqa: FBT001  # click passes it so
        """List the workspaces: id, plan, creation time, name."""
        for workspace in catalog.list_workspaces():
            created = workspace.created_at.isoformat(timespec="seconds")
            used = ""
            if usage:
                used = f"  ({usage_text(catalog.get_usage(workspace.id), workspace.quota)})"
            click.echo(f"{workspace.id}  {workspace.plan:<10}  {created}  {workspace.name}{used}")

    @group.command()
    @click.argument("workspace_id", metavar="ID")
    @click.argument("name", metavar="PLAN", type=_PLAN)
    def plan(workspace_id: str, name: str) -> None:
        """Put the workspace with this ID on another PLAN; running servers follow within a minute."""
        try:
            catalog.set_plan(workspace_id, Plan(name))
        except WorkspaceNotFound:
            raise click.ClickException(f"There is no workspace {workspace_id}.") from None

    group.add_command(quota_command(catalog))
    return group
