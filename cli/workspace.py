"""``flask --app wsgi workspace``: commands that manage workspaces, the tenants of the server."""

from __future__ import annotations

from typing import Final

import click

from catalog.base import Catalog
from catalog.errors import WorkspaceNotFound
from catalog.identity import Plan, Usage, Workspace
from catalog.ids import new_id, now
from cli.listing import json_object_option, json_option, print_list, print_result, seconds
from cli.quota import quota_command, usage_object, usage_text
from cli.store_errors import Group
from cli.workspace_delete import workspace_delete_command
from storage.base import StorageBackend

_PLAN: Final = click.Choice([plan.value for plan in Plan])


def new_workspace(catalog: Catalog, name: str, plan: Plan = Plan.ENTERPRISE) -> Workspace:
    """Adds a workspace to the catalog. By default its plan has no limits."""
    workspace = Workspace(id=new_id(), name=name, plan=plan, created_at=now())
    catalog.create_workspace(workspace)
    return workspace


def workspace_commands(catalog: Catalog, storage: StorageBackend) -> click.Group:
    """The commands that manage workspaces, whose images are in ``storage``."""

    @click.group("workspace", cls=Group)
    def group() -> None:
        """Create, list, rename and delete workspaces, and change their plans."""

    @group.command()
    @click.argument("name")
    @click.option("--plan", type=_PLAN, default=Plan.ENTERPRISE.value, show_default=True)
    @json_object_option
    def create(name: str, plan: str, *, as_json: bool) -> None:
        """Create a workspace with this NAME, and print its id."""
        _require_name(name)
        workspace = new_workspace(catalog, name, Plan(plan))
        print_result(_fields(workspace, None), workspace.id, as_json=as_json)

    @group.command("list")
    @click.option("--usage", is_flag=True, help="Also show what each has stored, and its quota.")
    @json_option
    def list_(*, usage: bool, as_json: bool) -> None:
        """List the workspaces: id, plan, creation time, name."""

        def used(workspace: Workspace) -> Usage | None:
            return catalog.get_usage(workspace.id) if usage else None

        print_list(
            catalog.list_workspaces(),
            as_json=as_json,
            fields=lambda workspace: _fields(workspace, used(workspace)),
            line=lambda workspace: _line(workspace, used(workspace)),
        )

    @group.command()
    @click.argument("workspace_id", metavar="ID")
    @click.argument("name")
    def rename(workspace_id: str, name: str) -> None:
        """Give the workspace with this ID another NAME."""
        _require_name(name)
        try:
            catalog.rename_workspace(workspace_id, name)
        except WorkspaceNotFound:
            raise click.ClickException(f"The workspace {workspace_id} does not exist.") from None

    @group.command()
    @click.argument("workspace_id", metavar="ID")
    @click.argument("name", metavar="PLAN", type=_PLAN)
    def plan(workspace_id: str, name: str) -> None:
        """Put the workspace with this ID on another PLAN. Running servers follow within a minute."""
        try:
            catalog.set_plan(workspace_id, Plan(name))
        except WorkspaceNotFound:
            raise click.ClickException(f"The workspace {workspace_id} does not exist.") from None

    group.add_command(quota_command(catalog))
    group.add_command(workspace_delete_command(catalog, storage))
    return group


def _require_name(name: str) -> None:
    if not name.strip():
        raise click.UsageError("NAME must not be blank.")


def _fields(workspace: Workspace, usage: Usage | None) -> dict[str, object]:
    counts = {} if usage is None else {"usage": usage_object(usage, workspace.quota)}
    return {
        "id": workspace.id,
        "plan": workspace.plan.value,
        "createdAt": seconds(workspace.created_at),
        "name": workspace.name,
        **counts,
    }


def _line(workspace: Workspace, usage: Usage | None) -> str:
    counts = "" if usage is None else f"  ({usage_text(usage, workspace.quota)})"
    return f"{workspace.id}  {workspace.plan:<10}  {seconds(workspace.created_at)}  {workspace.name}{counts}"
