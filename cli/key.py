"""``flask --app wsgi key``: API keys."""

from __future__ import annotations

import click

from auth.tokens import new_api_key
from catalog.base import Catalog
from catalog.errors import CredentialNotFound, WorkspaceNotFound
from catalog.identity import Credential
from catalog.ids import now
from cli.store_errors import Group


def key_commands(catalog: Catalog) -> click.Group:
    """The commands about API keys."""

    @click.group("key", cls=Group)
    def group() -> None:
        """Create, list and revoke API keys."""

    @group.command()
    @click.option("--workspace", "workspace_id", required=True, metavar="ID", help="Whose data it opens.")
    @click.option("--label", default="", help="Your word for it.")
    def create(workspace_id: str, label: str) -> None:
        """Create an API key, and print it: it is never shown again."""
        secret, credential = new_api_key(workspace_id, label)
        try:
            catalog.create_credential(credential)
        except WorkspaceNotFound:
            raise click.ClickException(f"There is no workspace {workspace_id}.") from None
        click.echo(secret)

    @group.command("list")
    @click.option("--workspace", "workspace_id", metavar="ID", help="Only the keys of this workspace.")
    def list_(workspace_id: str | None) -> None:
        """List the keys: id, workspace, state, creation time, label. Never the keys themselves."""
        for key in catalog.list_api_keys(workspace_id):
            click.echo(_line(key))

    @group.command()
    @click.argument("key_id", metavar="ID")
    def revoke(key_id: str) -> None:
        """Revoke the key with this ID (of `key list`), from the next request on."""
        try:
            catalog.revoke_credential(key_id, now())
        except CredentialNotFound:
            raise click.ClickException(f"There is no key {key_id}.") from None

    return group


def _line(credential: Credential) -> str:
    state = "live" if credential.is_live(now()) else "revoked"
    created = credential.created_at.isoformat(timespec="seconds")
    return f"{credential.id}  {credential.workspace_id}  {state:<7}  {created}  {credential.label}".rstrip()
