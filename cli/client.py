"""``flask --app wsgi client``: commands that manage OAuth clients."""

from __future__ import annotations

import click

from catalog.base import Catalog
from catalog.errors import ClientNotFound
from catalog.identity import OAuthClient
from cli.listing import json_option, print_list, seconds
from cli.store_errors import Group


def client_commands(catalog: Catalog) -> click.Group:
    """The commands that manage OAuth clients."""

    @click.group("client", cls=Group)
    def group() -> None:
        """List and delete OAuth clients."""

    @group.command("list")
    @click.option("--workspace", "workspace_id", metavar="ID", help="Only the clients of this workspace.")
    @click.option("--self-registered", is_flag=True, help="Only the clients that registered themselves.")
    @json_option
    def list_(workspace_id: str | None, *, self_registered: bool, as_json: bool) -> None:
        """List the clients: id, workspace, kind, creation time, time of the first grant, name."""
        if self_registered and workspace_id is not None:
            raise click.UsageError("Give either --workspace or --self-registered.")
        owners: list[str | None] = [None] if self_registered else [workspace_id]
        if not self_registered and workspace_id is None:
            owners = [None, *(workspace.id for workspace in catalog.list_workspaces())]
        clients = [client for owner in owners for client in catalog.list_clients(owner)]
        print_list(clients, as_json=as_json, fields=_fields, line=_line)

    @group.command()
    @click.argument("client_id", metavar="ID")
    def delete(client_id: str) -> None:
        """Delete the client with this ID (of `client list`). Its tokens stop working at the next request."""
        client = catalog.find_client(client_id)
        try:
            if client is None:
                raise ClientNotFound
            catalog.delete_client(client.workspace_id, client.id)
        except ClientNotFound:
            raise click.ClickException(f"The client {client_id} does not exist.") from None

    return group


def _fields(client: OAuthClient) -> dict[str, object]:
    return {
        "id": client.id,
        "workspaceId": client.workspace_id,
        "kind": _kind(client),
        "createdAt": seconds(client.created_at),
        "usedAt": seconds(client.used_at),
        "name": client.name,
        "redirectUris": list(client.redirect_uris),
    }


def _line(client: OAuthClient) -> str:
    created = seconds(client.created_at)
    used = seconds(client.used_at) or "never"
    owner = client.workspace_id or "self-registered"
    return f"{client.id}  {owner:<24}  {_kind(client):<12}  {created}  {used:<25}  {client.name}"


def _kind(client: OAuthClient) -> str:
    return "public" if client.secret_digest is None else "confidential"
