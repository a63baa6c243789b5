"""``flask --app wsgi key``: commands that manage API keys."""

from __future__ import annotations

import click

from auth.tokens import new_api_key
from catalog.base import Catalog
from catalog.errors import CredentialNotFound, WorkspaceNotFound
from catalog.identity import Credential
from catalog.ids import now
from cli.listing import json_option, print_list, seconds
from cli.store_errors import Group


def key_commands(catalog: Catalog) -> click.Group:
    """The commands that manage API keys."""

    @click.group("key", cls=Group)
    def group() -> None:
        """Create, list and revoke API keys."""

    @group.command()
    @click.option(
        "--workspace", "workspace_id", required=True, metavar="ID", help="The workspace that the key opens."
    )
    @click.option("--label", default="", help="A text that tells you what the key is for.")
    def create(workspace_id: str, label: str) -> None:
        """Create an API key and print it. It is not shown again."""
        secret, credential = new_api_key(workspace_id, label)
        try:
            catalog.create_credential(credential)
        except WorkspaceNotFound:
            raise click.ClickException(f"The workspace {workspace_id} does not exist.") from None
        click.echo(secret)

    @group.command("list")
    @click.option("--workspace", "workspace_id", metavar="ID", help="Only the keys of this workspace.")
    @json_option
    def list_(workspace_id: str | None, *, as_json: bool) -> None:
        """List the keys: id, workspace, state, creation time, last use, label. The keys are not shown."""
        print_list(catalog.list_api_keys(workspace_id), as_json=as_json, fields=_fields, line=_line)

    @group.command()
    @click.argument("key_id", metavar="ID")
    def revoke(key_id: str) -> None:
        """Revoke the key with this ID (of `key list`). It stops working at the next request."""
        try:
            catalog.revoke_credential(key_id, now())
        except CredentialNotFound:
            raise click.ClickException(f"The key {key_id} does not exist.") from None

    return group


def _fields(key: Credential) -> dict[str, object]:
    return {
        "id": key.id,
        "workspaceId": key.workspace_id,
        "state": _state(key),
        "createdAt": seconds(key.created_at),
        "lastUsedAt": seconds(key.last_used_at),
        "label": key.label,
    }


def _line(key: Credential) -> str:
    used = seconds(key.last_used_at) or "never"
    created = seconds(key.created_at)
    return f"{key.id}  {key.workspace_id}  {_state(key):<7}  {created}  {used:<25}  {key.label}".rstrip()


def _state(key: Credential) -> str:
    return "live" if key.is_live(now()) else "revoked"
